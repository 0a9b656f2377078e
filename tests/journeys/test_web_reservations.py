"""Units asked for over REST: kept once, named problems where they are not, given back; racers get what there is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from core.flow import audit_ledger
from core.store import tables as t
from core.store.ledger import CellKey, Entry, Ledger, LotMove
from core.store.store import one
from workers.clock import Clock

RACERS = 64
SKU = "SKU-alpha-1"


@pytest.fixture
def five(web_pool: Any) -> Any:
    """Five of alpha's goods lie in HZ."""
    web_pool.stock_up("alpha", SKU, 5)
    return web_pool


def asks(stage: Any, ref: str, *lines: tuple[str, Any], by: str = "alpha", **more: Any) -> Any:
    """The response to one wish, from alpha's shop's pool unless it says otherwise."""
    where = {} if "warehouses" in more else {"connection": "tmall-alpha"}
    wanted = [{"sku": sku, "quantity": units} for sku, units in lines]
    return stage.call("POST", "/reservations", {"ref": ref, "lines": wanted, **where, **more}, by=by)


def accounts(stage: Any) -> tuple[int, int]:
    """(free, reserved) of alpha's goods."""
    (row,) = stage.did("GET", "/stock")["rows"]
    return row["free"], row["reserved"]


def lies_by_lot(stage: Any, **units: int) -> None:
    """Alpha's item keeps lots from now on, and so many units of these come to HZ."""
    stage.did("POST", "/items", {"owner": "alpha", "items": [{"sku": SKU, "name": "tea", "keeps_lots": True}]})

    def work(tx: Any) -> None:
        ledger = Ledger(tx)
        who, item, where = (
            one(tx, t.merchants, code="alpha"),
            one(tx, t.items, sku=SKU),
            one(tx, t.warehouses, code="HZ"),
        )
        assert who and item and where
        cell, total = ledger.cell(CellKey(who["id"], item["id"], where["id"])), sum(units.values())
        entries = [Entry(cell, "world", -total), Entry(cell, "free", total)]
        ledger.book("lots", "opening", "test", entries, named=[LotMove(cell, lot, n) for lot, n in units.items()])
        ledger.flush()

    stage.store.write(work)


def counted(stage: Any, ref: str, units: int) -> None:
    """A person counts alpha's goods in HZ."""
    lines, now = [{"sku": SKU, "quantity": units}], datetime.now(UTC).isoformat()
    taken = stage.did("POST", "/counts", {"ref": ref, "warehouse": "HZ", "counted_at": now, "lines": lines}, by="alpha")
    assert taken["state"] == "booked"


def breaches(stage: Any) -> list[str]:
    with stage.store.read() as tx:
        return audit_ledger.audit(tx)


def test_what_is_kept_is_shown_and_asked_again_is_not_kept_twice(five: Any) -> None:
    first = asks(five, "R1", (SKU, 2))
    assert first.status_code == 201
    kept = {"owner": "alpha", "sku": SKU, "warehouse": "HZ", "units": 2, "backed": 2}
    until = datetime.fromisoformat(first.json()["until"])
    assert 800 < (until - datetime.now(UTC)).total_seconds() <= 900
    assert first.json() == {
        "ref": "R1",
        "kind": "api",
        "merchant": "alpha",
        "state": "reserved",
        "until": first.json()["until"],
        "kept": [kept],
    }
    assert accounts(five) == (3, 2)
    again = asks(five, "R1", (SKU, 2))
    assert (again.status_code, again.json()) == (200, first.json())
    assert accounts(five) == (3, 2)
    assert five.did("GET", "/reservations/R1", by="alpha") == first.json()
    assert five.did("GET", "/reservations/R1?merchant=alpha")["kept"] == [kept]


