"""The mapping language: what each step means both ways, and what a person is told when it does not fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import Misconfigured, Unfit, Unmatched
from core.model import Level, Order, Snapshot
from mappings.language import Mapping, Overlay, load

CHINA = timezone(timedelta(hours=8))
SNAPSHOT = """
noun: stock
format: {form}
zone: {zone}
currency: {currency}
tables:
  turns: {{a: 1, b: 2, yes: true}}
  many: {{a: [x, y]}}
read:
  rows[]:
    each: {each}
    sku: {rule}
    quantity: = 1
"""
LEVEL = """\
noun: stock
format: json
zone: {zone}
currency: CNY
tables:
  turns: {{a: x, b: y}}
write:
  out: {rule}
"""
ORDER = """\
noun: order
format: json
zone: Asia/Shanghai
currency: CNY
read:
  ref: t.id
  version: t.at
  status: = paid
  claims_stock: = true
  may_ship: = true
  placed_at: t.at | time
  currency: = CNY
  paid_minor: t.paid | money
  party:
    name: t.name?
  holds[]:
    each: t.holds?
    '.': .
  lines[]:
    each: t.lines
    if: kind? | default(goods) | is(goods)
    ref: id
    listing: item
    sku: ^.t.prefix? | default('')
    quantity: n | int
    net_minor: paid? | or(price) | money
