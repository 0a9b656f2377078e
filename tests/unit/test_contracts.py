"""Sharing contracts: whose goods a sale takes, how far rights go, what is owed, and what the books say of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import and_, delete, func, select

from core.errors import OutOfStock, Refused, Unfit, Unmatched
from core.flow import keep_promises, make_contract, saleable
from core.flow.count_stock import difference
from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.flow.make_contract import EndContract, MakeContract, Shared
from core.flow.reserve_stock import Release, Reserve, Subject
from core.flow.transfer_title import TransferTitle
from core.model import Confirm, ConfirmedLine
from core.rules.decide import Request, Source, Want
from core.rules.decide import decide as admit
from core.store import contracts
from core.store import tables as t
from core.store.ledger import CellKey, Ledger
from core.store.scope import HUB
from core.store.store import Transaction
from hub.onboard.kits import Recipe, set_parts
from hub.onboard.warehouses import Keeper, set_keepers
from tests.conftest import stories
from tests.worlds import MONDAY, Clock, World, closed, in_memory, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield bare(world(it, clock))


BETA = "小五的店"
"""beta, where it buys of alpha."""


def bare(hub: World) -> World:
    """Ten of alpha's pens lie in the east; no contract lets beta sell them."""
    hub.store.write(lambda tx: [tx.conn.execute(delete(table)) for table in (t.contract_items, t.contracts)])
    hub.counts("pen", 10)
    return hub


def lets(hub: World, ref: str = "C9", **more: Any) -> Any:
    """alpha lets beta sell pens: units or percent of them, at 300 a pen."""
    quota = {name: more.pop(name) for name in ("units", "percent") if name in more} or {"units": 6}
    items = more.pop("items", (Shared(hub.pen, price_minor=300, **quota),))
    sides = {"owner_id": hub.alpha, "beneficiary_id": hub.beta, "currency": "CNY", "who": "anna", **more}
    return hub.store.write(lambda tx: decide(tx, [MakeContract(ref=ref, items=items, **sides)]))[0]


def ends(hub: World, ref: str = "C9") -> Any:
    return hub.store.write(lambda tx: decide(tx, [EndContract(hub.alpha, ref, "anna")]))[0]


def sells(hub: World, ref: str, units: int, make: Any = order, **more: Any) -> None:
    """beta's shop tells an order of alpha's pens."""
    assert hub.takes(make(ref, ("pen", units), **more), at=hub.beta_shop) == ["done"]


def buys(hub: World, ref: str, units: int, make: Any = order, resale: str = "") -> None:
    """alpha's shop tells what beta bought there, as the distributor it is known as."""
    told = make(ref, ("pen", units)).model_copy(update={"distributor": BETA, "resale": resale})
    assert hub.takes(told) == ["done"]


def rights(hub: World) -> tuple[int, int]:
    """(allowance, used) of the contract's pens."""
    row = hub.rows(select(t.contract_items))[-1]
    return row["allowance"], row["used"]


def owed(hub: World) -> list[tuple[int, int]]:
    """(units, amount) of every settlement line."""
    s = t.settlement_lines.c
    return [(r["units"], r["amount_minor"]) for r in hub.rows(select(s.units, s.amount_minor).order_by(s.id))]


def shows(hub: World) -> int:
    """Pens beta's shop may show."""
    with hub.store.read() as tx:
        row = tx.row(select(t.listings).where(t.listings.c.connection_id == hub.beta_shop))
        assert row
        return saleable.targets(tx, [row])[row["id"]]


def free(hub: World) -> int:
    return hub.cell(hub.pen).get("free", 0)


def test_without_a_contract_anothers_goods_are_neither_shown_nor_promised(hub: World) -> None:
    assert shows(hub) == 0
    sells(hub, "B1", 2)
    assert hub.claims("B1") == [(2, 0)]
    assert free(hub) == 10


def test_a_sale_of_2_takes_alphas_units_and_2_of_6_rights_in_one_journal(hub: World) -> None:
    lets(hub, units=6)
    assert shows(hub) == 6
    sells(hub, "B1", 2)
    assert (free(hub), rights(hub), shows(hub)) == (8, (4, 2), 4)
    r, j = t.right_entries.c, t.journals.c
    query = select(j.kind, r.account, r.quantity).join(t.journals, j.id == r.journal_id).where(j.kind == "reserve")
    assert sorted(tuple(row.values()) for row in hub.rows(query)) == [
        ("reserve", "allowance", -2),
        ("reserve", "used", 2),
    ]
    assert owed(hub) == []
    assert hub.audit() == []


