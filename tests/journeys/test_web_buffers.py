"""Advice on buffers through the doors: each merchant's own, in pages, and by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from core.rules.buffers import Reason
from core.store import tables as t
from core.store.store import one
from tests.worlds import MASTER_KEY, store, world
from web.console.words import words
from workers.advice import REASONS
from workers.cli import app

SKU = "SKU-alpha-1"


@pytest.fixture
def sold(web_pool: Any) -> Any:
    """Alpha's shop sold its 25 units one by one, and its calls took up to a second."""
    web_pool.stock_up("alpha", SKU, 25)
    for n in range(25):
        web_pool.sell("alpha", f"71{n:02}")

    def lags(tx: Any) -> None:
        shop = one(tx, t.connections, code="tmall-alpha")
        assert shop
        tx.add(t.publish_lags, [{"connection_id": shop["id"], "minute": tx.now, "bucket_ms": 1000, "calls": 9}])

    web_pool.store.write(lags)
    return web_pool


def test_each_merchant_is_advised_on_its_own_listings(sold: Any) -> None:
    (row,) = sold.did("GET", "/buffer-advice", by="alpha")["rows"]
    assert (row["connection"], row["listing"], row["sku"]) == ("tmall-alpha", "L-alpha-1", SKU)
    assert (row["sales"], row["sold"], row["current"], row["lag_p95_ms"]) == (25, 25, 0, 1000)
    assert (row["reason"], row["buffer"], row["sure"]) == ("keep", 0, False)
    (other,) = sold.did("GET", "/buffer-advice", by="beta")["rows"]
    assert (other["listing"], other["reason"], other["buffer"]) == ("L-beta-1", "few_sales", None)
    assert sold.call("GET", "/buffer-advice?connection=tmall-alpha", by="beta").status_code == 404
    assert len(sold.did("GET", "/buffer-advice?connection=tmall-alpha")["rows"]) == 1


def test_listings_come_in_pages(sold: Any) -> None:
    first = sold.did("GET", "/buffer-advice?limit=1")
    second = sold.did("GET", f"/buffer-advice?limit=1&after={first['next']}")
    assert [r["listing"] for page in (first, second) for r in page["rows"]] == ["L-alpha-1", "L-beta-1"]
    assert (first["next"], second["next"]) == (first["rows"][0]["id"], None)


@pytest.mark.parametrize("query", ["days=0", "days=32", "oversell=much", "oversell=101%25", "after=x", "limit=51"])
def test_what_cannot_be_replayed_is_refused(web_pool: Any, query: str) -> None:
    assert web_pool.call("GET", f"/buffer-advice?{query}").status_code == 422


def test_a_person_reads_it_and_finds_where_to_set_it(sold: Any, page: Any) -> None:
    shown = page("/buffer-advice?days=3&oversell=5%25").text
    assert "L-alpha-1" in shown
    assert "the buffer is right" in shown
    assert 'href="/policies"' in shown
    assert "L-alpha-1" not in page("/buffer-advice", by="bob").text
    assert page("/buffer-advice?days=many").status_code == 422


def test_every_reason_has_its_words() -> None:
    named = set(get_args(Reason))
    assert set(REASONS) == named
    assert all(set(words(language)["advice_reasons"]) == named for language in ("en", "zh"))


def test_the_command_line_says_it_in_lines_and_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(MASTER_KEY)
    monkeypatch.setenv("YIPAN_HOME", str(tmp_path))
    monkeypatch.setenv("YIPAN_DATABASE", f"sqlite:///{tmp_path / 'hub.db'}")
    monkeypatch.setenv("YIPAN_VAULT__KEY_FILE", str(tmp_path / "key"))
    with store(tmp_path) as it:
        world(it)
    typed = CliRunner().invoke(app, ["advise", "buffer", "--connection", "vendure"])
    assert (typed.exit_code, typed.output.split()[:2]) == (0, ["connection", "listing"])
    assert REASONS["few_sales"] in typed.output
    as_json = json.loads(CliRunner().invoke(app, ["advise", "buffer", "--json"]).output)
    assert sorted({row["connection"] for row in as_json}) == ["beta_shop", "tmall", "vendure"]
