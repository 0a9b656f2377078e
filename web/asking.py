"""Who is asking, what they may do, and the store narrowed to it: what every door but the callbacks is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from config.settings import Web
from core.errors import NotAuthorised
from core.flow.funnel import Funnel
from core.model.marked import read_yaml
from core.store.scope import Scope
from core.store.store import Store, Transaction
from hub.onboard.keys import key_scope
from web.problems import Forbidden

T = TypeVar("T")
ROLES: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("roles.yaml"))[0]
READS = ("GET", "HEAD")
bearer = HTTPBearer(auto_error=False, description="An API key")


@dataclass(frozen=True)
class Hall:
    """What the doors open on. client_for(connection id) is the wire's client of a connection."""

    store: Store
    funnel: Funnel
    client_for: Callable[[int], Any]
    settings: Web
    language: str = "en"


@dataclass(frozen=True)
class Asker:
    """One question: the store, and the scope it is narrowed to."""

    store: Store
    scope: Scope

    def read(self, work: Callable[..., T], *args: Any) -> T:
        """work(tx, scope, *args) over one consistent view."""
        with self.store.read() as tx:
            return work(tx, self.scope, *args)

    def write(self, work: Callable[..., T], *args: Any) -> T:
        """work(tx, scope, *args) in one transaction."""

        def run(tx: Transaction) -> T:
            return work(tx, self.scope, *args)

        return self.store.write(run)


def hall(request: Request) -> Hall:
    """The hall of this app."""
    found: Hall = request.app.state.hall
    return found


def allow(scope: Scope, method: str, resource: str) -> None:
    """Raises Forbidden when the role may not read or change this."""
    may = ROLES.get(scope.role, {}).get("reads" if method in READS else "changes", [])
    if may != "all" and resource not in may:
        raise Forbidden(f"the role {scope.role} may not {'read' if method in READS else 'change'} {resource}")


def asker(request: Request, _: Annotated[Any, Depends(bearer)]) -> Asker:
    """Who bears the key; raises NotAuthorised without a valid one, Forbidden where its role ends."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    store = hall(request).store
    with store.read() as tx:
        scope = key_scope(tx, key.strip()) if scheme.lower() == "bearer" and key else None
    if scope is None:
        raise NotAuthorised("no key, or one that is not valid any more")
    allow(scope, request.method, request.url.path.removeprefix("/api/v1/").split("/")[0])
    return Asker(store, scope)


Ask = Annotated[Asker, Depends(asker)]
