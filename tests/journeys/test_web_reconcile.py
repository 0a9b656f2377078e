"""Ledger, warehouse and shop over REST, in the console and at the command line; residuals decided by people."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.flow.reconcile import reconcile
from core.model import Document, Snapshot, SnapshotRow
from core.store import inbox
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import one
from workers import cli
from workers.lines import reconcile_tables


def shown(web_pool: Any, *units: int) -> None:
    """The warehouse shows so many of alpha's goods, an hour between each reading; the last was just now."""
    for n, figure in enumerate(units):
        row = SnapshotRow(sku="SKU-alpha-1", keeper="OWN-A", warehouse="WH-HZ", quantity=figure)

        def work(tx: Any, n: int = n, row: SnapshotRow = row) -> None:
            wms = one(tx, t.connections, code="wms1")
            document = Document(kind="stock", ref="SKU-alpha-1", event_id=f"{tx.ids.new()}", body=b"-")
            (ident,) = inbox.keep(tx, wms["id"], 0, [document]).new
            as_of = tx.now - timedelta(hours=len(units) - 1 - n)
            decide(tx, [Spoken("stock", ident, wms["id"], 0, Snapshot(as_of=as_of, rows=(row,)))])

        web_pool.store.write(work)


@pytest.fixture
def stocked(web_pool: Any) -> Any:
    """200 of alpha's goods lie there by the books; the books are older than all readings."""
    web_pool.stock_up("alpha", "SKU-alpha-1", 200)
    long_ago = web_pool.store.write(lambda tx: tx.now) - timedelta(days=1)
    web_pool.store.write(lambda tx: tx.conn.execute(t.journals.update().values(recorded_at=long_ago)))
    return web_pool


def test_the_three_figures_stand_side_by_side_with_their_causes(stocked: Any) -> None:
    shown(stocked, 198)
    found = stocked.did("GET", "/reconcile")
    assert found["unexplained"] == 0
    (row,) = found["stock"]
    assert [row[n] for n in ("sku", "warehouse", "ledger", "shown", "drift")] == ["SKU-alpha-1", "HZ", 200, 198, -2]
    assert row["causes"] == [{"cause": "residual_waits", "units": -2, "detail": ""}]
    assert [(r["connection"], r["pool"], r["target"]) for r in found["shops"]] == [
        ("tmall-alpha", 200, 200),
        ("tmall-beta", 0, 0),
    ]
    assert len(stocked.did("GET", "/reconcile?drift_only=true")["shops"]) == 0


def test_a_merchant_sees_its_own_side_of_it(stocked: Any) -> None:
    shown(stocked, 198)
    found = stocked.did("GET", "/reconcile", by="beta")
    assert (found["stock"], [r["connection"] for r in found["shops"]]) == ([], ["tmall-beta"])
    assert stocked.call("GET", "/reconcile", by="alpha").json()["stock"][0]["drift"] == -2


def test_a_large_residual_is_accepted_or_dismissed_over_rest(stocked: Any) -> None:
    shown(stocked, 150, 150)
    (task,) = stocked.did("GET", "/parked", by="alpha")["rows"]
    assert (task["what"], task["buttons"]) == ("stock.residual", ["accept", "dismiss"])
    assert stocked.call("POST", f"/parked/task/{task['id']}/done").status_code == 409
    stocked.did("POST", f"/parked/task/{task['id']}/accept")
    assert stocked.did("GET", "/stock?search=SKU-alpha")["rows"][0]["free"] == 150


def test_an_authority_and_its_limits_are_set_with_the_warehouse(stocked: Any) -> None:
    stocked.did("PATCH", "/warehouses/HZ", {"authority": "wms1", "residual_max_units": 60, "residual_max_percent": 50})
    (row,) = stocked.did("GET", "/warehouses")["rows"]
    assert (row["residual_max_units"], row["residual_after_s"]) == (60, 900)
    shown(stocked, 150, 150)
    assert stocked.did("GET", "/stock?search=SKU-alpha")["rows"][0]["free"] == 150
    assert stocked.call("PATCH", "/warehouses/HZ", {"residual_max_percent": 101}).status_code == 422


def test_tables_for_people_name_the_causes(stocked: Any) -> None:
    shown(stocked, 198)
    with stocked.store.read() as tx:
        tables = reconcile_tables(reconcile(tx, HUB))
    assert [table.row_count for table in tables] == [1, 2]
    assert list(tables[0].columns[-1].cells) == ["residual_waits -2"]
    assert list(tables[1].columns[-1].cells) == ["never read", "never read"]


def test_the_console_shows_it(stocked: Any, page: Any) -> None:
    shown(stocked, 198)
    text = page("/reconcile?lang=en").text
    assert "shown, has to be shown again" in text
    assert re.search(r"SKU-alpha-1.*198", text, re.DOTALL)
    assert "待再次核实" in page("/reconcile?lang=zh").text


def test_a_residual_is_accepted_with_a_button_of_the_console(stocked: Any, page: Any) -> None:
    shown(stocked, 150, 150)
    text = page("/parked?lang=en").text
    action, csrf = re.search(
        r'action="(/parked/task/\d+/accept)".*?name="csrf" value="([^"]+)"', text, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    assert "of owner (where several share the keeper code)" in text
    stocked.door.post(action, data={"csrf": csrf, "owner": ""})
    assert stocked.did("GET", "/stock?search=SKU-alpha")["rows"][0]["free"] == 150


def test_the_command_line_ends_with_1_when_a_difference_has_no_cause(
    stocked: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def ran(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["yipan", "reconcile", *words])
        monkeypatch.setattr(cli, "_store", lambda: nullcontext(stocked.store))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().out

    shown(stocked, 198)
    code, said = ran()
    assert (code, said.splitlines()[-1]) == (0, "0 rows differ without a known cause")
    with stocked.store.read() as tx:
        listing = one(tx, t.listings, ref="L-alpha-1")
    told = {"listing_id": listing["id"], "told": 190, "doubt": False}
    stocked.store.write(lambda tx: (tx.conn.execute(t.marks.delete()), tx.add(t.shelves, [told])))
    code, said = ran("--json")
    assert (code, json.loads(said)["unexplained"]) == (1, 1)
