"""Goods moved between warehouses over REST: asked for, told of, settled; who may, and who may not."""

from __future__ import annotations

from typing import Any

import pytest

from core.flow import audit_ledger

SKU = "SKU-alpha-1"


@pytest.fixture
def ten(web_pool: Any) -> Any:
    """Ten of alpha's goods lie in HZ; SH keeps goods of alpha and is on no connection."""
    web_pool.stock_up("alpha", SKU, 10)
    web_pool.did("POST", "/warehouses", {"code": "SH", "name": "上海仓"})
    web_pool.did("PUT", "/warehouses/SH/keepers", [{"owner": "alpha", "code": "OWN-A"}])
    return web_pool


def asks(stage: Any, units: Any = 10, by: str = "alpha", **more: Any) -> Any:
    """The response to alpha's wish to move goods from HZ to SH."""
    form = {"ref": "M/1", "from": "HZ", "to": "SH", "lines": [{"sku": SKU, "quantity": units}], **more}
    return stage.call("POST", "/transfers", form, by=by)


def tells(stage: Any, what: str, units: int, ref: str = "1", by: str = "alpha", **more: Any) -> Any:
    """The response to word of units that left or arrived."""
    lines = [{"sku": SKU, "quantity": units, **({"condition": more.pop("condition")} if "condition" in more else {})}]
    return stage.call("POST", f"/transfers/M%2F1/{what}", {"ref": ref, "lines": lines, **more}, by=by)


def accounts(stage: Any) -> dict[str, tuple[int, int, int]]:
    """(free, reserved, transit) of alpha's good goods by warehouse."""
    rows = stage.did("GET", "/stock")["rows"]
    return {r["warehouse"]: (r["free"], r["reserved"], r["transit"]) for r in rows if r["condition"] == "ZP"}


def test_10_move_9_arrive_and_the_missing_one_is_settled(ten: Any) -> None:
    first = asks(ten)
    assert (first.status_code, first.json()["state"]) == (201, "accepted")
    assert accounts(ten) == {"HZ": (0, 10, 0)}
    assert tells(ten, "departures", 10, final=True).json()["state"] == "under_way"
    assert accounts(ten) == {"HZ": (0, 0, 0), "SH": (0, 0, 10)}
    assert tells(ten, "arrivals", 9).status_code == 200
    assert accounts(ten)["SH"] == (9, 0, 1)
    lost = {"reason": "fell off the truck", "lines": [{"sku": SKU, "lost": 1}]}
    closed = ten.did("POST", "/transfers/M%2F1/close", lost, by="alpha")
    line = {"sku": SKU, "quantity": 10, "departed": 10, "arrived": 9, "lost": 1, "came_back": 0, "on_the_way": 0}
    assert (closed["state"], closed["lines"]) == ("closed", [line])
    assert ten.did("GET", "/transfers/M%2F1", by="alpha") == closed
    assert ten.did("GET", "/transfers?state=closed")["rows"] == [closed]
    assert accounts(ten)["SH"] == (9, 0, 0)
    with ten.store.read() as tx:
        assert audit_ledger.audit(tx) == []


def test_asked_again_it_stands_and_other_content_is_a_conflict(ten: Any) -> None:
    first = asks(ten, 4)
    assert (asks(ten, 4).status_code, asks(ten, 4).json()) == (200, first.json())
    answer = asks(ten, 5)
    assert (answer.status_code, "another ref" in answer.json()["detail"]) == (409, True)
    assert accounts(ten) == {"HZ": (6, 4, 0)}