def test_more_than_the_rights_is_backed_as_far_as_they_go(hub: World) -> None:
    lets(hub, units=3)
    sells(hub, "B1", 5)
    assert (hub.claims("B1"), free(hub), rights(hub)) == ([(5, 3)], 7, (0, 3))
    assert hub.audit() == []


def test_what_leaves_is_owed_for_and_an_open_quota_may_be_sold_again(hub: World) -> None:
    lets(hub, units=6)
    sells(hub, "B1", 2)
    hub.confirms(hub.releases("B1"), ("pen", 2))
    assert (owed(hub), rights(hub), shows(hub)) == ([(2, 600)], (6, 0), 6)
    assert hub.audit() == []


def test_rights_that_come_back_with_what_leaves_back_who_waits_for_them_alone(hub: World) -> None:
    hub.decides("wait")
    lets(hub, units=2)
    sells(hub, "B1", 2)
    sells(hub, "B2", 3)
    assert (hub.claims("B2"), free(hub)) == ([(3, 0)], 8)
    hub.confirms(hub.releases("B1"), ("pen", 2))
    assert (hub.claims("B2"), free(hub), rights(hub)) == ([(3, 2)], 6, (0, 2))
    assert hub.audit() == []


def test_a_lifetime_quota_is_used_up_by_what_leaves(hub: World) -> None:
    lets(hub, units=6, quota="lifetime")
    sells(hub, "B1", 2)
    hub.confirms(hub.releases("B1"), ("pen", 2))
    assert (owed(hub), rights(hub), shows(hub)) == ([(2, 600)], (4, 2), 4)
    assert hub.audit() == []


def test_what_is_called_off_gives_units_and_rights_back_though_the_contract_has_ended(hub: World) -> None:
    lets(hub, units=6)
    sells(hub, "B1", 2, unpaid)
    ends(hub)
    assert (rights(hub), shows(hub)) == ((4, 2), 0)
    sells(hub, "B1", 2, closed)
    assert (free(hub), rights(hub), shows(hub)) == (10, (6, 0), 0)
    assert hub.audit() == []


def test_what_comes_back_is_alphas_again_and_owed_no_more(hub: World) -> None:
    lets(hub, units=6)
    sells(hub, "B1", 3)
    hub.confirms(hub.releases("B1"), ("pen", 3))
    assert free(hub) == 7
    hub.takes_back("R1", ("pen", 2), order="B1")
    assert (free(hub), owed(hub)) == (9, [(3, 900), (-2, -600)])
    hub.takes_back("R2", ("pen", 5), order="B1")
    assert owed(hub) == [(3, 900), (-2, -600), (-1, -300)]
    assert hub.audit() == []


def test_over_shipped_units_are_booked_and_owed_and_take_what_is_left_of_a_lifetime_quota(hub: World) -> None:
    lets(hub, units=3, quota="lifetime")
    sells(hub, "B1", 2)
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert (owed(hub), rights(hub), free(hub)) == ([(5, 1500)], (0, 3), 5)
    assert hub.audit() == []


def shares_code(hub: World, code: str = "ALPHA", warehouse: int = 0) -> None:
    """The warehouse knows beta's goods by this keeper code; alpha's are ALPHA there."""
    place = {"owner_id": hub.beta, "warehouse_id": warehouse or hub.east}
    if not hub.rows(select(t.keepers).filter_by(**place)):
        hub.store.write(lambda tx: tx.add(t.keepers, [{**place, "code": code}]))


def gives(hub: World, units: int, ref: str = "T1") -> None:
    """So many of alpha's pens become beta's where they lie, if they are free."""
    shares_code(hub)
    given = TransferTitle(hub.alpha, hub.beta, hub.east, ref, ((hub.pen, "ZP", units),), "anna")
    hub.store.write(lambda tx: decide(tx, [given]))


def pens(hub: World, owner: int) -> int:
    """That owner's free pens."""
    c = t.cells.c
    rows = hub.rows(select(c.free).where(c.owner_id == owner, c.item_id == hub.pen, c.warehouse_id == hub.east))
    return sum(row["free"] for row in rows)


def keeps(hub: World, code: str) -> list[list[int]]:
    """The east knows beta's goods by this code from now on; the items of the marks that leaves."""
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.store.write(lambda tx: set_keepers(tx, HUB, "east", [Keeper(owner="beta", code=code)]))
    return [row["items"] for row in hub.rows(select(t.marks))]


