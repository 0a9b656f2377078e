"""Callers ask for units and can be told no: whole or not at all, once, until a time; racers get what there is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import Broken, OutOfStock, Refused, Unfit, Unmatched, Withheld
from core.flow import move_stock, reserve_stock
from core.flow.follow_reservation import promise
from core.flow.funnel import Funnel
from core.flow.journeys import decide
from core.flow.reserve_stock import Answer, Command, Confirm, Release, Reservation, Reserve, Subject
from core.rules.channels import Bound, Claimed, Policy
from core.rules.decide import Source, Want
from core.store import tables as t
from tests.unit.test_lots import counts, keep_lots, receives
from tests.worlds import MONDAY, Clock, World, minutes, opened, order, store, world

RACERS = 64


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    clock = Clock()
    with store(tmp_path, clock=clock) as it:
        yield world(it, clock)


def reserve(hub: World, ref: str, *lines: tuple[int, int], **more: Any) -> Reserve:
    """alpha asks for (item, units) each, of the warehouse east."""
    wants = tuple(Want(n, hub.alpha, item, units) for n, (item, units) in enumerate(lines))
    return Reserve(Subject(hub.alpha, "api", ref), wants, more.pop("warehouses", (hub.east,)), **more)


def decided(hub: World, *commands: Command) -> list[Answer]:
    return hub.store.write(lambda tx: decide(tx, commands))


def states(answers: Sequence[Answer]) -> list[str]:
    return [a.state if isinstance(a, Reservation) else type(a).__name__ for a in answers]


def left(hub: World) -> list[int]:
    """How many rows there are of what a reservation writes."""
    tables = (t.claims, t.journals, t.entries, t.cells)
    return [hub.rows(select(func.count().label("n")).select_from(table))[0]["n"] for table in tables]


def test_what_is_there_is_kept_and_what_is_not_leaves_no_trace(hub: World) -> None:
    hub.counts("pen", 5)
    before = left(hub)
    answers = decided(hub, reserve(hub, "A", (hub.pen, 6)), reserve(hub, "B", (hub.pen, 1), (hub.ink, 1)))
    assert states(answers) == ["OutOfStock", "OutOfStock"]
    assert isinstance(answers[0], OutOfStock)
    assert answers[0].missing == ((hub.pen, 6, 5),)
    assert left(hub) == before
    assert states(decided(hub, reserve(hub, "C", (hub.pen, 5)))) == ["reserved"]
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.entries("reserve") == [("free", -5), ("reserved", 5)]
    assert hub.audit() == []


def test_commands_of_one_list_are_decided_in_order(hub: World) -> None:
    hub.counts("pen", 5)
    asked = [reserve(hub, f"R{n}", (hub.pen, units)) for n, units in enumerate((3, 3, 2, 1))]
    assert states(decided(hub, *asked)) == ["reserved", "OutOfStock", "reserved", "OutOfStock"]


def bound(hub: World, exclusive: int = 0, **terms: int) -> dict[str, Any]:
    """A policy's terms bind pens, and so many of them are exclusive to a listing."""
    one = Claimed(7, exclusive, 0, reaches=frozenset({(hub.alpha, hub.east)}))
    return {"bounds": {hub.pen: Bound(Policy(**terms), (one,) if exclusive else ())}}


def missing(answer: Answer) -> list[tuple[int, int]]:
    """(asked for, may be promised) of each item a policy keeps."""
    assert isinstance(answer, Withheld), answer
    return [(n, most) for _, n, most in answer.missing]


