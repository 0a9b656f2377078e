"""Virtual kits: sold as one item, kept and sent as their parts. An order line of a kit counts whole kits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from core.model import ShippedLine
from core.rules import kits
from core.rules.decide import Want
from core.rules.kits import Need
from core.store import tables as t
from core.store.store import Transaction, many, one

Row = Mapping[str, Any]
Recipe = dict[str, int]
"""Part's item id → units in one kit."""


def recipes(tx: Transaction, items: Iterable[int]) -> dict[int, Recipe]:
    """Kit → its recipe, of those of these items that are virtual kits."""
    found: dict[int, Recipe] = {}
    k, i = t.kit_parts.c, t.items.c
    virtual = select(t.kit_parts).join(t.items, i.id == k.kit_id).where(i.is_kit.is_(True))
    rows = tx.rows(virtual.where(k.kit_id.in_(sorted(set(items)))))
    for row in sorted(rows, key=lambda row: row["part_id"]):
        found.setdefault(row["kit_id"], {})[str(row["part_id"])] = row["units"]
    return found


def with_recipes(tx: Transaction, listings: Sequence[Row]) -> list[dict[str, Any]]:
    """These listings, each with the recipe of what it sells; None where that is no kit."""
    known = recipes(tx, [row["item_id"] for row in listings if row["is_kit"]])
    return [{**row, "recipe": known.get(row["item_id"])} for row in listings]


def wants(line: Row, owner_id: int, units: int) -> list[Want]:
    """What so many units of an order line want of the pool: of a kit, its parts."""
    if not line["recipe"]:
        return [Want(line["id"], owner_id, line["item_id"], units, lot=line["lot"])]
    return [Want(line["id"], owner_id, int(part), units * n, n) for part, n in line["recipe"].items()]


def completed(tx: Transaction, line_id: int) -> int:
    """Kits of a line that have become whole by what left for it last."""
    line = one(tx, t.order_lines, id=line_id)
    assert line is not None
    return kits.whole(line["recipe"], left(tx, line_id)) - int(line["shipped"])


def left(tx: Transaction, line_id: int) -> dict[int, int]:
    """Part → units that left for a line of a kit."""
    units: dict[int, int] = Counter()
    for claim in many(tx, t.claims, "line_id", [line_id]):
        units[claim["part_id"]] += claim["shipped"]
    return units


def whole_backed(
    claims: Sequence[Row], warehouses: Mapping[int, int], packs: Mapping[int, int]
) -> list[tuple[Row, int]]:
    """The claims on parts of which whole listing units can leave, each with the units that stay behind.

    warehouses: of each cell; packs: units of each line in one of its listing.
    """
    found: list[tuple[Row, int]] = []
    for some in together(claims, warehouses):
        needs = _needs(some, {})
        whole = kits.lacking(need._replace(there=0) for need in needs.values())
        rest = kits.lacking(needs.values())
        rest += (whole - rest) % packs[some[0]["line_id"]] if rest else 0
        for part, need in needs.items():
            found += _leaving([c for c in some if c["part_id"] == part], kits.without(need.units, need.per_kit, rest))
    return found


def _leaving(claims: Sequence[Row], units: int) -> list[tuple[Row, int]]:
    found = []
    for claim in claims:
        taken = min(units, claim["backed"])
        units -= taken
        found += [(claim, claim["asked"] - claim["shipped"] - taken)] if taken else []
    return found


def together(claims: Sequence[Row], warehouses: Mapping[int, int]) -> list[list[Row]]:
    """Claims on parts, those of one line at one warehouse together; what is no kit's is left out."""
    found: dict[tuple[int, int], list[Row]] = {}
    for claim in claims:
        if claim["part_id"] is not None:
            found.setdefault((claim["line_id"], warehouses[claim["cell_id"]]), []).append(claim)
    return list(found.values())


def backable(claims: Sequence[Row], there: Mapping[int, int]) -> dict[int, int]:
    """Part → units these claims of one line at one warehouse can be backed by beyond what they are, in whole kits.

    there: units that each claim could have, by its id.
    """
    more = Counter[int]()
    for claim in claims:
        more[claim["part_id"]] += there[claim["id"]]
    needs = _needs(claims, more)
    held = _needs(claims, {})
    rest = kits.lacking(needs.values())
    return {part: max(0, kits.without(n.units, n.per_kit, rest) - held[part].there) for part, n in needs.items()}


def broken(claims: Sequence[Row], part_id: int, units: int) -> dict[int, int]:
    """Part → units these claims give back, where so many of one part are missing: those of whole kits."""
    needs = _needs(claims, {part_id: -units})
    held = _needs(claims, {})
    rest = kits.lacking(needs.values())
    return {part: max(0, held[part].there - kits.without(n.units, n.per_kit, rest)) for part, n in needs.items()}


