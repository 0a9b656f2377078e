"""The pages: today, orders, one order's timeline, stock, parked work with its buttons, connections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from core.errors import Unmatched
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction
from hub import orders as order_work
from hub import parked as work
from hub.onboard.connections import rotate_token, set_state
from hub.onboard.form import note
from hub.onboard.keys import user_id
from hub.orders import Counterpart, Resource
from hub.parked import Fix
from web.asking import Asker, allow, hall
from web.console.chart import line_chart
from web.console.forms import filled, moment
from web.console.session import GUEST, Throttle
from web.console.show import go, local, sessions, show
from web.console.words import language_of, words
from web.health import count_by
from web.reads import figures, lists, orders, stock
from web.reads.reconcile import reconciled
from web.reads.shape import PAGE, all_shown, number

router = APIRouter(include_in_schema=False)
FILES = {"console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
STATIC = Path(__file__).parent / "static"
RECENT = 8
Said = Annotated[str, Form(max_length=200)]


def asker(request: Request) -> Asker:
    """Who is logged in, if their role may see this page."""
    scope = sessions(request).scope(request)
    page = request.url.path.strip("/").split("/")[0]
    allow(scope, request.method, page or "orders")
    return Asker(hall(request).store, scope)


def asker_by_form(request: Request, csrf: Said = "") -> Asker:
    """Who is logged in and sent a form that was given out to them."""
    found = asker(request)
    sessions(request).check_form(request, csrf)
    return found


Ask = Annotated[Asker, Depends(asker)]
AskByForm = Annotated[Asker, Depends(asker_by_form)]


@router.get("/static/{name}")
def static(name: str) -> Response:
    if name not in FILES:
        raise Unmatched("file", name)
    return FileResponse(STATIC / name, media_type=FILES[name], headers={"cache-control": "public, max-age=3600"})


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    return show(request, "login.html", next=local(next), wrong="")


@router.post("/login")
def login(
    request: Request, name: Said = "", password: Said = "", next: Annotated[str, Form()] = "/", csrf: Said = ""
) -> Response:
    sessions(request).check_form(request, csrf, GUEST)
    throttle: Throttle = request.app.state.throttle
    key = f"{request.client.host if request.client else ''} {name}"
    if throttle.closed(key):
        return show(request, "login.html", status=429, next=local(next), wrong="login_wait")
    with hall(request).store.read() as tx:
        ident = user_id(tx, name, password)
    if ident is None:
        throttle.failed(key)
        return show(request, "login.html", status=401, next=local(next), wrong="wrong_login")
    throttle.forget(key)
    hall(request).store.write(lambda tx: note(tx, Scope("operator", actor=name), "logged in", name))
    response = go(next)
    sessions(request).begin(response, ident)
    return response


@router.post("/logout")
def logout(request: Request, csrf: Said = "") -> Response:
    sessions(request).check_form(request, csrf)
    response = go("/login")
    sessions(request).end(response)
    return response


@router.get("/")
def today(request: Request, ask: Ask) -> Response:
    said = words(language_of(request, hall(request).language))
    days = ask.read(figures.shipped_by_day)
    points = [(f"{said['days'][day.weekday()]}", units) for day, units in days]
    return show(
        request,
        "today.html",
        ask.scope,
        here="today",
        figures=ask.read(figures.figures),
        parked=len(ask.read(work.parked)),
        chart=line_chart(points, said["units_shipped"]),
        orders=ask.read(orders.orders, "", "", "", RECENT),
        connections=ask.read(lists.connections),
    )


@router.get("/orders")
def orders_page(request: Request, ask: Ask, search: str = "", state: str = "", before: str = "") -> Response:
    page = ask.read(orders.orders, search, state, before)
    return show(
        request,
        "orders.html",
        ask.scope,
        here="orders",
        page=page,
        search=search,
        state=state,
        states=ask.read(_states),
    )


@router.get("/orders/{ident}")
def order_page(request: Request, ask: Ask, ident: str) -> Response:
    return show(request, "order.html", ask.scope, here="orders", order=ask.read(orders.order, ident))


@router.post("/orders/{ident}/{action}")
def order_action(ident: str, action: str, ask: AskByForm, ref: Said = "") -> Response:
    if action == "resource":
        ask.write(order_work.resource, number(ident), Resource())
    elif action == "top-up":
        ask.write(order_work.top_up, number(ident))
    elif action == "counterpart":
        ask.write(order_work.pair, number(ident), filled(Counterpart, {"ref": ref.strip()}))
    else:
        raise Unmatched("action", action)
    return go(f"/orders/{ident}")


@router.get("/stock")
def stock_page(request: Request, ask: Ask, search: str = "", after: str = "", at: str = "") -> Response:
    """at: as the books were then; what others showed is told of now alone."""
    then = moment(at.strip())
    page = ask.read(stock.stock, search, "", after, PAGE, then)
    drift = [] if then else ask.read(stock.drift)["rows"]
    said = {"search": search, "at": at.strip()}
    return show(request, "stock.html", ask.scope, here="stock", page=page, drift=drift, said=said)


@router.get("/stock/explain")
def stock_explained_page(request: Request, ask: Ask, sku: str = "", owner: str = "", warehouse: str = "") -> Response:
    found = ask.read(stock.explain_stock, sku, owner, warehouse)
    return show(request, "stock_explained.html", ask.scope, here="stock", found=found, owner=owner, warehouse=warehouse)


@router.get("/reconcile")
def reconcile_page(request: Request, ask: Ask) -> Response:
    return show(request, "reconcile.html", ask.scope, here="reconcile", page=ask.read(reconciled))


@router.get("/parked")
def parked_page(request: Request, ask: Ask, pressed: str = "") -> Response:
    return show(request, "parked.html", ask.scope, here="parked", page=ask.read(_parked), pressed=pressed)


@router.post("/parked/{kind}/{ident}/{button}")
async def press(request: Request, kind: str, ident: str, button: str, ask: AskByForm) -> Response:
    form = await request.form()
    said = {name: str(value) for name, value in form.items() if name in Fix.model_fields and value}
    await run_in_threadpool(ask.write, work.press, kind, number(ident), button, Fix.model_validate(said))
    return go("/parked?pressed=1")


@router.get("/connections")
def connections_page(request: Request, ask: Ask) -> Response:
    return show(request, "connections.html", ask.scope, here="connections", page=ask.read(lists.connections), path="")


@router.post("/connections/{code}/{action}")
def connection_action(request: Request, code: str, action: str, ask: AskByForm) -> Response:
    if action == "rotate":
        path = f"/callbacks/{ask.write(rotate_token, code)}"
        return show(
            request, "connections.html", ask.scope, here="connections", page=ask.read(lists.connections), path=path
        )
    states = {"pause": "paused", "resume": "active"}
    if action not in states:
        raise Unmatched("action", action)
    ask.write(set_state, code, states[action])
    return go("/connections")


def _parked(tx: Transaction, scope: Scope) -> dict[str, Any]:
    return {"rows": all_shown(work.parked(tx, scope)), "as_of": tx.now.isoformat()}


def _states(tx: Transaction, scope: Scope) -> list[str]:
    return sorted(count_by(tx, t.orders, t.orders.c.state, scope.sees(t.orders.c.merchant_id)))
