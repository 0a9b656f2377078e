"""Runs the web process: `yipan web`."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from config.settings import Settings, Web, load
from core.store.schema import prepare
from core.store.store import Store
from core.store.vault import Vault, read_keys
from hub.wiring import Hub, Options
from web.app import create_app

BEAT_S = 2.0
SWITCH_S = 0.0005
"""The event loop must not keep the writer's thread waiting between its statements."""
log = structlog.get_logger("web")


def main(wake: Callable[[set[str]], None] | None = None) -> None:
    """Serve until told to stop. wake(lanes) is called after each commit that left work; it must not wait or raise."""
    settings = load()
    write_log_lines()
    settings.data.mkdir(parents=True, exist_ok=True)
    prepare(settings.database_url)
    store = Store(settings.database_url, Vault(read_keys(settings.key_file)), role="web")
    store.woken = wake or store.woken
    try:
        with beating(store):
            serve(store, settings)
    finally:
        store.close()


def serve(store: Store, settings: Settings) -> None:
    """The doors of this store, at the address the settings name."""
    hub = Hub(store, Options(allow=settings.outbound.allow, patience=settings.bus.patience))
    app = create_app(store, client_for=hub.client, settings=settings.web, language=settings.language)
    serve_app(app, settings.web)


def serve_app(app: FastAPI, web: Web) -> None:
    """Any app, the way the doors are served."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what was imported stays: looking through it again would stop the doors for a tenth of a second
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once it has stopped
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        host=web.host,
        port=web.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,  # an address may hold a callback token
        server_header=False,
        proxy_headers=web.trust_forwarded,
        timeout_graceful_shutdown=5,
    )
    Server(config).run()


@contextmanager
def beating(store: Store) -> Iterator[None]:
    """Show every two seconds that this process lives."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_S):
            try:
                store.beat()
            except Exception as error:
                log.error("no heartbeat", error=str(error))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_log_lines() -> None:
    """One JSON line on stderr for everything said, by us or by a library."""
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


class _ToStructlog(logging.Handler):
    """Passes on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info or None)


class Server(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        for server in getattr(self, "servers", ()):
            for sock in server.sockets:
                log.info("listening", host=sock.getsockname()[0], port=sock.getsockname()[1])


if __name__ == "__main__":
    main()
