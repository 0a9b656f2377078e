"""What no text can do to the mapping language, and what every value survives."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Misconfigured, Unfit, YipanError
from mappings.language import Overlay, load, wires
from mappings.language.path import Mistake, Scope, Wrong, careful_walk, fast_walk, needed, parse_path
from mappings.language.rule import parse_rule
from mappings.language.steps import STEPS
from mappings.language.values import money_reader, money_writer

SCOPE = Scope({"around": "x"}, None, {})
BASE = """\
noun: stock
format: json
zone: Asia/Shanghai
currency: CNY
read:
  rows[]:
    each: rows
    sku: sku
    quantity: = 1
"""
PIECES = [*"ab.?^|'(),= @0[]{%", "__class__", "__mro__"]
RULISH = st.lists(st.sampled_from([*PIECES, *STEPS]), max_size=30).map("".join)
NAMES = st.sampled_from(["a", "b", "__class__", "__dict__", "keys", "get", "0", "@x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=30)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
BLOCKS = st.recursive(st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=8), inner)).map(json.dumps)
XML_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=20)
MONEY = st.integers(-(10**15), 10**15)


class Bait:
    """An object with attributes a path must not reach."""

    secret = "reached"


def base(folder: Path) -> Path:
    path = folder / "base.yaml"
    path.write_text(BASE, "utf-8")
    return path


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("mapping"))


@given(st.text() | RULISH)
def test_any_text_as_a_rule_is_parsed_or_is_a_mistake(text: str) -> None:
    try:
        parsed = parse_rule(text)
    except Mistake as mistake:
        assert str(mistake)
    else:
        assert (parsed.path is None) != (parsed.literal is None)


@given(st.text(max_size=40) | RULISH, TREES)
def test_any_rule_over_any_document_reads_or_says_why(base_path: Path, rule: str, tree: Any) -> None:
    overlay = Overlay("o", json.dumps({"read": {"rows[].sku": rule}}))
    try:
        mapping = load(base_path, overlay=overlay)
    except Misconfigured as error:
        assert error.message.startswith(("o:1: ", "base.yaml:"))
        return
    try:
        mapping.read({"rows": tree})
    except YipanError as error:
        assert isinstance(error, Unfit) or error.fix == "link"


@given(st.lists(NAMES | st.sampled_from(["secret", "__init__", "__globals__"]), min_size=1, max_size=5), TREES)
def test_a_path_finds_only_keys_and_positions(names: list[str], tree: Any) -> None:
    path = parse_path(".".join(names))
    for node in (tree, Bait(), [Bait()], {"a": Bait()}):
        expected = _keys_only(node, names)
        for walk in (careful_walk(path), fast_walk(path, needed)):
            if walk is None:
                continue
            try:
                found = walk(node, SCOPE)
            except (Wrong, LookupError, TypeError, AttributeError):
                continue
            assert found is expected


def _keys_only(node: Any, names: list[str]) -> Any:
    for name in names:
        if isinstance(node, dict):
            node = node.get(name)
        elif isinstance(node, list) and name == "0" and node:
            node = node[0]
        else:
            return None
    return node


@given(TREES)
def test_the_quick_form_and_the_careful_form_agree(base_path: Path, tree: Any) -> None:
    rules = {
        "rows[].sku": "a? | filled | or(b?) | default('')",
        "rows[].quantity": "b | money | add(a?) | less('0'?)",
        "rows[].warehouse": "a? | when(b?, x, '1')",
        "rows[].locked": "a? | int | default(0)",
    }
    mapping = load(base_path, overlay=Overlay("o", json.dumps({"read": rules})))
    try:
        quick = mapping._read.get({"rows": tree}, Scope(None, None, {}))  # type: ignore[union-attr]
    except Exception:
        return
    assert quick == mapping._explain(mapping._read, {"rows": tree}, {}, "read")  # type: ignore[arg-type]


@given(st.binary() | st.text().map(str.encode), st.sampled_from(["json", "xml", "form", "csv"]))
def test_any_body_is_a_tree_or_unreadable(body: bytes, form: str) -> None:
    try:
        wires.parse(body, form)
    except wires.Unreadable as error:
        assert str(error)


@given(st.text() | RULISH | BLOCKS)
def test_any_text_as_an_overlay_is_loaded_or_misconfigured(base_path: Path, text: str) -> None:
    try:
        load(base_path, overlay=Overlay("o", text))
    except Misconfigured as error:
        assert error.message


@given(TREES)
def test_json_without_fractions_is_decoded_the_same_both_ways(tree: Any) -> None:
    body = json.dumps(tree, default=str).encode()
    try:
        quick = wires.quick_json(body)
    except ValueError:
        return
    assert quick == wires.parse_json(body)


def both_ways(form: str) -> str:
    root = "r." if form == "xml" else ""
    inward = f"""\
