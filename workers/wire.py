"""From settings to a hub: what every process does first."""

from __future__ import annotations

import logging
import os
import sys

import structlog

from config.settings import Settings
from core.flow.stop_levels import Stop
from core.store.schema import prepare
from core.store.store import Store
from core.store.vault import Vault, read_keys
from hub.wiring import Hub, Observe, Options


def open_store(settings: Settings, role: str) -> Store:
    """The store of this process, its database brought up to date first."""
    settings.data.mkdir(parents=True, exist_ok=True)
    prepare(settings.database_url)
    return Store(settings.database_url, Vault(read_keys(settings.key_file)), role=role)


def make_hub(settings: Settings, store: Store, observe: Observe | None = None) -> Hub:
    """The hub of this process."""
    bus = settings.bus
    options = Options(
        allow=settings.outbound.allow,
        patience=bus.patience,
        timeout_s=bus.timeout_s,
        lease_s=bus.lease_s,
        retry_s=bus.retry_s,
        threads=bus.threads,
        mends_per_day=bus.mends_per_day,
        stop=Stop(bus.stop_percent, bus.stop_listings, bus.stop_window_s),
        stale_s=bus.stale_s,
    )
    return Hub(store, options, observe)


def quiet_logs() -> None:
    """One JSON line an event on stderr, warnings and worse unless YIPAN_LOG says otherwise."""
    level = logging.getLevelName(os.environ.get("YIPAN_LOG", "WARNING").upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
