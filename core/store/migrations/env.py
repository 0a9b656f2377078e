"""Runs migrations on the connection they are given; alembic loads this file."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from core.store import database
from core.store.tables import metadata

OURS = {id(database.Id): "Id", id(database.Json): "Json", id(database.Blob): "Blob"}


def in_our_words(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """A column's type as `core.store.database` names it, so that one file fits both databases."""
    if kind != "type":
        return False
    name = "Utc()" if isinstance(item, database.Utc) else OURS.get(id(item))
    if name is None:
        return False
    autogen_context.imports.add("from core.store import database")
    return f"database.{name}"


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=in_our_words,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