def test_too_many_are_refused_by_name_and_nothing_is_kept(ten: Any) -> None:
    answer = asks(ten, 11)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:yipan:OutOfStock")
    assert answer.json()["detail"] == f"M/1: 11 of {SKU} where there are 10"
    assert ten.call("GET", "/transfers/M%2F1", by="alpha").status_code == 404
    assert accounts(ten) == {"HZ": (10, 0, 0)}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"owner": "gamma"}, 404),
        ({"owner": "beta"}, 404),
        ({"from": "NOWHERE"}, 404),
        ({"to": "NOWHERE"}, 404),
        ({"to": "HZ"}, 409),
        ({"lines": [{"sku": "nothing", "quantity": 1}]}, 404),
        ({"lines": [{"sku": SKU, "quantity": 0}]}, 422),
        ({"lines": [{"sku": SKU, "quantity": 1.5}]}, 422),
        ({"lines": []}, 422),
        ({"ref": ""}, 422),
        ({"ref": "M\x001"}, 422),
        ({"surprise": 1}, 422),
    ],
)
def test_what_does_not_fit_or_is_not_there_is_named(ten: Any, more: dict[str, Any], status: int) -> None:
    answer = asks(ten, 1, **more)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert accounts(ten) == {"HZ": (10, 0, 0)}


def test_word_that_comes_twice_is_booked_once_and_other_word_under_its_number_is_a_conflict(ten: Any) -> None:
    asks(ten)
    for _ in range(2):
        assert tells(ten, "departures", 6).status_code == 200
        assert tells(ten, "arrivals", 2, condition="CC").status_code == 200
    assert tells(ten, "departures", 7).status_code == 409
    assert tells(ten, "arrivals", 2).status_code == 409
    assert accounts(ten) == {"HZ": (0, 4, 0), "SH": (0, 0, 4)}
    assert tells(ten, "departures", 1, ref="2").status_code == 200
    assert accounts(ten)["SH"] == (0, 0, 5)


def test_called_off_before_it_left_and_what_leaves_all_the_same_is_booked(ten: Any) -> None:
    asks(ten)
    for _ in range(2):
        assert ten.did("POST", "/transfers/M%2F1/cancel", by="alpha")["state"] == "cancelled"
    assert accounts(ten) == {"HZ": (10, 0, 0)}
    assert tells(ten, "departures", 3).json()["state"] == "under_way"
    assert accounts(ten) == {"HZ": (7, 0, 0), "SH": (0, 0, 3)}
    assert ten.call("POST", "/transfers/M%2F1/cancel", by="alpha").status_code == 409
    assert "transfer.left_late" in {row["what"] for row in ten.did("GET", "/parked")["rows"]}


def test_each_warehouse_is_told_by_its_connection_or_by_a_person(ten: Any) -> None:
    asks(ten)
    tasks = {row["what"]: row["reason"] for row in ten.did("GET", "/parked")["rows"]}
    assert "tell it by hand" in tasks["transfer.announced/to"]


def test_a_merchant_moves_its_own_goods_and_a_warehouse_only_looks(ten: Any) -> None:
    asks(ten)
    ten.give_key("picker", "warehouse")
    ten.give_key("support", "support")
    found = "/transfers/M%2F1?owner=alpha"
    assert ten.call("GET", found, by="beta").status_code == 404
    assert ten.did("GET", "/transfers", by="beta")["rows"] == []
    for door in ("departures", "arrivals"):
        body = {"ref": "1", "lines": [{"sku": SKU, "quantity": 1}]}
        for who, status in (("beta", 404), ("picker", 403), ("support", 403)):
            path = f"/transfers/M%2F1/{door}?owner=alpha"
            assert ten.call("POST", path, body, by=who).status_code == status
    assert ten.did("GET", found, by="picker")["state"] == "accepted"
    assert ten.call("GET", "/transfers/M%2F1").status_code == 422
    assert ten.did("POST", "/transfers/M%2F1/cancel?owner=alpha")["state"] == "cancelled"


def test_a_sku_that_does_not_move_is_named(ten: Any) -> None:
    asks(ten)
    body = {"ref": "1", "lines": [{"sku": "nothing", "quantity": 1}]}
    answer = ten.call("POST", "/transfers/M%2F1/departures", body, by="alpha")
    assert (answer.status_code, SKU in answer.json()["detail"]) == (404, True)
    assert ten.call("POST", "/transfers/M%2F1/departures", {"ref": "1"}, by="alpha").status_code == 422