def _needs(claims: Sequence[Row], more: Mapping[int, int]) -> dict[int, Need]:
    """Part → what these claims want of it, and what they hold; more: units there are beside that."""
    found: dict[int, Need] = {}
    for claim in claims:
        part = claim["part_id"]
        known = found.get(part, Need(0, claim["per_kit"], more.get(part, 0)))
        missing = claim["asked"] - claim["shipped"]
        found[part] = known._replace(units=known.units + missing, there=known.there + claim["backed"])
    return found


def priced(lines: Sequence[Row], sold: Mapping[int, Row]) -> list[Row]:
    """The order line of each line of a fulfilment; the price of a kit stands with the first of its parts alone."""
    found: list[Row] = []
    for n, line in enumerate(lines):
        row = sold[line["line_id"]]
        again = row["recipe"] and any(before["line_id"] == line["line_id"] for before in lines[:n])
        found.append({**row, "net_minor": 0} if again else row)
    return found


def shipped_lines(tx: Transaction, fulfilment_id: int, sold: Mapping[int, Row]) -> tuple[ShippedLine, ...]:
    """Whole kits of a fulfilment's lines that are complete by now and were not told, wherever their parts left from."""
    f = t.fulfilment_lines.c
    mine = tx.conn.execute(select(f.line_id).where(f.fulfilment_id == fulfilment_id).distinct()).scalars()
    lines = [sold[ident] for ident in sorted(mine) if sold[ident]["recipe"]]
    told = [(line["ref"], min(_untold(tx, line), line["ordered"]) // line["pack"]) for line in lines]
    return tuple(ShippedLine(ref=ref, quantity=n) for ref, n in told if n)


def _untold(tx: Transaction, line: Row) -> int:
    units: dict[int, int] = Counter()
    for row in _sent(tx, line["id"]):
        units[row["item_id"]] += max(0, row["shipped"] - row["told"])
    return kits.whole(line["recipe"], units)


def _sent(tx: Transaction, line_id: int) -> list[Row]:
    f, h = t.fulfilment_lines.c, t.fulfilments.c
    query = select(t.fulfilment_lines).join(t.fulfilments, h.id == f.fulfilment_id).where(f.line_id == line_id)
    return tx.rows(query.where(h.state.in_(("shipped", "delivered"))).order_by(f.fulfilment_id, f.n))


def told_shop(tx: Transaction, line: Row, sold: int) -> None:
    """The shop knows of so many more kits of this line: their parts are told, those that left first."""
    f = t.fulfilment_lines.c
    rest = {int(part): per_kit * sold for part, per_kit in line["recipe"].items()}
    for row in _sent(tx, line["id"]):
        units = min(rest[row["item_id"]], max(0, row["shipped"] - row["told"]))
        rest[row["item_id"]] -= units
        mine = (f.fulfilment_id == row["fulfilment_id"]) & (f.n == row["n"])
        tx.conn.execute(t.fulfilment_lines.update().where(mine).values(told=f.told + units))


def selling(tx: Transaction, parts: Sequence[int]) -> list[int]:
    """These items and the kits they are part of."""
    k = t.kit_parts.c
    found = tx.conn.execute(select(k.kit_id).where(k.part_id.in_(parts))).scalars() if parts else ()
    return sorted({*parts, *found})


def note_returned(tx: Transaction, line_ids: Iterable[int]) -> None:
    """Write on lines of kits how many whole ones have come back."""
    for line in many(tx, t.order_lines, "id", sorted(set(line_ids))):
        if line["recipe"]:
            tx.set(t.order_lines, line["id"], returned=kits.whole(line["recipe"], came_back(tx, line)))


def out(tx: Transaction, line: Row, item_id: int) -> int:
    """Units that left for a line of a kit and have not come back, of this part or of the one it was sent for."""
    part = _stands_for(tx, line).get(item_id, item_id)
    return left(tx, line["id"])[part] - came_back(tx, line)[part]


def came_back(tx: Transaction, line: Row) -> dict[int, int]:
    """Part → units that came back to a line of a kit; what was sent in a part's place counts as that part."""
    r = t.return_lines.c
    query = select(r.item_id, func.sum(r.quantity).label("n")).where(r.line_id == line["id"]).group_by(r.item_id)
    parts = _stands_for(tx, line)
    units: dict[int, int] = Counter()
    for row in tx.rows(query):
        units[parts.get(row["item_id"], row["item_id"])] += int(row["n"])
    return units


def _stands_for(tx: Transaction, line: Row) -> dict[int, int]:
    """Items that are no part of the kit → the part each was sent for."""
    s, f = t.sent_instead.c, t.fulfilment_lines.c
    query = select(s.item_id, f.item_id.label("part"))
    query = query.join(t.fulfilment_lines, (f.fulfilment_id == s.fulfilment_id) & (f.n == s.n))
    rows = tx.rows(query.where(f.line_id == line["id"]))
    return {row["item_id"]: row["part"] for row in rows if str(row["item_id"]) not in line["recipe"]}
