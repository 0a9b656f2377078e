"""The command line; every command imports only what it needs."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import advice
from workers.what_if import simulate_app

if TYPE_CHECKING:
    from core.store.store import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Yipan: one pool of stock for every shop.")
connectors_app = typer.Typer(no_args_is_help=True, help="The connectors there are, and the contract they must pass.")
app.add_typer(connectors_app, name="connectors")
explain_app = typer.Typer(no_args_is_help=True, help="Why things are as they are, from what is stored.")
app.add_typer(explain_app, name="explain")
app.add_typer(simulate_app, name="simulate")
app.add_typer(advice.app, name="advise")
Lanes = "stock,orders,fulfilment,tracking,slow"


def main() -> None:
    """Run a command; an error of ours is one sentence, not a traceback."""
    from core.errors import YipanError

    try:
        app()
    except YipanError as error:
        typer.echo(f"yipan: {error.message}", err=True)
        sys.exit(2)


@app.command()
def up(
    home: Annotated[Path | None, typer.Option(help="Where data/ and keys/ lie.")] = None,
    port: Annotated[int | None, typer.Option(help="The web port.")] = None,
) -> None:
    """Run the whole hub here: web, worker and clock, until Ctrl-C."""
    import os

    from config.settings import load
    from workers.supervisor import Supervisor, open_hub

    if home:
        os.environ["YIPAN_HOME"] = str(home)
    if port is not None:
        os.environ["YIPAN_WEB__PORT"] = str(port)
    settings = load()
    first = open_hub(settings)
    typer.echo(f"console: http://{settings.web.host}:{settings.web.port}/", err=True)
    if first:
        typer.echo(f"first login: admin / {first[0]}   operator key: {first[1]}", err=True)
    Supervisor(settings).run()


@app.command()
def web() -> None:
    """Run the web process alone (a fleet's part)."""
    from importlib import import_module

    from config.settings import load
    from workers.run import hinting

    import_module("web.main").main(wake=hinting(load()))


@app.command()
def worker(lanes: Annotated[str, typer.Option(help="Lanes to serve, with commas.")] = Lanes) -> None:
    """Run a worker alone (a fleet's part)."""
    from workers.run import run_worker

    run_worker(lanes.split(","))


@app.command()
def clock() -> None:
    """Run the clock alone (a fleet's part)."""
    from workers.run import run_clock

    run_clock()


@app.command()
def parked(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What waits for a person, with the reason and what fixes it."""
    from core.store.scope import HUB
    from hub.parked import parked as waiting

    with _store() as store, store.read() as tx:
        rows = waiting(tx, HUB)
    if as_json:
        typer.echo(json.dumps(rows, default=str, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['kind']} {row['id']}  {row['reason']}  [{', '.join(row['buttons'])}]")
    if not rows:
        typer.echo("nothing waits for a person")


@app.command()
def replay(ids: list[int]) -> None:
    """Send kept documents through again, e.g. after their mapping was mended."""
    from core.store import inbox

    with _store() as store:
        n = store.write(lambda tx: inbox.replay(tx, ids))
    typer.echo(f"{n} of {len(ids)} documents go through again")
    raise typer.Exit(0 if n == len(ids) else 1)


@app.command()
def audit() -> None:
    """Hold the ledger against its journals; exit code 1 when a rule is broken."""
    from core.flow import audit_ledger

    with _store() as store, store.read() as tx:
        breaches = audit_ledger.audit(tx)
    typer.echo("\n".join(breaches) or "clean")
    raise typer.Exit(1 if breaches else 0)


@app.command()
def reconcile(
    read: Annotated[bool, typer.Option("--read", help="Read the shops first.")] = False,
    mend: Annotated[
        bool, typer.Option("--mend", help="Read them, and tell again what is off without a cause.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Ledger, warehouses and shops side by side; exit code 1 when units differ without a known cause."""
    from rich.console import Console

    from config.settings import load
    from core.flow import reconcile as flow
    from core.store.scope import HUB
    from hub import reconcile as work
    from workers.lines import reconcile_tables
    from workers.wire import make_hub

    with _store() as store:
        if mend or read:
            (work.mend if mend else work.look)(make_hub(load(), store))
        with store.read() as tx:
            found = flow.reconcile(tx, HUB)
    lost = flow.unexplained(found)
    if as_json:
        typer.echo(_json({**found, "unexplained": len(lost)}))
    else:
        for table in reconcile_tables(found):
            Console().print(table)
        typer.echo(f"{len(lost)} rows differ without a known cause")
    raise typer.Exit(1 if lost else 0)


@app.command()
def stock(
    at: Annotated[str, typer.Option(help="As the journal says it was then: 2026-01-05T08:00:00Z.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """What lies where, now or as of any moment."""
    from core.store import cells
    from core.store.scope import HUB
    from workers.lines import stock_lines

    then = cells.aware(at) if at else None
    with _store() as store, store.read() as tx:
        rows = cells.balances_at(tx, HUB, then) if then else cells.balances(tx, HUB)
    typer.echo(_json(rows) if as_json else stock_lines(rows))


@explain_app.command("stock")
def explain_stock(
    sku: str,
    owner: Annotated[str, typer.Option(help="The merchant who owns the item, where several have that SKU.")] = "",
    warehouse: Annotated[str, typer.Option(help="Of this warehouse alone.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """An item's cells, the open claims on them, and the newest journals that touched them."""
    from core.flow import explain
    from core.store.scope import HUB
    from workers.lines import stock_explained

    with _store() as store, store.read() as tx:
        item, where = explain.find_item(tx, HUB, sku, owner), explain.find_warehouse(tx, warehouse)
        found = explain.explain_stock(tx, HUB, item, where)
    typer.echo(_json(found) if as_json else stock_explained(found))


@explain_app.command("order")
def explain_order(
    ref: str,
    connection: Annotated[str, typer.Option(help="The shop, where several have that number.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """All that happened to one order, in time order."""
    from core.flow import explain
    from core.store.scope import HUB
    from workers.lines import order_explained

    with _store() as store, store.read() as tx:
        found = explain.explain_order(tx, HUB, explain.find_order(tx, HUB, ref, connection))
    typer.echo(_json(found) if as_json else order_explained(found))


@app.command("transfer-title")
def transfer_title(
    owner: Annotated[str, typer.Argument(help="Whose goods they are.")],
    to: Annotated[str, typer.Argument(help="Whose they shall be.")],
    warehouse: str,
    lines: Annotated[list[str], typer.Argument(help="SKU=UNITS, good base units.")],
    ref: Annotated[str, typer.Option(help="Your own number of it: said again, it stands.")],
    unback: Annotated[
        bool, typer.Option("--unback", help="Take promises back where the free units do not do.")
    ] = False,
) -> None:
    """Goods are another merchant's from now on, where they lie, whole or not at all."""
    from core.flow.journeys import decide
    from core.store.scope import HUB
    from hub import titles as work

    goods = work.title_lines(lines)
    new = work.NewTitle(ref=ref, owner=owner, to=to, warehouse=warehouse, lines=goods, unback=unback)
    with _store() as store:
        wanted = store.write(lambda tx: work.asked(tx, HUB, new))
        passed = store.write(lambda tx: work.noted(tx, HUB, wanted, decide(tx, [wanted.command])[0]))
    told = "the warehouse is told to carry them over" if passed.transfer_id else f"they are {to}'s"
    typer.echo(f"{ref}: {told}{' already' if passed.repeated else ''}")


@app.command()
def levels(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What every shop shows, beside what it should show by the ledger."""
    from config.settings import load
    from hub.levels import levels as read
    from workers.wire import make_hub

    with _store() as store:
        rows = read(make_hub(load(), store))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['connection']} {row['listing']}: shows {row['shown']}, should show {row['target']}")


@connectors_app.command("list")
def list_connectors() -> None:
    """Every connector that is installed."""
    from rich.console import Console
    from rich.table import Table

    from connectors.registry import connectors

    table = Table("connector", "title", "can")
    for name, one in connectors().items():
        table.add_row(name, one.manifest.title.get("en", ""), ", ".join(one.manifest.can))
    Console().print(table)


@connectors_app.command("check")
def check_connectors(
    names: Annotated[list[str] | None, typer.Argument(help="kind/id or id; all when none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Run the contract over connectors and print each one's grade, and what caps it."""
    from connectors.registry import connectors
    from sandbox.contract.check import check

    wanted = [n for n in connectors() if not names or n in names or n.partition("/")[2] in names]
    if not wanted:
        raise typer.BadParameter(f"no such connector; there are: {', '.join(connectors())}")
    reports = [check(name) for name in wanted]
    if as_json:
        typer.echo(json.dumps([r.as_dict() for r in reports], ensure_ascii=False))
    else:
        for report in reports:
            typer.echo(str(report))
            if report.warning:
                typer.secho(f"  {report.warning}", fg="red")
    raise typer.Exit(0 if all(r.sound for r in reports) else 1)


@connectors_app.command("new")
def new_connector(kind: str, name: str, root: Annotated[Path, typer.Option()] = Path()) -> None:
    """Lay out a new connector: manifest, client, mapping, fixtures, twin and test."""
    from sandbox.contract.scaffold import create

    for path in create(kind, name, root):
        typer.echo(path)


@app.command()
def demo(
    orders: Annotated[int, typer.Option(min=1, max=20000)] = 300,
    seed: int = 7,
    faults: Annotated[str, typer.Option(help="none, mild or harsh")] = "mild",
    hints: Annotated[str, typer.Option(help="on or off")] = "on",
    leave: Annotated[bool, typer.Option("--exit", help="End when the audit is done.")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    home: Annotated[Path | None, typer.Option(help="A folder to keep; a fresh temporary one by default.")] = None,
    kills: Annotated[int, typer.Option(help="kill -9 hub processes at random, so many times.")] = 0,
) -> None:
    """Two merchants and a distributor sell one stock over six simulated shops; it is shipped, tracked and audited."""
    from sandbox.demo.run import Plan, run

    if faults not in ("none", "mild", "harsh") or hints not in ("on", "off"):
        raise typer.BadParameter("--faults is none, mild or harsh; --hints is on or off")
    plan = Plan(orders=orders, seed=seed, faults=faults, hints=hints == "on", leave=leave, home=home, kills=kills)
    raise typer.Exit(run(plan, as_json))


@app.command()
def bench(name: str, rounds: int | None = None, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Measure one bench against its rivals: callbacks, mapping, publish or stock."""
    from importlib import import_module

    if name not in ("callbacks", "mapping", "publish", "stock"):
        raise typer.BadParameter("there are: callbacks, mapping, publish, stock")
    found = import_module(f"benchmarks.{name}")
    result = found.run(rounds) if rounds else found.run()
    if not as_json:
        for row in result["results"]:
            typer.echo(f"{row['goal']}: {row['ratio']:.2f} (floor {row['floor']}, target {row['target']})", err=True)
    typer.echo(json.dumps(result, ensure_ascii=False))
    raise typer.Exit(0 if all(r["held"] for r in result["results"]) else 1)


def _json(found: object) -> str:
    return json.dumps(found, default=_plain, ensure_ascii=False)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _store() -> closing[Store]:
    from config.settings import load
    from workers.wire import open_store

    return closing(open_store(load(), "tool"))
