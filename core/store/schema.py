"""Brings a database to the tables this version of the hub works with."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from core.store.database import alone

MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = MIGRATIONS / "versions"


def prepare(url: str) -> None:
    """Create or upgrade the tables; nothing for a database that has them. Processes that start at once take turns."""
    with alone(url) as conn:
        if standing(conn) != newest():
            _upgrade(conn)


def newest() -> str:
    """The revision this version works with: the number the last file in `versions` begins with."""
    return max(file.stem for file in VERSIONS.glob("[0-9]*.py")).split("_")[0]


def standing(conn: Connection) -> str | None:
    """The revision the database stands at; None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(conn: Connection) -> None:
    # Imported here: a process that finds its tables in place starts without alembic.
    from alembic import command

    from core.store.migrations import settings

    command.upgrade(settings(conn), "head")