"""


def made(tmp_path: Path, text: str, **options: Any) -> Mapping:
    path = tmp_path / "order.yaml"
    path.write_text(text, "utf-8")
    return load(path, **options)


def read_one(tmp_path: Path, rule: str, row: Any, *, zone: str = "Asia/Shanghai", currency: str = "CNY") -> Any:
    """What a rule makes of one row, through the quick form and through the careful one."""
    text = SNAPSHOT.format(form="json", zone=zone, currency=currency, each="rows", rule=rule)
    mapping = made(tmp_path, text)
    values = mapping.read_values({"rows": [row]})
    careful = mapping._explain(mapping._read, {"rows": [row]}, {}, "read")
    assert values == careful
    return values["rows"][0].get("sku")


def write_one(tmp_path: Path, rule: str, zone: str = "Asia/Shanghai", **value: Any) -> Any:
    return made(tmp_path, LEVEL.format(zone=zone, rule=rule)).write(value).get("out")


def refused(tmp_path: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        made(tmp_path, text, **options)
    return caught.value.message.splitlines()


@pytest.mark.parametrize(
    ("rule", "row", "expected"),
    [
        ("a", {"a": " x "}, "x"),
        ("a", {"a": 5}, "5"),
        ("a", {"a": Decimal("1.50")}, "1.50"),
        ("a", {"a": True}, "true"),
        ("a.b.c", {"a": {"b": {"c": "deep"}}}, "deep"),
        ("a.b.c.d.e", {"a": {"b": {"c": {"d": {"e": "deeper"}}}}}, "deeper"),
        ("a?", {}, None),
        ("a?", {"a": None}, None),
        ("a.b?", {"a": {}}, None),
        ("a.b.c?", {"a": {"b": {}}}, None),
        ("a?.b", {}, None),
        ("a.1", {"a": ["x", "y"]}, "y"),
        ("a.5?", {"a": ["x"]}, None),
        ("\"'a b'.'it''s'\"", {"a b": {"it's": "quoted"}}, "quoted"),
        ("订单号", {"订单号": "7"}, "7"),
        (".", "plain", "plain"),
        ("^.rows.0.a", {"a": "up"}, "up"),
        ("= it is", {}, "it is"),
        ("= 'a | b'", {}, "a | b"),
        ("= 7 | int", {}, 7),
        ("a | int", {"a": "12"}, 12),
        ("a | int", {"a": "3.0"}, 3),
        ("a | int", {"a": Decimal("3.0")}, 3),
        ("a | int", {"a": "-4"}, -4),
        ("a | decimal", {"a": "1.250"}, Decimal("1.250")),
        ("a | money", {"a": "12.30"}, 1230),
        ("a | money", {"a": "-0.01"}, -1),
        ("a | money", {"a": "12"}, 1200),
        ("a | money", {"a": "12.300"}, 1230),
        ("a | money", {"a": Decimal("0.5")}, 50),
        ("a | money(3)", {"a": "1.234"}, 1234),
        ("a | money(0)", {"a": "120"}, 120),
        ("a | minor", {"a": "1230"}, 1230),
        ("a | time", {"a": "2024-05-01 12:30:00"}, datetime(2024, 5, 1, 12, 30, tzinfo=CHINA)),
        ("a | time", {"a": "2024-05-01T12:30:00Z"}, datetime(2024, 5, 1, 12, 30, tzinfo=UTC)),
        ("a | time", {"a": "2024-05-01T12:30+02"}, None),
        ("a | time", {"a": "2024-05-01T12:30:00.250+02:00"}, datetime(2024, 5, 1, 10, 30, 0, 250000, UTC)),
        ("a | time('%Y%m%d%H%M%S')", {"a": "20240501123000"}, datetime(2024, 5, 1, 12, 30, tzinfo=CHINA)),
        ("a | epoch(ms)", {"a": 1714537800123}, datetime(2024, 5, 1, 4, 30, 0, 123000, UTC)),
        ("a | epoch(s)", {"a": "1714537800"}, datetime(2024, 5, 1, 4, 30, tzinfo=UTC)),
        ("a | lookup(turns)", {"a": "b"}, 2),
        ("a | lookup(turns)", {"a": "yes"}, True),
        ("a | back(turns)", {"a": "2"}, "b"),
        ("a | back(turns)", {"a": 1}, "a"),
        ("a | lookup(couriers)", {"a": "SF"}, "SF"),
        ("a? | default(0)", {}, "0"),
        ("a? | int | default(0)", {}, 0),
        ("a? | default('')", {}, ""),
        ("a? | or(b)", {"b": "other"}, "other"),
        ("a? | or(b?) | or(c?) | default(none)", {"c": "third"}, "third"),
        ("a? | or(b?) | or(c?) | default(none)", {}, "none"),
        ("a? | or(b) | money", {"b": "2.00"}, 200),
        ("a? | or(^.rows.0.b) | money", {"b": "2.00"}, 200),
        ("a? | filled", {"a": "  "}, None),
        ("a? | filled | or(b)", {"a": "", "b": "x"}, "x"),
        ("a? | filled | time", {"a": ""}, None),
        ("a? | present", {}, False),
        ("a? | present", {"a": 0}, True),
        ("a | is(x, y)", {"a": "y"}, True),
        ("a | not(x, 'y z')", {"a": "y z"}, False),
        ("a | is(1)", {"a": 1}, True),
        ("a | bool", {"a": "Y"}, True),
        ("a | bool", {"a": 0}, False),
        ("a | flag(T, F)", {"a": "F"}, False),
        ("a | upper", {"a": "abc"}, "ABC"),
        ("a | lower | trim", {"a": " ABC "}, "abc"),
        ("a | cut(2)", {"a": "abc"}, "ab"),
        ("a | part('-', 1)", {"a": "x-y-z"}, "y"),
        ("a | join(';')", {"a": ["x", 2]}, "x;2"),
        ("a | split(';')", {"a": "x; y;"}, ["x", "y"]),
        ("a | prefix(NO-)", {"a": 7}, "NO-7"),
        ("a | unprefix(NO-)", {"a": "NO-7"}, "7"),
        ("a | unprefix(NO-)", {"a": "7"}, "7"),
        ("a | times(1000)", {"a": "0.489"}, 489),
        ("a | over(12)", {"a": 36}, 3),
        ("a | money | add(b, c?)", {"a": "1.00", "b": "2.50"}, 350),
        ("a? | money | add(b?)", {}, None),
        ("a | int | less(b, c)", {"a": 9, "b": 2, "c": "3"}, 4),
        ("a | lookup(many)", {"a": "a"}, ["x", "y"]),
    ],
)
def test_a_rule_reads(tmp_path: Path, rule: str, row: Any, expected: Any) -> None:
    if expected is None and "+02" in str(row):
        with pytest.raises(Unfit):
            read_one(tmp_path, rule, row)
    else:
        got = read_one(tmp_path, rule, row)
        assert (type(got), got) == (type(expected), expected)


@pytest.mark.parametrize(
    ("rule", "row", "why"),
    [
        ("a", {}, "'a' is missing"),
        ("a", {"a": None}, "'a' is empty"),
        ("a.b", {"a": "x"}, "'b' is looked for in a plain value"),
        ("a.b", {"a": []}, "'b' is looked for in a list"),
        ("a.0", {"a": []}, "'0' is missing"),
        ("a", {"a": {"b": 1}}, "holds further names"),
        ("a", {"a": []}, "is a list"),
        ("a", {"a": 1.5}, "is no plain value"),
        ("a | int", {"a": "3.5"}, "is not a whole number"),
        ("a | int", {"a": "1_000"}, "is no number"),
        ("a | int", {"a": "１２"}, "is no number"),
        ("a | int", {"a": True}, "is no number"),
        ("a | int", {"a": "1e9"}, "is no number"),
        ("a | int", {"a": ""}, "is empty"),
        ("a | money", {"a": 10**50}, "is out of range"),
        ("a | int", {"a": Decimal("1e999999")}, "is out of range"),
        ("a", {"a": Decimal("1e999999")}, "is out of range"),
        ("a | money", {"a": "1.234"}, "has more than 2 decimal digits"),
        ("a | money", {"a": "1,234.00"}, "is no number"),
        ("a | money", {"a": "NaN"}, "is no number"),
        ("a | time", {"a": "yesterday"}, "is no time"),
        ("a | time", {"a": "2024-02-30 00:00:00"}, "is no time"),
        ("a | time", {"a": "0001-01-01 00:00:00"}, "is out of range"),
        ("a | time('%Y')", {"a": "20x4"}, "is no time written as %Y"),
        ("a | epoch(s)", {"a": 10**18}, "is out of range"),
        ("a | lookup(turns)", {"a": "zz"}, "unknown value (table 'turns' does not have it)"),
        ("a | bool", {"a": "maybe"}, "is neither true nor false"),
        ("a | flag(T, F)", {"a": "X"}, "unknown value"),
        ("a | part('-', 3)", {"a": "x-y"}, "has no piece 3"),
        ("a | times(10)", {"a": "0.15"}, "is not a whole number"),
        ("a | over(12)", {"a": 5}, "cannot be divided by 12 exactly"),
        ("a | over(10)", {"a": 5}, "is not a whole number"),
        ("a? | or(b)", {}, "'b' is missing"),
        ("a | int | add(b)", {"a": 1, "b": "x"}, "is no number"),
    ],
)
def test_a_value_that_does_not_fit_is_a_fault(tmp_path: Path, rule: str, row: Any, why: str) -> None:
    with pytest.raises(Unfit) as caught:
        read_one(tmp_path, rule, row)
    (fault,) = caught.value.faults
    assert fault.why.startswith(why)
    assert (fault.file, fault.line, fault.column, fault.target) == ("order.yaml", 12, 10, "rows[0].sku")
    assert fault.source == rule


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("listing", {"listing": " A "}, "A"),
        ("quantity", {"quantity": 3}, "3"),
        ("quantity | int", {"quantity": 3}, 3),
        ("quantity | number", {"quantity": 3}, 3),
        ("quantity | decimal", {"quantity": 3}, "3"),
        ("quantity | over(1000)", {"quantity": 489}, Decimal("0.489")),
        ("quantity | over(3)", {"quantity": 9}, 3),
        ("quantity | times(3)", {"quantity": 9}, 27),
        ("quantity | money", {"quantity": 1230}, "12.30"),
        ("change | money", {"change": -5}, "-0.05"),
        ("quantity | money(0)", {"quantity": 12}, "12"),
        ("quantity | minor", {"quantity": 1230}, 1230),
        ("quantity | is(0) | flag(N, Y)", {"quantity": 0}, "N"),
        ("sku | lookup(turns)", {"sku": "a"}, "x"),
        ("sku | back(turns)", {"sku": "y"}, "b"),
        ("expected? | default('-')", {"expected": None}, "-"),
        ("expected?", {"expected": None}, None),
        ("expected? | present", {"expected": None}, False),
        ("sku | filled", {"sku": ""}, None),
        ("sku | split(',') | json", {"sku": "中,b"}, '["中","b"]'),
        ("= fixed", {}, "fixed"),
        ("quantity | int | less(change)", {"quantity": 9, "change": 4}, 5),
        ("sku | prefix(NO-) | cut(4)", {"sku": "77"}, "NO-7"),
    ],
)
def test_a_rule_writes(tmp_path: Path, rule: str, value: dict[str, Any], expected: Any) -> None:
    got = write_one(tmp_path, rule, **value)
    assert (type(got), got) == (type(expected), expected)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("placed_at | time", "2024-05-01 12:30:05"),
        ("placed_at | time(iso)", "2024-05-01T04:30:05Z"),
        ("placed_at | time('%Y%m%d')", "20240501"),
        ("placed_at | date", "2024-05-01"),
        ("placed_at | epoch(ms)", 1714537805000),
        ("placed_at | epoch(s)", 1714537805),
    ],
)
def test_a_time_writes(tmp_path: Path, rule: str, expected: Any) -> None:
    mapping = made(tmp_path, f"noun: sale\nformat: json\nzone: Asia/Shanghai\nwrite:\n  out: {rule}\n")
    assert mapping.write({"placed_at": datetime(2024, 5, 1, 4, 30, 5, tzinfo=UTC)}) == {"out": expected}


def test_a_time_without_a_step_is_a_fault(tmp_path: Path) -> None:
    mapping = made(tmp_path, "noun: sale\nformat: json\nwrite:\n  out: placed_at\n")
    with pytest.raises(Unfit, match="say how it is written"):
        mapping.write({"placed_at": datetime(2024, 5, 1, tzinfo=UTC)})


def test_a_time_the_clock_skipped_is_a_fault_and_its_neighbours_are_exact(tmp_path: Path) -> None:
    def at(text: str) -> datetime:
        return read_one(tmp_path, "a | time", {"a": text}, zone="Europe/Berlin").astimezone(UTC)

    assert at("2024-03-31 01:59:59") == datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC)
    assert at("2024-03-31 03:00:00") == datetime(2024, 3, 31, 1, 0, tzinfo=UTC)
    assert at("2024-07-01 12:00:00") == datetime(2024, 7, 1, 10, 0, tzinfo=UTC)
    assert at("2024-12-01 12:00:00") == datetime(2024, 12, 1, 11, 0, tzinfo=UTC)
    with pytest.raises(Unfit, match="never was on the clock there"):
        at("2024-03-31 02:30:00")


def trade(**changes: Any) -> dict[str, Any]:
    line = {"id": "1", "item": "i1", "n": "2", "price": "3.00"}
    whole = {"id": "T1", "at": "2024-05-01 12:30:00", "paid": "6.00", "name": "张三", "lines": [line]}
    return {"t": whole | changes}


def test_an_order_is_read_whole(tmp_path: Path) -> None:
    gift = {"id": "2", "item": "i2", "n": 1, "price": "0.00", "kind": "service"}
    lines = [*trade()["t"]["lines"], gift]
    order = made(tmp_path, ORDER).read(trade(lines=lines, holds=["risk", "refund"], prefix="P"))
    assert isinstance(order, Order)
    assert (order.ref, order.paid_minor, order.holds) == ("T1", 600, ("risk", "refund"))
    assert [(line.ref, line.sku, line.quantity, line.net_minor) for line in order.lines] == [("1", "P", 2, 300)]
    assert order.party is not None and order.party.name == "张三"


def test_a_single_object_stands_for_a_list_of_one(tmp_path: Path) -> None:
    order = made(tmp_path, ORDER).read_values(trade(lines=trade()["t"]["lines"][0]))
    assert [line["ref"] for line in order["lines"]] == ["1"]


def test_all_faults_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    bad = {"id": "1", "item": None, "n": "x", "price": "1.005"}
    with pytest.raises(Unfit) as caught:
        made(tmp_path, ORDER).read(trade(at="soon", lines=[trade()["t"]["lines"][0], bad]))
    assert [str(fault) for fault in caught.value.faults] == [
        "order.yaml:11:14: placed_at <- t.at | time: is no time (ISO 8601 or YYYY-MM-DD HH:MM:SS) (got 'soon')",
        "order.yaml:23:14: lines[1].listing <- item: 'item' is empty (got nothing)",
        "order.yaml:25:15: lines[1].quantity <- n | int: is no number (got 'x')",
        "order.yaml:26:16: lines[1].net_minor <- paid? | or(price) | money: "
        "has more than 2 decimal digits (got '1.005')",
    ]


def test_a_personal_value_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(Unfit) as caught:
        made(tmp_path, ORDER).read(trade(name=["张三"]))
    assert "张三" not in str(caught.value)
    assert caught.value.faults[0].value == "(private)"


def test_what_the_noun_refuses_is_a_fault_of_the_rule_that_filled_it(tmp_path: Path) -> None:
    with pytest.raises(Unfit) as caught:
        made(tmp_path, ORDER).read(trade(lines=[{"id": "", "item": "i", "n": "-1", "price": "1.00"}]))
    assert [(fault.target, fault.line, fault.source) for fault in caught.value.faults] == [
        ("lines[0].ref", 22, "id"),
        ("lines[0].quantity", 25, "n | int"),
    ]


def test_too_many_rows_are_a_fault_and_the_file_may_allow_more(tmp_path: Path) -> None:
    lines = trade()["t"]["lines"] * 2001
    with pytest.raises(Unfit, match="has 2001 rows, more than the 2000 allowed"):
        made(tmp_path, ORDER).read(trade(lines=lines))
    assert len(made(tmp_path, f"rows: 3000\n{ORDER}").read_values(trade(lines=lines))["lines"]) == 2001


def test_links_are_asked_for_as_a_batch_and_put_in(tmp_path: Path) -> None:
    text = SNAPSHOT.format(form="json", zone="UTC", currency="CNY", each="rows", rule="a | link(item)")
    mapping = made(tmp_path, text)
    trees = [{"rows": [{"a": "x"}, {"a": "y"}]}, {"rows": {"a": "z"}}]
    assert mapping.link_kinds == frozenset({"item"})
    assert mapping.links(trees) == {("item", "x"), ("item", "y"), ("item", "z")}
    links = {("item", "x"): "our-x", ("item", "y"): "our-y"}
    assert [row["sku"] for row in mapping.read_values(trees[0], links)["rows"]] == ["our-x", "our-y"]
    with pytest.raises(Unmatched) as caught:
        mapping.read(trees[1], links)
    assert (caught.value.kind, caught.value.ref) == ("item", "z")


def test_faults_come_before_unknown_links(tmp_path: Path) -> None:
    text = SNAPSHOT.format(form="json", zone="UTC", currency="CNY", each="rows", rule="a | link(item)")
    with pytest.raises(Unfit, match="'a' is missing"):
        made(tmp_path, text).read({"rows": [{"a": "unknown"}, {}]})


def test_an_outward_value_asks_for_their_refs(tmp_path: Path) -> None:
    mapping = made(tmp_path, LEVEL.format(zone="UTC", rule="sku | link(item)"))
    level = Level(listing="L", sku="S", form="set", quantity=1, key="k")
    assert mapping.wanted(level) == {("item", "S")}
    assert mapping.write(level, {("item", "S"): "theirs"}) == {"out": "theirs"}
    with pytest.raises(Unmatched):
        mapping.write(level)


def test_json_inside_a_text_is_walked(tmp_path: Path) -> None:
    text = SNAPSHOT.format(form="json", zone="UTC", currency="CNY", each="body | json", rule="a")
    mapping = made(tmp_path, text)
    assert mapping.read_values({"body": '[{"a": "x"}, {"a": "y"}]'})["rows"][1]["sku"] == "y"
    with pytest.raises(Unfit, match="the document is no JSON"):
        mapping.read_values({"body": "[{"})


def test_an_absent_list_is_empty_when_read(tmp_path: Path) -> None:
    text = SNAPSHOT.format(form="json", zone="UTC", currency="CNY", each="rows?", rule="a")
    assert made(tmp_path, text).read(b"{}") == Snapshot(rows=())


def test_an_optional_block_without_values_is_left_out(tmp_path: Path) -> None:
    mapping = made(tmp_path, ORDER.replace("party:", "party?:"))
    assert "party" not in mapping.read_values({"t": {**trade()["t"], "name": None}})


def test_every_mistake_of_a_file_comes_at_once(tmp_path: Path) -> None:
    text = """noun: order
