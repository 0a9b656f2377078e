"""A real Tryton on loopback, in an environment and a database of its own (GPL: run beside the tests, imported by none).

The first run installs it into `.peers/tryton` and makes a template database (two minutes); after that each run copies
the template, serves it, and drops it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FOLDER = ROOT / ".peers" / "tryton"
REQUIREMENTS = HERE / "tryton_requirements.txt"
SEED = HERE / "tryton_seed.py"
POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
PASSWORD = "tryton-peer-admin"
STARTED_WITHIN_S = 60
BUILT_WITHIN_S = 600


@dataclass
class TrytonPeer:
    """A running Tryton. settings and secrets are those of a connection to it."""

    url: str
    database: str
    config: Path
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=lambda: {"password": PASSWORD})
    _session: str = ""

    def seed(self, products: list[dict[str, Any]]) -> dict[str, int]:
        """Makes salable products [{code, name, unit_price, quantity, type}] with stock; gives their ids by code."""
        made = json.loads(_run_seed(self.config, self.database, "products", json.dumps(products)))
        self.settings |= made["settings"]
        products_made: dict[str, int] = made["products"]
        return products_made

    def ask(self, method: str, *params: Any) -> Any:
        """One RPC as the administrator; the context is added, an error is a RuntimeError."""
        if not self._session:
            uid, token, _ = self._post("common.db.login", ["admin", {"password": PASSWORD}, "en"])
            self._session = b64encode(f"admin:{uid}:{token}".encode()).decode()
        return self._post(method, [*params, {"company": self.settings.get("company", 1)}])

    def books(self) -> dict[str, Any]:
        """What the twin's `books` say, of the real one."""
        fields = ["reference", "state", "lines.product", "lines.quantity", "lines.unit_price", "lines.product.code"]
        sales: dict[str, Any] = {}
        for row in self.ask("model.sale.sale.search_read", [], 0, None, [["id", "ASC"]], fields):
            entry = {"id": row["id"], "state": row["state"], "lines": [_line(line) for line in row["lines."]]}
            first = sales.setdefault(str(row["reference"]), {**entry, "times_created": 0})
            first["times_created"] += 1
        return {"sales": sales, "sales_doubled": sum(sale["times_created"] - 1 for sale in sales.values())}

    def change(self, product: int, **values: Any) -> None:
        """A person edits a product: its name stands on its template."""
        if "name" in values:
            (row,) = self.ask("model.product.product.read", [product], ["template"])
            self.ask("model.product.template.write", [row["template"]], {"name": values.pop("name")})
        if values:
            self.ask("model.product.product.write", [product], values)

    def quote(self, sale: int) -> None:
        """A person takes the first step there."""
        self.ask("model.sale.sale.quote", [sale])

    def cancel(self, sale: int) -> None:
        """A person calls a sale off."""
        self.ask("model.sale.sale.cancel", [sale])

    def expire(self) -> None:
        """All sessions run out."""
        with psycopg.connect(_libpq(self.database), autocommit=True) as database:
            database.execute("DELETE FROM ir_session")
        self._session = ""

    def _post(self, method: str, params: list[Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Session {self._session}"} if self._session else {}
        body = json.dumps({"id": 0, "method": method, "params": params}).encode()
        request = urllib.request.Request(f"{self.url}/{self.database}/rpc/", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]


@pytest.fixture(scope="session")
def tryton_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonPeer]:
    """A Tryton with one company, a customer and a warehouse, and no products yet: `seed` them."""
    with tryton(tmp_path_factory.mktemp("tryton")) as peer:
        yield peer


@contextmanager
def tryton(folder: Path) -> Iterator[TrytonPeer]:
    """A Tryton of its own, as the seeds leave it."""
    template = _template(folder)
    database = f"yipan_test_{secrets.token_hex(6)}"
    _on_server(sql.SQL("CREATE DATABASE {} TEMPLATE {}"), database, template)
    try:
        with _serving(folder, database) as peer:
            peer.seed([{"code": "FREIGHT", "name": "运费", "type": "service"}])
            yield peer
    finally:
        _on_server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)"), database)


