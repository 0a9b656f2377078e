"""Contracts by which title passes when an order is backed, and whose goods are that come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.errors import OutOfStock, Refused, Unfit
from core.flow import follow_reservation
from core.flow.journeys import decide
from core.flow.lock_stock import Line, Lock, Locked
from core.flow.reserve_stock import Reserve, Subject
from core.flow.transfer_title import TransferTitle
from core.model.stock import Lot
from core.rules.decide import Source, Want
from core.store import contracts, lots
from core.store import tables as t
from tests.unit.test_contracts import bare, ends, gives, lets, owed, pens, rights, sells, shares_code, shows
from tests.worlds import Clock, World, closed, minutes, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Ten of alpha's pens lie in the east, which knows alpha's and beta's goods by one code."""
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        made = bare(world(it, clock))
        shares_code(made)
        yield made


def passes(hub: World, **more: Any) -> Any:
    """alpha's pens become beta's when they back its orders."""
    return lets(hub, title_passes="at_reserve", **more)


def whose(hub: World, account: str, warehouse: int = 0) -> tuple[int, int]:
    """Good pens on that account: alpha's, beta's."""
    query = select(t.cells).filter_by(item_id=hub.pen, warehouse_id=warehouse or hub.east, condition="ZP")
    found = {row["owner_id"]: row[account] for row in hub.rows(query)}
    return found.get(hub.alpha, 0), found.get(hub.beta, 0)


def test_what_backs_an_order_of_4_is_betas_at_once_and_owed_in_one_journal(hub: World) -> None:
    passes(hub)
    assert shows(hub) == 6
    sells(hub, "B1", 4)
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((6, 0), (0, 4))
    assert (owed(hub), rights(hub), shows(hub)) == ([(4, 1200)], (2, 4), 2)
    assert hub.entries("reserve") == [("free", -4), ("reserved", 4)]
    r, j = t.right_entries.c, t.journals.c
    moved = select(r.account, r.quantity).join(t.journals, j.id == r.journal_id).where(j.kind == "reserve")
    assert sorted(tuple(row.values()) for row in hub.rows(moved)) == [("allowance", -4), ("used", 4)]
    assert hub.audit() == []


def test_shipping_writes_no_line_more_and_gives_an_open_quota_back(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4)
    assert hub.row(t.fulfilment_lines)["keeper"] == "ALPHA"
    hub.confirms(hub.releases("B1"), ("pen", 4))
    assert (whose(hub, "free"), whose(hub, "reserved"), owed(hub)) == ((6, 0), (0, 0), [(4, 1200)])
    assert (rights(hub), shows(hub)) == ((6, 0), 6)
    assert hub.audit() == []


def test_a_lifetime_quota_is_used_up_by_what_passed_and_left(hub: World) -> None:
    passes(hub, quota="lifetime")
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 4))
    assert (rights(hub), shows(hub), owed(hub)) == ((2, 4), 2, [(4, 1200)])
    assert hub.audit() == []


def test_what_is_called_off_passes_back_whole_though_the_contract_has_ended(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4, unpaid)
    ends(hub)
    sells(hub, "B1", 4, closed)
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((10, 0), (0, 0))
    assert (owed(hub), rights(hub)) == ([(4, 1200), (-4, -1200)], (6, 0))
    assert hub.audit() == []


def test_an_order_that_becomes_smaller_passes_the_difference_back(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4, unpaid)
    assert hub.takes(unpaid("B1", ("pen", 1), version="2"), at=hub.beta_shop) == ["done"]
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((9, 0), (0, 1))
    assert owed(hub) == [(4, 1200), (-3, -900)]
    assert hub.audit() == []


def test_of_4_of_which_3_leave_the_last_passes_back_and_2_of_3_come_back(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 3))
    assert (whose(hub, "free"), owed(hub)) == ((7, 0), [(4, 1200), (-1, -300)])
    hub.takes_back("R1", ("pen", 2), order="B1")
    assert (whose(hub, "free"), owed(hub)) == ((9, 0), [(4, 1200), (-1, -300), (-2, -600)])
    assert hub.audit() == []


def test_what_comes_back_too_early_is_not_taken_off_what_still_backs_the_order(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 1), final=False)
    hub.takes_back("R1", ("pen", 3), order="B1")
    assert owed(hub) == [(4, 1200), (-1, -300)]
    assert "return.too_many" in hub.worklist()
    assert hub.audit() == []


def test_over_shipped_units_are_alphas_free_ones_and_owed_besides(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 2)
    hub.confirms(hub.releases("B1"), ("pen", 5))
    assert (whose(hub, "free"), whose(hub, "suspense"), owed(hub)) == ((5, 0), (0, 0), [(2, 600), (3, 900)])
    assert hub.audit() == []


