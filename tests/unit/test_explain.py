"""What is explained, with its numbers: why a cell is what it is, what happened to an order, what lay where and when."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from core.errors import Refused, Unfit, Unmatched
from core.flow import explain, reserve_stock
from core.flow.reserve_stock import Reserve, Subject
from core.rules.decide import Want
from core.store import cells
from core.store import tables as t
from core.store.ledger import KEPT, Ledger
from core.store.scope import HUB, Scope
from tests.worlds import MASTER_KEY, Clock, World, closed, order, store, world
from workers import cli
from workers.days import Days

HOUR = 3600
Balances = dict[tuple[str, str, str], dict[str, int]]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def asked(hub: World, question: Callable[..., Any], *args: Any, scope: Scope = HUB) -> Any:
    """The answer to one question."""
    with hub.store.read() as tx:
        return question(tx, scope, *args)


def figures(rows: list[dict[str, Any]]) -> Balances:
    """(sku, warehouse, condition) → the accounts that are not 0."""
    return {(r["sku"], r["warehouse"], r["condition"]): {a: r[a] for a in KEPT if r[a]} for r in rows}


def moved(journal: dict[str, Any]) -> list[tuple[str, int]]:
    return [(e["account"], e["quantity"]) for e in journal["entries"]]


# what lay where, and when


def story(hub: World) -> list[Callable[[], Any]]:
    """Announced, received in part, sold at two shops, shipped in part, counted down, closed, called for from west."""
    asn = hub.announces((hub.pen, 100))
    return [
        lambda: hub.receives(asn, ("pen", 40), ("pen", 2, "CC"), final=False),
        lambda: hub.takes(order("A", ("pen", 5), ("ink", 1))),
        lambda: hub.takes(order("B", ("pen", 8)), at=hub.vendure),
        lambda: hub.confirms(hub.releases("B"), ("pen", 3), final=False),
        lambda: hub.counts("pen", -36),
        lambda: hub.counts("ink", 7, "west"),
        lambda: hub.receives(asn, ("pen", 50), final=True),
    ]


def test_balances_of_any_moment_are_those_the_cells_had_then(hub: World) -> None:
    assert hub.clock
    seen: list[tuple[datetime, Balances]] = []
    for happens in story(hub):
        hub.clock.wait(HOUR)
        happens()
        seen.append((hub.clock.now, figures(asked(hub, cells.balances))))
    hub.store.write(lambda tx: tx.conn.execute(update(t.cells).values(dict.fromkeys(KEPT, 0))))
    for at, then in seen:
        held = {cell: accounts for cell, accounts in then.items() if accounts}
        assert figures(asked(hub, cells.balances_at, at)) == held
        assert figures(asked(hub, cells.balances_at, at + timedelta(seconds=HOUR - 1))) == held
    assert len({json.dumps(sorted(map(str, then.items()))) for _, then in seen}) == len(seen)
    assert seen[4][1]["pen", "east", "ZP"] == {"reserved": 10, "inbound": 58, "suspense": -9}


def test_before_anything_was_recorded_there_is_nothing(hub: World) -> None:
    hub.counts("pen", 10)
    assert hub.clock
    assert asked(hub, cells.balances_at, hub.clock.now - timedelta(microseconds=1)) == []
    [row] = asked(hub, cells.balances_at, hub.clock.now)
    assert (row["free"], row["on_hand"], row["available"]) == (10, 10, 10)


def test_a_cell_that_ran_empty_is_left_out(hub: World) -> None:
    hub.counts("pen", 10)
    hub.counts("ink", 1)
    hub.counts("pen", -10)
    assert hub.clock
    assert figures(asked(hub, cells.balances_at, hub.clock.now)) == {("ink", "east", "ZP"): {"free": 1}}


def test_a_merchant_sees_only_what_it_owns(hub: World) -> None:
    hub.counts("pen", 10)
    assert hub.clock
    beta, alpha = (Scope("merchant", merchant_id=i) for i in (hub.beta, hub.alpha))
    assert asked(hub, cells.balances_at, hub.clock.now, scope=beta) == []
    assert len(asked(hub, cells.balances_at, hub.clock.now, scope=alpha)) == 1


@pytest.mark.parametrize("said", ["2026-01-05T08:00:00", "2026-01-05", "yesterday", "2026-02-30T00:00:00Z", ""])
def test_a_time_without_its_zone_or_sense_is_no_moment(said: str) -> None:
    with pytest.raises(Unfit, match="write it like 2026-01-05T08:00:00Z"):
        cells.aware(said)


def test_a_time_with_its_zone_is_a_moment() -> None:
    moments = {cells.aware(said) for said in ("2026-01-05T08:00:00Z", "2026-01-05T16:00:00+08:00")}
    assert moments == {datetime(2026, 1, 5, 8, tzinfo=UTC)}


# why a cell is what it is


def counted_down(hub: World) -> str:
    """10 counted, 8 sold, 3 of them confirmed, 5 missing at the next count; the fulfilment's ref."""
    hub.counts("pen", 10, event_id="first")
    hub.takes(order("A", ("pen", 8)))
    fulfilment = hub.releases("A")
    hub.confirms(fulfilment, ("pen", 3), final=False)
    hub.counts("pen", -5, event_id="second")
    return fulfilment