def test_another_keeper_code_is_told_to_shops_where_title_passes_at_reservation(hub: World) -> None:
    shares_code(hub)
    lets(hub, units=6, title_passes="at_reserve")
    assert (shows(hub), keeps(hub, "ALPHA")) == (6, [])
    assert (keeps(hub, "BETA"), shows(hub)) == ([[hub.pen]], 0)
    assert (keeps(hub, "ALPHA"), shows(hub)) == ([[hub.pen]], 6)


def test_who_waits_is_backed_once_one_code_knows_both(hub: World) -> None:
    hub.decides("wait")
    shares_code(hub, "ALPHA")
    lets(hub, units=6, title_passes="at_reserve")
    hub.counts("pen", -10)
    sells(hub, "B1", 3)
    keeps(hub, "BETA")
    hub.counts("pen", 10)
    assert hub.claims("B1") == [(3, 0)]
    keeps(hub, "ALPHA")
    assert (hub.claims("B1"), hub.audit()) == ([(3, 3)], [])


def test_what_comes_back_of_a_mixed_line_is_its_owners_and_only_what_was_owed_is_owed_no_more(hub: World) -> None:
    gives(hub, 2)
    lets(hub, units=6)
    sells(hub, "B1", 5)
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert (pens(hub, hub.alpha), pens(hub, hub.beta), owed(hub)) == (5, 0, [(3, 900)])
    hub.takes_back("R1", ("pen", 2), order="B1")
    assert (pens(hub, hub.alpha), pens(hub, hub.beta), owed(hub)) == (7, 0, [(3, 900), (-2, -600)])
    hub.takes_back("R2", ("pen", 3), order="B1")
    assert (pens(hub, hub.alpha), pens(hub, hub.beta)) == (8, 2)
    assert owed(hub) == [(3, 900), (-2, -600), (-1, -300)]
    assert hub.audit() == []


def test_betas_own_units_go_first_and_alphas_fill_up(hub: World) -> None:
    gives(hub, 2)
    assert shows(hub) == 2
    lets(hub, units=6)
    assert shows(hub) == 8
    sells(hub, "B1", 5)
    c, ce = t.claims.c, t.cells.c
    query = select(ce.owner_id, c.backed).join(t.cells, ce.id == c.cell_id).order_by(c.id)
    assert [tuple(row.values()) for row in hub.rows(query)] == [(hub.beta, 2), (hub.alpha, 3)]
    assert rights(hub) == (3, 3)
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert hub.audit() == []


def test_a_share_of_50_percent_counts_what_is_sold_under_it(hub: World) -> None:
    lets(hub, percent=50)
    assert shows(hub) == 5
    sells(hub, "B1", 3, unpaid)
    assert shows(hub) == 2
    sells(hub, "B2", 4, unpaid)
    assert hub.claims("B2") == [(4, 2)]
    hub.takes(order("A1", ("pen", 3)))
    assert shows(hub) == 0
    assert hub.audit() == []


def test_an_agency_passes_no_title_and_owes_a_fee_line(hub: World) -> None:
    lets(hub, title_passes="never")
    sells(hub, "B1", 2)
    hub.confirms(hub.releases("B1"), ("pen", 2))
    assert owed(hub) == [(2, 600)]


def test_a_contract_begins_and_ends_by_the_clock_and_shops_are_told(hub: World) -> None:
    assert hub.clock
    hub.decides("resource")
    sells(hub, "B1", 2, unpaid)
    lets(hub, begins=MONDAY + timedelta(minutes=10), ends=MONDAY + timedelta(minutes=20))
    assert (shows(hub), hub.claims("B1")) == (0, [(2, 0)])
    hub.store.write(lambda tx: tx.conn.execute(delete(t.marks)))
    hub.clock.wait(601)
    with hub.store.read() as tx:
        assert make_contract.any_due(tx)
    hub.store.write(make_contract.turn)
    assert (shows(hub), hub.claims("B1")) == (4, [(2, 2)])
    assert hub.rows(select(t.marks))
    hub.clock.wait(600)
    hub.store.write(make_contract.turn)
    assert (shows(hub), hub.claims("B1"), rights(hub)) == (0, [(2, 2)], (4, 2))
    with hub.store.read() as tx:
        assert not make_contract.any_due(tx)
    assert hub.audit() == []


def test_a_waiting_order_is_topped_up_within_its_rights(hub: World) -> None:
    hub.decides("wait")
    lets(hub, units=3)
    hub.counts("pen", -9)
    sells(hub, "B1", 5, unpaid)
    assert hub.claims("B1") == [(5, 1)]
    hub.counts("pen", 9)
    assert (hub.claims("B1"), rights(hub)) == ([(5, 3)], (0, 3))
    assert hub.audit() == []


