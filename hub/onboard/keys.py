"""Hands out keys for the API and passwords for the console; only their digests are kept."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import select

from core.errors import Refused, Unmatched
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.onboard.form import Code, Form, Name, find, note

Role = Literal["operator", "merchant", "warehouse", "support"]
HASHER = PasswordHasher()
NOBODY = HASHER.hash(secrets.token_urlsafe())
"""Checked when the name is unknown, so that the time taken does not tell."""


class NewKey(Form):
    """role and merchant bound what the key may do; a merchant's key needs the merchant."""

    name: Name
    role: Role
    merchant: Code | None = None


class NewUser(Form):
    """Somebody who may log in to the console."""

    name: Name
    password: str
    role: Role
    merchant: Code | None = None


def digest(secret: str) -> str:
    """What is kept of a random secret; looking one up by it takes the same time whatever was guessed."""
    return sha256(secret.encode()).hexdigest()


def add_key(tx: Transaction, scope: Scope, new: NewKey) -> tuple[int, str]:
    """The key's id, and the key itself, which is shown this once."""
    key, ident = f"yp_{secrets.token_urlsafe(32)}", tx.ids.new()
    row = {
        "id": ident,
        "name": new.name,
        "digest": digest(key),
        "hint": key[-4:],
        "role": new.role,
        "created_at": tx.now,
    }
    tx.add(t.api_keys, [{**row, "merchant_id": _tenant(tx, scope, new)}])
    note(tx, scope, "key added", new.name, role=new.role)
    return ident, key


def key_scope(tx: Transaction, key: str) -> Scope | None:
    """What the bearer of this key may see; None when it is unknown or revoked."""
    row = one(tx, t.api_keys, digest=digest(key))
    if row is None or row["revoked_at"] is not None:
        return None
    return Scope(row["role"], row["merchant_id"], f"key {row['name']}")


def revoke_key(tx: Transaction, scope: Scope, ident: int) -> None:
    """It opens nothing from now on. Raises Unmatched when there is none."""
    row = tx.row(select(t.api_keys).where(t.api_keys.c.id == ident, scope.sees(t.api_keys.c.merchant_id)))
    if row is None:
        raise Unmatched("key", str(ident), f"there is no key {ident}")
    tx.set(t.api_keys, ident, revoked_at=tx.now)
    note(tx, scope, "key revoked", row["name"])


def add_user(tx: Transaction, scope: Scope, new: NewUser) -> int:
    """The user's id. Raises Refused when the name is taken."""
    if one(tx, t.users, name=new.name):
        raise Refused(f"there is a user {new.name!r} already: choose another name")
    ident = tx.ids.new()
    row = {
        "id": ident,
        "name": new.name,
        "password_hash": HASHER.hash(new.password),
        "role": new.role,
        "created_at": tx.now,
    }
    tx.add(t.users, [{**row, "merchant_id": _tenant(tx, scope, new)}])
    note(tx, scope, "user added", new.name, role=new.role)
    return ident


def user_id(tx: Transaction, name: str, password: str) -> int | None:
    """Who this is, or None; it takes as long for a name there is as for one there is not."""
    row = one(tx, t.users, name=name)
    try:
        HASHER.verify(row["password_hash"] if row else NOBODY, password)
    except (VerifyMismatchError, InvalidHashError):
        return None
    return int(row["id"]) if row else None


def user_scope(tx: Transaction, ident: int) -> Scope | None:
    """What this user may see; None when there is no such user any more."""
    row = one(tx, t.users, id=ident)
    return Scope(row["role"], row["merchant_id"], row["name"]) if row else None


def _tenant(tx: Transaction, scope: Scope, new: NewKey | NewUser) -> int | None:
    if new.merchant is None and new.role == "merchant":
        raise Refused("say which merchant: a merchant's key or user belongs to one")
    return int(find(tx, scope, t.merchants, new.merchant)["id"]) if new.merchant else None
