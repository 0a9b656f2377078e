"""How the tables came to be: one file per revision in `versions`, applied by `core.store.schema.prepare`."""

from __future__ import annotations

from alembic.config import Config
from sqlalchemy import Connection

from core.store.schema import MIGRATIONS


def settings(conn: Connection) -> Config:
    """alembic's settings for a migration that runs on this connection, in its transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config
