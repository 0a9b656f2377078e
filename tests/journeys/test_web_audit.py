"""The daily audit over REST and in the console, and the books as of any time on the stock page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.store import tables as t
from tests.journeys.test_web_console import log_in, op, people  # noqa: F401
from workers.days import Days

TODAY = datetime.now(UTC).date()
YESTERDAY, BEFORE = ((TODAY - timedelta(days=n)).isoformat() for n in (1, 2))


@pytest.fixture
def audited(web_pool: Any) -> Any:
    """Five of alpha's goods lie in HZ; the day before yesterday was clean, then somebody took one off the books."""
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    clean = {"day": BEFORE, "made_at": datetime.now(UTC), "breaches": [], "found": 0}
    figures = {
        "on_hand": 4,
        "free": 4,
        "reserved": 0,
        "held": 0,
        "suspense": 0,
        "journals": 7,
        "shop_oversold_units": 0,
    }
    web_pool.store.write(lambda tx: tx.add(t.statements, [{**clean, "figures": figures}]))
    web_pool.store.write(lambda tx: tx.conn.execute(t.cells.update().values(free=t.cells.c.free - 1)))
    Days(web_pool.store).look()
    return web_pool


def test_the_operator_reads_the_statements_and_what_one_of_them_found(audited: Any) -> None:
    page = audited.did("GET", "/audit")
    assert [(row["day"], row["found"]) for row in page["rows"]] == [(YESTERDAY, 1), (BEFORE, 0)]
    assert (page["next"], page["due"]) == (None, [])
    assert page["rows"][0]["figures"]["on_hand"] == 4
    told = audited.did("GET", f"/audit/{YESTERDAY}")
    assert re.fullmatch(r"cell \d+: free is 4, its journal says 5, last by \w+ of \S+", told["breaches"][0])
    assert audited.call("GET", "/audit/2020-01-01").status_code == 404


def test_statements_come_in_pages_newest_first(audited: Any) -> None:
    first = audited.did("GET", "/audit?limit=1")
    assert ([row["day"] for row in first["rows"]], first["next"]) == ([YESTERDAY], YESTERDAY)
    second = audited.did("GET", f"/audit?limit=1&before={first['next']}")
    assert ([row["day"] for row in second["rows"]], second["next"]) == ([BEFORE], None)


def test_a_day_without_a_statement_is_said_to_wait_for_it(web_pool: Any) -> None:
    assert web_pool.did("GET", "/audit")["due"] == [YESTERDAY]


@pytest.mark.parametrize("role", ["merchant", "support", "warehouse"])
def test_who_does_not_see_the_whole_hub_reads_no_statement(audited: Any, role: str) -> None:
    audited.give_key("other", role, "alpha")
    for path in ("/audit", f"/audit/{YESTERDAY}"):
        assert audited.call("GET", path, by="other").status_code == 403


def test_the_console_shows_red_and_clean_days(audited: Any, op: TestClient) -> None:  # noqa: F811
    page = op.get("/audit").text
    assert page.index(YESTERDAY) < page.index(BEFORE)
    assert '<span class="chip warn">1</span>' in page
    assert "clean" in page
    assert "free is 4, its journal says 5" in op.get(f"/audit/{YESTERDAY}").text
    assert op.get("/audit/2020-01-01").status_code == 404


def test_a_merchant_is_not_led_to_a_page_it_may_not_see(audited: Any, people: TestClient) -> None:  # noqa: F811
    log_in(people, "ann")
    page = people.get("/").text
    assert 'href="/stock"' in page
    assert 'href="/audit"' not in page
    assert people.get("/audit").status_code == 403


def test_the_stock_page_shows_the_books_as_of_a_time(web_pool: Any, op: TestClient) -> None:  # noqa: F811
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    then = datetime(2026, 1, 5, 8, tzinfo=UTC)
    web_pool.store.write(lambda tx: tx.conn.execute(t.journals.update().values(recorded_at=then)))
    web_pool.stock_up("alpha", "SKU-alpha-1", 2)
    assert "<strong>7</strong>" in op.get("/stock").text
    page = op.get("/stock?at=2026-01-05T08:00").text
    assert "<strong>5</strong>" in page
    assert 'value="2026-01-05T08:00"' in page
    assert "2026-01-05 08:00:00 UTC" in page
    assert "SKU-alpha-1" not in op.get("/stock?at=2026-01-05T07:59:59").text


def test_a_time_that_is_none_is_said_so(op: TestClient) -> None:  # noqa: F811
    answer = op.get("/stock?at=yesterday")
    assert answer.status_code == 422
    assert "is no time: write one as 2026-06-18T20:00" in answer.text
