"""Two orders of one purchase claim stock once: whichever comes first, and the other when that is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.errors import Refused
from core.flow import cancel_order, pair_orders, tell_counterparts
from core.flow.hear import Spoken
from core.flow.journeys import decide
from core.store import tables as t
from core.store.ledger import Ledger
from core.store.store import one
from tests.conftest import stories
from tests.unit.test_contracts import bare, ends, lets, owed
from tests.worlds import Clock, World, closed, in_memory, order, store, unpaid, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Ten of alpha's pens lie in the east; beta may sell six."""
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        made = bare(world(it, clock))
        lets(made)
        yield made


def supplied(hub: World, make: Any = unpaid, units: int = 3, names: str = "TID", **more: Any) -> None:
    """alpha hears of the order its distributor placed for a shopper."""
    told = make("FX1", ("pen", units), **more).model_copy(update={"counterpart_ref": names})
    assert hub.takes(told) == ["done"]


def shopped(hub: World, make: Any = unpaid, units: int = 3, **more: Any) -> None:
    """beta's shop tells the shopper's order."""
    assert hub.takes(make("TID", ("pen", units), **more), at=hub.beta_shop) == ["done"]


def free(hub: World) -> int:
    return hub.cell(hub.pen).get("free", 0)


def leads(hub: World, ref: str) -> bool:
    return hub.order(ref)["counterpart_of"] is None


@pytest.mark.parametrize(("first", "then"), [(supplied, shopped), (shopped, supplied)])
def test_whichever_comes_first_reserves_the_3_and_the_other_nothing(hub: World, first: Any, then: Any) -> None:
    first(hub)
    then(hub)
    claimed = [hub.claims(ref) for ref in ("FX1", "TID")]
    assert sorted(claimed) == [[], [(3, 3)]]
    assert free(hub) == 7
    assert [leads(hub, "FX1"), leads(hub, "TID")] == [first is supplied, first is shopped]
    assert hub.audit() == []


def test_of_two_in_one_batch_the_first_reserves(hub: World) -> None:
    told = [
        unpaid("FX1", ("pen", 3)).model_copy(update={"counterpart_ref": "FX2"}),
        unpaid("FX2", ("pen", 3)),
    ]
    assert hub.takes(*told) == ["done", "done"]
    assert (hub.claims("FX1"), hub.claims("FX2"), free(hub)) == ([(3, 3)], [], 7)


def test_said_again_and_paid_it_still_claims_once(hub: World) -> None:
    shopped(hub)
    for version in ("1", "2", "3"):
        supplied(hub, order, version=version)
        shopped(hub, order, version=version)
    assert (hub.claims("FX1"), hub.claims("TID"), free(hub)) == ([], [(3, 3)], 7)
    hub.confirms(hub.releases("TID"), ("pen", 3))
    assert (hub.fulfilments("FX1"), owed(hub), hub.cell(hub.pen)) == ([], [(3, 900)], {"free": 7})
    assert hub.audit() == []


def test_the_one_that_claims_nothing_is_cancelled_alone_and_frees_nothing(hub: World) -> None:
    shopped(hub)
    supplied(hub)
    supplied(hub, closed)
    assert (hub.claims("TID"), free(hub), hub.order("FX1")["state"]) == ([(3, 3)], 7, "cancelled")
    shopped(hub, closed)
    assert (free(hub), hub.claims("FX1")) == (10, [])
    assert hub.audit() == []


@pytest.mark.parametrize("policy", ["ask", "wait", "resource"])
def test_where_the_one_that_claims_is_cancelled_the_other_is_decided_then(hub: World, policy: str) -> None:
    hub.decides(policy)
    shopped(hub, order)
    supplied(hub, order)
    assert hub.takes(unpaid("A9", ("pen", 9))) == ["done"]
    shopped(hub, closed)
    assert (hub.order("TID")["state"], hub.claims("TID")) == ("cancelled", [])
    assert (hub.claims("FX1"), leads(hub, "FX1"), hub.order("FX1")["state"]) == ([(3, 3)], True, "released")
    assert (hub.claims("A9"), free(hub)) == ([(9, 7)], 0)
    hub.confirms(hub.releases("FX1"), ("pen", 3))
    assert hub.cell(hub.pen) == {"reserved": 7}
    assert hub.audit() == []