format: yaml
zone: Mars/Olympus
currency: QQQ
colour: blue
read:
  ref: t..id
  ref2: a
  status: a | lookup(nowhere)
  paid_minor: a | mony
  buyer: a | cut(0)
  note: a | part('-')
  note: b
  party: a
  lines[]:
    ref: ^^.a
  holds: [a]
"""
    found = refused(tmp_path, text)
    for start in (
        "order.yaml:2: format: must be one of json, xml, form, csv",
        "order.yaml:3: zone: there is no time zone 'Mars/Olympus'",
        "order.yaml:4: currency: the table of currencies does not have 'QQQ'",
        "order.yaml:5: colour: is no part of a mapping",
        "order.yaml:6: : the required field 'version' of Order has no rule",
        "order.yaml:7: ref: '.id' is no name in a path",
        "order.yaml:8: ref2: Order has no field 'ref2'",
        "order.yaml:9: status: there is no table 'nowhere'",
        "order.yaml:10: paid_minor: there is no step 'mony'",
        "order.yaml:11: buyer: '0' is no whole number from 1",
        "order.yaml:12: note: part takes 2 arguments, not 1",
        "order.yaml:13: note: is there twice",
        "order.yaml:14: party: is made of fields",
        "order.yaml:15: lines[]: needs `each:`",
        "order.yaml:16: lines[].ref: `^^` leads out of the document",
        "order.yaml:17: holds: must be a block of keys",
    ):
        assert any(line.startswith(start) for line in found), (start, found)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("a | number", "number only writes"),
        ("a | date", "date only writes"),
        ("a | epoch(h)", "epoch is counted in s or ms"),
        ("a | time('%Q')", "is no time format"),
        ("a | flag(x, x)", "flag needs two different texts"),
        ("a | split('')", "a separator cannot be empty"),
        ("a | back(many)", "holds lists"),
        ("a | default", "default takes 1 arguments, not 0"),
        ("a | cut(2", "a quote or a parenthesis is not closed"),
        ("a | cut 2", "is no step"),
        ("a | is(a,,b)", "an argument is empty"),
        ("a || int", "is no step"),
        ("a | json", "json may only be the last step of an `each`"),
        ("= x | int", "the literal 'x' is no number"),
        ("a? | default(x) | int", "the default is no number"),
        ("a" + ".a" * 12, "a path has at most 12 parts"),
        ("a" + " | trim" * 9, "a rule has at most 8 steps"),
        ("a b", "cannot follow 'a' in a path"),
        ("a()", "cannot follow 'a' in a path"),
        ("a[0]", "cannot follow 'a' in a path"),
    ],
)
def test_a_rule_written_wrongly_is_refused_at_load(tmp_path: Path, rule: str, why: str) -> None:
    text = SNAPSHOT.format(form="json", zone="UTC", currency="CNY", each="rows", rule=f'"{rule}"')
    (line,) = refused(tmp_path, text)
    assert line.startswith("order.yaml:12: rows[].sku: ") and why in line


def test_money_without_a_currency_needs_its_digits(tmp_path: Path) -> None:
    text = SNAPSHOT.replace("currency: {currency}\n", "").format(form="json", zone="UTC", each="rows", rule="a | money")
    assert refused(tmp_path, text) == [
        "order.yaml:11: rows[].sku: money needs the file's currency, or its digits: money(2)"
    ]


def test_a_written_path_is_held_against_the_noun(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, LEVEL.format(zone="UTC", rule="quantiti"))
    assert line.startswith("order.yaml:8: out: Level has no field 'quantiti'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("noun: order\nformat: [", "file: is no YAML"),
        ("- a", "file: is no mapping of keys"),
        ("noun: order\nformat: json\n", "read: is missing"),
        ("noun: ordre\nformat: json\nread:\n  a: b\n", "no noun 'ordre' is read"),
        ("noun: shipment\nformat: csv\nwrite:\n  a: ref\n", "csv is only read"),
        ("noun: shipment\nformat: form\nwrite:\n  a:\n    b: ref\n", "a form has no blocks"),
        ("noun: shipment\nformat: xml\nwrite:\n  a: ref\n", "exactly one outermost block"),
        ("noun: shipment\nformat: xml\nwrite:\n  a:\n    'x y': ref\n", "is no name of an XML element"),
        ("noun: shipment\nformat: json\nwrite:\n  a: &x ref\n  b: *x\n", "YAML aliases are not allowed"),
        ("noun: shipment\nformat: json\nwrite:\n  a: =\n", "has no rule"),
        ("noun: shipment\nformat: json\nwrite:\n" + "".join(f"  a{n}: ref\n" for n in range(401)), "at most 400 rules"),
        ("noun: a\n" + "#" * 70_000, "has more than 64 KB"),
        ("noun: shipment\nformat: json\nwrite: " + "{a: " * 7 + "ref" + "}" * 7, "nested deeper than 5"),
        ("[" * 30_000, "is no YAML"),
        ("{a: " * 15_000, "is no YAML"),
    ],
)
def test_a_file_written_wrongly_is_refused_at_load(tmp_path: Path, text: str, why: str) -> None:
    assert why in "\n".join(refused(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        load(tmp_path / "nothing.yaml")


def test_table_keys_are_text_whatever_yaml_thinks(tmp_path: Path) -> None:
    text = ORDER.replace("read:\n", "tables: {t: {NO: a, on: b, 0123: c, 1: '007', 2: 0x1F}}\nread:\n")
    mapping = made(tmp_path, text.replace("version: t.at", "version: t.at | lookup(t)"))

    def found(key: str) -> Any:
        return mapping._read.fields[1][1].get({"t": {"at": key}}, None)  # type: ignore[union-attr]

    assert [found(key) for key in ("NO", "on", "0123", "1", "2")] == ["a", "b", "c", "007", "0x1F"]


def test_an_overlay_changes_adds_and_takes_away_fields(tmp_path: Path) -> None:
    text = """
