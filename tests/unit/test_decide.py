"""Admission: decided for many orders at once as if one came after the other, and never more than there is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.rules.decide import Part, Request, Want, decide

EAST, WEST = 1, 2
Balances = dict[tuple[int, int, int], int]

units = st.integers(1, 6)
wants = st.lists(st.tuples(st.integers(1, 3), units), min_size=1, max_size=4)
warehouses = st.permutations([EAST, WEST, 3]).flatmap(lambda all_: st.integers(1, 3).map(lambda n: tuple(all_[:n])))
balances = st.dictionaries(st.tuples(st.just(7), st.integers(1, 3), st.integers(1, 3)), st.integers(0, 8))


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    made = []
    for n in range(draw(st.integers(0, 6))):
        lines = [Want(n * 10 + i, 7, item, q) for i, (item, q) in enumerate(draw(wants))]
        made.append(Request(lines, draw(warehouses), draw(st.booleans())))
    return made


def one(left: Balances, request: Request) -> list[Part]:
    """What the rules say of a single order, spelt out."""
    needs: Counter[int] = Counter()
    for want in request.wants:
        needs[want.item_id] += want.quantity
    there = {w: {i: left.get((7, i, w), 0) for i in needs} for w in request.warehouses}
    for w in request.warehouses:
        if all(there[w][i] >= n for i, n in needs.items()):
            return [Part(x.line, 7, x.item_id, w, x.quantity, x.quantity) for x in request.wants]
    if request.may_split and all(sum(there[w][i] for w in request.warehouses) >= n for i, n in needs.items()):
        return split(there, request)
    covers = [sum(min(n, there[w][i]) for i, n in needs.items()) for w in request.warehouses]
    best = request.warehouses[covers.index(max(covers))]
    parts = []
    for x in request.wants:
        backed = min(x.quantity, there[best][x.item_id])
        there[best][x.item_id] -= backed
        parts.append(Part(x.line, 7, x.item_id, best, x.quantity, backed))
    return parts


def split(there: dict[int, dict[int, int]], request: Request) -> list[Part]:
    parts = []
    for x in request.wants:
        missing = x.quantity
        for w in request.warehouses:
            if taken := min(missing, there[w][x.item_id]):
                there[w][x.item_id] -= taken
                missing -= taken
                parts.append(Part(x.line, 7, x.item_id, w, taken, taken))
    return parts


@given(balances, requests())
def test_a_batch_is_decided_as_if_one_came_after_the_other(there: Balances, batch: list[Request]) -> None:
    left = dict(there)
    expected = []
    for request in batch:
        parts = one(left, request)
        for part in parts:
            left[(7, part.item_id, part.warehouse_id)] = left.get((7, part.item_id, part.warehouse_id), 0) - part.backed
        expected.append(parts)
    assert decide(there, batch) == expected


@given(balances, requests())
def test_never_more_is_backed_than_there_is_and_every_unit_is_asked_once(there: Balances, batch: list[Request]) -> None:
    before = dict(there)
    decided = decide(there, batch)
    backed: Counter[tuple[int, int, int]] = Counter()
    for request, parts in zip(batch, decided, strict=True):
        asked: Counter[int] = Counter()
        for part in parts:
            assert 0 <= part.backed <= part.asked
            assert part.warehouse_id in request.warehouses
            backed[(part.owner_id, part.item_id, part.warehouse_id)] += part.backed
            asked[part.line] += part.asked
        assert asked == Counter({want.line: want.quantity for want in request.wants})
    assert all(n <= there.get(key, 0) for key, n in backed.items())
    assert there == before


def test_the_first_warehouse_that_backs_the_whole_order_makes_it() -> None:
    there = {(7, 1, EAST): 4, (7, 1, WEST): 9}
    assert decide(there, [Request([Want(1, 7, 1, 5)], (EAST, WEST))]) == [[Part(1, 7, 1, WEST, 5, 5)]]


def test_who_may_not_split_is_short_in_the_warehouse_that_has_most() -> None:
    there = {(7, 1, EAST): 2, (7, 1, WEST): 3}
    assert decide(there, [Request([Want(1, 7, 1, 5)], (EAST, WEST), may_split=False)]) == [[Part(1, 7, 1, WEST, 5, 3)]]