def test_goods_under_another_keeper_code_are_neither_shown_nor_promised(hub: World) -> None:
    shares_code(hub, "BETA", hub.west)
    hub.store.write(lambda tx: tx.add(t.pools, [{"connection_id": hub.beta_shop, "warehouse_id": hub.west, "rank": 1}]))
    hub.counts("pen", -9)
    hub.counts("pen", 5, "west")
    passes(hub)
    with hub.store.read() as tx:
        assert contracts.together(tx, hub.alpha, hub.beta) == {hub.east}
    assert shows(hub) == 1
    sells(hub, "B1", 3, unpaid)
    assert (whose(hub, "reserved"), whose(hub, "free", hub.west)) == ((0, 1), (5, 0))
    hub.decides("wait")
    hub.counts("pen", 1, "west")
    hub.counts("pen", 1)
    assert (whose(hub, "reserved"), whose(hub, "reserved", hub.west), hub.claims("B1")) == ((0, 2), (0, 0), [(3, 2)])
    assert hub.audit() == []


def test_an_order_short_where_title_cannot_pass_is_not_backed_there_later(hub: World) -> None:
    hub.decides("wait")
    passes(hub)
    hub.counts("pen", -10)
    sells(hub, "B1", 3, unpaid)
    hub.store.write(lambda tx: tx.conn.execute(t.keepers.update().filter_by(owner_id=hub.beta).values(code="BETA")))
    hub.counts("pen", 5)
    assert (hub.claims("B1"), owed(hub)) == ([(3, 0)], [])
    hub.store.write(lambda tx: tx.conn.execute(t.keepers.update().filter_by(owner_id=hub.beta).values(code="ALPHA")))
    hub.counts("pen", 1)
    assert (hub.claims("B1"), owed(hub)) == ([(3, 3)], [(3, 900)])
    assert hub.audit() == []


@pytest.mark.parametrize("policy", ["wait", "resource"])
def test_who_waits_buys_as_far_as_rights_go_also_after_the_end(hub: World, policy: str) -> None:
    hub.decides(policy)
    passes(hub, units=3)
    hub.counts("pen", -9)
    sells(hub, "B1", 5, unpaid)
    assert (hub.claims("B1"), owed(hub)) == ([(5, 1)], [(1, 300)])
    ends(hub)
    hub.counts("pen", 9)
    assert (hub.claims("B1"), rights(hub), owed(hub)) == ([(5, 3)], (0, 3), [(1, 300), (2, 600)])
    assert hub.audit() == []


def test_a_share_of_50_percent_counts_what_passed_under_it(hub: World) -> None:
    passes(hub, percent=50)
    sells(hub, "B1", 3, unpaid)
    assert shows(hub) == 2
    sells(hub, "B2", 4, unpaid)
    assert (hub.claims("B2"), owed(hub)) == ([(4, 2)], [(3, 900), (2, 600)])
    hub.takes(closed("B1", ("pen", 3)), at=hub.beta_shop)
    assert (shows(hub), owed(hub)[-1]) == (3, (-3, -900))
    assert hub.audit() == []


def test_own_units_go_first_and_a_cancel_gives_each_side_its_own(hub: World) -> None:
    gives(hub, 2)
    passes(hub)
    sells(hub, "B1", 5, unpaid)
    assert (whose(hub, "reserved"), owed(hub)) == ((0, 5), [(3, 900)])
    sells(hub, "B1", 5, closed)
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((8, 2), (0, 0))
    assert owed(hub) == [(3, 900), (-3, -900)]
    assert hub.audit() == []


def test_an_order_that_moves_to_another_warehouse_buys_there_what_it_gives_back_here(hub: World) -> None:
    hub.decides("resource")
    shares_code(hub, "ALPHA", hub.west)
    hub.store.write(lambda tx: tx.add(t.pools, [{"connection_id": hub.beta_shop, "warehouse_id": hub.west, "rank": 1}]))
    passes(hub)
    hub.counts("pen", -8)
    sells(hub, "B1", 4, unpaid)
    assert whose(hub, "reserved") == (0, 2)
    hub.counts("pen", 5, "west")
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((2, 0), (0, 0))
    assert (whose(hub, "free", hub.west), whose(hub, "reserved", hub.west)) == ((1, 0), (0, 4))
    assert (sum(n for n, _ in owed(hub)), rights(hub)) == (4, (2, 4))
    assert hub.audit() == []