def test_a_cell_is_explained_by_its_claims_and_its_newest_journals(hub: World) -> None:
    fulfilment = counted_down(hub)
    found = asked(hub, explain.explain_stock, hub.pen, hub.east)
    assert figures(found["cells"]) == {("pen", "east", "ZP"): {"reserved": 5, "suspense": -3}}
    assert found["open"] == {"claims": 1, "asked": 5, "backed": 5}
    [claim] = found["claims"]
    assert (claim["kind"], claim["ref"], claim["connection"]) == ("order", "A", "tmall")
    assert (claim["asked"], claim["shipped"], claim["backed"], claim["warehouse"]) == (8, 3, 5, "east")
    assert [(j["kind"], *j["cause"].values(), moved(j)) for j in found["journals"]] == [
        ("adjust", "count", "second", "wms", [("world", 5), ("free", -2), ("suspense", -3)]),
        ("ship", "confirm", fulfilment, "wms", [("reserved", -3), ("world", 3)]),
        ("reserve", "order", "A", "tmall", [("free", -8), ("reserved", 8)]),
        ("adjust", "count", "first", "wms", [("world", -10), ("free", 10)]),
    ]


def test_only_the_newest_are_told_and_all_are_counted(hub: World) -> None:
    hub.counts("pen", 3)
    hub.takes(*(order(f"R{n}", ("pen", 1)) for n in range(6)))
    hub.takes(closed("R5", ("pen", 1)))
    found = asked(hub, explain.explain_stock, hub.pen, None, 2)
    assert [c["ref"] for c in found["claims"]] == ["R0", "R1"]
    assert found["open"] == {"claims": 5, "asked": 5, "backed": 3}
    assert [j["cause"]["ref"] for j in found["journals"]] == ["R2", "R1"]


def test_one_warehouse_alone_can_be_asked_for(hub: World) -> None:
    hub.counts("pen", 3)
    hub.counts("pen", 4, "west")
    assert set(figures(asked(hub, explain.explain_stock, hub.pen)["cells"])) == {
        ("pen", "east", "ZP"),
        ("pen", "west", "ZP"),
    }
    found = asked(hub, explain.explain_stock, hub.pen, hub.west)
    assert figures(found["cells"]) == {("pen", "west", "ZP"): {"free": 4}}
    assert [moved(j) for j in found["journals"]] == [[("world", -4), ("free", 4)]]


def test_what_a_caller_reserved_is_named_by_its_kind_and_ref(hub: World) -> None:
    hub.counts("pen", 3)
    command = Reserve(Subject(hub.beta, "cart", "R7"), (Want(1, hub.alpha, hub.pen, 2),), (hub.east,))
    hub.store.write(lambda tx: reserve_stock.reserve(tx, Ledger(tx), [command]))
    found = asked(hub, explain.explain_stock, hub.pen)
    [claim] = found["claims"]
    assert (claim["kind"], claim["ref"], claim["backed"], claim["order_id"]) == ("cart", "R7", 2, None)
    assert found["journals"][0]["cause"] == {"kind": "cart", "ref": "R7", "connection": ""}


def test_an_owner_is_not_told_whose_order_claims_its_goods(hub: World) -> None:
    hub.counts("pen", 10)
    hub.takes(order("SECRET", ("pen", 2)), at=hub.beta_shop)
    fulfilment = hub.releases("SECRET")
    hub.confirms(fulfilment, ("pen", 1), final=False)
    owner = asked(hub, explain.explain_stock, hub.pen, scope=Scope("merchant", merchant_id=hub.alpha))
    assert [(c["kind"], c["ref"], c["asked"], c["order_id"]) for c in owner["claims"]] == [("order", None, 2, None)]
    assert [(j["kind"], j["cause"]["ref"]) for j in owner["journals"][:2]] == [("ship", None), ("reserve", None)]
    assert moved(owner["journals"][0]) == [("reserved", -1), ("world", 1)]
    assert "SECRET" not in str(owner) and fulfilment not in str(owner)