def test_what_a_warehouse_has_passes_on_with_its_verdict(hub: World) -> None:
    shopped(hub, order)
    fulfilment = hub.releases("TID")
    supplied(hub, order)
    shopped(hub, closed)
    assert (hub.claims("FX1"), free(hub)) == ([], 7)
    hub.answers(fulfilment, "cancelled")
    assert (hub.claims("FX1"), free(hub)) == ([(3, 3)], 7)
    assert hub.audit() == []


def test_once_shipped_nothing_passes_on(hub: World) -> None:
    shopped(hub, order)
    supplied(hub, order)
    hub.confirms(hub.releases("TID"), ("pen", 3))
    shopped(hub, closed)
    assert (hub.claims("FX1"), free(hub)) == ([], 7)


def test_orders_of_other_goods_claim_both_and_a_person_is_asked(hub: World) -> None:
    shopped(hub)
    supplied(hub, units=2)
    assert (hub.claims("FX1"), hub.claims("TID"), free(hub)) == ([(2, 2)], [(3, 3)], 5)
    assert "order.counterpart_differs" in hub.worklist()


def test_two_that_become_of_the_same_goods_in_one_batch_leave_one_that_claims(hub: World) -> None:
    twins = [("FX1", "FX2", 2), ("FX2", "FX1", 3)]
    for version, more in (("1", 0), ("2", 1)):
        told = [
            unpaid(ref, ("pen", units + more * (3 - units)), version=version).model_copy(
                update={"counterpart_ref": names}
            )
            for ref, names, units in twins
        ]
        assert hub.takes(*told) == ["done", "done"]
        assert free(hub) == (7 if more else 5)
    assert (hub.claims("FX1"), hub.claims("FX2")) == ([], [(3, 3)])
    assert hub.audit() == []


def test_a_stranger_who_names_an_order_follows_nothing(hub: World) -> None:
    ends(hub)
    shopped(hub)
    supplied(hub)
    assert (leads(hub, "FX1"), hub.claims("FX1"), hub.worklist()) == (True, [(3, 3)], [])


def pairs(hub: World, ref: str, names: str) -> bool:
    def work(tx: Any) -> bool:
        row = one(tx, t.orders, ref=ref)
        ledger = Ledger(tx)
        follows = pair_orders.pair(tx, row or {}, names)
        if follows:
            cancel_order.revise(tx, ledger, (row or {})["id"])
        ledger.flush()
        return follows

    return hub.store.write(work)


def test_a_person_pairs_two_that_both_claimed(hub: World) -> None:
    shopped(hub)
    supplied(hub, names="")
    assert free(hub) == 4
    assert [pairs(hub, "FX1", "TID"), pairs(hub, "FX1", "TID")] == [True, True]
    assert (hub.claims("FX1"), hub.claims("TID"), free(hub)) == ([], [(3, 3)], 7)
    with pytest.raises(Refused, match="paired with another"):
        pairs(hub, "FX1", "FX7")
    assert hub.audit() == []


def test_a_person_pairs_one_that_has_not_come_and_it_follows(hub: World) -> None:
    supplied(hub, names="")
    assert not pairs(hub, "FX1", "TID")
    supplied(hub, version="2", names="")
    shopped(hub)
    assert (hub.claims("FX1"), hub.claims("TID"), free(hub)) == ([(3, 3)], [], 7)


def test_what_is_on_its_way_or_of_other_goods_is_not_paired(hub: World) -> None:
    shopped(hub)
    supplied(hub, order, names="")
    with pytest.raises(Refused, match="makes the purchase already"):
        pairs(hub, "FX1", "TID")
    assert hub.takes(unpaid("FX2", ("pen", 2))) == ["done"]
    with pytest.raises(Refused, match="of other goods"):
        pairs(hub, "FX2", "TID")
    assert pairs(hub, "TID", "FX1")
    with pytest.raises(Refused, match="makes the purchase already"):
        pairs(hub, "FX1", "FX2")
    assert hub.audit() == []