@pytest.mark.parametrize(
    ("terms", "most"),
    [
        ({"share": 50}, 5),
        ({"share": 10, "floor": 4}, 4),
        ({"cap": 6}, 6),
        ({"reserve": 4}, 6),
        ({"reserve": 4, "share": 50}, 3),
        ({"buffer": 3}, 7),
        ({"exclusive": 4}, 6),
        ({"exclusive": 4, "share": 50}, 3),
        ({"share": 0}, 0),
    ],
)
def test_a_caller_is_promised_what_a_shop_would_be_shown(hub: World, terms: dict[str, int], most: int) -> None:
    hub.counts("pen", 10)
    before = left(hub)
    (refused,) = decided(hub, reserve(hub, "A", (hub.pen, most + 1), **bound(hub, **terms)))
    assert missing(refused) == [(most + 1, most)]
    assert "the channel policy keeps the rest: ask for less, or change the policy" in str(refused)
    assert left(hub) == before
    if most:
        assert states(decided(hub, reserve(hub, "B", (hub.pen, most), **bound(hub, **terms)))) == ["reserved"]
        assert hub.cell(hub.pen) == {"free": 10 - most, "reserved": most}


def test_callers_of_one_list_are_bound_by_what_those_before_them_left(hub: World) -> None:
    """Ten, four of them exclusive: two who ask for four do not get eight."""
    hub.counts("pen", 10)
    some = bound(hub, exclusive=4)
    asked = [reserve(hub, f"R{n}", (hub.pen, units), **some) for n, units in enumerate((4, 4, 2, 1))]
    answers = decided(hub, *asked)
    assert states(answers) == ["reserved", "Withheld", "reserved", "Withheld"]
    assert [missing(answers[1]), missing(answers[3])] == [[(4, 2)], [(1, 0)]]
    assert hub.cell(hub.pen) == {"free": 4, "reserved": 6}


@pytest.mark.parametrize("together", [True, False])
def test_it_is_the_same_for_callers_of_one_list_and_one_by_one(hub: World, together: bool) -> None:
    """Half of 10 is 5, of the 7 left 3, of the 4 left then, which an unbound one takes 2 of, 1."""
    hub.counts("pen", 10)
    half = bound(hub, share=50)
    asked = [
        reserve(hub, "A", (hub.pen, 3), **half),
        reserve(hub, "B", (hub.pen, 4), **half),
        reserve(hub, "C", (hub.pen, 3), **half),
        reserve(hub, "D", (hub.pen, 2)),
        reserve(hub, "E", (hub.pen, 2), **half),
        reserve(hub, "F", (hub.pen, 1), **half),
    ]
    answers = decided(hub, *asked) if together else [decided(hub, one)[0] for one in asked]
    assert states(answers) == ["reserved", "Withheld", "reserved", "reserved", "Withheld", "reserved"]
    assert [missing(answers[1]), missing(answers[4])] == [[(4, 3)], [(2, 1)]]
    assert hub.audit() == []


def test_a_cap_bounds_one_answer_and_not_all_of_them(hub: World) -> None:
    hub.counts("pen", 10)
    asked = [reserve(hub, f"R{n}", (hub.pen, units), **bound(hub, cap=5)) for n, units in enumerate((6, 5, 5))]
    assert states(decided(hub, *asked)) == ["Withheld", "reserved", "reserved"]


def test_where_only_the_stock_is_too_small_no_policy_is_named(hub: World) -> None:
    hub.counts("pen", 10)
    (refused,) = decided(hub, reserve(hub, "A", (hub.pen, 11), **bound(hub, cap=20)))
    assert type(refused) is OutOfStock
    assert refused.missing == ((hub.pen, 11, 10),)
    (refused,) = decided(hub, reserve(hub, "B", (hub.pen, 11), (hub.ink, 1), **bound(hub, share=50)))
    assert missing(refused) == [(11, 5), (1, 0)]
    (refused,) = decided(hub, reserve(hub, "C", (hub.pen, 5), (hub.ink, 1), **bound(hub, share=50)))
    assert type(refused) is OutOfStock
    assert refused.missing == ((hub.ink, 1, 0),)


