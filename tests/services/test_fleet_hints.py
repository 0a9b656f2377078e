"""A hint wakes a worker in another process, through the embedded broker and through RabbitMQ."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from core.store import schema
from workers.hints import celery_app, publisher

SWEEP_S = 600
LIMIT_S = 20
HEARS = """
import json, sys, threading
from workers import lanes, run

class Ear(lanes.Worker):
    def wake(self, hinted):
        print(json.dumps(sorted(hinted)), file=sys.__stdout__, flush=True)  # celery takes stdout away
        super().wake(hinted)

run.Worker = Ear
run.run_worker(["stock", "slow"])
"""


@contextmanager
def worker(home: Path, environment: dict[str, str]) -> Iterator[Callable[[], list[str]]]:
    """A worker in a process of its own that only hints can wake; what it is asked next is what it hears next."""
    told = {"YIPAN_HOME": str(home), "YIPAN_BUS__SWEEP_S": str(SWEEP_S), **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS], env={**os.environ, **told}, stdout=subprocess.PIPE, text=True
    )
    late = threading.Timer(LIMIT_S, process.kill)
    late.start()
    assert process.stdout is not None
    lines = process.stdout

    def next_hint() -> list[str]:
        for line in lines:
            if line.startswith("["):
                heard: list[str] = json.loads(line)
                return heard
        raise AssertionError("it heard nothing")

    try:
        yield next_hint
    finally:
        late.cancel()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()
            process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A prepared hub's folder, with its key."""
    (tmp_path / "data").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master.key").write_text(Fernet.generate_key().decode())
    return tmp_path


def hinted(publish: Callable[[str], None], heard: Callable[[], list[str]]) -> list[list[str]]:
    """What the worker hears when a strange lane and then one of its own are hinted."""
    publish("no-such-lane")
    publish("slow")
    return [heard()]


def test_hint_through_the_embedded_broker_wakes_a_worker_elsewhere(home: Path) -> None:
    url = f"sqlite:///{home}/data/yipan.sqlite"
    schema.prepare(url)
    publish = publisher(celery_app("filesystem", home / "data" / "hints", "t."), "t.")
    with worker(home, {"YIPAN_BUS__QUEUE_PREFIX": "t."}) as heard:
        assert hinted(publish, heard) == [["slow"]]


def test_hint_through_rabbitmq_wakes_a_worker_elsewhere(
    home: Path, postgres_url: str, amqp_url: str, queue_prefix: str
) -> None:
    schema.prepare(postgres_url)
    told = {"YIPAN_DATABASE": postgres_url, "YIPAN_BUS__BROKER": amqp_url, "YIPAN_BUS__QUEUE_PREFIX": queue_prefix}
    publish = publisher(celery_app(amqp_url, home, queue_prefix), queue_prefix)
    with worker(home, told) as heard:
        assert hinted(publish, heard) == [["slow"]]
