"""Makes a database ready: all tables are there afterwards."""

from __future__ import annotations

from sqlalchemy import create_engine

from core.store.tables import metadata


def prepare(url: str) -> None:
    """Make what is missing."""
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
