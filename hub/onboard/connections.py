"""Plugs systems in: settings checked against the manifest, secrets sealed, the callback door opened, polling begun."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select, update

from connectors.registry import connector
from connectors.spi import Manifest, Setting
from core.errors import Misconfigured, Unfit, Unmatched
from core.store import pools, shelves
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub.onboard.form import Code, Form, Row, find, note, refuse_twice
from hub.onboard.keys import digest

POLLED = {"sales": ("fetch_orders", "fetch_items"), "erp": ("fetch_items", "fetch_stock"), "wms": ("fetch_stock",)}
"""What is read at intervals, by kind; the rest is asked for by number when needed."""
VALID_DOORS = 2
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class NewConnection(Form):
    """connector: `sales/tmall`. merchant: whose account it is, None for the operator's. settings: as in its manifest.

    pool: the warehouses a shop sells from, first choice first.
    """

    code: Code
    connector: str
    merchant: Code | None = None
    settings: dict[str, Any] = {}
    pool: tuple[Code, ...] = ()


class Change(Form):
    """settings: those that change, secrets included; pool: the whole new list."""

    settings: dict[str, Any] = {}
    pool: tuple[Code, ...] | None = None


def add_connection(tx: Transaction, scope: Scope, new: NewConnection) -> tuple[Row, str | None]:
    """The connection as it now stands, and its callback token, which is shown this once.

    Raises Refused when the code is taken, Unfit with every mistake in the settings.
    """
    manifest = _manifest(new.connector)
    merchant_id = find(tx, scope, t.merchants, new.merchant)["id"] if new.merchant else scope.merchant_id
    refuse_twice(tx, t.connections, new.code)
    plain, secret = checked(manifest, new.settings)
    ident = tx.ids.new()
    row = {"id": ident, "code": new.code, "connector": new.connector, "kind": manifest.kind, "merchant_id": merchant_id}
    sealed = tx.vault.seal_secret(json.dumps(secret).encode())
    more = {"settings": plain, "secrets": sealed, "can": abilities(manifest), "state": "active", "created_at": tx.now}
    tx.add(t.connections, [{**row, **more}])
    _set_pool(tx, scope, ident, new.pool)
    _begin_polling(tx, ident, manifest)
    token = _open_door(tx, ident) if "read_callback" in manifest.can else None
    note(tx, scope, "connection added", new.code, connector=new.connector)
    return find(tx, scope, t.connections, new.code), token


def change_connection(tx: Transaction, scope: Scope, code: str, change: Change) -> Row:
    """Settings laid over those there are; whatever is not named stays."""
    row = find(tx, scope, t.connections, code)
    if change.settings:
        known = {**row["settings"], **json.loads(tx.vault.open_secret(row["secrets"]))}
        plain, secret = checked(_manifest(row["connector"]), {**known, **change.settings})
        sealed = tx.vault.seal_secret(json.dumps(secret).encode())
        tx.set(t.connections, row["id"], settings=plain, secrets=sealed)
    if change.pool is not None:
        _set_pool(tx, scope, row["id"], change.pool)
    note(tx, scope, "connection changed", code, settings=sorted(change.settings), pool=change.pool is not None)
    return find(tx, scope, t.connections, code)


def set_state(tx: Transaction, scope: Scope, code: str, state: str) -> Row:
    """`paused` stops calls to it (what it says is still kept); `active` goes on."""
    row = find(tx, scope, t.connections, code)
    tx.set(t.connections, row["id"], state=state)
    shelves.mark_shops(tx, [row["id"]])  # what moved meanwhile was not told; what is exclusive here binds others
    tx.lanes.update(ability["lane"] for ability in row["can"].values())
    note(tx, scope, f"connection {state}", code)
    return find(tx, scope, t.connections, code)


def rotate_token(tx: Transaction, scope: Scope, code: str) -> str:
    """A second callback token, shown this once; the one before stays valid until the next rotation."""
    row = find(tx, scope, t.connections, code)
    if "read_callback" not in row["can"]:
        raise Unfit(f"{row['connector']} does not call back: there is no token to rotate")
    token = _open_door(tx, row["id"])
    d = t.doors.c
    valid = select(d.digest).where(d.connection_id == row["id"], d.revoked_at.is_(None), d.digest != digest(token))
    for old in tx.rows(valid.order_by(d.created_at.desc()))[VALID_DOORS - 1 :]:
        _shut(tx, old["digest"])
    note(tx, scope, "callback token rotated", code)
    return token


def revoke_token(tx: Transaction, scope: Scope, code: str, hint: str) -> None:
    """The token that ends so opens nothing from now on. Raises Unmatched when there is none."""
    row, d = find(tx, scope, t.connections, code), t.doors.c
    door = tx.row(select(d.digest).where(d.connection_id == row["id"], d.hint == hint, d.revoked_at.is_(None)))
    if door is None:
        raise Unmatched("token", hint, f"no valid token of {code} ends in {hint}")
    _shut(tx, door["digest"])
    note(tx, scope, "callback token revoked", code, hint=hint)


def checked(manifest: Manifest, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings and the secrets, with defaults. Raises Unfit naming every mistake at once."""
    faults = [f"{name}: {manifest.id} has no such setting" for name in given if name not in manifest.settings]
    plain: dict[str, Any] = {}
    secret: dict[str, str] = {}
    for name, setting in manifest.settings.items():
        value = given.get(name, setting.default)
        if value is None or value == "":
            if setting.required and setting.default is None:
                faults.append(f"{name}: needed ({setting.title})")
            continue
        try:
            (secret if setting.secret else plain)[name] = _fit(setting, value)
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise Unfit("; ".join(faults))
    return plain, secret