def _template(folder: Path) -> str:
    """The name of a template database of exactly these requirements and seeds; made where it is missing."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + SEED.read_bytes()).hexdigest()[:10]
    name, building = f"yipan_peer_tryton_{digest}", f"yipan_peer_tryton_{digest}_building"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "tryton.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(digest)
        if not _exists(name):
            _on_server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)"), building)
            _on_server(sql.SQL("CREATE DATABASE {}"), building)
            _initialise(folder, building)
            _on_server(sql.SQL("ALTER DATABASE {} RENAME TO {}"), building, name)
    return name


def _install(digest: str) -> None:
    stamp = FOLDER / f"installed-{digest}"
    if not stamp.exists():
        _run(["sh", str(ROOT / ".ci" / "venv"), str(FOLDER), "--requirement", str(REQUIREMENTS)])
        stamp.touch()


def _initialise(folder: Path, database: str) -> None:
    config, password = _config(folder, 0), folder / "password"
    password.write_text(f"{PASSWORD}\n")
    modules = ["-u", "sale", "stock", "purchase", "account_invoice", "--activate-dependencies"]
    admin = [str(FOLDER / "bin" / "trytond-admin"), "-c", str(config), "-d", database, *modules]
    _run([*admin, "--email", "admin@example.com", "-l", "en"], TRYTONPASSFILE=str(password))
    _run_seed(config, database, "base", "")


def _config(folder: Path, port: int) -> Path:
    config = folder / f"trytond-{port}.conf"
    config.write_text(f"[web]\nlisten = 127.0.0.1:{port}\n")
    return config


@contextmanager
def _serving(folder: Path, database: str) -> Iterator[TrytonPeer]:
    port = _free_port()
    config = _config(folder, port)
    command = [str(FOLDER / "bin" / "trytond"), "-c", str(config), "-d", database]
    log = (folder / "trytond.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, env=_environment()) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _await_version(url, process, folder / "trytond.log")
            settings = {"base_url": url, "database": database, "login": "admin", "rpc_path": "/rpc/"}
            yield TrytonPeer(url, database, config, settings)
        finally:
            process.terminate()


def _await_version(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    body = b'{"id": 0, "method": "common.server.version", "params": []}'
    request = urllib.request.Request(f"{url}/rpc/", body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + STARTED_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer)["result"] == "8.2"
            return
        time.sleep(0.1)
    pytest.fail(f"trytond did not start: {log.read_text()[-2000:]}")


def _run_seed(config: Path, database: str, what: str, text: str) -> str:
    return _run([str(FOLDER / "bin" / "python"), str(SEED), str(config), database, what], text)


def _run(command: list[str], text: str = "", **variables: str) -> str:
    """Runs it and gives what it printed; a failure shows its words."""
    environment = {**_environment(), **variables}
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=BUILT_WITHIN_S, env=environment, check=False
    )
    if done.returncode:
        pytest.fail(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout)[-3000:]}")
    return done.stdout


def _environment() -> dict[str, str]:
    """proteus looks for the database here alone, whatever the configuration says."""
    address = make_url(_postgres()).set(drivername="postgresql", database="").render_as_string(hide_password=False)
    return {**os.environ, "TRYTOND_DATABASE_URI": address}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    price = line["unit_price"]["decimal"]
    code = line["product."]["code"]
    return {"product": line["product"], "code": code, "quantity": int(line["quantity"]), "unit_price": price}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _postgres() -> str:
    return os.environ.get("YIPAN_TEST_POSTGRES", POSTGRES)


def _libpq(database: str | None = None) -> str:
    url = make_url(_postgres()).set(drivername="postgresql")
    return (url.set(database=database) if database else url).render_as_string(hide_password=False)


def _on_server(statement: sql.SQL, *names: str) -> None:
    with psycopg.connect(_libpq(), autocommit=True, connect_timeout=5) as server:
        server.execute(statement.format(*map(sql.Identifier, names)))


def _exists(database: str) -> bool:
    with psycopg.connect(_libpq(), connect_timeout=5) as server:
        return server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is not None
