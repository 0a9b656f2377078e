"""`yipan simulate …`: what a policy, a wire form or a slow shop would have cost."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hub.simulate.scenario import Result, Scenario

simulate_app = typer.Typer(no_args_is_help=True, help="What would have come of it, on a clock of its own.")


@simulate_app.command("pool")
def pool(
    shops: Annotated[int, typer.Option(min=1, max=50)] = 3,
    listings: Annotated[int, typer.Option(min=1, max=1000, help="Items, each listed at every shop.")] = 10,
    stock: Annotated[int, typer.Option(min=0, max=10**6, help="Units of each item.")] = 20,
    orders: Annotated[int, typer.Option(min=0, max=100_000)] = 200,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 31, help="Over which shoppers come.")] = 2.0,
    poll: Annotated[float, typer.Option(help="Seconds between readings of a shop's orders.")] = 60.0,
    latency: Annotated[float, typer.Option(help="Seconds a call takes one way.")] = 1.0,
    lost: Annotated[float, typer.Option(help="The share of answers to our writes that never come.")] = 0.0,
    wire_form: Annotated[str, typer.Option(help="compare, delta, read_set or set")] = "read_set",
    decrements_at: Annotated[str, typer.Option(help="create, pay, ship or never")] = "create",
    level_means: Annotated[str, typer.Option(help="saleable or on_hand")] = "saleable",
    policy: Annotated[
        list[str] | None, typer.Option(help="Terms like share=50,buffer=2; said again, they are compared.")
    ] = None,
    from_orders: Annotated[
        datetime | None, typer.Option(help="Replay the orders recorded since then, against the stock of that moment.")
    ] = None,
    merchant: Annotated[str, typer.Option(help="Whose orders are replayed.")] = "",
    seed: int = 7,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Sell one pool through modelled shops: oversold, short, withheld and turned away, policy by policy."""
    from hub.simulate.pool import simulate
    from hub.simulate.scenario import Ways, drawn

    ways = Ways(wire_form, decrements_at, level_means, "account", poll, latency, lost)
    results = []
    for words in policy or [""]:
        terms = _terms(words)
        scenario = (
            _past(from_orders, merchant, latency, terms)
            if from_orders
            else drawn([ways] * shops, items=listings, stock=stock, orders=orders, hours=hours, seed=seed, policy=terms)
        )
        results.append((words, simulate(scenario)))
    typer.echo(json.dumps([{"policy": w, **r.as_json()} for w, r in results]) if as_json else _lines(results))


def _past(since: datetime, merchant: str, latency: float, terms: dict[str, int]) -> Scenario:
    from config.settings import load
    from hub.simulate.past import recorded
    from workers.wire import open_store

    with closing(open_store(load(), "tool")) as store, store.read() as tx:
        return recorded(tx, merchant, since.astimezone(), latency, terms)


def _terms(words: str) -> dict[str, int]:
    try:
        pairs: list[Any] = [part.split("=") for part in words.split(",") if part.strip()]
        return {name.strip(): int(units) for name, units in pairs}
    except ValueError:
        raise typer.BadParameter(f"{words!r}: say terms like share=50,buffer=2") from None


def _lines(results: list[tuple[str, Result]]) -> str:
    found = []
    for words, result in results:
        found.append(f"{words or 'no policy'}:")
        found += [f"  {name}: {value}" for name, value in result.as_json().items()]
    return "\n".join(found)