def test_a_caller_reads_what_was_lost_and_what_came_back(five: Any) -> None:
    """Confirmed or not, the units are only as good as the goods."""
    asks(five, "R1", (SKU, 5), keep_s=None)
    kept = {"owner": "alpha", "sku": SKU, "warehouse": "HZ", "units": 5}
    five.did("PATCH", "/merchants/alpha", {"unback": "newest"})
    counted(five, "C1", 3)
    for call in (("GET", "/reservations/R1"), ("POST", "/reservations/R1/confirm"), ("GET", "/reservations/R1")):
        assert five.did(*call, by="alpha")["kept"] == [{**kept, "backed": 3}]
    (task,) = five.did("GET", "/parked", by="alpha")["rows"]
    assert (task["what"], task["reason"][:32]) == ("reservation.short", f"api R1 keeps 3 of 5 units of {SKU}"[:32])
    counted(five, "C2", 5)
    assert five.did("GET", "/reservations/R1", by="alpha")["kept"] == [{**kept, "backed": 5}]
    assert five.did("GET", "/parked", by="alpha")["rows"] == []
    assert five.did("POST", "/reservations/R1/release", by="alpha")["kept"] == [{**kept, "backed": 0}]
    assert breaches(five) == []


def test_other_units_under_the_same_ref_are_a_conflict(five: Any) -> None:
    asks(five, "R1", (SKU, 2))
    answer = asks(five, "R1", (SKU, 3))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "another ref" in answer.json()["detail"]
    assert accounts(five) == (3, 2)


def test_too_many_are_refused_by_name_and_nothing_is_kept(five: Any) -> None:
    answer = asks(five, "R1", (SKU, 6))
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["title"]) == (409, "urn:yipan:OutOfStock", "Not enough stock")
    assert problem["detail"] == f"R1: 6 of {SKU} where there are 5"
    assert accounts(five) == (5, 0)
    assert five.call("GET", "/reservations/R1", by="alpha").status_code == 404
    assert asks(five, "R1", (SKU, 5)).status_code == 201


@pytest.mark.parametrize("units", [0, -1, 1.5, "3", 10**9 + 1, None, True])
def test_what_is_no_number_of_units_does_not_fit(five: Any, units: Any) -> None:
    answer = asks(five, "R1", (SKU, units))
    assert answer.status_code == 422
    assert "quantity" in answer.json()["detail"]
    assert accounts(five) == (5, 0)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"ref": ""}, 422),
        ({"ref": "x" * 121}, 422),
        ({"ref": "R\x001"}, 422),
        ({"ref": "R1\n"}, 422),
        ({"may_split": "yes"}, 422),
        ({"keep_s": 1.5}, 422),
        ({"keep_s": 30 * 86400 + 1}, 422),
        ({"lines": [{"sku": "nothing\x00", "quantity": 1}]}, 422),
        ({"lines": [{"sku": SKU, "quantity": 1, "owner": "gamma"}]}, 404),
        ({"lines": []}, 422),
        ({"warehouses": ["HZ"], "connection": "tmall-alpha"}, 422),
        ({"warehouses": []}, 422),
        ({"warehouses": ["NOWHERE"]}, 404),
        ({"connection": "tmall-beta"}, 404),
        ({"connection": "nothing"}, 404),
        ({"merchant": "beta"}, 404),
        ({"lines": [{"sku": "nothing", "quantity": 1}]}, 404),
        ({"lines": [{"sku": "SKU-beta-1", "quantity": 1}]}, 404),
        ({"lines": [{"sku": "SKU-beta-1", "owner": "beta", "quantity": 1}]}, 404),
        ({"keep_s": 0}, 422),
        ({"surprise": 1}, 422),
    ],
)
def test_what_does_not_fit_or_is_not_there_is_named(five: Any, more: dict[str, Any], status: int) -> None:
    form = {"ref": "R1", "connection": "tmall-alpha", "lines": [{"sku": SKU, "quantity": 1}]} | more
    if "warehouses" in more and "connection" not in more:
        del form["connection"]
    answer = five.call("POST", "/reservations", form, by="alpha")
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert accounts(five) == (5, 0)


def test_a_cart_and_a_jit_pick_of_one_number_are_two_reservations(five: Any) -> None:
    asks(five, "R1", (SKU, 2), kind="cart", keep_s=60)
    asks(five, "R1", (SKU, 1), kind="jit", keep_s=None)
    assert accounts(five) == (2, 3)
    assert five.call("GET", "/reservations/R1", by="alpha").status_code == 404
    assert five.did("POST", "/reservations/R1/confirm?kind=jit", by="alpha")["until"] is None
    assert five.did("POST", "/reservations/R1/release?kind=cart", by="alpha")["state"] == "released"
    assert accounts(five) == (4, 1)
    assert five.did("GET", "/reservations/R1?kind=jit", by="alpha")["state"] == "confirmed"
    assert asks(five, "R2", (SKU, 1), kind="campaign").status_code == 422