read:
  placed_at: {root}at | time
  ref: {root}ref
  version: {root}ref
  status: = paid
  claims_stock: {root}yes | flag(Y, N)
  may_ship: = true
  currency: = CNY
  paid_minor: {root}paid | money
  freight_minor: {root}freight | minor
  lines[]:
    each: {root}lines?.line?
    ref: ref
    listing: ref | prefix(L)
    title: title? | default('')
    quantity: n | int
    net_minor: net | money
"""
    return f"noun: order\nformat: {form}\nzone: Europe/Berlin\ncurrency: CNY\n{inward}"


def outward(form: str) -> str:
    body = """\
ref: shop_ref
at: placed_at | time(iso)
yes: = Y
paid: freight_minor | money
freight: freight_minor
lines:
  line[]:
    each: lines
    ref: line
    title: sku
    n: quantity
    net: net_minor | money
"""
    lead = "write:\n" + ("  r:\n    " if form == "xml" else "  ")
    inner = body.strip().replace("\n", "\n    " if form == "xml" else "\n  ")
    return f"noun: sale\nformat: {form}\nzone: Europe/Berlin\ncurrency: CNY\n{lead}{inner}\n"


TEXTS = XML_TEXT.map(str.strip)
SALES = st.fixed_dictionaries(
    {
        "shop_ref": TEXTS.filter(bool),
        "placed_at": st.datetimes(
            min_value=datetime(1990, 1, 1),
            max_value=datetime(2100, 1, 1),
            timezones=st.timezones(),
        ),
        "freight_minor": MONEY,
        "lines": st.lists(
            st.fixed_dictionaries(
                {"line": TEXTS.filter(bool), "sku": TEXTS, "quantity": st.integers(0, 10**12), "net_minor": MONEY}
            ),
            max_size=4,
        ),
    }
)


@pytest.fixture(scope="module", params=["json", "xml"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "in.yaml").write_text(both_ways(request.param), "utf-8")
    (folder / "out.yaml").write_text(outward(request.param), "utf-8")
    return load(folder / "in.yaml"), load(folder / "out.yaml")


@given(sale=SALES)
def test_what_is_written_is_read_back(pair: Any, sale: dict[str, Any]) -> None:
    inward, outward_mapping = pair
    body = outward_mapping.render(outward_mapping.write(sale))
    values = inward.read_values(inward.parse(body))
    assert (values["ref"], values["paid_minor"], values["freight_minor"]) == (
        sale["shop_ref"],
        sale["freight_minor"],
        sale["freight_minor"],
    )
    assert values["claims_stock"] is True
    assert abs(values["placed_at"] - sale["placed_at"]).total_seconds() < 1
    assert [(one["ref"], one["title"], one["quantity"], one["net_minor"]) for one in values["lines"]] == [
        (one["line"], one["sku"], one["quantity"], one["net_minor"]) for one in sale["lines"]
    ]


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_money_is_never_rounded(amount: Decimal) -> None:
    minor = money_reader(2)(str(amount))
    assert minor == amount * 100
    assert Decimal(money_writer(2)(minor)) == amount