def test_what_was_kept_before_is_answered_whatever_binds_now(hub: World) -> None:
    hub.counts("pen", 10)
    decided(hub, reserve(hub, "A", (hub.pen, 8)))
    (again,) = decided(hub, reserve(hub, "A", (hub.pen, 8), **bound(hub, share=0)))
    assert isinstance(again, Reservation)
    assert again.repeated


def test_a_bound_counts_all_warehouses_and_all_owners_it_may_take_of(hub: World) -> None:
    """6 in the east and 4 in the west are 10: half of them may come from both. beta may have half of alpha's 6."""
    hub.counts("pen", 6, "east")
    hub.counts("pen", 4, "west")
    both = {"warehouses": (hub.west, hub.east), **bound(hub, share=50)}
    assert missing(decided(hub, reserve(hub, "A", (hub.pen, 6), **both))[0]) == [(6, 5)]
    contract = hub.row(t.contracts, owner_id=hub.alpha)["id"]

    def theirs(ref: str, units: int) -> Reserve:
        want = Want(0, hub.beta, hub.pen, units, others=(Source(hub.alpha, contract),))
        return Reserve(Subject(hub.beta, "api", ref), (want,), (hub.east,), **bound(hub, share=50))

    answers = decided(hub, theirs("B", 4), theirs("C", 3), theirs("D", 2))
    assert states(answers) == ["Withheld", "reserved", "Withheld"]
    assert [missing(answers[0]), missing(answers[2])] == [[(4, 3)], [(2, 1)]]
    assert states(decided(hub, reserve(hub, "E", (hub.pen, 3), **both))) == ["reserved"]
    assert hub.audit() == []


def test_lines_of_one_item_are_summed_before_they_are_looked_for(hub: World) -> None:
    hub.counts("pen", 5)
    assert states(decided(hub, reserve(hub, "A", (hub.pen, 3), (hub.pen, 3)))) == ["OutOfStock"]
    assert states(decided(hub, reserve(hub, "B", (hub.pen, 3), (hub.pen, 2)))) == ["reserved"]


def test_several_warehouses_make_it_only_where_it_may_be_split(hub: World) -> None:
    hub.counts("pen", 2, "east")
    hub.counts("pen", 2, "west")
    both = {"warehouses": (hub.east, hub.west)}
    whole = reserve(hub, "A", (hub.pen, 3), **both, may_split=False)
    (refused,) = decided(hub, whole)
    assert isinstance(refused, OutOfStock)
    assert "no single warehouse" in refused.message
    (kept,) = decided(hub, reserve(hub, "B", (hub.pen, 3), **both))
    assert isinstance(kept, Reservation)
    assert [(k.warehouse_id, k.units) for k in kept.kept] == [(hub.east, 2), (hub.west, 1)]


def test_asked_again_it_is_answered_as_it_stands(hub: World) -> None:
    hub.counts("pen", 5)
    first, again, twice = decided(hub, *[reserve(hub, "A", (hub.pen, 2))] * 2, reserve(hub, "A", (hub.pen, 2)))
    assert isinstance(first, Reservation)
    assert not first.repeated
    assert again == twice == first._replace(repeated=True)
    assert decided(hub, reserve(hub, "A", (hub.pen, 2)))[0] == again
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}


def test_other_units_under_the_same_ref_are_refused(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 2)))
    for asked in (reserve(hub, "A", (hub.pen, 3)), reserve(hub, "A", (hub.ink, 2))):
        (refused,) = decided(hub, asked)
        assert isinstance(refused, Refused)
        assert "choose another ref" in refused.message
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}


def test_two_holders_may_use_the_same_ref(hub: World) -> None:
    hub.counts("pen", 5)
    theirs = Reserve(Subject(hub.beta, "api", "A"), (Want(0, hub.alpha, hub.pen, 1),), (hub.east,))
    assert states(decided(hub, reserve(hub, "A", (hub.pen, 2)), theirs)) == ["reserved", "reserved"]
    decided(hub, Release(theirs.subject))
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 2}