def test_what_a_count_finds_missing_is_alphas_loss_and_takes_no_sold_pens_back(hub: World) -> None:
    hub.decides("ask", unback="newest")
    passes(hub)
    sells(hub, "B1", 4, unpaid)
    hub.counts("pen", -8)
    assert (whose(hub, "reserved"), whose(hub, "suspense"), hub.claims("B1")) == ((0, 4), (-2, 0), [(4, 4)])
    assert [b for b in hub.audit() if "in suspense" not in b] == []


def test_what_was_bought_for_an_order_is_not_given_up_for_a_title_transfer(hub: World) -> None:
    gives(hub, 1)
    passes(hub)
    sells(hub, "B1", 4, unpaid)
    back = TransferTitle(hub.beta, hub.alpha, hub.east, "T9", ((hub.pen, "ZP", 2),), "anna", unback=True)
    assert isinstance(hub.store.write(lambda tx: decide(tx, [back]))[0], OutOfStock)
    assert hub.claims("B1") == [(1, 1), (3, 3)]


def test_what_a_caller_reserved_passes_when_an_order_takes_it_over(hub: World) -> None:
    ident = passes(hub, units=3).id
    want = Want(0, hub.beta, hub.pen, 2, None, (Source(hub.alpha, ident, frozenset({hub.east})),))
    cart = Subject(hub.beta, "cart", "R1")
    hub.store.write(lambda tx: decide(tx, [Reserve(cart, (want,), (hub.east,))]))
    assert (whose(hub, "reserved"), owed(hub), rights(hub)) == ((2, 0), [], (1, 2))
    hub.store.write(lambda tx: follow_reservation.promise(tx, cart, hub.beta_shop, "B1"))
    sells(hub, "B1", 2)
    assert (whose(hub, "reserved"), owed(hub), rights(hub)) == ((0, 2), [(2, 600)], (1, 2))
    assert hub.audit() == []


def test_a_caller_who_asks_too_much_hears_what_is_there_to_be_passed(hub: World) -> None:
    ident = passes(hub).id
    want = Want(0, hub.beta, hub.pen, 9, None, (Source(hub.alpha, ident, frozenset({hub.east})),))
    asked = Reserve(Subject(hub.beta, "cart", "R1"), (want,), (hub.west, hub.east))
    answer = hub.store.write(lambda tx: decide(tx, [asked]))[0]
    assert (isinstance(answer, OutOfStock), answer.missing) == (True, ((hub.pen, 9, 6),))


def lends_alpha(hub: World, title: str, units: int) -> None:
    """Six of alpha's ten pens become beta's, who lets alpha sell so many of them."""
    gives(hub, 6)
    lets(hub, owner_id=hub.beta, beneficiary_id=hub.alpha, title_passes=title, units=units)


def locks(hub: World, units: int) -> None:
    """alpha keeps so many of its own pens for its Tmall shop."""
    told = Lock(hub.alpha, "618", "campaign", hub.tmall, (Line(hub.pen, hub.east, units),), "anna", None, minutes(240))
    assert isinstance(hub.store.write(lambda tx: decide(tx, [told]))[0], Locked)


def test_what_passes_back_goes_to_no_lock_it_did_not_come_from(hub: World) -> None:
    lends_alpha(hub, "at_reserve", units=6)
    locks(hub, 2)
    hub.takes(unpaid("A1", ("pen", 8)))
    assert (whose(hub, "free"), whose(hub, "reserved"), owed(hub)) == ((0, 2), (8, 0), [(4, 1200)])
    hub.takes(unpaid("A1", ("pen", 7), version="2"))
    hub.takes(closed("A1", ("pen", 7)))
    assert (whose(hub, "free"), whose(hub, "reserved")) == ((2, 6), (2, 0))
    assert sum(n for n, _ in owed(hub)) == 0
    assert hub.audit() == []


@pytest.mark.parametrize("title", ["at_ship", "at_reserve"])
def test_a_lock_backs_no_claim_on_goods_of_another_owner(hub: World, title: str) -> None:
    hub.decides("ask")
    lends_alpha(hub, title, units=1)
    hub.takes(unpaid("A1", ("pen", 6)))
    assert hub.claims("A1") == [(4, 4), (2, 1)]
    hub.counts("pen", 3)
    locks(hub, 3)
    hub.decides("wait")
    hub.counts("pen", 1, "west")
    assert hub.claims("A1") == [(4, 4), (2, 1)]
    hub.counts("pen", 1)
    assert (hub.claims("A1"), len(hub.rows(select(t.lock_draws)))) == ([(5, 5), (1, 1)], 0)
    assert hub.audit() == []


def by_lot(hub: World, owner: int) -> dict[str, int]:
    """Lot → units of that owner's pens in the east."""
    li, ce = t.lot_on_hand.c, t.cells.c
    query = select(li.lot, li.units).join(t.cells, ce.id == li.cell_id).where(ce.owner_id == owner)
    return {row["lot"]: row["units"] for row in hub.rows(query.order_by(li.lot)) if row["units"]}