def test_the_operator_says_for_whom(five: Any) -> None:
    assert asks(five, "R1", (SKU, 1), by="operator").status_code == 422
    assert asks(five, "R1", (SKU, 1), by="operator", merchant="gamma").status_code == 404
    assert asks(five, "R1", (SKU, 1), by="operator", merchant="alpha").json()["merchant"] == "alpha"
    assert five.did("POST", "/reservations/R1/confirm", by="alpha")["state"] == "confirmed"
    doors = (("GET", ""), ("POST", "/confirm"), ("POST", "/release"))
    for whom, status in (("", 422), ("?merchant=gamma", 404), ("?merchant=beta", 404), ("?merchant=alpha", 200)):
        answers = [five.call(method, f"/reservations/R1{door}{whom}").status_code for method, door in doors]
        assert answers == [status] * 3, whom
    assert accounts(five) == (5, 0)


@pytest.mark.parametrize("ref", ["SO/2026/7", "购物车 7", "a?b#c%d", "R1/confirm"])
def test_a_ref_is_found_again_however_its_caller_numbers(five: Any, ref: str) -> None:
    assert asks(five, ref, (SKU, 2), keep_s=None).status_code == 201
    path = f"/reservations/{quote(ref, safe='')}"
    assert five.did("GET", path, by="alpha")["ref"] == ref
    assert five.did("POST", f"{path}/confirm", by="alpha")["state"] == "confirmed"
    assert five.did("POST", f"{path}/release", by="alpha")["state"] == "released"
    assert accounts(five) == (5, 0)


def test_a_warehouse_named_twice_has_no_more_than_it_has(five: Any) -> None:
    answer = asks(five, "R1", (SKU, 6), warehouses=["HZ", "HZ"])
    assert (answer.status_code, answer.json()["detail"]) == (409, f"R1: 6 of {SKU} where there are 5")
    assert asks(five, "R1", (SKU, 5), warehouses=["HZ", "HZ"]).json()["kept"][0]["units"] == 5


def test_support_may_look_at_reservations_and_never_touch(five: Any) -> None:
    asks(five, "R1", (SKU, 2))
    five.give_key("support", "support")
    five.give_key("warehouse", "warehouse")
    found = "/reservations/R1?merchant=alpha"
    assert five.did("GET", found, by="support")["state"] == "reserved"
    assert five.call("GET", found, by="warehouse").status_code == 403
    for path in ("/reservations/R1/confirm", "/reservations/R1/release"):
        assert five.call("POST", f"{path}?merchant=alpha", by="support").status_code == 403
    assert asks(five, "R2", (SKU, 1), by="support", merchant="alpha").status_code == 403
    assert accounts(five) == (3, 2)


def lend(stage: Any) -> None:
    """beta may sell all of alpha's goods."""
    item = {"sku": SKU, "percent": 100}
    new = {"ref": "C1", "owner": "alpha", "beneficiary": "beta", "currency": "CNY", "items": [item]}
    stage.did("POST", "/contracts", new)


def test_a_merchant_may_reserve_what_its_shop_sells_of_anothers(five: Any) -> None:
    listing = {"ref": "L-9", "item": SKU, "owner": "alpha"}
    theirs = {"ref": "R1", "connection": "tmall-beta", "lines": [{"sku": SKU, "owner": "alpha", "quantity": 2}]}
    assert five.call("POST", "/reservations", theirs, by="beta").status_code == 404
    five.did("POST", "/listings", {"connection": "tmall-beta", "listings": [listing]})
    assert five.call("POST", "/reservations", theirs, by="beta").status_code == 409
    lend(five)
    kept = five.did("POST", "/reservations", theirs, by="beta")
    assert (kept["merchant"], kept["kept"][0]["owner"], kept["kept"][0]["units"]) == ("beta", "alpha", 2)


