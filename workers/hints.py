"""Hints: "lane N has work", through the broker. They may be lost, doubled or late, and are never in anyone's way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from celery import Celery

LANES = ("stock", "orders", "fulfilment", "tracking", "slow")
log = structlog.get_logger("hints")
GAP_S = 0.05


def celery_app(broker: str, folder: Path, prefix: str) -> Celery:
    """The Celery application: JSON only, one queue a lane, no results."""
    embedded = broker == "filesystem"
    app = Celery("yipan", broker="filesystem://" if embedded else broker)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=f"{prefix}slow",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=16,
        task_acks_late=False,
    )
    if embedded:
        app.conf.broker_transport_options = _folders(folder)
    else:
        app.conf.task_default_queue_type = "quorum"
        app.conf.worker_detect_quorum_queues = True
        app.conf.broker_transport_options = {"confirm_publish": True, "socket_timeout": 5}
    return app


def _folders(folder: Path) -> dict[str, object]:
    for name in ("in", "done", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "in"),
        "data_folder_out": str(folder / "in"),
        "processed_folder": str(folder / "done"),
        "control_folder": str(folder / "control"),
        "store_processed": False,
        "polling_interval": 0.05,
    }


class Hints:
    """Publishes hints from a thread of its own; a lane hinted twice before it was sent is sent once."""

    def __init__(self, publish: Callable[[str], None]) -> None:
        self._publish = publish
        self._lanes: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()

    def wake(self, lanes: set[str]) -> None:
        """Say that these lanes have work; returns at once, whatever the broker does."""
        with self._changed:
            self._lanes |= lanes
            self._changed.notify()

    def stop(self) -> None:
        """End the thread; what was not sent is left to the sweep."""
        self._stopped.set()
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._lanes or self._stopped.is_set())
                lanes, self._lanes = self._lanes, set()
            for lane in sorted(lanes):
                self._send(lane)
            self._stopped.wait(GAP_S)

    def _send(self, lane: str) -> None:
        try:
            self._publish(lane)
        except Exception as error:
            log.warning("hint_lost", lane=lane, why=type(error).__name__)


def publisher(app: Celery, prefix: str) -> Callable[[str], None]:
    """Publishes one hint; fails fast when the broker is away."""

    def publish(lane: str) -> None:
        app.send_task("yipan.hint", args=[lane], queue=f"{prefix}{lane}", retry=False, expires=60)

    return publish
