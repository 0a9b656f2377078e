"""Kits held against their recipes: lines count whole kits, and loose parts are backed in whole kits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, select

from core.flow import sell_kits
from core.rules import kits
from core.store import tables as t
from core.store.rows import any_of
from core.store.store import Transaction, many


def breaches(tx: Transaction) -> list[str]:
    """One sentence per breach, [] when clean."""
    c = t.claims.c
    lines = list(tx.conn.execute(select(c.line_id).where(c.part_id.is_not(None)).distinct()).scalars())
    sold = tx.rows(select(t.order_lines).where(any_of(tx.conn, t.order_lines.c.id, lines))) if lines else []
    found = [breach for line in sold for breach in (*_counts(tx, line), *_recipe(tx, line))]
    return found + _halves(tx)


def is_kit(line_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether an order line is of a kit: its claims are on parts."""
    c = t.claims.c
    return line_id.in_(select(c.line_id).where(c.part_id.is_not(None), c.line_id.is_not(None)))


def _counts(tx: Transaction, line: Mapping[str, Any]) -> list[str]:
    units = {"shipped": sell_kits.left(tx, line["id"]), "returned": sell_kits.came_back(tx, line)}
    whole = {name: kits.whole(line["recipe"], some) for name, some in units.items()}
    return [
        f"order line {line['id']}: {name} is {line[name]} kits, its parts make {n}"
        for name, n in whole.items()
        if line[name] != n
    ]


def _recipe(tx: Transaction, line: Mapping[str, Any]) -> list[str]:
    claims = many(tx, t.claims, "line_id", [line["id"]])
    strange = [c for c in claims if line["recipe"].get(str(c["part_id"])) != c["per_kit"]]
    return [
        f"claim {c['id']}: {c['per_kit']} of item {c['part_id']} in a kit is not its line's recipe" for c in strange
    ]


def _halves(tx: Transaction) -> list[str]:
    """Loose parts that are kept for kits of which another part is not."""
    c, ce = t.claims.c, t.cells.c
    loose = (c.part_id.is_not(None), c.open.is_(True), c.fulfilment_id.is_(None), c.order_id.is_not(None))
    claims = tx.rows(select(t.claims, ce.warehouse_id).join(t.cells, ce.id == c.cell_id).where(*loose))
    places = {claim["cell_id"]: claim["warehouse_id"] for claim in claims}
    return [
        f"order line {some[0]['line_id']}: {units} of item {part} are kept for kits of which other parts are not"
        for some in sell_kits.together(claims, places)
        for part, units in sell_kits.broken(some, 0, 0).items()
        if units
    ]
