"""Attachments: labels, proofs of delivery and other files, kept once by their content, sealed like documents."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from core.errors import Unmatched
from core.store import tables as t
from core.store.rows import insert_or_skip
from core.store.store import Transaction


def keep_attachment(tx: Transaction, holder: int, content: bytes, media_type: str) -> str:
    """Keep a file of a merchant (0: the operator); returns its name, which the same content of the same holder shares.

    A file whose month was dropped from the vault stays unreadable, also when it is brought again.
    """
    name = hashlib.sha256(f"{holder}:".encode() + content).hexdigest()
    key_id = tx.vault.key(tx, holder)
    row = {"digest": name, "size": len(content), "media_type": media_type, "key_id": key_id, "created_at": tx.now}
    insert_or_skip(tx.conn, t.attachments, [{**row, "sealed": tx.vault.seal(tx, key_id, content)}], returning="digest")
    return name


def open_attachment(tx: Transaction, name: str) -> tuple[bytes, str]:
    """The content and media type. Raises Unmatched when there is none, Refused when its month was dropped."""
    row = tx.row(select(t.attachments).where(t.attachments.c.digest == name))
    if row is None:
        raise Unmatched("attachment", name, f"there is no attachment {name}")
    return tx.vault.open(tx, row["key_id"], row["sealed"]), row["media_type"]
