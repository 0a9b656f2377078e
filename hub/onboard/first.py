"""Opens an empty hub: one administrator with a one-time random password, and one operator's key."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from sqlalchemy import func, select

from core.store import tables as t
from core.store.scope import HUB
from core.store.store import Transaction
from hub.onboard.keys import NewKey, NewUser, add_key, add_user

ADMIN = "admin"


def first_start(tx: Transaction) -> tuple[str, str] | None:
    """The administrator's password and the operator's key, shown this once; None when somebody is there already.

    Where `YIPAN_FIRST_SECRETS` names a file, they are written there as well, readable by its owner alone.
    """
    if tx.conn.execute(select(func.count()).select_from(t.users)).scalar_one():
        return None
    password = secrets.token_urlsafe(12)
    add_user(tx, HUB, NewUser(name=ADMIN, password=password, role="operator"))
    _, key = add_key(tx, HUB, NewKey(name="first operator key", role="operator"))
    if place := os.environ.get("YIPAN_FIRST_SECRETS"):
        _write_down(Path(place), password, key)
    return password, key


def _write_down(place: Path, password: str, key: str) -> None:
    handle = os.open(place, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"user": ADMIN, "password": password, "api_key": key}, file)