def test_nothing_is_taken_from_the_balances_but_the_cell_itself(hub: World) -> None:
    counted_down(hub)
    before = asked(hub, explain.explain_stock, hub.pen)
    hub.store.write(lambda tx: tx.conn.execute(update(t.cells).values(free=77)))
    after = asked(hub, explain.explain_stock, hub.pen)
    assert {c["free"] for c in after["cells"]} == {77}
    assert after["journals"] == before["journals"]


# which one is meant


def test_a_sku_of_nobody_is_unmatched_and_one_of_two_owners_is_ambiguous(hub: World) -> None:
    with pytest.raises(Unmatched, match="there is no item 'nail'"):
        asked(hub, explain.find_item, "nail")
    mine = {"owner_id": hub.beta, "sku": "pen", "name": "pen", "created_at": datetime.now(UTC)}
    other = hub.store.write(lambda tx: tx.conn.execute(insert(t.items).values(id=(n := tx.ids.new()), **mine)) and n)
    with pytest.raises(Refused, match="'pen' is an item of alpha, beta: name the owner"):
        asked(hub, explain.find_item, "pen")
    assert [asked(hub, explain.find_item, "pen", owner) for owner in ("alpha", "beta")] == [hub.pen, other]
    assert asked(hub, explain.find_item, "pen", scope=Scope("merchant", merchant_id=hub.beta)) == other


def test_an_order_number_of_two_shops_is_ambiguous(hub: World) -> None:
    hub.takes(order("A", ("pen", 1)))
    hub.takes(order("A", ("pen", 1)), at=hub.vendure)
    with pytest.raises(Refused, match="'A' is an order of tmall, vendure: name the connection"):
        asked(hub, explain.find_order, "A")
    by_shop = hub.row(t.orders, ref="A", connection_id=hub.vendure)["id"]
    assert asked(hub, explain.find_order, "A", "vendure") == by_shop
    with pytest.raises(Unmatched, match="there is no order 'B'"):
        asked(hub, explain.find_order, "B")


# what happened to an order


def told(found: dict[str, Any], *kinds: str) -> list[tuple[str, str]]:
    return [(h["what"], h["words"]) for h in found["happened"] if h["what"] in kinds]


def test_an_order_is_told_from_its_first_document_to_its_last_journal(hub: World) -> None:
    assert hub.clock
    hub.counts("pen", 5)
    hub.takes(order("OTHER", ("pen", 1)))
    hub.clock.wait(HOUR)
    hub.takes(order("A", ("pen", 4)))
    hub.takes(order("OTHER-2", ("ink", 1)))
    hub.counts("ink", 1)
    hub.clock.wait(HOUR)
    fulfilment = hub.releases("A")
    hub.clock.wait(HOUR)
    hub.confirms(fulfilment, ("pen", 3), waybill="SF7")
    hub.tracks(("SF7", "picked_up", 200))
    found = asked(hub, explain.explain_order, hub.order("A")["id"])
    assert told(found, "document", "journal", "claim", "fulfilment") == [
        ("document", "order, from tmall, done"),
        ("claim", "pen east: wants 3, backed 0, shipped 3, over"),
        ("journal", "reserve: pen east free -4, pen east reserved +4"),
        ("fulfilment", f"{fulfilment} at east, now shipped"),
        ("document", "confirm, from wms, done"),
        ("journal", "ship: pen east reserved -3, pen east world +3"),
        ("journal", "release: pen east reserved -1, pen east free +1"),
    ]
    whats = [h["what"] for h in found["happened"]]
    assert {"order", "event", "intent", "parcel", "tracking"} < set(whats)
    times = [h["at"] for h in found["happened"]]
    assert times == sorted(times) and len(set(times)) == 3
    assert "OTHER" not in str(found)


def test_a_short_order_tells_of_a_claim_that_nothing_backs(hub: World) -> None:
    hub.takes(order("A", ("pen", 4)))
    found = asked(hub, explain.explain_order, hub.order("A")["id"])
    assert told(found, "journal", "claim") == [("claim", "pen east: wants 4, backed 0, shipped 0")]
    assert all(h["at"] == hub.order("A")["created_at"] for h in found["happened"] if h["what"] == "claim")


def test_who_sells_anothers_goods_is_told_of_the_order_and_not_of_the_owners_books(hub: World) -> None:
    hub.counts("pen", 9)
    hub.takes(order("A", ("pen", 4)), at=hub.beta_shop)
    ident = hub.order("A")["id"]
    seller = asked(hub, explain.explain_order, ident, scope=Scope("merchant", merchant_id=hub.beta))
    assert told(seller, "journal") == [("journal", "reserve: units of another owner")]
    with pytest.raises(Unmatched):
        asked(hub, explain.explain_order, ident, scope=Scope("merchant", merchant_id=hub.alpha))