@pytest.mark.parametrize("units", [0, -1, 1.5, True, 10**12 + 1, "3", None])
def test_what_is_no_number_of_units_is_refused_by_name(hub: World, units: Any) -> None:
    hub.counts("pen", 5)
    before = left(hub)
    good = reserve(hub, "B", (hub.pen, 1))
    unfit, kept = decided(hub, reserve(hub, "A", (hub.pen, units)), good)
    assert isinstance(unfit, Unfit)
    assert "whole number" in unfit.message
    assert isinstance(kept, Reservation)
    assert left(hub) == [before[0] + 1, before[1] + 1, before[2] + 2, before[3]]


def test_a_ref_that_a_database_would_cut_is_unfit(hub: World) -> None:
    hub.counts("pen", 5)
    (unfit,) = decided(hub, reserve(hub, "A\0B", (hub.pen, 1)))
    assert isinstance(unfit, Unfit)
    assert hub.cell(hub.pen) == {"free": 5}


def test_one_without_lines_or_warehouses_is_unfit(hub: World) -> None:
    assert states(decided(hub, reserve(hub, "A"), reserve(hub, "B", (hub.pen, 1), warehouses=()))) == ["Unfit"] * 2


def test_confirmed_it_stays_and_released_it_goes_back_once(hub: World) -> None:
    hub.counts("pen", 5)
    mine = Subject(hub.alpha, "api", "A")
    decided(hub, reserve(hub, "A", (hub.pen, 2), until=MONDAY + timedelta(minutes=5)))
    assert states(decided(hub, Confirm(mine))) == ["confirmed"]
    hub.clock.wait(3600)  # type: ignore[union-attr]
    assert hub.store.write(reserve_stock.expire) == 0
    assert states(decided(hub, Release(mine), Release(mine), Confirm(mine))) == ["released", "released", "Refused"]
    assert hub.cell(hub.pen) == {"free": 5}
    assert hub.entries("release") == [("reserved", -2), ("free", 2)]
    assert states(decided(hub, reserve(hub, "A", (hub.pen, 2)))) == ["released"]
    assert hub.audit() == []


def test_what_was_never_reserved_cannot_be_confirmed_or_released(hub: World) -> None:
    mine = Subject(hub.alpha, "api", "A")
    assert [type(a) for a in decided(hub, Confirm(mine), Release(mine))] == [Unmatched, Unmatched]


def test_what_runs_out_goes_back_by_itself(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 2), until=MONDAY + timedelta(minutes=5)), reserve(hub, "B", (hub.pen, 1)))
    with hub.store.read() as tx:
        assert not reserve_stock.any_expired(tx)
    hub.clock.wait(301)  # type: ignore[union-attr]
    with hub.store.read() as tx:
        assert reserve_stock.any_expired(tx)
    assert hub.store.write(reserve_stock.expire) == 1
    assert hub.store.write(reserve_stock.expire) == 0
    assert hub.cell(hub.pen) == {"free": 4, "reserved": 1}
    assert states(decided(hub, Confirm(Subject(hub.alpha, "api", "A")))) == ["Refused"]


def test_what_comes_back_fills_what_is_missing_first(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 4)))
    hub.counts("pen", -3)
    assert hub.cell(hub.pen) == {"reserved": 4, "suspense": -2}
    decided(hub, Release(Subject(hub.alpha, "api", "A")))
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.audit() == []


def test_callers_and_orders_share_the_same_units(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 4)))
    hub.takes(order("O", ("pen", 3)))
    assert hub.claims("O") == [(3, 1)]
    assert hub.cell(hub.pen) == {"reserved": 5}
    assert hub.audit() == []


def gives_up(hub: World) -> int:
    """A person gives up promises for the pens that are missing in the east."""
    cell = hub.row(t.cells, item_id=hub.pen, warehouse_id=hub.east)["id"]
    return hub.store.write(lambda tx: move_stock.unback(tx, cell))


