"""The straight way from JSON text to a noun gives what the exact way gives, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import YipanError
from mappings.language import TABLES, Mapping, load, wires

TMALL = TABLES.parent / "sales" / "tmall"
ORDER = """\
noun: order
format: json
zone: Asia/Shanghai
currency: CNY
tables:
  kinds: {"true": token, "false": masked}
  marks: {hot: fragile, cold: ""}
read:
  ref: t.a
  version: t.b? | default('0')
  status: = paid
  claims_stock: t.a | not(b, '1')
  may_ship: t.a | is(b, '1')
  holds[]:
    each: t.rows
    .: ^.t.a | when(^.t.b?, x) | or(c?) | filled | lookup(marks) | filled
  placed_at: t.at | time
  paid_at: t.paid? | filled | time
  currency: = CNY
  paid_minor: t.m | money | when(t.a, x, '1')
  buyer: t.c? | filled | or(t.d?)
  note: t.d? | filled | upper
  party:
    kind: t.c? | filled | present | lookup(kinds)
    name: t.d?
    phone: t.b? | filled | or(t.c?)
  lines[]:
    each: t.rows
    ref: a
    listing: b? | filled | or(c)
    sku: c?
    quantity: n | int
    cancelled: n | int | when(a, '1', x)
    list_minor: m | money | add(k?) | less(j?)
    tax_minor: k? | money | less(m)
    net_minor: k? | filled | or(m) | money
"""
TEXTS = st.sampled_from(["1", "x", " x ", "", " ", "hot", "cold", "\u001cx", "NaN", "N:aN", "[{", '"\\', "好"])
ODD = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.5, 10**30, [], {}, ["x"], {"a": "x"}])
AMOUNTS = st.sampled_from(["1.00", "-2.50", "0", "3", "", " 1.10 ", "1.234", "x", "9" * 20, ".50", "1."])
VALUES = TEXTS | ODD
FEW = {"a": TEXTS, "b": VALUES, "c": VALUES, "d": VALUES}
ROWS = st.fixed_dictionaries(
    {"a": TEXTS | ODD, "n": st.integers(0, 9) | VALUES, "m": AMOUNTS},
    optional={"b": VALUES, "c": TEXTS, "k": AMOUNTS | ODD, "j": AMOUNTS | ODD, "unseen": VALUES},
)
TIMES = st.sampled_from(["2024-05-01 12:30:00", "2024-05-01", "2024-05-01T12:30:00Z", "", "x"])
TRADES = st.fixed_dictionaries(
    {"a": TEXTS, "at": TIMES, "m": AMOUNTS, "rows": st.lists(ROWS, max_size=3) | ODD},
    optional={"b": VALUES, "c": VALUES, "d": VALUES, "paid": TIMES | ODD, "currency": VALUES, "\0": VALUES},
)


@pytest.fixture(scope="module")
def mapping(tmp_path_factory: pytest.TempPathFactory) -> Mapping:
    path = tmp_path_factory.mktemp("straight") / "order.yaml"
    path.write_text(ORDER, "utf-8")
    return load(path)


def agree(mapping: Mapping, body: bytes) -> bool:
    """Whether the straight way had an answer; it must then be the exact one."""
    assert mapping._straight
    try:
        straight = mapping._straight(body)
    except Exception:
        return False
    exact = mapping.read(mapping.parse(body))
    assert (straight, list(straight.__dict__)) == (exact, list(exact.__dict__))
    assert straight.model_dump_json() == exact.model_dump_json()
    return True


@given(TRADES, st.booleans())
def test_the_straight_way_and_the_exact_way_agree(mapping: Mapping, trade: Any, escaped: bool) -> None:
    agree(mapping, json.dumps({"t": trade}, ensure_ascii=escaped).encode())


@given(TRADES)
def test_what_the_exact_way_refuses_is_refused(mapping: Mapping, trade: Any) -> None:
    body = json.dumps({"t": trade}).encode()
    try:
        mapping.read(mapping.parse(body))
    except YipanError as error:
        with pytest.raises(type(error)):
            mapping.read(body)


GOOD = {
    "a": "x",
    "at": "2024-05-01 12:30:00",
    "m": "1.00",
    "rows": [{"a": "1", "b": "2", "n": 1, "m": "1.00", "k": None}],
}


@pytest.mark.parametrize(
    "more",
    [{}, {"b": None, "c": None, "d": None}, {"b": "", "c": ""}, {"a": 7}, {"paid": ""}, {"rows": [], "unseen": [[]]}],
    ids=str,
)
def test_usual_documents_go_straight(mapping: Mapping, more: dict[str, Any]) -> None:
    assert agree(mapping, json.dumps({"t": {**GOOD, **more}}).encode())


def test_a_trade_as_top_tells_it_goes_straight() -> None:
    assert agree(load(TMALL / "order.yaml"), (TMALL / "fixtures" / "built" / "order.1.json").read_bytes())


@pytest.mark.parametrize(
    "unseen",
    ["NaN", "-Infinity", "[" * 41 + "]" * 41, '"\ud800"', '{"a": 1,}', '"' + "\x01" + '"', '"\\u001c"'],
    ids=["nan", "infinity", "deep", "surrogate", "comma", "control", "space"],
)
def test_what_is_no_plain_json_is_left_to_the_exact_way(mapping: Mapping, unseen: str) -> None:
    body = json.dumps({"t": GOOD})[:-1].encode() + f', "unseen": {unseen}}}'.encode(errors="surrogatepass")
    assert not agree(mapping, body)


def test_the_last_of_equal_keys_wins_either_way(mapping: Mapping) -> None:
    assert agree(mapping, json.dumps({"t": GOOD}).replace('"a": "x"', '"a": "b", "a": "x"').encode())


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=60))
def test_shallow_documents_are_known_whatever_their_texts_hold(tree: Any) -> None:
    body = json.dumps([tree, *[[]] * wires.DEPTH_MAX], ensure_ascii=False).encode()
    assert wires.shallow(body)
    assert not wires.shallow(b"[" * wires.DEPTH_MAX + body + b"]" * wires.DEPTH_MAX)


def test_a_mapping_with_links_does_not_go_straight(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(ORDER.replace("listing: b? | filled | or(c)", "listing: c | link(item)"), "utf-8")
    assert load(path)._straight is None