def test_anothers_goods_are_kept_only_where_the_shop_sells_them(five: Any) -> None:
    five.did("POST", "/warehouses", {"code": "SH", "name": "上海仓"})
    listing = {"ref": "L-9", "item": SKU, "owner": "alpha"}
    five.did("POST", "/listings", {"connection": "tmall-beta", "listings": [listing]})
    lend(five)

    def status(*warehouses: str, by: str = "beta") -> int:
        wanted = {"ref": f"R-{by}-{len(warehouses)}", "warehouses": warehouses}
        line = {"sku": SKU, "owner": "alpha", "quantity": 1}
        found: int = five.call("POST", "/reservations", {**wanted, "lines": [line]}, by=by).status_code
        return found

    assert [status("SH"), status("HZ", "SH"), status("HZ")] == [404, 404, 201]
    assert status("HZ", "SH", by="alpha") == 201
    assert accounts(five) == (3, 2)


def test_confirmed_and_released_it_goes_back_once(five: Any) -> None:
    asks(five, "R1", (SKU, 2))
    confirmed = five.did("POST", "/reservations/R1/confirm", by="alpha")
    assert (confirmed["state"], confirmed["until"]) == ("confirmed", None)
    for _ in range(2):
        assert five.did("POST", "/reservations/R1/release", by="alpha")["state"] == "released"
    assert accounts(five) == (5, 0)
    assert five.call("POST", "/reservations/R1/confirm", by="alpha").status_code == 409
    assert five.call("POST", "/reservations/R2/confirm", by="alpha").status_code == 404
    assert breaches(five) == []


def test_two_merchants_with_the_same_ref_do_not_meet(five: Any) -> None:
    five.stock_up("beta", "SKU-beta-1", 5)
    asks(five, "R1", (SKU, 2))
    assert asks(five, "R1", ("SKU-beta-1", 3), by="beta", warehouses=["HZ"]).status_code == 201
    five.did("POST", "/reservations/R1/release", by="beta")
    assert five.did("GET", "/reservations/R1", by="alpha")["state"] == "reserved"
    assert five.call("GET", "/reservations/R1?merchant=alpha", by="beta").status_code == 404


