"""How much translation costs: trades of five lines against bare pydantic and against JMESPath."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import jmespath

from benchmarks.fixtures.trade import canonical, trade, trade_body
from benchmarks.harness import bench_result, must_equal, race, result_row
from core.model import Order
from mappings.language import TABLES, Mapping, Rule, load

MAPPING = TABLES.parent / "sales" / "tmall" / "order.yaml"
HEATS = 60
CALLS = 32
TRADES = 64
"""Different trades that every rival goes through in turn, so that no amount or text is always the last one seen."""
WALKED = re.compile(r"\s*([\w.]+)\??\s*(?:\||$)")
ALTERNATIVE = re.compile(r"\bor\(([\w.]+)\??\)")
NEIGHBOUR = re.compile(r"\b(?:add|less|when)\(([\w.]+)\??")
Expressions = dict[str, Any]


def expressions(rules: list[Rule]) -> tuple[Expressions, Any, Expressions]:
    """A compiled JMESPath for each field the mapping takes: of the document, of its rows, of a row.

    A rule's alternatives are one expression (`a || b`); the neighbours it adds or compares are fields of their own.
    """
    top: Expressions = {}
    row: Expressions = {}
    for rule in rules:
        found = WALKED.match(rule.source)
        if not found or rule.target.startswith("holds[]") or rule.target == "lines[].each":
            continue
        where, target = (row, rule.target[8:]) if rule.target.startswith("lines[].") else (top, rule.target)
        where[target] = jmespath.compile(" || ".join([found[1], *ALTERNATIVE.findall(rule.source)]))
        for name in NEIGHBOUR.findall(rule.source):
            where.setdefault(f"{target} {name}", jmespath.compile(name))
    return top, jmespath.compile("trade.orders.order"), {**row, "holds": jmespath.compile("refund_status")}


def by_jmespath(rules: list[Rule]) -> Callable[[Any], tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The same fields, each searched with its own compiled expression; no conversions at all."""
    top, rows, row = expressions(rules)

    def search(tree: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = {target: one.search(tree) for target, one in top.items()}
        return found, [{target: one.search(line) for target, one in row.items()} for line in rows.search(tree)]

    return search


def check_equal(mapping: Mapping, tree: Any, search: Callable[[Any], Any]) -> None:
    """What JMESPath found is, as text, what our plain text rules found."""
    values, (top, lines) = mapping.read_values(tree), search(tree)
    plain = {rule.target for rule in mapping.rules() if re.fullmatch(r"[\w.]+\??", rule.source)}
    for target in sorted(plain - {"lines[].each", "holds[].each"}):
        if target.startswith("lines[]."):
            name = target.partition("[].")[2]
            ours = [line.get(name) for line in values["lines"]]
            theirs = [line[name] for line in lines]
        else:
            ours, theirs = _inside(values, target), top[target]
        must_equal(target, ours, theirs)


def _inside(values: Any, target: str) -> Any:
    for name in target.split("."):
        values = values.get(name)
    return values


def trades() -> list[bytes]:
    """The trade and others like it: other numbers, times, texts and amounts."""
    return [trade_body(), *(_varied(number) for number in range(1, TRADES))]


def _varied(number: int) -> bytes:
    one = trade()
    one["tid"] = str(int(one["tid"]) + 10 * number)
    one["created"] = f"2024-05-{1 + number % 28:02} 12:{number % 60:02}:00"
    one["receiver_address"] += f"{number}号"
    one["oaid"] += str(number)
    for line in one["orders"]["order"]:
        line["oid"] = str(int(line["oid"]) + 10 * number)
        line["title"] += f" {number}"
        for name in ("total_fee", "discount_fee", "part_mjz_discount", "divide_order_fee"):
            line[name] = f"{float(line[name]) + 1.37 * number * line['num']:.2f}"
    one["payment"] = f"{float(one['payment']) + 1.37 * number * 15:.2f}"
    return json.dumps({"trade": one}, ensure_ascii=False).encode()


def canonical_texts(mapping: Mapping, bodies: Sequence[bytes]) -> list[bytes]:
    """What these trades mean, as JSON; raises Unequal when reading straight, exactly and back differ."""
    must_equal("the canonical order", mapping.read(bodies[0]), Order.model_validate(canonical()))
    texts = []
    for body in bodies:
        order: Any = mapping.read(body)
        must_equal("the order read exactly", mapping.read(mapping.parse(body)), order)
        texts.append(order.model_dump_json().encode())
        must_equal("the canonical order from its own JSON", order, Order.model_validate_json(texts[-1]))
    return texts


def run(rounds: int = 7) -> dict[str, Any]:
    """Measure, rivals side by side in every round; raises Unequal when they don't compute the same."""
    mapping, bodies = load(MAPPING), trades()
    search, texts = by_jmespath(mapping.rules()), canonical_texts(mapping, bodies)
    trees = [mapping.parse(body) for body in bodies]
    for tree in trees:
        check_equal(mapping, tree, search)
    text, body, mapped, searched = (itertools.cycle(ones).__next__ for ones in (texts, bodies, trees, trees))
    rivals = {
        "pydantic": lambda: Order.model_validate_json(text()),
        "ours": lambda: mapping.read(body()),
        "step": lambda: mapping.read_values(mapped()),
        "jmespath": lambda: search(searched()),
    }
    times = [race(rivals, heats=HEATS, calls=CALLS) for _ in range(rounds)]
    results = [
        _row("order_vs_pydantic", times, "pydantic", "ours", floor=0.33, target=0.5),
        _row("step_vs_jmespath", times, "jmespath", "step", floor=6, target=8),
    ]
    return bench_result("mapping", rounds, results)


def _row(
    goal: str, times: list[dict[str, float]], rival: str, us: str, *, floor: float, target: float
) -> dict[str, Any]:
    ratios = [one[rival] / one[us] for one in times]
    absolute = {f"{name}_us": round(min(one[name] for one in times) * 1e6, 1) for name in (rival, us)}
    return result_row(goal, ratios, floor=floor, target=target, absolute=absolute)