@settings(max_examples=stories(40))
@given(
    story=st.lists(
        st.sampled_from([f"{who} {what}" for who, what in product(("FX1", "TID"), ("unpaid", "paid", "closed"))]),
        max_size=8,
    ),
    ship=st.booleans(),
)
def test_whatever_is_told_of_the_two_never_more_than_one_purchase_is_claimed(story: list[str], ship: bool) -> None:
    makes = {"unpaid": unpaid, "paid": order, "closed": closed}
    with in_memory() as folder, store(folder, clock=Clock()) as it:
        hub = bare(world(it, Clock()))
        lets(hub)
        alive: dict[str, bool] = {}
        for n, told in enumerate(story, 1):
            ref, what = told.split()
            alive[ref] = alive.get(ref, True) and what != "closed"
            tell = supplied if ref == "FX1" else shopped
            tell(hub, makes[what] if alive[ref] else closed, version=str(n))
        asked = sum(asked for ref in alive for asked, _ in hub.claims(ref))
        assert asked == (3 if any(alive.values()) else 0)
        if ship and (told := [f for ref in alive for f in hub.fulfilments(ref) if not f["final"]]):
            hub.confirms(told[0]["ref"], ("pen", 3))
            assert hub.cell(hub.pen).get("free", 0) == 7
        assert hub.audit() == []


def test_a_follower_and_its_leaders_end_in_one_batch(hub: World) -> None:
    shopped(hub)
    supplied(hub)
    told = [closed("TID", ("pen", 3)), order("FX1", ("pen", 3), version="2")]
    shops = [(hub.beta_shop, hub.beta), (hub.tmall, hub.alpha)]
    batch = [
        Spoken("order", hub.keeps("order", said, at=shop)[0], shop, merchant, said)
        for said, (shop, merchant) in zip(told, shops, strict=True)
    ]
    hub.store.write(lambda tx: decide(tx, batch))
    assert (hub.claims("FX1"), hub.claims("TID"), free(hub)) == ([(3, 3)], [], 7)
    assert hub.audit() == []


def said_of(hub: World, ref: str) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
    """(waybill, lines) of each shipment an order's shop is told of now though the order claims nothing."""
    ident, o, told = hub.order(ref)["id"], t.outbox.c, []
    wished = select(o.id).where(o.state == "waiting", o.subject.startswith(f"order:{ident}:fulfilment:"))
    for row in hub.rows(wished.order_by(o.id)):

        def say(tx: Any, row: Any = row) -> Any:
            intent = one(tx, t.outbox, id=row["id"])
            assert intent
            value = tell_counterparts.shipment(tx, intent)
            reached = {"said": value.model_dump(mode="json")} if value else {}
            tx.set(t.outbox, row["id"], state="done", reached=reached)
            return value and (value.waybill, tuple((line.ref, line.quantity) for line in value.lines))

        told += [it for it in [hub.store.write(say)] if it]
    return told


def test_what_leaves_in_two_parcels_is_told_in_two_of_the_others_own_lines(hub: World) -> None:
    """Five of one line leave as four and one; the other order has lines of three and two."""
    hub.decides("part_ship", part_backing=True)
    hub.counts("pen", -6)
    shopped(hub, order, units=5)
    made = order("FX1", ("pen", 3), ("pen", 2)).model_copy(update={"counterpart_ref": "TID"})
    assert hub.takes(made) == ["done"]
    hub.confirms(hub.releases("TID"), ("pen", 4))
    assert [lines for _, lines in said_of(hub, "FX1")] == [(("1", 3), ("2", 1))]
    hub.counts("pen", 1)
    hub.labels("TID")
    hub.sends("send_delivery_order")
    hub.confirms(hub.fulfilments("TID")[-1]["ref"], ("pen", 1))
    assert [lines for _, lines in said_of(hub, "FX1")] == [(("2", 1),)]
    assert hub.claims("FX1") == [] and hub.audit() == []


def test_who_follows_late_hears_of_what_has_left_and_who_is_gone_hears_nothing(hub: World) -> None:
    shopped(hub, order)
    hub.confirms(hub.releases("TID"), ("pen", 3))
    supplied(hub, order)
    supplied(hub, order, version="2")
    assert [lines for _, lines in said_of(hub, "FX1")] == [(("1", 3),)]


def test_an_order_called_off_meanwhile_is_told_nothing(hub: World) -> None:
    shopped(hub, order)
    supplied(hub, order)
    hub.confirms(hub.releases("TID"), ("pen", 3))
    supplied(hub, closed)
    assert said_of(hub, "FX1") == []