# asked at the command line


@pytest.fixture
def ask(
    hub: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Callable[..., tuple[int, str, str]]:
    """Type a command; (exit code, what it says, what it complains of)."""
    (tmp_path / "key").write_text(MASTER_KEY)
    monkeypatch.setenv("YIPAN_HOME", str(tmp_path))
    monkeypatch.setenv("YIPAN_DATABASE", hub.store.db.url)
    monkeypatch.setenv("YIPAN_VAULT__KEY_FILE", str(tmp_path / "key"))

    def typed(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["yipan", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return typed


def test_the_command_line_explains_stock(hub: World, ask: Any) -> None:
    fulfilment = counted_down(hub)
    code, said, _ = ask("explain", "stock", "pen", "--warehouse", "east")
    assert code == 0
    assert "1 open claims want 5, backed 5" in said
    assert "order A (tmall)  east  asked 5  backed 5" in said
    assert f"2026-01-05 08:00:00  ship     confirm {fulfilment} (wms)" in said
    assert "world +5, east ZP free -2, east ZP suspense -3" in said
    found = json.loads(ask("explain", "stock", "pen", "--owner", "alpha", "--json")[1])
    assert (found["cells"][0]["suspense"], found["journals"][0]["recorded_at"]) == (-3, "2026-01-05T08:00:00+00:00")


def test_the_command_line_explains_an_order(hub: World, ask: Any) -> None:
    counted_down(hub)
    code, said, _ = ask("explain", "order", "A")
    assert (code, said.splitlines()[0]) == (0, f"A (tmall): {hub.order('A')['state']}")
    assert "2026-01-05 08:00:00  journal     reserve: pen east free -8, pen east reserved +8" in said
    found = json.loads(ask("explain", "order", "A", "--connection", "tmall", "--json")[1])
    assert found["happened"][0]["what"] == "document"


def test_the_command_line_says_what_lay_where_and_when(hub: World, ask: Any) -> None:
    hub.counts("pen", 10)
    assert hub.clock
    hub.clock.wait(HOUR)
    hub.counts("pen", 5)
    rows = [[line.split()[:5] for line in ask("stock", *at)[1].splitlines()][1:] for at in ([], AT_EIGHT)]
    assert rows == [[["alpha", "pen", "east", "ZP", "15"]], [["alpha", "pen", "east", "ZP", "10"]]]
    assert json.loads(ask("stock", *AT_EIGHT, "--json")[1])[0]["free"] == 10
    assert ask("stock", "--at", "2026-01-05T07:59:59Z")[1] == "no units anywhere\n"


AT_EIGHT = ("--at", "2026-01-05T08:00:00Z")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("explain", "stock", "nail"), "there is no item 'nail'"),
        (("explain", "stock", "pen", "--owner", "beta"), "there is no item 'pen' of 'beta'"),
        (("explain", "stock", "pen", "--warehouse", "north"), "there is no warehouse 'north'"),
        (("explain", "order", "Z"), "there is no order 'Z'"),
        (("explain", "order", "A"), "'A' is an order of tmall, vendure: name the connection"),
        (
            ("stock", "--at", "2026-01-05T08:00:00"),
            "'2026-01-05T08:00:00' does not say its time zone: write it like 2026-01-05T08:00:00Z",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(hub: World, ask: Any, words: tuple[str, ...], complaint: str) -> None:
    hub.takes(order("A", ("pen", 1)))
    hub.takes(order("A", ("pen", 1)), at=hub.vendure)
    assert ask(*words) == (2, "", f"yipan: {complaint}\n")


# the daily statement


def test_a_days_breach_waits_for_a_person_until_an_audit_is_clean(hub: World) -> None:
    assert hub.clock
    hub.takes(order("A", ("pen", 99)))
    hub.counts("pen", 10)
    [other] = hub.worklist()
    days = Days(hub.store)
    days.look()
    entries = hub.rows(select(t.entries))
    hub.store.write(lambda tx: tx.conn.execute(delete(t.entries)))
    hub.clock.wait(24 * HOUR)
    days.look()
    row = hub.row(t.worklist, kind="audit")
    assert (row["subject"], row["done_at"], row["merchant_id"]) == ("audit:2026-01-05", None, None)
    assert row["reason"].endswith("free is 10, its journal says 0")
    hub.store.write(lambda tx: tx.add(t.entries, entries))
    days.look()
    assert hub.worklist() == [other, "audit"]
    hub.clock.wait(24 * HOUR)
    days.look()
    assert hub.worklist() == [other]