def test_promises_that_are_taken_back_give_their_rights_back(hub: World) -> None:
    hub.decides("ask", unback="newest")
    lets(hub)
    sells(hub, "B1", 4, unpaid)
    hub.counts("pen", -8)
    assert (hub.claims("B1"), rights(hub)) == ([(4, 2)], (4, 2))
    assert hub.audit() == []


def test_an_order_that_moves_to_another_warehouse_keeps_its_rights(hub: World) -> None:
    hub.decides("resource")
    hub.store.write(lambda tx: tx.add(t.pools, [{"connection_id": hub.beta_shop, "warehouse_id": hub.west, "rank": 1}]))
    lets(hub)
    hub.counts("pen", -8)
    sells(hub, "B1", 4, unpaid)
    assert hub.claims("B1") == [(4, 2)]
    hub.counts("pen", 5, "west")
    assert (hub.claims("B1"), rights(hub)) == ([(4, 4)], (2, 4))
    assert hub.audit() == []


def test_a_caller_reserves_under_a_contract_and_gives_it_back(hub: World) -> None:
    ident = lets(hub, units=3).id

    def asks(ref: str, units: int) -> Any:
        want = Want(0, hub.beta, hub.pen, units, None, (Source(hub.alpha, ident),))
        asked = Reserve(Subject(hub.beta, "api", ref), (want,), (hub.east,))
        return hub.store.write(lambda tx: decide(tx, [asked]))[0]

    assert isinstance(asks("R1", 4), OutOfStock)
    assert asks("R2", 2).state == "reserved"
    assert (rights(hub), free(hub)) == ((1, 2), 8)
    hub.store.write(lambda tx: decide(tx, [Release(Subject(hub.beta, "api", "R2"))]))
    assert (rights(hub), free(hub)) == ((3, 0), 10)
    assert hub.audit() == []


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"percent": 101}, "101 % of an item cannot be shared"),
        ({"percent": 0}, "cannot be shared"),
        ({"units": 0}, "is no number of units"),
        ({"units": 5, "percent": 5}, "and not both"),
        ({"items": ()}, "at least one item"),
        ({"begins": MONDAY, "ends": MONDAY - timedelta(days=1)}, "turn the days round"),
        ({"ends": MONDAY - timedelta(days=1)}, "turn the days round"),
        ({"quota": "weekly"}, "quota is one of"),
    ],
)
def test_terms_that_make_no_contract_are_named_and_nothing_is_written(
    hub: World, more: dict[str, Any], why: str
) -> None:
    answer = lets(hub, **more)
    assert isinstance(answer, Unfit)
    assert why in answer.message
    assert hub.rows(select(t.contracts.c.id)) == []


def test_with_oneself_or_in_a_circle_there_is_no_contract(hub: World) -> None:
    assert isinstance(lets(hub, beneficiary_id=hub.alpha), Unfit)
    lets(hub)
    back = lets(hub, "C10", owner_id=hub.beta, beneficiary_id=hub.alpha)
    assert isinstance(back, Refused)
    assert "come back to their owner by C9" in back.message
    ends(hub)
    assert lets(hub, "C10", owner_id=hub.beta, beneficiary_id=hub.alpha).ref == "C10"


def test_said_again_it_stands_and_with_other_terms_it_is_refused(hub: World) -> None:
    first = lets(hub)
    assert lets(hub) == first._replace(repeated=True)
    assert isinstance(lets(hub, units=7), Refused)
    assert isinstance(ends(hub, "C77"), Unmatched)
    assert (ends(hub).repeated, ends(hub).repeated) == (False, True)


def test_the_audit_finds_rights_that_were_changed_by_hand(hub: World) -> None:
    lets(hub)
    hub.store.write(lambda tx: tx.conn.execute(t.contract_items.update().values(allowance=5, used=1)))
    found = "\n".join(hub.audit())
    assert "allowance is 5, its entries say 6" in found
    assert "1 are used, its claims hold 0" in found


few = st.integers(0, 9)


