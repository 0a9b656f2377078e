"""The bodies of the child processes: a worker with its Celery consumer, and the clock."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import Celery

from config.settings import Settings, load
from workers.clock import Clock
from workers.hints import LANES, Hints, celery_app, publisher
from workers.lanes import Worker
from workers.wire import make_hub, open_store, quiet_logs

log = structlog.get_logger("run")
BEAT_S = 2.0
STUMBLE_S = 0.5
NICE = 10
"""Workers give way to the web process: somebody waits for an acknowledgement."""
Wake = Callable[[set[str]], None]


def run_worker(lanes: Sequence[str]) -> None:
    """Serve these lanes until told to stop."""
    quiet_logs()
    os.nice(NICE)
    settings = load()
    store = open_store(settings, "worker")
    worker = Worker(make_hub(settings, store), lanes, settings.bus.sweep_s)
    if settings.bus.hints:
        store.woken = _woken(settings, worker, lanes)
    gc.collect()
    gc.freeze()  # a pause for what was imported would be a pause with the writer's lock held
    worker.start()
    stopped = threading.Event()
    threading.Thread(target=_beat, args=(store, stopped), daemon=True).start()
    _serve(settings, worker, lanes)
    stopped.set()
    worker.stop()
    store.close()


def _woken(settings: Settings, worker: Worker, lanes: Sequence[str]) -> Wake:
    """What a worker calls after a commit that left work: its own loops go on, workers of other lanes are hinted."""
    others = hinting(settings) if set(LANES) - set(lanes) else lambda _: None

    def wake(left: set[str]) -> None:
        worker.wake(left)
        if elsewhere := left - set(lanes):
            others(elsewhere)

    return wake


def _serve(settings: Settings, worker: Worker, lanes: Sequence[str]) -> None:
    """Consume hints until SIGTERM; with hints off, just wait for it."""
    if not settings.bus.hints:
        _wait_for_signal()
        return
    app = _app(settings)

    @app.task(name="yipan.hint")
    def hint(lane: str) -> None:
        worker.wake({lane})

    queues = ",".join(f"{settings.bus.queue_prefix}{lane}" for lane in lanes)
    quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel=ERROR"]
    named = ["-n", f"yipan-{os.getpid()}@%h", "-Q", queues]
    _consume(app, ["worker", "--pool=threads", "--concurrency=2", *named, *quiet])


def _consume(app: Celery, arguments: list[str]) -> None:
    """Consume until asked to stop. What a broker's library stumbles over must not end the loops beside it."""
    while True:
        try:
            app.worker_main(arguments)
        except SystemExit as left:
            if left.code:
                log.warning("consumer_stumbled", code=left.code)
                time.sleep(STUMBLE_S)
                continue
        return


def hinting(settings: Settings) -> Wake:
    """What a process calls after a commit that left work to others: a hint a lane, when hints are on."""
    if not settings.bus.hints:
        return lambda lanes: None
    return Hints(publisher(_app(settings), settings.bus.queue_prefix)).wake


def run_clock() -> None:
    """Tick until told to stop."""
    quiet_logs()
    settings = load()
    store = open_store(settings, "clock")
    clock = Clock(store, hinting(settings), settings.bus.patience)
    signal.signal(signal.SIGTERM, lambda *_: setattr(clock, "stopped", True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clock.run()
    store.close()


def _app(settings: Settings) -> Any:
    return celery_app(settings.bus.broker, settings.data / "hints", settings.bus.queue_prefix)


def _beat(store: Any, stopped: threading.Event) -> None:
    while not stopped.wait(BEAT_S):
        store.beat()


def _wait_for_signal() -> None:
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    signal.signal(signal.SIGINT, lambda *_: done.set())
    done.wait()