def test_the_clock_gives_back_what_ran_out(five: Any) -> None:
    asks(five, "R1", (SKU, 2), keep_s=60)
    asks(five, "R2", (SKU, 1), keep_s=None)
    clock = Clock(five.store, lambda lanes: None)
    clock.tick()
    assert accounts(five) == (2, 3)
    past = update(t.claims).where(t.claims.c.ref == "R1").values(expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    five.store.write(lambda tx: tx.conn.execute(past))
    clock.tick()
    assert accounts(five) == (4, 1)
    assert five.did("GET", "/reservations/R1", by="alpha")["state"] == "released"
    assert breaches(five) == []


@pytest.fixture
def ten(web_pool: Any) -> Any:
    """Ten of alpha's goods lie in HZ."""
    web_pool.stock_up("alpha", SKU, 10)
    return web_pool


def stands(stage: Any, by: str = "alpha", **terms: Any) -> str:
    """A channel policy of this merchant's is proposed and activated; its id."""
    ident: str = stage.did("POST", "/policies", terms, by=by)["id"]
    stage.did("POST", f"/policies/{ident}/activate", by=by)
    return ident


def test_what_the_merchants_own_policy_keeps_is_refused_and_the_policy_named(ten: Any) -> None:
    """Half of ten is five, and of the five left two; what a platform occupied it took of what it was shown."""
    ident = stands(ten, share=50)
    refused = asks(ten, "R1", (SKU, 6))
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert refused.json() == {
        "type": "urn:yipan:Withheld",
        "title": "Kept by the channel policy",
        "status": 409,
        "detail": f"R1: 6 of {SKU} where 5 may be promised: the channel policy keeps the rest: ask for less, "
        "or change the policy",
        "fix": "Ask for less, or change the channel policy",
    }
    assert accounts(ten) == (10, 0)
    assert ten.call("GET", "/reservations/R1", by="alpha").status_code == 404
    assert asks(ten, "R1", (SKU, 5)).status_code == 201
    assert asks(ten, "R1", (SKU, 5)).status_code == 200
    assert asks(ten, "R2", (SKU, 3), kind="cart").json()["type"] == "urn:yipan:Withheld"
    assert asks(ten, "R2", (SKU, 3), by="operator", merchant="alpha").status_code == 409
    assert asks(ten, "R2", (SKU, 3), kind="jit").status_code == 201
    ten.did("POST", f"/policies/{ident}/withdraw", by="alpha")
    assert asks(ten, "R3", (SKU, 2)).status_code == 201
    assert (accounts(ten), breaches(ten)) == ((0, 10), [])


def test_more_than_there_is_is_out_of_stock_whatever_the_policy(ten: Any) -> None:
    stands(ten, cap=20)
    assert asks(ten, "R1", (SKU, 11)).json()["detail"] == f"R1: 11 of {SKU} where there are 10"


def test_a_shops_policy_binds_no_caller_and_what_is_exclusive_to_a_listing_does(ten: Any) -> None:
    stands(ten, connection="tmall-alpha", share=10)
    stands(ten, by="beta", share=10)
    assert asks(ten, "R1", (SKU, 2)).status_code == 201
    stands(ten, connection="tmall-alpha", listing="L-alpha-1", exclusive=5)
    assert "where 3 may be promised" in asks(ten, "R2", (SKU, 4)).json()["detail"]
    assert asks(ten, "R2", (SKU, 3)).status_code == 201
    assert "where 0 may be promised" in asks(ten, "R3", (SKU, 1)).json()["detail"]


def test_of_a_kit_the_policy_bounds_each_part(ten: Any) -> None:
    """Eight of ten may be promised, three of four inks: three kits of two and one."""
    goods = [{"sku": "INK", "name": "墨水"}, {"sku": "SET", "name": "套装"}]
    ten.did("POST", "/items", {"owner": "alpha", "items": goods})
    ten.did("PUT", "/items/SET/parts", {"owner": "alpha", "parts": {SKU: 2, "INK": 1}})
    ten.stock_up("alpha", "INK", 4)
    stands(ten, share=80)
    detail = asks(ten, "R1", ("SET", 4)).json()["detail"]
    assert detail.startswith("R1: 4 of INK where 3 may be promised: the channel policy keeps the rest")
    assert asks(ten, "R1", ("SET", 3), (SKU, 3)).json()["detail"].startswith(f"R1: 9 of {SKU} where 8 may be promised")
    assert asks(ten, "R1", ("SET", 3), (SKU, 2)).status_code == 201


def test_of_64_racers_as_many_win_as_the_policy_leaves(web_pool: Any) -> None:
    web_pool.stock_up("alpha", SKU, 20)
    stands(web_pool, reserve=9)
    stands(web_pool, connection="tmall-alpha", listing="L-alpha-1", exclusive=4)
    assert race(lambda n: asks(web_pool, f"R{n}", (SKU, 1))) == {201: 7, 409: RACERS - 7}
    assert (accounts(web_pool), breaches(web_pool)) == ((13, 7), [])


def race(call: Callable[[int], Any]) -> Counter[int]:
    """The statuses of 64 callers at the same moment."""
    ready, found = threading.Barrier(RACERS), [0] * RACERS

    def run(n: int) -> None:
        ready.wait(30)
        found[n] = call(n).status_code

    racers = [threading.Thread(target=run, args=(n,)) for n in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    return Counter(found)


def test_of_64_racers_for_the_last_unit_one_wins(web_pool: Any) -> None:
    web_pool.stock_up("alpha", SKU, 1)
    assert race(lambda n: asks(web_pool, f"R{n}", (SKU, 1))) == {201: 1, 409: RACERS - 1}
    assert accounts(web_pool) == (0, 1)
    assert breaches(web_pool) == []


def test_of_64_crossing_baskets_as_many_win_as_there_are_units(web_pool: Any) -> None:
    web_pool.did("POST", "/items", {"owner": "alpha", "items": [{"sku": "SKU-2", "name": "墨水"}]})
    crossing: Sequence[tuple[tuple[str, int], ...]] = (((SKU, 1), ("SKU-2", 1)), (("SKU-2", 1), (SKU, 1)))
    for sku in (SKU, "SKU-2"):
        web_pool.stock_up("alpha", sku, 20)
    assert race(lambda n: asks(web_pool, f"R{n}", *crossing[n % 2])) == {201: 20, 409: RACERS - 20}
    with web_pool.store.read() as tx:
        assert [(c["free"], c["reserved"]) for c in tx.rows(select(t.cells))] == [(0, 20)] * 2
    assert breaches(web_pool) == []


def test_of_64_racers_for_kits_of_a_shared_part_as_many_win_as_there_are_whole_ones(web_pool: Any) -> None:
    goods = [{"sku": "INK", "name": "墨水"}, *({"sku": f"SET-{n}", "name": "套装"} for n in (1, 2))]
    web_pool.did("POST", "/items", {"owner": "alpha", "items": goods})
    for n in (1, 2):
        web_pool.did("PUT", f"/items/SET-{n}/parts", {"owner": "alpha", "parts": {SKU: 2, "INK": 1}})
    for sku, units in ((SKU, 21), ("INK", RACERS)):
        web_pool.stock_up("alpha", sku, units)
    assert race(lambda n: asks(web_pool, f"R{n}", (f"SET-{1 + n % 2}", 1))) == {201: 10, 409: RACERS - 10}
    with web_pool.store.read() as tx:
        cells = tx.rows(select(t.cells).order_by(t.cells.c.reserved))
    assert [(c["free"], c["reserved"]) for c in cells] == [(RACERS - 10, 10), (1, 20)]
    assert breaches(web_pool) == []


def test_units_of_one_lot_are_kept_by_name_until_they_are_given_back(web_pool: Any) -> None:
    lies_by_lot(web_pool, L1=3, L2=4)

    def wish(ref: str, units: int, **more: Any) -> Any:
        lines = [{"sku": SKU, "quantity": units, **more}]
        asked = {"ref": ref, "kind": "cart", "connection": "tmall-alpha", "lines": lines}
        return web_pool.call("POST", "/reservations", asked, by="alpha")

    first = wish("C1", 2, lot="L1")
    assert first.status_code == 201
    assert first.json()["kept"] == [
        {"owner": "alpha", "sku": SKU, "warehouse": "HZ", "units": 2, "backed": 2, "lot": "L1"}
    ]
    assert web_pool.did("GET", "/reservations/C1?kind=cart", by="alpha") == first.json()
    assert (wish("C1", 2, lot="L1").status_code, wish("C1", 2, lot="L2").status_code) == (200, 409)
    refused = wish("C2", 2, lot="L1")
    assert (refused.status_code, refused.json()["detail"]) == (409, f"C2: 2 of {SKU} where there are 1")
    lots = {row["lot"]: row["pinned"] for row in web_pool.did("GET", f"/items/{SKU}/lots", by="alpha")["lots"]}
    assert lots == {"L1": 2, "L2": 0}
    assert wish("C3", 5).status_code == 201
    web_pool.did("POST", "/reservations/C1/release?kind=cart", by="alpha")
    assert wish("C4", 2, lot="L1").status_code == 201
    assert breaches(web_pool) == []


@pytest.mark.parametrize(("lot", "keeps", "why"), [("L1", False, "keeps no lots"), ("?", True, "leave lot out")])
def test_a_lot_nothing_can_be_of_does_not_fit_and_nothing_is_kept(five: Any, lot: str, keeps: bool, why: str) -> None:
    five.did("POST", "/items", {"owner": "alpha", "items": [{"sku": SKU, "name": "tea", "keeps_lots": keeps}]})
    lines = [{"sku": SKU, "quantity": 1, "lot": lot}]
    answer = five.call("POST", "/reservations", {"ref": "R1", "warehouses": ["HZ"], "lines": lines}, by="alpha")
    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert accounts(five) == (5, 0)


def test_a_virtual_kit_has_no_lots_to_reserve(five: Any) -> None:
    five.did("POST", "/items", {"owner": "alpha", "items": [{"sku": "set", "name": "set"}]})
    five.did("PUT", "/items/set/parts", {"owner": "alpha", "parts": {SKU: 2}})
    lines = [{"sku": "set", "quantity": 1, "lot": "L1"}]
    answer = five.call("POST", "/reservations", {"ref": "R1", "warehouses": ["HZ"], "lines": lines}, by="alpha")
    assert answer.status_code == 422
    assert "reserve its parts by lot" in answer.json()["detail"]
