"""What the command line answers people with: rows as aligned lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.table import Table

from core.store.causes import Cause
from core.store.ledger import KEPT

FIGURES = ("available", *KEPT, "on_hand")
RECONCILED = (
    ("stock", "ledger and warehouses", ("owner", "sku", "warehouse", "condition", "ledger", "shown", "drift")),
    ("shops", "ledger and shops", ("connection", "listing", "pool", "target", "expected", "shown", "drift")),
)
PLACE = ("owner", "sku", "warehouse", "condition")
Row = Mapping[str, Any]


def aligned(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of one length as lines, each column as wide as its widest; numbers to the right."""
    widths = [max(cell_len(str(value)) for value in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_padded, row, widths)).rstrip() for row in rows)


def _padded(value: Any, width: int) -> str:
    space = " " * (width - cell_len(str(value)))
    return f"{space}{value}" if isinstance(value, int) else f"{value}{space}"


def stock_lines(cells: Sequence[Row]) -> str:
    """Cells, one a line, under their headings."""
    if not cells:
        return "no units anywhere"
    return aligned([(*PLACE, *FIGURES), *([row[name] for name in (*PLACE, *FIGURES)] for row in cells)])


def stock_explained(found: Row) -> str:
    """An item: its cells, the claims on them, the newest journals."""
    said = [f"{found['sku']}  {found['name']}", stock_lines(found["cells"]), ""]
    said.append(
        f"{found['open']['claims']} open claims want {found['open']['asked']}, backed {found['open']['backed']}"
    )
    if found["claims"]:
        said.append(aligned([_claim(row) for row in found["claims"]]))
    said += ["", f"newest {len(found['journals'])} journals"]
    if found["journals"]:
        said.append(aligned([_journal(row) for row in found["journals"]]))
    return "\n".join(said)


def order_explained(found: Row) -> str:
    """An order: all that happened to it, one a line."""
    head = f"{found['ref']} ({found['shop']}): {found['state']}"
    return "\n".join([head, aligned([(moment(row["at"]), row["what"], row["words"]) for row in found["happened"]])])


def moment(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def reconcile_tables(found: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Ledger beside warehouses, and ledger beside shops, with the cause of each difference."""
    return [_table(title, names, found[name]) for name, title, names in RECONCILED]


def _table(title: str, names: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(*names, "causes", title=title)
    for row in rows:
        table.add_row(*("-" if row[n] is None else str(row[n]) for n in names), _causes(row))
    return table


def _causes(row: Row) -> str:
    said = [f"{c['cause']} {c['units']:+}{' (' + c['detail'] + ')' if c['detail'] else ''}" for c in row["causes"]]
    return ", ".join(said) or ("never read" if row["drift"] is None else "agrees")


def _claim(row: Row) -> tuple[str, ...]:
    who = str(Cause(row["kind"], row["ref"], row["connection"]))
    return who, row["warehouse"], f"asked {row['asked'] - row['shipped']}", f"backed {row['backed']}"


def _journal(row: Row) -> tuple[str, ...]:
    moved = ", ".join(f"{e['warehouse']} {e['condition']} {e['account']} {e['quantity']:+}" for e in row["entries"])
    return moment(row["recorded_at"]), row["kind"], str(Cause(**row["cause"])), moved
