"""Stock-takes and regrades over REST and in the console: who counts, who approves, what is booked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.flow import audit_ledger

SKU = "SKU-alpha-1"


@pytest.fixture
def thirty(web_pool: Any) -> Any:
    """Thirty of alpha's goods lie in HZ; a picker works there."""
    web_pool.stock_up("alpha", SKU, 30)
    web_pool.give_key("picker", "warehouse")
    return web_pool


def counts(stage: Any, units: int, ref: str = "C1", by: str = "alpha", **more: Any) -> Any:
    """The response to a stock-take of HZ, taken just now."""
    owner = {} if by == "alpha" else {"owner": "alpha"}
    lines = [{"sku": SKU, "quantity": units}]
    now = datetime.now(UTC).isoformat()
    form = {"ref": ref, "warehouse": "HZ", "counted_at": now, "lines": lines, **owner, **more}
    return stage.call("POST", "/counts", form, by=by)


def cells(stage: Any) -> dict[str, tuple[int, int]]:
    """condition → (free, held)."""
    return {r["condition"]: (r["free"], r["held"]) for r in stage.did("GET", "/stock")["rows"]}


def breaches(stage: Any) -> list[str]:
    with stage.store.read() as tx:
        return audit_ledger.audit(tx)


def test_a_small_difference_is_booked_at_once(thirty: Any) -> None:
    answer = counts(thirty, 25)
    assert (answer.status_code, answer.json()["state"]) == (201, "booked")
    assert answer.json()["lines"] == [
        {"count_id": answer.json()["id"], "sku": SKU, "condition": "ZP", "expected": 30, "counted": 25, "off": -5}
    ]
    assert cells(thirty) == {"ZP": (25, 0)}
    assert breaches(thirty) == []


def test_told_again_it_stands_and_other_content_is_a_conflict(thirty: Any) -> None:
    at = {"counted_at": datetime.now(UTC).isoformat()}
    first = counts(thirty, 25, **at)
    again = counts(thirty, 25, **at)
    assert (again.status_code, again.json()) == (200, first.json())
    other = counts(thirty, 24, **at)
    assert (other.status_code, "another ref" in other.json()["detail"]) == (409, True)
    assert cells(thirty) == {"ZP": (25, 0)}


def test_a_large_one_waits_for_somebody_else(thirty: Any) -> None:
    waits = counts(thirty, 5).json()
    assert waits["state"] == "waiting"
    assert cells(thirty) == {"ZP": (30, 0)}
    own = thirty.call("POST", f"/counts/{waits['id']}/approve", by="alpha")
    assert (own.status_code, "someone else" in own.json()["detail"]) == (409, True)
    assert thirty.did("GET", "/counts?state=waiting", by="alpha")["rows"] == [waits]
    thirty.give_key("alpha boss", "merchant", "alpha")
    booked = thirty.did("POST", f"/counts/{waits['id']}/approve", by="alpha boss")
    assert (booked["state"], booked["decided_by"]) == ("booked", "key alpha boss")
    assert cells(thirty) == {"ZP": (5, 0)}
    assert breaches(thirty) == []


def test_a_warehouse_counts_and_never_approves(thirty: Any) -> None:
    waits = counts(thirty, 5, by="picker").json()
    thirty.give_key("other picker", "warehouse")
    for who in ("picker", "other picker"):
        assert thirty.call("POST", f"/counts/{waits['id']}/approve", by=who).status_code == 409
    assert thirty.call("POST", f"/counts/{waits['id']}/approve", by="beta").status_code == 404
    assert thirty.did("POST", f"/counts/{waits['id']}/approve", by="alpha")["state"] == "booked"


def test_an_operator_may_approve_what_it_counted_itself(thirty: Any) -> None:
    waits = counts(thirty, 5, by="operator").json()
    assert thirty.did("POST", f"/counts/{waits['id']}/approve")["state"] == "booked"


def test_the_task_has_the_buttons_and_no_other(thirty: Any) -> None:
    counts(thirty, 5)
    (task,) = thirty.did("GET", "/parked")["rows"]
    assert (task["what"], task["buttons"]) == ("stock_take", ["approve", "reject"])
    assert thirty.call("POST", f"/parked/task/{task['id']}/done", {}).status_code == 409
    assert thirty.call("POST", f"/parked/task/{task['id']}/approve", {}, by="alpha").status_code == 409
    thirty.did("POST", f"/parked/task/{task['id']}/reject", {})
    assert thirty.did("GET", "/counts")["rows"][0]["state"] == "rejected"
    assert (cells(thirty), thirty.did("GET", "/parked")["rows"]) == ({"ZP": (30, 0)}, [])


def test_the_limit_is_the_owners(thirty: Any) -> None:
    thirty.did("PATCH", "/merchants/alpha", {"count_limit": 0})
    assert counts(thirty, 29).json()["state"] == "waiting"
    assert counts(thirty, 30, ref="C2").json()["state"] == "booked"
    thirty.did("PATCH", "/merchants/alpha", {"count_limit": 30})
    assert counts(thirty, 0, ref="C3").json()["state"] == "booked"
    assert thirty.call("PATCH", "/merchants/alpha", {"count_limit": -1}).status_code == 422


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"counted_at": "2026-01-05T08:00:00"}, 422),
        ({"counted_at": "2999-01-05T08:00:00Z"}, 422),
        ({"warehouse": "NOWHERE"}, 404),
        ({"owner": "beta"}, 404),
        ({"lines": [{"sku": "nothing", "quantity": 1}]}, 404),
        ({"lines": [{"sku": SKU, "quantity": -1}]}, 422),
        ({"lines": [{"sku": SKU, "quantity": 1}, {"sku": SKU, "quantity": 2}]}, 422),
        ({"lines": []}, 422),
    ],
)
def test_what_does_not_fit_or_is_not_there_is_named(thirty: Any, more: dict[str, Any], status: int) -> None:
    answer = counts(thirty, 30, **more)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert thirty.did("GET", "/counts")["rows"] == []


def judges(stage: Any, units: int, ref: str = "G1", by: str = "alpha", **more: Any) -> Any:
    form = {"ref": ref, "warehouse": "HZ", "sku": SKU, "quantity": units, "from": "ZP", "to": "CC", "reason": "wet"}
    return stage.call("POST", "/regrades", {**form, **more}, by=by)


def test_goods_are_regraded_once_in_one_journal(thirty: Any) -> None:
    first = judges(thirty, 4)
    assert (first.status_code, first.json()["owner"]) == (201, "alpha")
    assert judges(thirty, 4).status_code == 200
    assert cells(thirty) == {"ZP": (26, 0), "CC": (0, 4)}
    for other in (judges(thirty, 5), judges(thirty, 4, to="JS")):
        assert (other.status_code, "another ref" in other.json()["detail"]) == (409, True)
    assert judges(thirty, 1, ref="G2", **{"from": "CC", "to": "ZP"}).status_code == 201
    assert cells(thirty) == {"ZP": (27, 0), "CC": (0, 3)}
    assert breaches(thirty) == []


def test_a_regrade_names_what_does_not_fit(thirty: Any) -> None:
    assert judges(thirty, 1, to="ZP").status_code == 422
    assert judges(thirty, 0).status_code == 422
    assert judges(thirty, 1, sku="nothing").status_code == 404
    assert judges(thirty, 1, owner="beta").status_code == 404
    assert judges(thirty, 1, by="picker", owner="alpha").status_code == 403
    assert cells(thirty) == {"ZP": (30, 0)}
