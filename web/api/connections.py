"""Connections: plugged in, changed, paused; callback tokens given out and revoked."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from connectors.registry import connectors
from hub.onboard.connections import (
    Change,
    NewConnection,
    add_connection,
    change_connection,
    revoke_token,
    rotate_token,
    set_state,
)
from hub.onboard.goods import NewLink, add_links
from web.api.page import PROBLEMS, Page
from web.asking import Ask
from web.reads import lists
from web.reads.shape import shown

router = APIRouter(tags=["connections"], responses=PROBLEMS)
STATES = {"pause": "paused", "resume": "active"}


@router.get("/connections/connectors")
def known_connectors(ask: Ask) -> dict[str, Any]:
    """What can be connected, and the settings each needs."""
    return {
        name: {
            "title": one.manifest.title,
            "settings": {key: setting.model_dump() for key, setting in one.manifest.settings.items()},
            "can": sorted(one.manifest.can),
        }
        for name, one in connectors().items()
    }


@router.get("/connections", response_model=Page)
def connections(ask: Ask) -> Any:
    """Your connections and how their readings go."""
    return ask.read(lists.connections)


@router.get("/connections/{code}")
def connection(ask: Ask, code: str) -> dict[str, Any]:
    """One connection; never its secrets."""
    return ask.read(lists.connection, code)


@router.post("/connections", status_code=201)
def new_connection(ask: Ask, new: NewConnection) -> dict[str, Any]:
    """Plug a system in. `callback` holds the address it may push to, shown this once."""
    row, token = ask.write(add_connection, new)
    return {**_card(ask, row["code"]), "callback": _callback(token)}


@router.patch("/connections/{code}")
def change(ask: Ask, code: str, change: Change) -> dict[str, Any]:
    """Change settings, secrets or the pool; what is not named stays."""
    ask.write(change_connection, code, change)
    return _card(ask, code)


@router.post("/connections/{code}/token")
def rotate(ask: Ask, code: str) -> dict[str, Any]:
    """A second callback address, shown this once; the one before stays valid until the next rotation."""
    return {"callback": _callback(ask.write(rotate_token, code))}


@router.delete("/connections/{code}/token/{hint}", status_code=204)
def revoke(ask: Ask, code: str, hint: str) -> None:
    """The callback token that ends so opens nothing from now on."""
    ask.write(revoke_token, code, hint)


@router.post("/connections/{code}/links")
def links(ask: Ask, code: str, links: list[NewLink]) -> dict[str, int]:
    """Say what their refs stand for: a warehouse, or an owner's item."""
    return {"linked": ask.write(add_links, code, links)}


@router.post("/connections/{code}/{action}")
def switch(ask: Ask, code: str, action: Literal["pause", "resume"]) -> dict[str, Any]:
    """Stop or go on calling it; what it pushes is kept either way."""
    return shown({"state": ask.write(set_state, code, STATES[action])["state"]})


def _card(ask: Ask, code: str) -> dict[str, Any]:
    return ask.read(lists.connection, code)


def _callback(token: str | None) -> dict[str, str] | None:
    return {"token": token, "path": f"/callbacks/{token}"} if token else None
