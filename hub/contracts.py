"""Sharing contracts as people and callers make them: codes and SKUs become what the funnel decides."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StrictInt

from core.errors import Unfit, Unmatched
from core.flow.make_contract import Answer, Contract, EndContract, MakeContract, Shared
from core.model.base import Currency
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one
from hub.answers import given
from hub.locks import Moment
from hub.onboard.form import PRINTED, Code, Form, Ref, note
from hub.onboard.goods import item_id
from hub.transfers import LINES, Number, owner_of

Units = Annotated[StrictInt, Field(ge=1, le=10**9)]
Percent = Annotated[StrictInt, Field(ge=1, le=100)]
PRINTED_OR_NOTHING = PRINTED.replace("+", "*")
Price = Annotated[StrictInt, Field(ge=0, le=10**9)]


class SharedItem(Form):
    """What may be sold of an item: base units, or a percentage of what the owner has. price_minor: per base unit.

    currency: where it is said, it has to be the contract's.
    """

    sku: Ref
    units: Units | None = None
    percent: Percent | None = None
    price_minor: Price = 0
    currency: Currency | None = None


class NewContract(Form):
    """An owner lets a merchant sell its goods. ref: the owner's own number of it: said again, it stands.

    owner: where the key does not say. quota: open (what was shipped may be sold again) or lifetime. title_passes:
    at_ship (the merchant owes the price of what it ships), at_reserve (that of what backs its orders, where a warehouse
    knows both by one keeper code) or never (it gets a fee). returns_to: owner (what comes back is owed for no more) or
    beneficiary (it keeps it, and owes). known_as: the beneficiary's name where it buys of the owner as a distributor
    (Tmall: distributor_username); its purchases there are made under this contract. from: null is now; until: null is
    until somebody ends it.
    """

    ref: Number
    owner: Code | None = None
    beneficiary: Code
    quota: Literal["open", "lifetime"] = "open"
    title_passes: Literal["at_ship", "at_reserve", "never"] = "at_ship"
    returns_to: Literal["owner", "beneficiary"] = "owner"
    known_as: Annotated[str, Field(max_length=200, pattern=PRINTED_OR_NOTHING)] = ""
    currency: Currency
    items: Annotated[tuple[SharedItem, ...], Field(min_length=1, max_length=LINES)]
    from_: Annotated[Moment | None, Field(alias="from")] = None
    until: Moment | None = None


class Asked(NamedTuple):
    """What the funnel is asked."""

    command: MakeContract
    beneficiary: str


def asked(tx: Transaction, scope: Scope, new: NewContract) -> Asked:
    """What the funnel is asked. Raises Unmatched for a merchant or item there is not, Unfit for another currency."""
    owner = owner_of(tx, scope, new.owner)
    to = one(tx, t.merchants, code=new.beneficiary)
    if to is None:
        raise Unmatched("merchant", new.beneficiary, f"there is no merchant {new.beneficiary!r}: name who shall sell")
    if other := next((i for i in new.items if i.currency not in (None, new.currency)), None):
        raise Unfit(f"{other.sku} is priced in {other.currency} and the contract in {new.currency}: say one currency")
    items = tuple(
        Shared(item_id(tx, scope, owner["code"], item.sku), item.units, item.percent, item.price_minor)
        for item in new.items
    )
    terms = (new.currency, scope.actor, new.quota, new.title_passes, new.returns_to, new.known_as)
    command = MakeContract(owner["id"], new.ref, to["id"], items, *terms, new.from_, new.until)
    return Asked(command, new.beneficiary)


def made(tx: Transaction, scope: Scope, wanted: Asked, answer: Answer) -> Contract:
    """The contract, written into the audit log. Raises what was answered instead."""
    contract = given(answer)
    if not contract.repeated:
        note(tx, scope, "contract made", contract.ref, beneficiary=wanted.beneficiary)
    return contract


def ending(tx: Transaction, scope: Scope, ref: str, owner: str | None) -> EndContract:
    """What the funnel is asked to end."""
    return EndContract(owner_of(tx, scope, owner)["id"], ref, scope.actor)


def ended(tx: Transaction, scope: Scope, answer: Answer) -> Contract:
    """The contract, its end written into the audit log. Raises what was answered instead."""
    contract = given(answer)
    if not contract.repeated:
        note(tx, scope, "contract ended", contract.ref)
    return contract
