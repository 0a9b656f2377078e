"""Keys of the API and users of the console."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from hub.onboard.keys import NewKey, NewUser, add_key, add_user, revoke_key
from web.api.page import PROBLEMS, Page
from web.asking import Ask
from web.reads import lists
from web.reads.shape import number

router = APIRouter(tags=["access"], responses=PROBLEMS)


@router.get("/keys", response_model=Page)
def keys(ask: Ask) -> Any:
    """API keys by their last four characters."""
    return ask.read(lists.keys)


@router.post("/keys", status_code=201)
def new_key(ask: Ask, new: NewKey) -> dict[str, str]:
    """A new key, shown this once."""
    ident, key = ask.write(add_key, new)
    return {"id": str(ident), "key": key}


@router.delete("/keys/{ident}", status_code=204)
def revoke(ask: Ask, ident: str) -> None:
    """The key opens nothing from now on."""
    ask.write(revoke_key, number(ident))


@router.post("/users", status_code=201)
def new_user(ask: Ask, new: NewUser) -> dict[str, str]:
    """Somebody who may log in to the console."""
    return {"id": str(ask.write(add_user, new))}