def keeps(hub: World, ref: str) -> list[tuple[int, int]]:
    """(units, those that are missing) of a reservation of alpha's, as it stands."""
    named = Subject(hub.alpha, "api", ref)
    with hub.store.read() as tx:
        return [(kept.units, kept.missing) for kept in reserve_stock.standing(tx, [named])[named].kept]


def test_units_given_up_for_missing_goods_leave_a_reservation_short(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 4)))
    hub.counts("pen", -3)
    assert gives_up(hub) == 2
    assert hub.cell(hub.pen) == {"reserved": 2}
    (answer,) = decided(hub, Release(Subject(hub.alpha, "api", "A")))
    assert isinstance(answer, Reservation)
    assert (answer.kept[0].missing, keeps(hub, "A")) == (4, [(4, 4)])
    assert hub.cell(hub.pen) == {"free": 2}
    assert hub.audit() == []


def test_whoever_reads_a_reservation_or_confirms_it_again_reads_what_it_lost(hub: World) -> None:
    hub.counts("pen", 5)
    confirm = Confirm(Subject(hub.alpha, "api", "A"))
    decided(hub, reserve(hub, "A", (hub.pen, 5)), confirm)
    hub.counts("pen", -2)
    assert keeps(hub, "A") == [(5, 0)]
    gives_up(hub)
    (answer,) = decided(hub, confirm)
    assert isinstance(answer, Reservation)
    assert (answer.state, answer.kept[0].missing, keeps(hub, "A")) == ("confirmed", 2, [(5, 2)])
    (answer,) = decided(hub, reserve(hub, "A", (hub.pen, 5)))
    assert isinstance(answer, Reservation)
    assert (answer.repeated, answer.kept[0].missing) == (True, 2)


def test_what_a_reservation_lost_is_a_task_until_it_has_it_again_or_is_over(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 5)))
    hub.counts("pen", -5)
    gives_up(hub)
    assert (hub.events("reservation.short"), hub.worklist()) == (1, ["reservation.short"])
    hub.counts("pen", 3)
    assert (hub.cell(hub.pen), keeps(hub, "A")) == ({"reserved": 3}, [(5, 2)])
    task = hub.row(t.worklist, kind="reservation.short")
    assert (task["merchant_id"], task["done_at"]) == (hub.alpha, None)
    assert "api A keeps 3 of 5 units of pen in east" in task["reason"]
    hub.counts("pen", 3)
    assert (hub.cell(hub.pen), keeps(hub, "A"), hub.worklist()) == ({"free": 1, "reserved": 5}, [(5, 0)], [])
    assert hub.events("reservation.backed") == 2
    hub.counts("pen", -4)
    gives_up(hub)
    assert hub.worklist() == ["reservation.short"]
    decided(hub, Release(Subject(hub.alpha, "api", "A")))
    assert (hub.worklist(), hub.audit()) == ([], [])


def test_where_newest_promises_go_first_a_person_hears_of_a_callers_all_the_same(hub: World) -> None:
    hub.decides("wait", unback="newest")
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 2)), reserve(hub, "B", (hub.pen, 3)))
    hub.counts("pen", -4)
    assert (keeps(hub, "A"), keeps(hub, "B")) == ([(2, 1)], [(3, 3)])
    assert hub.worklist() == ["reservation.short"] * 2


@pytest.mark.parametrize(("minute", "order_gets"), [(-1, 3), (1, 1)])
@pytest.mark.parametrize("policy", ["wait", "resource", "part_ship"])
def test_orders_and_reservations_that_wait_are_backed_oldest_first(
    hub: World, policy: str, minute: int, order_gets: int
) -> None:
    hub.decides(policy)
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 5)))
    hub.counts("pen", -5)
    gives_up(hub)
    hub.takes(order("O", ("pen", 3), placed_at=minutes(minute), paid_at=minutes(minute)))
    hub.counts("pen", 6)
    assert sum(backed for _, backed in hub.claims("O")) == order_gets
    assert keeps(hub, "A") == [(5, order_gets - 1)]
    assert hub.audit() == []


