"""Real servers for tests: each test has a database and queues of its own, which are gone when it ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

import psycopg
import pytest
from amqp.exceptions import AMQPError
from kombu import Connection
from psycopg import sql
from sqlalchemy import make_url

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
AMQP = "amqp://guest:guest@127.0.0.1:5672//"
LANES = ("stock", "orders", "fulfilment", "tracking", "slow")


def missing(service: str, variable: str, error: Exception) -> NoReturn:
    """A developer may lack a server, CI may not."""
    sentence = f"{service} does not answer ({variable}): {error}"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The SQLAlchemy address of a server where databases may be created."""
    address = os.environ.get("YIPAN_TEST_POSTGRES", POSTGRES)
    try:
        psycopg.connect(libpq_address(address), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        missing("PostgreSQL", "YIPAN_TEST_POSTGRES", error)
    return address


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The SQLAlchemy address of an empty database with a random name."""
    with empty_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def shared_postgres_url(postgres_server: str) -> Iterator[str]:
    """One database for the tests of a module, which clean up after each other."""
    with empty_database(postgres_server) as url:
        hasten(url)
        yield url


def hasten(url: str) -> None:
    """Commits of this database don't wait for the disk."""
    with psycopg.connect(libpq_address(url), autocommit=True) as server:
        name = sql.Identifier(str(make_url(url).database))
        server.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))


def copied(url: str) -> AbstractContextManager[str]:
    """A copy of a database nobody is connected to."""
    address = make_url(url)
    return empty_database(address.set(database="postgres").render_as_string(False), str(address.database))


@contextmanager
def empty_database(postgres_server: str, template: str = "template1") -> Iterator[str]:
    """A database with a random name, dropped afterwards."""
    name = f"yipan_test_{secrets.token_hex(6)}"
    with psycopg.connect(libpq_address(postgres_server), autocommit=True) as server:
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        server.execute(make.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        finally:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """The address of a broker that answers."""
    address = os.environ.get("YIPAN_TEST_AMQP", AMQP)
    try:
        with Connection(address, connect_timeout=5) as broker:
            broker.connect()
    except (OSError, AMQPError) as error:
        missing("RabbitMQ", "YIPAN_TEST_AMQP", error)
    return address


@pytest.fixture
def queue_prefix(amqp_url: str) -> Iterator[str]:
    """A random prefix; the lanes' queues `<prefix><lane>` and exchanges of the same names are deleted afterwards."""
    prefix = f"yipan-test-{secrets.token_hex(6)}."
    yield prefix
    with Connection(amqp_url, connect_timeout=5) as broker, broker.channel() as channel:
        for lane in LANES:
            channel.queue_delete(f"{prefix}{lane}")
            channel.exchange_delete(f"{prefix}{lane}")


def libpq_address(address: str) -> str:
    """The same address as psycopg itself wants it."""
    return make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