def abilities(manifest: Manifest) -> dict[str, Any]:
    """What the bus needs to know of each ability, as it is stored with the connection."""
    return {name: ability.model_dump(mode="json", exclude={"mark", "fact"}) for name, ability in manifest.can.items()}


def _manifest(name: str) -> Manifest:
    try:
        return connector(name).manifest
    except Misconfigured as error:
        raise Unfit(error.message) from None


def _fit(setting: Setting, value: Any) -> Any:
    if setting.type == "int":
        if isinstance(value, bool) or not str(value).lstrip("-").isdigit():
            raise ValueError(f"{value!r} is not a whole number")
        return int(value)
    if setting.type == "bool":
        if str(value).lower() not in TRUTH:
            raise ValueError(f"{value!r} is neither true nor false")
        return TRUTH[str(value).lower()]
    text = str(value)
    if setting.type == "choice" and text not in setting.choices:
        raise ValueError(f"{text!r} is none of {', '.join(setting.choices)}")
    if setting.type == "url" and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname):
        raise ValueError(f"{text!r} is not an http address")
    return text


def _set_pool(tx: Transaction, scope: Scope, connection_id: int, codes: Sequence[str]) -> None:
    tx.conn.execute(delete(t.pools).where(t.pools.c.connection_id == connection_id))
    ids = [find(tx, scope, t.warehouses, code)["id"] for code in codes]
    tx.add(t.pools, [{"connection_id": connection_id, "warehouse_id": i, "rank": n} for n, i in enumerate(ids)])
    pools.revise(tx, connection_id)
    shelves.mark_shops(tx, [connection_id])


def _begin_polling(tx: Transaction, connection_id: int, manifest: Manifest) -> None:
    polled = [name for name in POLLED.get(manifest.kind, ()) if name in manifest.can]
    rows = [{"connection_id": connection_id, "ability": name, "value": {}, "due_at": tx.now} for name in polled]
    tx.add(t.cursors, rows)
    tx.lanes.update(manifest.can[name].lane for name in polled)


def _open_door(tx: Transaction, connection_id: int) -> str:
    token = secrets.token_urlsafe(24)
    row = {"digest": digest(token), "connection_id": connection_id, "hint": token[-4:], "created_at": tx.now}
    tx.add(t.doors, [row])
    return token


def _shut(tx: Transaction, door: str) -> None:
    tx.conn.execute(update(t.doors).where(t.doors.c.digest == door).values(revoked_at=tx.now))