currency: JPY
tables: {words: {a: b}}
read:
  lines[].net_minor: price | money
  lines[]:
    title: = none
  party.company: = 店
  party.name: =
  note: t.note?
"""
    mapping = made(tmp_path, ORDER, overlay=Overlay("overlay of shop 7", text))
    got = mapping.read_values(trade(paid="600", note="hi", lines=[{"id": "1", "item": "i", "n": 1, "price": "9"}]))
    assert (got["lines"][0]["net_minor"], got["lines"][0]["title"], got["paid_minor"]) == (9, "none", 600)
    assert (got["party"], got["note"]) == ({"company": "店"}, "hi")


def test_faults_of_an_overlay_name_its_file_and_line(tmp_path: Path) -> None:
    mapping = made(tmp_path, ORDER, overlay=Overlay("overlay of shop 7", "read:\n  buyer: t.nick\n"))
    with pytest.raises(Unfit) as caught:
        mapping.read(trade())
    (fault,) = caught.value.faults
    assert (fault.file, fault.line, fault.target) == ("overlay of shop 7", 2, "buyer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noun: stock\n", "o:1: noun: must stay order"),
        ("read:\n  buyer: =\n", "o:2: buyer: there is no such field to take away"),
        ("read:\n  lines.ref: a\n", "o:2: lines: is a list in one file and no list in the other"),
        ("read:\n  ref: =\n", "order.yaml:5: : the required field 'ref' of Order has no rule"),
        ("write:\n  ref: a\n", "o:1: : the mapping below has no such part"),
    ],
)
def test_an_overlay_that_does_not_lie_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert refused(tmp_path, ORDER, overlay=Overlay("o", text)) == [expected]


def test_every_rule_can_be_made_wrong_and_that_is_noticed(tmp_path: Path) -> None:
    mapping = made(tmp_path, ORDER)
    rules = mapping.rules()
    whole = trade(holds=["risk"], prefix="P", lines=[trade()["t"]["lines"][0] | {"paid": "2.00", "kind": "goods"}])
    expected = mapping.read(whole)
    assert [rule.target for rule in rules][-3:] == ["lines[].sku", "lines[].quantity", "lines[].net_minor"]
    unnoticed = []
    for number, rule in enumerate(rules):
        try:
            if mapping.mutated(number).read(whole) == expected:
                unnoticed.append(rule.target)
        except Unfit:
            continue
    assert unnoticed == ["lines[].if"]
