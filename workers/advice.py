"""Commands that advise, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="What might be set otherwise, from what was recorded; nothing is changed.")
SHOWN = ("connection", "listing", "current", "buffer", "low", "high", "sold", "oversold", "would_be", "withheld")
LAGS = ("lag_p50_ms", "lag_p95_ms")
REASONS = {
    "raise": "a higher buffer would have kept it down",
    "lower": "a lower buffer would have done",
    "keep": "the buffer is right",
    "other_causes": "most of it had other causes than late figures",
    "no_buffer_does": "no buffer keeps it down: its policy has a floor",
    "few_sales": "too few sales to say",
    "no_lags": "no lag has been measured",
    "quota": "it sells others' goods by quota, which is not replayed",
}


@app.callback()
def advise() -> None:
    """What might be set otherwise, from what was recorded; nothing is changed."""


@app.command()
def buffer(
    connection: Annotated[str, typer.Option(help="Of this shop alone.")] = "",
    days: Annotated[int, typer.Option(help="How many days back are replayed.")] = 7,
    oversell: Annotated[str, typer.Option(help="Of the units sold, how many may be oversold.")] = "0.1%",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """The smallest buffer of each listing that would have kept oversell down, and what the present one withholds."""
    from config.settings import load
    from core.flow.advise_buffer import Asked, all_advice, share_of
    from core.store.scope import HUB
    from workers.wire import open_store

    asked = Asked(connection, days, share_of(oversell))
    with closing(open_store(load(), "tool")) as store, store.read() as tx:
        rows = list(all_advice(tx, HUB, asked))
    typer.echo(json.dumps(rows, default=_plain, ensure_ascii=False) if as_json else lines(rows))


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Advice, one listing a line, under its headings."""
    from workers.lines import aligned

    if not rows:
        return "no shop has a listing"
    told = [[*("-" if row[name] is None else row[name] for name in (*SHOWN, *LAGS)), _reason(row)] for row in rows]
    return aligned([(*SHOWN, *LAGS, "reason"), *told])


def _reason(row: Mapping[str, Any]) -> str:
    unsure = row["buffer"] is not None and not row["sure"]
    return REASONS[row["reason"]] + (" (so few sales cannot show so small a share)" if unsure else "")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