@given(own=few, theirs=few, right=few, west=few, wanted=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_admission_gives_own_units_first_and_never_more_than_units_or_rights(
    own: int, theirs: int, right: int, west: int, wanted: list[int]
) -> None:
    there = {(1, 5, 8): own, (2, 5, 8): theirs, (2, 5, 9): west}
    wants = [Want(n, 1, 5, units, None, (Source(2, 7),)) for n, units in enumerate(wanted)]
    (parts,) = admit(there, [Request(wants, (8, 9))], {(7, 5): right})
    for key, units in there.items():
        assert sum(p.backed for p in parts if (p.owner_id, p.item_id, p.warehouse_id) == key) <= units
    lent = sum(p.backed for p in parts if p.contract_id == 7)
    assert lent <= right
    for n, units in enumerate(wanted):
        assert sum(p.asked for p in parts if p.line == n) == units
    if sum(wanted) <= own + min(right, theirs + west):
        assert all(p.asked == p.backed for p in parts)
    assert all((p.owner_id == 2) == (p.contract_id == 7) for p in parts)


def lent_out(hub: World) -> int:
    """alpha's pens that left for beta's orders, or passed to them, and did not come back to alpha."""
    cl, r = t.claims.c, t.return_lines.c
    left = select(func.sum(cl.shipped).label("n")).where(cl.contract_id.is_not(None))
    lent = select(cl.line_id).where(cl.contract_id.is_not(None))
    back = select(func.sum(r.quantity).label("n")).where(r.owner_id == hub.alpha, r.line_id.in_(lent))
    passed = select(func.sum(cl.backed).label("n")).join(t.contracts, t.contracts.c.id == cl.contract_id)
    passed = passed.where(t.contracts.c.title_passes == "at_reserve", cl.open.is_(True))
    return sum(sign * (hub.rows(query)[0]["n"] or 0) for sign, query in ((1, left), (1, passed), (-1, back)))


acts = st.tuples(
    st.sampled_from(["sell", "buy", "cancel", "ship", "return", "alpha", "count", "give", "end", "new"]),
    st.integers(1, 6),
)


def waiting(hub: World, shop: int) -> int:
    """Units that orders of this shop wait for."""
    c, o = t.claims.c, t.orders.c
    query = select((c.asked - c.shipped - c.backed).label("n")).join(t.orders, o.id == c.order_id)
    return sum(row["n"] for row in hub.rows(query.where(t.is_short, o.connection_id == shop)))


def forgotten(hub: World) -> list[Any]:
    """Orders that wait though their contract's owner has units for them, and the contract rights to them."""
    c, co, i, ce, lent = t.claims.c, t.contracts.c, t.contract_items.c, t.cells.c, t.cells.alias("lent")
    query = select(c.order_id).join(t.cells, ce.id == c.cell_id).join(t.contracts, co.id == c.contract_id)
    query = query.join(t.contract_items, (i.contract_id == co.id) & (i.item_id == ce.item_id))
    same = (getattr(lent.c, name) == getattr(ce, name) for name in ("item_id", "warehouse_id", "condition"))
    query = query.join(lent, and_(lent.c.owner_id == co.owner_id, *same))
    return hub.rows(query.where(t.is_short, i.percent.is_(None), i.allowance > 0, lent.c.free + lent.c.suspense > 0))


@settings(max_examples=stories(90))
@given(
    story=st.lists(acts, max_size=14),
    quota=st.sampled_from(["open", "lifetime", "percent"]),
    title=st.sampled_from(["at_ship", "at_reserve"]),
    back=st.sampled_from(["owner", "beneficiary"]),
    policy=st.sampled_from(["wait", "resource"]),
)
def test_whatever_happens_goods_rights_and_debts_add_up(
    story: list[tuple[str, int]],
    quota: str,
    title: str,
    back: str,
    policy: str,
) -> None:
    terms: dict[str, Any] = {"percent": 60} if quota == "percent" else {"units": 7, "quota": quota}
    terms |= {"title_passes": title, "returns_to": back, "known_as": BETA}
    with in_memory() as folder, store(folder, clock=Clock()) as it:
        hub = bare(world(it, Clock(), policy))
        shares_code(hub)
        hub.decides(policy, unback="newest")
        lets(hub, **terms)
        there, made = 10, []
        for n, (act, units) in enumerate(story):
            refs = [f"B{k}" for k in range(len(made))]
            if act in ("sell", "buy"):
                made.append(sells if act == "sell" else buys)
                made[-1](hub, f"B{len(refs)}", units)
            elif act == "alpha":
                hub.takes(unpaid(f"A{n}", ("pen", units)))
            elif act == "count":
                there += units - 3
                hub.counts("pen", units - 3)
            elif act == "give":
                gives(hub, units, f"T{n}")
            elif act == "end":
                ends(hub)
            elif act == "new":
                lets(hub, f"N{n}", **terms)
            elif refs and act == "cancel":
                made[units % len(made)](hub, refs[units % len(made)], 1, closed)
            elif refs and act == "ship":
                if told := [(ref, f["ref"]) for ref in refs for f in hub.fulfilments(ref)]:
                    ref, fulfilment = told[units % len(told)]
                    hub.releases(ref)
                    hub.confirms(fulfilment, ("pen", units), final=bool(units % 2))
                    there -= units
            elif refs and act == "return":
                units = min(units, hub.line(refs[0])["shipped"] - hub.line(refs[0])["returned"])
                hub.takes_back(f"R{n}", ("pen", units), order=refs[0])
                there += units
        here = (t.cells.c.item_id == hub.pen, t.cells.c.warehouse_id == hub.east, t.cells.c.condition == "ZP")
        cells = hub.rows(select(t.cells).where(*here))
        assert sum(cell[a] for cell in cells for a in ("free", "reserved", "held", "suspense")) == there
        assert sum(units for units, _ in owed(hub)) == lent_out(hub)
        assert not (pens(hub, hub.beta) > 0 and waiting(hub, hub.beta_shop))
        assert forgotten(hub) == []
        assert all(row["allowance"] >= 0 for row in hub.rows(select(t.contract_items)))
        assert hub.rows(select(func.coalesce(func.sum(t.right_entries.c.quantity), 0).label("n")))[0]["n"] == 0
        assert [b for b in hub.audit() if "in suspense" not in b] == []
        with hub.store.read() as tx:
            assert contracts.sources(tx, [hub.beta], [hub.pen]) is not None


def test_two_contracts_for_the_same_goods_promise_no_unit_twice(hub: World) -> None:
    lets(hub, "C1", units=8)
    lets(hub, "C2", units=8)
    hub.counts("pen", -6)
    assert shows(hub) == 4
    sells(hub, "B1", 8, unpaid)
    assert hub.claims("B1") == [(8, 4)]
    assert hub.audit() == []


def test_two_contracts_of_3_each_back_an_order_of_5_together(hub: World) -> None:
    lets(hub, "C1", units=3)
    lets(hub, "C2", units=3)
    assert shows(hub) == 6
    sells(hub, "B1", 5)
    assert hub.claims("B1") == [(3, 3), (2, 2)]
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert owed(hub) == [(3, 900), (2, 600)]
    assert hub.audit() == []


def test_a_share_is_of_what_those_before_left_though_they_come_at_once(hub: World) -> None:
    lets(hub, percent=50)
    told = [(unpaid("A1", ("pen", 6)), hub.tmall, hub.alpha), (unpaid("B1", ("pen", 4)), hub.beta_shop, hub.beta)]
    batch = [
        Spoken("order", hub.keeps("order", said, at=shop)[0], shop, merchant, said) for said, shop, merchant in told
    ]
    hub.store.write(lambda tx: decide(tx, batch))
    assert (hub.claims("A1"), hub.claims("B1")) == ([(6, 6)], [(4, 2)])


def test_two_lines_over_shipped_at_once_take_no_more_than_is_left_of_a_lifetime_quota(hub: World) -> None:
    lets(hub, units=4, quota="lifetime")
    assert hub.takes(order("B1", ("pen", 1), ("pen", 2)), at=hub.beta_shop) == ["done"]
    left = [ConfirmedLine(sku="pen", line=line, quantity=units) for line, units in (("1", 4), ("2", 5))]
    confirm = Confirm(fulfilment=hub.releases("B1"), lines=tuple(left), event_id="W1", final=True)
    assert hub.hears(confirm, at=hub.wms) == ["done"]
    assert (rights(hub), sum(units for units, _ in owed(hub))) == ((0, 4), 9)
    assert hub.audit() == []


def set_of_two_pens_and_an_ink(hub: World) -> None:
    """beta's shop sells `set`."""

    def work(tx: Transaction) -> None:
        ident, listing = tx.ids.new(), tx.ids.new()
        tx.add(t.items, [{"id": ident, "owner_id": hub.alpha, "sku": "set", "name": "set", "created_at": tx.now}])
        row = {"id": listing, "connection_id": hub.beta_shop, "ref": "set", "product": "P1", "sku": "set", "pack": 1}
        tx.add(t.listings, [{**row, "item_id": ident, "created_at": tx.now}])
        set_parts(tx, HUB, "set", Recipe(owner="alpha", parts={"pen": 2, "ink": 1}))

    hub.store.write(work)


def test_a_kit_of_own_and_lent_parts_is_sold_whole_or_not_at_all(hub: World) -> None:
    set_of_two_pens_and_an_ink(hub)
    hub.counts("ink", 9)
    gives(hub, 2)
    lets(hub, items=(Shared(hub.pen, 5, price_minor=300), Shared(hub.ink, 9, price_minor=10)))
    assert hub.takes(order("B1", ("set", 4)), at=hub.beta_shop) == ["done"]
    c, ce = t.claims.c, t.cells.c
    query = select(ce.item_id, ce.owner_id, c.backed).join(t.cells, ce.id == c.cell_id).order_by(c.id)
    found = sorted(tuple(row.values()) for row in hub.rows(query))
    assert found == sorted([(hub.pen, hub.beta, 2), (hub.pen, hub.alpha, 4), (hub.ink, hub.alpha, 3)])
    assert hub.audit() == []
    hub.takes(closed("B1", ("set", 4)), at=hub.beta_shop)
    assert (pens(hub, hub.alpha), pens(hub, hub.beta)) == (8, 2)
    assert {row["used"] for row in hub.rows(select(t.contract_items))} == {0}
    assert hub.audit() == []


def test_parts_of_a_kit_leave_and_come_back_as_whose_they_are(hub: World) -> None:
    set_of_two_pens_and_an_ink(hub)
    hub.counts("ink", 9)
    gives(hub, 2)
    lets(hub, items=(Shared(hub.pen, 9, price_minor=300), Shared(hub.ink, 9, price_minor=10)))
    hub.takes(order("B1", ("set", 3)), at=hub.beta_shop)
    hub.confirms(hub.releases("B1"), ("pen", 6), ("ink", 3))
    assert sorted(owed(hub)) == [(3, 30), (4, 1200)]
    assert hub.line("B1")["shipped"] == 3
    hub.takes_back("R1", ("ink", 1), order="B1")
    assert sum(units for units, _ in owed(hub)) == 6
    hub.takes_back("R2", ("pen", 6), order="B1")
    assert sum(amount for _, amount in owed(hub)) == 20
    assert (pens(hub, hub.alpha), pens(hub, hub.beta)) == (8, 2)
    assert hub.audit() == []


def test_a_kit_of_anothers_part_under_no_contract_is_not_sold(hub: World) -> None:
    set_of_two_pens_and_an_ink(hub)
    hub.counts("ink", 9)
    lets(hub)
    hub.takes(order("B1", ("set", 1)), at=hub.beta_shop)
    assert [backed for _, backed in hub.claims("B1")] == [0, 0]
    assert rights(hub) == (6, 0)
    assert hub.audit() == []


@pytest.mark.parametrize("title", ["at_ship", "at_reserve"])
@pytest.mark.parametrize("policy", ["wait", "part_ship"])
def test_who_waits_for_lent_goods_gets_its_merchants_own_first_and_uses_no_right_by_it(
    hub: World, policy: str, title: str
) -> None:
    hub.decides(policy)
    shares_code(hub)
    lets(hub, units=3, title_passes=title)
    sells(hub, "B1", 5, unpaid)
    sells(hub, "B2", 4, unpaid)
    assert (hub.claims("B1"), hub.claims("B2"), rights(hub)) == ([(5, 3)], [(4, 0)], (0, 3))
    gives(hub, 4)
    assert (sorted(hub.claims("B1")), pens(hub, hub.beta)) == ([(2, 2), (3, 3)], 0)
    assert (sorted(hub.claims("B2")), rights(hub), hub.audit()) == ([(2, 0), (2, 2)], (0, 3), [])
    gives(hub, 2, "T2")
    assert (sorted(hub.claims("B2")), rights(hub), hub.audit()) == ([(4, 4)], (0, 3), [])


def test_who_is_sourced_anew_gets_its_merchants_own_before_a_newer_order(hub: World) -> None:
    hub.decides("resource")
    lets(hub, units=3)
    sells(hub, "B1", 5, unpaid)
    gives(hub, 4)
    sells(hub, "B2", 4, unpaid)
    assert (sorted(hub.claims("B1")), hub.claims("B2")) == ([(1, 1), (4, 4)], [(4, 2)])
    assert (pens(hub, hub.beta), rights(hub), hub.audit()) == (0, (0, 3), [])


def test_own_units_back_what_was_taken_back_of_own_and_of_lent_ones(hub: World) -> None:
    hub.decides("wait", unback="newest")
    gives(hub, 2)
    lets(hub, units=3)
    sells(hub, "B1", 5, unpaid)
    hub.counts("pen", -8)
    _differ(hub, hub.beta, -2)
    assert (sorted(hub.claims("B1")), rights(hub)) == ([(2, 0), (3, 0)], (3, 0))
    _differ(hub, hub.beta, 8)
    assert (hub.claims("B1"), pens(hub, hub.beta), rights(hub)) == ([(5, 5)], 3, (3, 0))


def _differ(hub: World, owner: int, units: int) -> None:
    """So many pens more of that owner's are found in the east, or, below 0, miss there."""

    def work(tx: Transaction) -> None:
        ledger = Ledger(tx)
        cell = ledger.cell(CellKey(owner, hub.pen, hub.east))
        ledger.book(f"found:{tx.ids.new()}", "count", "", difference(cell, units))
        keep_promises.after_moves(tx, ledger)

    hub.store.write(work)


def test_what_came_of_its_own_is_shipped_and_not_owed_for(hub: World) -> None:
    hub.decides("wait")
    lets(hub, units=3)
    sells(hub, "B1", 5)
    gives(hub, 4)
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert (owed(hub), pens(hub, hub.alpha), pens(hub, hub.beta), rights(hub)) == ([(3, 900)], 3, 2, (3, 0))
    hub.takes_back("R1", ("pen", 4), order="B1")
    assert (owed(hub), pens(hub, hub.alpha), pens(hub, hub.beta)) == ([(3, 900), (-3, -900)], 6, 3)
    assert hub.audit() == []


def test_what_shall_be_backed_whole_is_by_own_and_lent_units_together(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    lets(hub, units=3)
    sells(hub, "B1", 5, unpaid)
    gives(hub, 1)
    assert (hub.claims("B1"), pens(hub, hub.beta)) == ([(5, 0)], 1)
    gives(hub, 1, "T2")
    assert (sorted(hub.claims("B1")), rights(hub), hub.audit()) == ([(2, 2), (3, 3)], (0, 3), [])


def test_a_kit_that_waits_for_lent_parts_gets_its_merchants_own_in_whole_kits(hub: World) -> None:
    hub.decides("wait")
    set_of_two_pens_and_an_ink(hub)
    lets(hub, items=(Shared(hub.pen, 3), Shared(hub.ink, 9)))
    hub.counts("ink", 9)
    hub.takes(unpaid("B1", ("set", 3)), at=hub.beta_shop)
    assert sorted(hub.claims("B1")) == [(3, 1), (6, 2)]
    gives(hub, 2)
    assert (sorted(hub.claims("B1")), pens(hub, hub.beta)) == ([(2, 2), (3, 2), (4, 2)], 0)
    gives(hub, 1, "T2")
    assert (sorted(hub.claims("B1")), hub.row(t.contract_items, item_id=hub.pen)["used"]) == ([(3, 3)] * 3, 3)
    assert hub.audit() == []


def test_a_person_who_backs_an_order_where_it_stands_may_use_its_merchants_own(hub: World) -> None:
    hub.decides("ask")
    lets(hub, units=3)
    sells(hub, "B1", 5, unpaid)
    gives(hub, 4)
    order_id = hub.order("B1")["id"]

    def asks(tx: Transaction) -> int:
        ledger = Ledger(tx)
        units = keep_promises.top_up_order(tx, ledger, order_id)
        ledger.flush()
        return units

    assert hub.store.write(asks) == 2
    assert (sorted(hub.claims("B1")), pens(hub, hub.beta), hub.audit()) == ([(2, 2), (3, 3)], 2, [])


def test_what_a_distributor_bought_waits_for_its_right_no_longer_than_for_goods(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", -8)
    lets(hub, units=1, known_as=BETA)
    buys(hub, "B1", 5, unpaid)
    hub.counts("pen", 8)
    assert (sorted(hub.claims("B1")), rights(hub), hub.audit()) == ([(1, 1), (4, 4)], (0, 1), [])


def test_a_virtual_kit_cannot_be_shared_but_its_parts(hub: World) -> None:
    set_of_two_pens_and_an_ink(hub)
    answer = lets(hub, items=(Shared(hub.row(t.items, sku="set")["id"], 5),))
    assert isinstance(answer, Unfit)
    assert "name its parts" in answer.message


def test_a_kit_that_waits_is_topped_up_in_whole_kits_as_far_as_rights_go(hub: World) -> None:
    hub.decides("wait")
    set_of_two_pens_and_an_ink(hub)
    hub.counts("pen", -10)
    lets(hub, items=(Shared(hub.pen, 5), Shared(hub.ink, 9)))
    hub.takes(unpaid("B1", ("set", 3)), at=hub.beta_shop)
    hub.counts("ink", 9)
    hub.counts("pen", 9)
    assert sorted(hub.claims("B1")) == [(3, 2), (6, 4)]
    assert hub.audit() == []


def test_what_shall_be_backed_whole_is_not_topped_up_in_part_by_what_rights_are_left(hub: World) -> None:
    hub.decides("wait", part_backing=False)
    lets(hub, units=3)
    hub.counts("pen", -9)
    sells(hub, "B1", 5, unpaid)
    hub.counts("pen", 9)
    assert (hub.claims("B1"), rights(hub)) == ([(5, 0)], (3, 0))