def test_a_reservation_gets_its_units_back_past_orders_that_ask(hub: World) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 5)), reserve(hub, "B", (hub.pen, 1)))
    hub.takes(order("O", ("pen", 3)))
    hub.counts("pen", -5)
    gives_up(hub)
    hub.counts("pen", 9)
    assert (keeps(hub, "A"), hub.claims("O")) == ([(5, 0)], [(3, 0)])


def test_a_reservation_of_a_lot_gets_units_of_that_lot_alone(hub: World) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 5})
    wanted = reserve(hub, "A")
    decided(hub, replace(wanted, wants=(Want(0, hub.alpha, hub.pen, 5, lot="L1"),)))
    counts(hub, {"L1": -5}, "S1")
    gives_up(hub)
    receives(hub, {"L2": 5})
    assert keeps(hub, "A") == [(5, 5)]
    receives(hub, {"L1": 4})
    assert (keeps(hub, "A"), hub.cell(hub.pen)) == ([(5, 1)], {"free": 5, "reserved": 4})


def test_an_order_that_follows_a_short_reservation_ends_its_task(hub: World) -> None:
    hub.decides("wait")
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 5)))
    hub.counts("pen", -2)
    gives_up(hub)
    hub.store.write(lambda tx: promise(tx, Subject(hub.alpha, "api", "A"), hub.tmall, "O"))
    hub.takes(order("O", ("pen", 5)))
    assert (hub.claims("O"), keeps(hub, "A")) == ([(3, 3), (2, 0)], [(5, 5)])
    assert "reservation.short" not in hub.worklist()
    hub.counts("pen", 2)
    assert hub.claims("O") == [(3, 3), (2, 2)]
    assert hub.audit() == []


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        (t.entries, "journal_id", "entries of a journal"),
        (t.entries, "cell_id", "entries of a cell"),
        (t.claims, "cell_id", "claims on a cell"),
        (t.claims, "holder_id", "claims of a merchant"),
        (t.claims, "part_id", "claims of an item"),
        (t.claims, "fulfilment_id", "claims of a fulfilment"),
        (t.claims, "contract_id", "claims of a contract"),
    ],
)
def test_the_audit_finds_what_no_foreign_key_guards(hub: World, table: Any, column: str, said: str) -> None:
    hub.counts("pen", 5)
    decided(hub, reserve(hub, "A", (hub.pen, 2)))
    assert hub.audit() == []
    newest = t.entries.c.journal_id.in_(select(func.max(t.entries.c.journal_id)))
    one = table.update().where({t.entries: newest & (t.entries.c.n == 0), t.claims: t.claims.c.ref == "A"}[table])
    hub.store.write(lambda tx: tx.conn.execute(one.values({column: 7})))
    assert f"there are {said} 7 that is not there" in hub.audit()


# the funnel


@pytest.fixture
def funnels(hub: World) -> Iterator[list[Funnel]]:
    """Two processes' funnels over one database."""
    with ExitStack() as stack:
        other = stack.enter_context(opened(hub.store.db.url, hub.clock))
        made = [Funnel(hub.store), Funnel(other)]
        for funnel in made:
            stack.callback(funnel.close)
        yield made


