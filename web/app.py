"""The HTTP doors of the hub in one app: callbacks, health, the REST API and the console."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from config.settings import Web
from core.flow.funnel import Funnel
from core.store.store import Store
from web import health
from web.api import routers
from web.asking import Hall
from web.callbacks import Callbacks, Doorway
from web.console.doors import routers as pages
from web.console.session import Sessions, Throttle
from web.console.show import show_problem
from web.keeper import Keeper
from web.problems import add_problems

API = "/api/v1"


def create_app(
    store: Store, *, client_for: Callable[[int], Any], settings: Web | None = None, language: str = "en"
) -> FastAPI:
    """The app over one store. client_for(connection id) is the wire's client of a connection."""
    hall = Hall(store, Funnel(store), client_for, settings or Web(), language)
    keeper = Keeper(store)

    @asynccontextmanager
    async def open_until_stopped(app: FastAPI) -> AsyncIterator[None]:
        yield
        keeper.close()
        hall.funnel.close()

    app = FastAPI(
        title="Yipan",
        version="1",
        summary="One pool of stock for every shop, merchant and warehouse",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=open_until_stopped,
    )
    app.state.hall = hall
    app.state.sessions = Sessions(store, hall.settings)
    app.state.throttle = Throttle()
    app.add_middleware(Doorway, callbacks=Callbacks(hall, keeper))
    app.router.routes.append(Route("/healthz", _healthz, methods=["GET"]))
    app.router.routes.append(Route("/metrics", _metrics, methods=["GET"]))
    for router in routers():
        app.include_router(router, prefix=API)
    for router in pages():
        app.include_router(router)
    add_problems(app, show_problem)
    return app


def _healthz(request: Request) -> Response:
    return health.healthz(request.app.state.hall.store)


def _metrics(request: Request) -> Response:
    return health.metrics(request.app.state.hall.store)
