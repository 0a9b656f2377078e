"""Takes warehouses in: who runs them, how they name themselves and the owners of goods, who collects their parcels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import delete, select

from core.flow import make_contract
from core.model import Party
from core.store import shelves
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, many, one
from hub.onboard.form import Code, Form, Name, Ref, Row, find, note, refuse_twice

Percent = Annotated[int, Field(ge=0, le=100)]
LIMITS = ("residual_after_s", "residual_max_units", "residual_max_percent", "snapshot_max_percent")


class Arrangement(Form):
    """How a warehouse is reached. wms, courier: codes of connections; wms_ref: its own code at that WMS.

    authority: the connection whose stock figures may be booked, by default its WMS; a residual is booked when two of
    its snapshots residual_after_s apart show the same, up to residual_max_units and _percent of what lies there; a
    snapshot that changes more than snapshot_max_percent of its lines is put aside.
    carrier: canonical code of who carries (`mappings/tables/couriers.yaml`); sender: what stands on its parcels.
    """

    name: Name | None = None
    region: str | None = None
    wms: Code | None = None
    wms_ref: Ref | None = None
    courier: Code | None = None
    carrier: str | None = None
    sender: Party | None = None
    authority: Code | None = None
    residual_after_s: Annotated[int, Field(ge=0, le=30 * 86400)] | None = None
    residual_max_units: Annotated[int, Field(ge=0, le=10**9)] | None = None
    residual_max_percent: Percent | None = None
    snapshot_max_percent: Percent | None = None


class NewWarehouse(Arrangement):
    """A warehouse and its arrangement."""

    code: Code
    name: Name


class Keeper(Form):
    """code: how the warehouse knows this owner's goods (Qimen ownerCode)."""

    owner: Code
    code: Ref


def add_warehouse(tx: Transaction, scope: Scope, new: NewWarehouse) -> Row:
    """The warehouse as it now stands. Raises Refused when the code is taken."""
    refuse_twice(tx, t.warehouses, new.code)
    tx.add(t.warehouses, [{"id": tx.ids.new(), "code": new.code, "name": new.name, "created_at": tx.now}])
    note(tx, scope, "warehouse added", new.code)
    return arrange_warehouse(tx, scope, new.code, new)


def arrange_warehouse(tx: Transaction, scope: Scope, code: str, how: Arrangement) -> Row:
    """Change what is given and leave the rest."""
    row = find(tx, scope, t.warehouses, code)
    values: dict[str, Any] = how.model_dump(
        mode="json", exclude_none=True, include={"name", "region", "carrier", "sender", *LIMITS}
    )
    for name in ("wms", "courier", "authority"):
        if said := getattr(how, name):
            values[f"{name}_id"] = find(tx, scope, t.connections, said)["id"]
    if values:
        tx.set(t.warehouses, row["id"], **values)
    if values.keys() & {"wms_id", "authority_id"}:  # whether its figures are stale is another source's to say
        sold_from = select(t.pools.c.connection_id).where(t.pools.c.warehouse_id == row["id"])
        shelves.mark_shops(tx, sold_from)
    wms_id = values.get("wms_id", row["wms_id"])
    if how.wms_ref and wms_id:
        link(tx, wms_id, "warehouse", how.wms_ref, row["id"])
    note(tx, scope, "warehouse arranged", code, fields=sorted(values))
    return find(tx, scope, t.warehouses, code)


def set_keepers(tx: Transaction, scope: Scope, code: str, keepers: Sequence[Keeper]) -> int:
    """Say how the warehouse knows these owners; others stay as they are. Returns how many were said."""
    warehouse_id = find(tx, scope, t.warehouses, code)["id"]
    known = {row["owner_id"]: row["code"] for row in many(tx, t.keepers, "warehouse_id", [warehouse_id])}
    said = {int(find(tx, scope, t.merchants, keeper.owner)["id"]): keeper.code for keeper in keepers}
    k, changed = t.keepers.c, {owner: new for owner, new in said.items() if known.get(owner) != new}
    tx.conn.execute(delete(t.keepers).where(k.warehouse_id == warehouse_id, k.owner_id.in_(list(changed))))
    rows = [{"owner_id": owner, "warehouse_id": warehouse_id, "code": new} for owner, new in changed.items()]
    tx.add(t.keepers, rows)
    if changed:
        make_contract.codes_changed(tx, changed)
    note(tx, scope, "keepers set", code, owners=[k.owner for k in keepers])
    return len(keepers)


def link(tx: Transaction, connection_id: int, kind: str, ref: str, ours: int, pack: int = 1) -> None:
    """Their ref at this connection stands for our row from now on; one of theirs is so many base units."""
    known = {"connection_id": connection_id, "kind": kind, "ref": ref}
    said = {"ours": str(ours), "pack": pack}
    if one(tx, t.links, **known):
        tx.conn.execute(t.links.update().where(*(t.links.c[k] == v for k, v in known.items())).values(**said))
    else:
        tx.add(t.links, [{**known, **said}])
