"""Another item sent in place of the one ordered: booked where it was declared, parked where it was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Unfit, Unmatched
from core.flow import explain, tell_shipment
from core.model import Confirm, ConfirmedLine
from core.store import facts, inbox
from core.store import tables as t
from core.store.scope import HUB, Scope
from hub.onboard.substitutes import Substitutes, set_substitutes, substitutes
from tests.worlds import Clock, World, order, store, world


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def declares(hub: World, sku: str, *instead: str, scope: Scope = HUB, owner: str = "alpha") -> list[str]:
    new = Substitutes(owner=owner, substitutes=instead)
    return hub.store.write(lambda tx: set_substitutes(tx, scope, sku, new))


def released(hub: World, *lines: tuple[str, int]) -> str:
    for sku, units in lines:
        hub.counts(sku, units)
    hub.takes(order("A", *lines))
    return hub.releases("A")


def instead(hub: World) -> list[tuple[str, str, int]]:
    """(ordered, sent, units) of what left in place of something else."""
    with hub.store.read() as tx:
        return [(r["ordered"], r["sku"], r["quantity"]) for r in facts.sent_instead(tx, hub.fulfilments("A"))]


def test_a_declared_substitute_frees_what_was_ordered_and_takes_its_own_free_units(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 7)
    assert hub.confirms(fulfilment, ("ink", 5)) == ["done"]
    assert hub.entries("ship") == [("reserved", -5), ("free", 5), ("free", -5), ("world", 5)]
    assert (hub.cell(hub.pen), hub.cell(hub.ink)) == ({"free": 5}, {"free": 2})
    assert instead(hub) == [("pen", "ink", 5)]
    assert (hub.line("A")["item_id"], hub.line("A")["shipped"]) == (hub.pen, 5)
    assert hub.order("A")["state"] == "shipped"
    assert hub.audit() == []


def test_a_substitute_that_the_books_lack_comes_out_of_suspense(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 2)
    hub.confirms(fulfilment, ("ink", 5))
    assert hub.entries("ship") == [("reserved", -5), ("free", 5), ("free", -2), ("suspense", -3), ("world", 5)]
    assert (hub.cell(hub.pen), hub.cell(hub.ink)) == ({"free": 5}, {"suspense": -3})
    assert hub.worklist() == ["stock.missing"]


def test_some_of_both_leave_for_one_line_and_its_shop_is_told_all_of_it(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 2)
    hub.confirms(fulfilment, ("pen", 3), ("ink", 2))
    assert (hub.cell(hub.pen), hub.cell(hub.ink)) == ({"free": 2}, {})
    assert instead(hub) == [("pen", "ink", 2)]
    said = hub.store.write(lambda tx: tell_shipment.shipment(tx, hub.fulfilments("A")[0]["id"]))
    assert said is not None
    assert [(line.ref, line.quantity) for line in said.lines] == [("1", 5)]
    assert hub.audit() == []


def test_more_of_the_substitute_than_was_ordered_is_booked_too(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 9)
    hub.confirms(fulfilment, ("ink", 7))
    assert (hub.cell(hub.pen), hub.cell(hub.ink)) == ({"free": 5}, {"free": 2})
    assert hub.line("A")["shipped"] == 7
    assert hub.audit() == []


def test_what_comes_free_fills_missing_units_first_and_backs_who_waits(hub: World) -> None:
    hub.decides("wait")
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 5)
    hub.counts("pen", -1)
    hub.takes(order("B", ("pen", 9)))
    hub.confirms(fulfilment, ("ink", 5))
    assert hub.cell(hub.pen) == {"reserved": 4}
    assert hub.claims("B") == [(9, 4)]
    assert hub.audit() == []


def test_an_over_shipped_line_and_a_substituted_one_of_the_same_item_share_what_comes_free(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 2), ("pen", 3))
    hub.counts("ink", 3)
    rows = (ConfirmedLine(line="1", sku="pen", quantity=3), ConfirmedLine(line="2", sku="ink", quantity=3))
    assert hub.hears(Confirm(fulfilment=fulfilment, final=True, lines=rows), at=hub.wms) == ["done"]
    assert hub.cell(hub.pen) == {"free": 2}
    assert [hub.line("A", n)["shipped"] for n in "12"] == [3, 3]
    assert hub.audit() == []


def test_the_same_confirm_twice_is_booked_once_with_and_without_message_ids(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 9)
    for event in ("E1", "E1"):
        hub.confirms(fulfilment, ("ink", 2), final=False, event_id=event)
    assert (hub.cell(hub.ink), instead(hub)) == ({"free": 7}, [("pen", "ink", 2)])
    assert hub.confirms(fulfilment, ("ink", 3), event_id="") == ["done"]
    assert hub.confirms(fulfilment, ("ink", 3), event_id="") == ["done"]
    assert hub.confirms(fulfilment, ("pen", 3), event_id="") == ["parked"]
    assert instead(hub) == [("pen", "ink", 5)]
    assert hub.audit() == []


def test_what_was_not_declared_is_parked_says_how_and_goes_on_once_it_is(hub: World) -> None:
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 5)
    assert hub.confirms(fulfilment, ("ink", 5)) == ["parked"]
    row = hub.row(t.inbox, kind="confirm")
    assert "if it was sent instead of pen, declare it a substitute, then replay" in row["reason"]
    assert hub.cell(hub.pen) == {"reserved": 5}
    declares(hub, "pen", "ink")
    hub.store.write(lambda tx: inbox.replay(tx, [row["id"]]))
    assert hub.confirms(fulfilment, ("ink", 5)) == ["done"]
    assert hub.line("A")["shipped"] == 5


def test_a_substitute_counts_for_the_line_it_was_declared_for_alone(hub: World) -> None:
    declares(hub, "ink", "pen")
    fulfilment = released(hub, ("pen", 5))
    assert hub.confirms(fulfilment, ("ink", 5)) == ["parked"]


def test_a_substitute_that_comes_back_returns_to_the_line_it_was_sent_for(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 5)
    hub.confirms(fulfilment, ("ink", 5))
    assert hub.takes_back("RT1", ("ink", 2), order="A") == ["done"]
    assert (hub.line("A")["returned"], hub.cell(hub.ink)) == (2, {"free": 2})
    assert hub.worklist() == []


def test_an_order_tells_what_left_in_place_of_what_was_ordered(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 5)
    hub.confirms(fulfilment, ("ink", 5))
    with hub.store.read() as tx:
        happened = explain.explain_order(tx, HUB, hub.order("A")["id"])["happened"]
    assert ("substitute", "5 ink left in place of pen") in [(h["what"], h["words"]) for h in happened]


def test_the_audit_finds_more_sent_instead_than_left(hub: World) -> None:
    declares(hub, "pen", "ink")
    fulfilment = released(hub, ("pen", 5))
    hub.counts("ink", 5)
    hub.confirms(fulfilment, ("ink", 5))
    hub.store.write(lambda tx: tx.conn.execute(t.sent_instead.update().values(quantity=6)))
    ident, by = hub.fulfilments("A")[0]["id"], hub.row(t.journals, kind="ship")["cause"]
    assert hub.audit() == [
        f"fulfilment {ident}, line 1: 6 of other items went for it, 5 left",
        f"fulfilment {ident}: -1 of item {hub.pen} left, its journals say 0, last by ship of {by}",
        f"fulfilment {ident}: 6 of item {hub.ink} left, its journals say 5, last by ship of {by}",
    ]


def test_declared_again_they_replace_what_was_declared_before(hub: World) -> None:
    assert declares(hub, "pen", "ink", "ink") == ["ink"]
    assert declares(hub, "pen", "ink") == ["ink"]
    with hub.store.read() as tx:
        assert substitutes(tx, Scope("merchant", hub.alpha), "pen") == ["ink"]
    assert declares(hub, "pen") == []
    assert hub.rows(select(t.substitutes)) == []


def test_what_cannot_stand_in_is_refused_and_nothing_changes(hub: World) -> None:
    declares(hub, "pen", "ink")
    with pytest.raises(Unfit, match="cannot stand in for itself"):
        declares(hub, "pen", "pen")
    with pytest.raises(Unmatched, match="no item 'gold'"):
        declares(hub, "pen", "gold")
    with pytest.raises(Unmatched, match="there is no merchant 'alpha'"):
        declares(hub, "pen", "ink", scope=Scope("merchant", hub.beta))
    with pytest.raises(Unfit, match="say which owner"), hub.store.read() as tx:
        substitutes(tx, HUB, "pen")
    assert len(hub.rows(select(t.substitutes))) == 1