def race(asks: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """All at the same moment, a thread each."""
    ready, answers = threading.Barrier(len(asks)), [None] * len(asks)

    def run(n: int, ask: Callable[[], Answer]) -> None:
        ready.wait(30)
        answers[n] = ask()  # type: ignore[call-overload]

    racers = [threading.Thread(target=run, args=(n, ask)) for n, ask in enumerate(asks)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    return answers  # type: ignore[return-value]


def asking(funnels: Sequence[Funnel], commands: Sequence[Command]) -> list[Callable[[], Answer]]:
    return [lambda n=n, c=c: funnels[n % len(funnels)].decide([c])[0] for n, c in enumerate(commands)]  # type: ignore[misc]


def test_of_64_racers_for_the_last_unit_one_wins(hub: World, funnels: list[Funnel]) -> None:
    hub.counts("pen", 1)
    answers = race(asking(funnels, [reserve(hub, f"R{n}", (hub.pen, 1)) for n in range(RACERS)]))
    assert sorted(states(answers)) == ["OutOfStock"] * (RACERS - 1) + ["reserved"]
    assert hub.cell(hub.pen) == {"reserved": 1}
    assert hub.audit() == []


def test_of_64_racers_for_5_units_of_a_lot_5_win(hub: World, funnels: list[Funnel]) -> None:
    keep_lots(hub)
    receives(hub, {"L1": 5, "L2": 90})
    wants = (Want(0, hub.alpha, hub.pen, 1, lot="L1"),)
    asked = [Reserve(Subject(hub.alpha, "api", f"R{n}"), wants, (hub.east,)) for n in range(RACERS)]
    answers = race(asking(funnels, asked))
    assert sorted(states(answers)) == ["OutOfStock"] * (RACERS - 5) + ["reserved"] * 5
    assert hub.cell(hub.pen) == {"free": 90, "reserved": 5}
    assert hub.audit() == []


def test_of_64_crossing_baskets_as_many_win_as_there_are_units(hub: World, funnels: list[Funnel]) -> None:
    hub.counts("pen", 20)
    hub.counts("ink", 20)
    crossing = [((hub.pen, 1), (hub.ink, 1)), ((hub.ink, 1), (hub.pen, 1))]
    answers = race(asking(funnels, [reserve(hub, f"R{n}", *crossing[n // 2 % 2]) for n in range(RACERS)]))
    assert states(answers).count("reserved") == 20
    assert hub.cell(hub.pen) == hub.cell(hub.ink) == {"reserved": 20}
    assert hub.audit() == []


def test_of_64_who_ask_for_the_same_under_one_ref_all_get_the_one_reservation(
    hub: World, funnels: list[Funnel]
) -> None:
    hub.counts("pen", 9)
    answers = race(asking(funnels, [reserve(hub, "A", (hub.pen, 2))] * RACERS))
    assert states(answers) == ["reserved"] * RACERS
    assert sum(not a.repeated for a in answers if isinstance(a, Reservation)) == 1
    assert hub.cell(hub.pen) == {"free": 7, "reserved": 2}


def test_a_command_that_raises_stops_alone(hub: World, funnels: list[Funnel]) -> None:
    hub.counts("pen", 9)
    nonsense: Any = object()
    commands = [reserve(hub, f"R{n}", (hub.pen, 1)) for n in range(6)]
    answers = funnels[0].decide([*commands[:4], nonsense, *commands[4:]])
    assert states(answers) == ["reserved"] * 4 + ["Broken"] + ["reserved"] * 2
    assert isinstance(answers[4], Broken)
    assert hub.cell(hub.pen) == {"free": 3, "reserved": 6}


def test_a_closed_funnel_answers_what_was_queued_and_takes_no_more(hub: World, funnels: list[Funnel]) -> None:
    hub.counts("pen", 9)
    assert funnels[0].ask(reserve(hub, "A", (hub.pen, 1))).state == "reserved"
    with pytest.raises(OutOfStock):
        funnels[0].ask(reserve(hub, "B", (hub.pen, 100)))
    funnels[0].close()
    with pytest.raises(RuntimeError, match="closed"):
        funnels[0].decide([reserve(hub, "C", (hub.pen, 1))])


def test_a_time_without_a_zone_is_never_booked(hub: World) -> None:
    hub.counts("pen", 5)
    naive = MONDAY.replace(tzinfo=None)
    with pytest.raises(ValueError, match="naive"):
        decided(hub, reserve(hub, "A", (hub.pen, 1), until=naive))
    assert hub.cell(hub.pen) == {"free": 5}
