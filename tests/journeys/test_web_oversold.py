"""What shops sold beyond the pool, through the doors."""

from __future__ import annotations

from typing import Any

from core.flow import note_told, publish_stock
from core.store import tables as t

SKU = "SKU-alpha-1"


def test_two_units_too_many_are_shown_to_their_merchant_with_the_cause(web_pool: Any, page: Any) -> None:
    web_pool.stock_up("alpha", SKU, 1)
    web_pool.sell("alpha", "7001", 3)
    found = web_pool.did("GET", "/oversold", by="alpha")
    assert found["totals"] == [{"connection": "tmall-alpha", "cause": "never_told", "units": 2}]
    (row,) = found["rows"]
    assert (row["order"], row["sku"], row["units"], row["evidence"]["told"]) == ("7001", SKU, 2, None)
    assert web_pool.did("GET", "/oversold", by="beta")["rows"] == []
    assert web_pool.did("GET", "/oversold?first=2020-01-01&last=2020-01-02")["totals"] == []
    assert web_pool.call("GET", "/oversold?first=2020").status_code == 422
    shown = page("/oversold").text
    assert "7001" in shown
    assert "never told" in shown
    assert "7001" not in page("/oversold", by="bob").text
    assert 'yipan_oversold_units{cause="never_told"} 2.0' in web_pool.door.get("/metrics").text


def test_a_sale_that_was_heard_after_a_lower_figure_is_shown_with_both_times(web_pool: Any, page: Any) -> None:
    web_pool.stock_up("alpha", SKU, 1)
    listing = web_pool.store.write(lambda tx: tx.rows(t.listings.select())[0]["id"])
    for units in (3, 0):
        said = publish_stock.Said((), {str(listing): units}, {str(listing): 0}, {}, reads=False)
        web_pool.store.write(lambda tx, said=said: note_told.told(tx, said))
    web_pool.sell("alpha", "7001", 3)
    (row,) = web_pool.did("GET", "/oversold", by="alpha")["rows"]
    assert (row["units"], row["cause"]) == (2, "publish_lag")
    shown = page("/oversold").text
    assert "our figure came late" in shown
    for name, words in (("sold_at", "sold at"), ("lowered_at", "a lower figure told at")):
        moment = row["evidence"][name][:19].replace("T", " ")
        assert f"{words} {moment} UTC" in shown