def two_lots(hub: World) -> None:
    """Of the ten pens 5 are of L1, which expires first, and 5 of L2."""
    hub.store.write(lambda tx: [tx.set(t.items, hub.pen, keeps_lots=True), lots.begin(tx, [hub.pen])])
    hub.counts("pen", -10)
    for code, day in (("L1", "2027-01-01"), ("L2", "2027-06-01")):
        hub.counts("pen", 5, lots=(Lot(code=code, quantity=5, expires_on=day),))


def test_lots_pass_with_the_units_soonest_first_and_the_last_of_them_back(hub: World) -> None:
    two_lots(hub)
    passes(hub, units=9)
    assert hub.takes(unpaid("B1", ("pen", 3), ("pen", 4)), at=hub.beta_shop) == ["done"]
    assert (by_lot(hub, hub.alpha), by_lot(hub, hub.beta)) == ({"L2": 3}, {"L1": 5, "L2": 2})
    assert hub.takes(unpaid("B1", ("pen", 3), ("pen", 1), version="2"), at=hub.beta_shop) == ["done"]
    assert (by_lot(hub, hub.alpha), by_lot(hub, hub.beta)) == ({"L1": 1, "L2": 5}, {"L1": 4})
    assert hub.takes(closed("B1", ("pen", 3), ("pen", 1)), at=hub.beta_shop) == ["done"]
    assert (by_lot(hub, hub.alpha), by_lot(hub, hub.beta)) == ({"L1": 5, "L2": 5}, {})
    assert hub.audit() == []


def test_of_what_is_sent_instead_the_pens_pass_back_and_the_ink_is_alphas(hub: World) -> None:
    hub.counts("ink", 5)
    hub.store.write(
        lambda tx: tx.add(t.substitutes, [{"item_id": hub.pen, "instead_id": hub.ink, "created_at": tx.now}])
    )
    passes(hub)
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 1), ("ink", 3))
    assert (whose(hub, "free"), whose(hub, "reserved"), hub.cell(hub.ink)) == ((9, 0), (0, 0), {"free": 2})
    assert (sum(n for n, _ in owed(hub)), rights(hub)) == (4, (6, 0))
    assert hub.audit() == []


def test_the_same_confirmation_twice_changes_nothing(hub: World) -> None:
    passes(hub)
    sells(hub, "B1", 4)
    sells(hub, "B1", 4)
    fulfilment = hub.releases("B1")
    for _ in range(2):
        hub.confirms(fulfilment, ("pen", 4), event_id="W1")
        hub.takes_back("R1", ("pen", 1), order="B1", event_id="W2")
    assert (whose(hub, "free"), owed(hub)) == ((7, 0), [(4, 1200), (-1, -300)])
    assert hub.audit() == []


@pytest.mark.parametrize("title", ["at_ship", "at_reserve"])
def test_what_comes_back_to_the_beneficiary_is_betas_and_stays_owed(hub: World, title: str) -> None:
    lets(hub, title_passes=title, returns_to="beneficiary")
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 4))
    hub.takes_back("R1", ("pen", 3), order="B1")
    assert (whose(hub, "free"), owed(hub)) == ((6, 3), [(4, 1200)])
    assert hub.row(t.return_lines)["owner_id"] == hub.beta
    assert (pens(hub, hub.beta), shows(hub)) == (3, 9)
    assert hub.audit() == []


def test_under_another_keeper_code_what_comes_back_is_alphas_and_owed_no_more(hub: World) -> None:
    hub.store.write(lambda tx: tx.conn.execute(t.keepers.update().filter_by(owner_id=hub.beta).values(code="BETA")))
    lets(hub, returns_to="beneficiary")
    sells(hub, "B1", 4)
    hub.confirms(hub.releases("B1"), ("pen", 4))
    hub.takes_back("R1", ("pen", 3), order="B1")
    assert (whose(hub, "free"), owed(hub)) == ((9, 0), [(4, 1200), (-3, -900)])
    assert hub.audit() == []


def test_terms_of_title_that_contradict_each_other_are_named(hub: World) -> None:
    agency = lets(hub, title_passes="never", returns_to="beneficiary")
    assert (isinstance(agency, Unfit), "returns_to is owner" in agency.message) == (True, True)
    strange = lets(hub, returns_to="nobody")
    assert (isinstance(strange, Unfit), "returns_to is one of" in strange.message) == (True, True)
    first = lets(hub)
    assert lets(hub) == first._replace(repeated=True)
    assert isinstance(lets(hub, returns_to="beneficiary"), Refused)
