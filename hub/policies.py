"""Channel policies as people and callers propose them: codes become what they are for, and acts are written down."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from core.errors import Unfit, Unmatched
from core.flow import channel_policy
from core.flow.channel_policy import Scope as For
from core.store import policies
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.locks import Moment
from hub.onboard.form import Code, Form, Ref, Row, find, note
from hub.transfers import owner_of

Units = Annotated[StrictInt, Field(ge=0, le=10**9)]


class NewPolicy(Form):
    """What a listing of a shop, all of a shop's or all of a merchant's may show. In base units; share: per cent.

    One for all of a merchant's also bounds what its callers may reserve. floor: at least so many of what is there;
    cap: at most; reserve: kept from being shown; buffer: in place of the listing's own; exclusive: units other
    listings of the item leave alone (of one listing; of a kit, its parts); priority: the higher the sooner it gets
    its exclusive units; until: when it is over.
    """

    merchant: Code | None = None
    connection: Code | None = None
    listing: Ref | None = None
    share: Annotated[StrictInt, Field(ge=0, le=100)] | None = None
    floor: Units | None = None
    cap: Units | None = None
    reserve: Units | None = None
    buffer: Units | None = None
    exclusive: Units | None = None
    priority: Annotated[StrictInt, Field(ge=-1000, le=1000)] | None = None
    until: Moment | None = None


def propose(tx: Transaction, scope: Scope, new: NewPolicy) -> int:
    """A draft; its id. Raises Unmatched for a shop or listing there is not, or is not this merchant's, Unfit."""
    whose = _for(tx, scope, new)
    terms = {name: getattr(new, name) for name in policies.TERMS}
    ident = channel_policy.propose(tx, whose, terms, new.until, scope.actor)
    note(tx, scope, "policy proposed", str(ident), **{k: v for k, v in terms.items() if v is not None})
    return ident


def _for(tx: Transaction, scope: Scope, new: NewPolicy) -> For:
    if new.connection is None:
        if new.listing is not None:
            raise Unfit("say which shop's listing it is (connection)")
        return For(owner_of(tx, scope, new.merchant)["id"])
    shop = find(tx, scope, t.connections, new.connection)
    if shop["kind"] != "sales" or shop["merchant_id"] is None:
        raise Unfit(f"{new.connection} is no shop: policies are about what shops show")
    if new.merchant is not None and find(tx, scope, t.merchants, new.merchant)["id"] != shop["merchant_id"]:
        raise Unmatched(
            "connection", new.connection, f"{new.connection} is no shop of {new.merchant}: name one that is"
        )
    if new.listing is None:
        return For(shop["merchant_id"], shop["id"])
    listing = one(tx, t.listings, connection_id=shop["id"], ref=new.listing)
    if listing is None:
        raise Unmatched("listing", new.listing, f"{new.connection} has no listing {new.listing!r}: add it first")
    return For(shop["merchant_id"], shop["id"], listing["id"])


def found(tx: Transaction, scope: Scope, ident: int) -> Row:
    """A policy. Raises Unmatched, whether it is another's or not there."""
    row = one(tx, t.policies, id=ident)
    if row is None or scope.merchant_id not in (None, row["merchant_id"]):
        raise Unmatched("policy", str(ident), f"there is no policy {ident}")
    return row


def activate(tx: Transaction, scope: Scope, ident: int) -> None:
    """It stands from now on. Raises Unmatched, Refused."""
    found(tx, scope, ident)
    channel_policy.activate(tx, ident, scope.actor)
    note(tx, scope, "policy activated", str(ident))


def withdraw(tx: Transaction, scope: Scope, ident: int) -> None:
    """It stands no more. Raises Unmatched."""
    found(tx, scope, ident)
    channel_policy.withdraw(tx, ident)
    note(tx, scope, "policy withdrawn", str(ident))
