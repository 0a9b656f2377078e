"""What distributors buy at their supplier's shop, by the contracts that know them: agency (代销) and dealer (经销)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import Refused
from core.store import tables as t
from core.store.scope import Scope
from tests.unit.test_contracts import BETA, bare, buys, ends, lets, owed, rights, sells
from tests.worlds import Clock, World, closed, store, world
from web.reads import contracts as reads


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    """Ten of alpha's pens lie in the east; beta buys of alpha as 小五的店."""
    with store(tmp_path, clock=(clock := Clock())) as it:
        yield bare(world(it, clock))


def under(hub: World) -> list[tuple[int, bool]]:
    """(units backed, by contract) of every open claim."""
    c = t.claims.c
    return [(r["backed"], r["contract_id"] is not None) for r in hub.rows(select(t.claims).where(c.open.is_(True)))]


def asked(hub: World) -> list[str]:
    """Why people were asked about distributors."""
    w = t.worklist.c
    kinds = ("distributor.unknown", "order.beyond_contract")
    return [r["reason"] for r in hub.rows(select(t.worklist).where(w.kind.in_(kinds), w.done_at.is_(None)))]


@pytest.mark.parametrize(("resale", "title"), [("agency", "never"), ("dealer", "at_ship")])
def test_a_purchase_is_sold_under_the_contract_that_knows_its_distributor(hub: World, resale: str, title: str) -> None:
    lets(hub, known_as=BETA, title_passes=title)
    buys(hub, "FX1", 4, resale=resale)
    assert (under(hub), rights(hub), hub.cell(hub.pen)) == ([(4, True)], (2, 4), {"free": 6, "reserved": 4})
    hub.confirms(hub.releases("FX1"), ("pen", 4))
    assert (owed(hub), rights(hub), asked(hub)) == ([(4, 1200)], (6, 0), [])
    assert hub.audit() == []


def test_called_off_it_gives_back_what_it_used_though_the_contract_is_over(hub: World) -> None:
    lets(hub, known_as=BETA, title_passes="never")
    buys(hub, "FX1", 4, resale="agency")
    ends(hub)
    buys(hub, "FX1", 4, closed, "agency")
    assert (under(hub), rights(hub), hub.cell(hub.pen)) == ([], (6, 0), {"free": 10})
    assert hub.audit() == []


@pytest.mark.parametrize(("resale", "title"), [("agency", "at_ship"), ("dealer", "never")])
def test_a_contract_of_other_terms_is_not_the_one_it_was_bought_by(hub: World, resale: str, title: str) -> None:
    lets(hub, known_as=BETA, title_passes=title)
    buys(hub, "FX1", 4, resale=resale)
    assert (under(hub), rights(hub)) == ([(4, False)], (6, 0))
    assert [words in asked(hub)[0] for words in (BETA, "FX1", "known_as")] == [True, True, True]


def test_what_a_contract_does_not_cover_is_promised_all_the_same_and_a_person_hears_of_it(hub: World) -> None:
    lets(hub, known_as=BETA, title_passes="never")
    buys(hub, "FX1", 9, resale="agency")
    assert (under(hub), rights(hub), hub.cell(hub.pen)) == ([(6, True), (3, False)], (0, 6), {"free": 1, "reserved": 9})
    assert "3 units in order FX1 beyond" in asked(hub)[0]
    hub.confirms(hub.releases("FX1"), ("pen", 9))
    assert (owed(hub), rights(hub)) == ([(6, 1800)], (6, 0))
    assert hub.audit() == []


def test_who_waits_for_goods_gets_them_under_the_contract(hub: World) -> None:
    hub.decides("wait")
    lets(hub, known_as=BETA, title_passes="never")
    hub.counts("pen", -10)
    buys(hub, "FX1", 4, resale="agency")
    assert under(hub) == [(0, True)]
    hub.counts("pen", 4)
    assert (under(hub), rights(hub)) == ([(4, True)], (2, 4))
    assert hub.audit() == []


def test_a_distributor_nobody_knows_is_asked_about_once_and_not_after_a_contract_knows_it(hub: World) -> None:
    buys(hub, "FX1", 1, resale="agency")
    assert asked(hub) == []
    lets(hub, "C7", known_as="another", title_passes="never")
    buys(hub, "FX2", 1, resale="agency")
    buys(hub, "FX3", 1, resale="agency")
    assert len(asked(hub)) == 1
    ends(hub, "C7")
    lets(hub, "C8", known_as=BETA, title_passes="never")
    assert asked(hub) == []
    ends(hub, "C8")
    buys(hub, "FX4", 1, resale="agency")
    assert (asked(hub), under(hub)) == ([], [(1, False)] * 4)


def test_a_name_means_one_merchant(hub: World) -> None:
    gamma = {"id": 9, "code": "gamma", "name": "gamma", "created_at": hub.clock()}
    hub.store.write(lambda tx: tx.add(t.merchants, [gamma]))
    lets(hub, "C7", known_as=BETA)
    refused = lets(hub, "C8", known_as=BETA, beneficiary_id=9)
    assert isinstance(refused, Refused)
    assert "小五的店 is who sells under C7" in str(refused)


def test_moved_to_another_warehouse_it_stays_under_the_contract(hub: World) -> None:
    hub.decides("resource")
    lets(hub, known_as=BETA, title_passes="never")
    hub.counts("pen", -10)
    buys(hub, "FX1", 4, resale="agency")
    hub.counts("pen", 4, warehouse="west")
    assert (under(hub), rights(hub)) == ([(4, True)], (2, 4))
    assert hub.audit() == []


def test_the_supplier_sees_which_order_at_its_own_shop_it_is_owed_for_and_no_other(hub: World) -> None:
    lets(hub, known_as=BETA)
    buys(hub, "FX1", 2)
    sells(hub, "B1", 1)
    for ref, units in (("FX1", 2), ("B1", 1)):
        hub.confirms(hub.releases(ref), ("pen", units))
    with hub.store.read() as tx:
        seen = [reads.settlements(tx, Scope("merchant", who))["rows"] for who in (hub.alpha, hub.beta)]
    assert [[row["order"] for row in rows] for rows in seen] == [["FX1", None], ["FX1", "B1"]]
