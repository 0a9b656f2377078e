"""Which lots an item's units are of, and what of it is held."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from core.store import tables as t
from core.store.lots import held, pinned, to_leave
from core.store.scope import Scope
from core.store.store import Transaction
from hub import holds as work
from hub.onboard.goods import item_id
from hub.reservations import holder
from web.reads.shape import LARGEST_PAGE, PAGE, all_shown, number, paged


def lots(tx: Transaction, scope: Scope, sku: str, owner: str | None = None) -> dict[str, Any]:
    """Lots of an item by cell, soonest to expire first: on hand, days, held, to leave, pinned. Raises Unmatched."""
    owner_id = holder(tx, scope, owner)
    code = tx.conn.execute(select(t.merchants.c.code).where(t.merchants.c.id == owner_id)).scalar_one()
    ident = item_id(tx, scope, code, sku)
    return {"sku": sku, "lots": all_shown(of_item(tx, scope, ident)), "as_of": tx.now.isoformat()}


def of_item(tx: Transaction, scope: Scope, item_id: int, warehouse_id: int | None = None) -> list[dict[str, Any]]:
    """An item's lots by cell, of owners the scope sees."""
    li, lo, ce, w = t.lot_on_hand.c, t.lots.c, t.cells.c, t.warehouses.c
    names = (w.code.label("warehouse"), ce.condition, li.lot, li.units.label("on_hand"), lo.made_on, lo.expires_on)
    query = select(*names, held().label("held"), to_leave().label("instructed"), pinned().label("pinned"))
    query = query.join(t.cells, ce.id == li.cell_id).join(t.warehouses, w.id == ce.warehouse_id)
    query = query.join(t.lots, (lo.item_id == ce.item_id) & (lo.code == li.lot), isouter=True)
    here = [ce.item_id == item_id, *([ce.warehouse_id == warehouse_id] if warehouse_id else [])]
    order = (w.code, ce.condition, lo.expires_on.is_(None), lo.expires_on, li.lot)
    found = tx.rows(query.where(*here, scope.sees(ce.owner_id), li.units != 0).order_by(*order))
    return [{**row, **{name: int(row[name]) for name in ("held", "instructed", "pinned")}} for row in found]


def open_holds(tx: Transaction, scope: Scope, item_id: int, warehouse_id: int | None = None) -> list[dict[str, Any]]:
    """What is held of an item, oldest first."""
    ce, h = t.cells.c, t.holds.c
    here = [ce.item_id == item_id, *([ce.warehouse_id == warehouse_id] if warehouse_id else [])]
    return all_shown(work.rows(tx, scope, *here, h.remaining > 0, limit=LARGEST_PAGE))


def holds(tx: Transaction, scope: Scope, sku: str = "", after: str = "", limit: int = PAGE) -> dict[str, Any]:
    """A page of holds by id, ended ones too. sku: of this item only."""
    where = [*([t.items.c.sku == sku] if sku else []), *([t.holds.c.id > number(after)] if after else [])]
    return paged(tx, work.rows(tx, scope, *where, limit=limit + 1), limit)
