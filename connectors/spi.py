"""What a connector may be: its manifest, and the small protocols of its abilities.

A connector is a folder `connectors/<kind>/<id>/` with `connector.yaml` (the manifest) and `client.py`. The client
speaks the wire: it yields `Document`s inward and sends rendered rows outward. It never retries, logs or catches;
`wire` raises
the error class that decides what happens next. Meaning lives in `mappings/<kind>/<id>/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from core.errors import InDoubt, Mismatch, NotAuthorised, Refused, Throttled, Unavailable, YipanError
from core.model import Document

KINDS = ("sales", "erp", "wms", "tms", "courier", "service")
Mark = Literal["V", "A", "B", "C", "D"]
"""How sure a fact is: verified, official, two sources agree, one source, general knowledge."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Setting(_Closed):
    """One field of the onboarding form. secret values are kept in the vault and never shown again."""

    title: str
    secret: bool = False
    required: bool = True
    default: Any = None
    type: Literal["text", "int", "bool", "url", "choice"] = "text"
    choices: tuple[str, ...] = ()
    help: str = ""


class Ability(_Closed):
    """What the connector can do under one name (`fetch_orders`, `send_stock`, `read_callback`, …), and how.

    mark and fact: how sure we are and where it is written. lane: the bus lane its calls travel on.
    fetch: every_s between polls; window_s, overlap_s and behind_s shape the cursor.
    send: batch_max rows in one call, sharing `batch_key`; idempotent: a repeat does no harm; probe: the outcome of a
    lost call can be looked up by business key, not before settle_s; steps: a many-step write.
    read_callback: signed says that a signature covers the raw body; without one only the token in the address
    protects it. whole_lines: a shipment of part of a line tells the shop all of it. send_stock: level_means,
    decrements_at, restocks_on, per and forms, see LEDGER §6; lag_buffer: listing units that a shop which
    takes only `set` of saleable units is told less, where no policy says another buffer.
    """

    mark: Mark
    fact: str
    lane: Literal["stock", "orders", "fulfilment", "tracking", "slow"] = "slow"
    every_s: float = 60
    window_s: int = 1800
    overlap_s: int = 60
    behind_s: int = 0
    batch_max: int = 1
    batch_key: str = ""
    idempotent: bool = False
    probe: bool = False
    settle_s: float = 30
    steps: tuple[str, ...] = ()
    signed: bool = True
    documents: tuple[str, ...] = ()
    whole_lines: bool = False
    level_means: Literal["saleable", "on_hand"] = "saleable"
    decrements_at: Literal["create", "pay", "ship", "never"] = "never"
    restocks_on: tuple[Literal["close", "refund"], ...] = ()
    per: Literal["account", "location"] = "account"
    forms: tuple[Literal["compare", "delta", "read_set", "set"], ...] = ()
    lag_buffer: int = Field(default=1, ge=0)


class CallBudget(_Closed):
    """How many calls an account may make. share_for_stock: the part only stock writes may use."""

    per_s: float = 20
    per_day: int | None = None
    share_for_stock: float = 0.2


class Manifest(_Closed):
    """`connector.yaml`: what the connector is, can do, needs and how its errors are understood.

    errors: their code (a trailing `*` matches any ending) → the name of the error class that decides. zone: of times
    without one. vectors: ids of the published signature vectors it must reproduce (`sandbox/contract/vectors/`).
    """

    id: str
    kind: Literal["sales", "erp", "wms", "tms", "courier", "service"]
    title: dict[str, str]
    client: str
    docs: str
    zone: str = "UTC"
    money_unit: Literal["minor", "major"] = "major"
    can: dict[str, Ability]
    settings: dict[str, Setting]
    budget: CallBudget = CallBudget()
    errors: dict[str, Literal["Unavailable", "Throttled", "Mismatch", "NotAuthorised", "Refused", "InDoubt"]] = {}
    vectors: tuple[str, ...] = ()
    body_limit_bytes: int = 1_000_000
    timeout_s: float = 10

    def decide(self, code: str, message: str) -> YipanError:
        """The error their code stands for; an unknown code is Refused, so that a person sees it."""
        return _error_for(self.errors, code, message)


@dataclass(frozen=True)
class Connection:
    """One account at one system, as its client sees it. secrets never show in repr."""

    id: str
    connector: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class Page:
    """One page read. refs: numbers to be read one by one (list→detail). cursor: JSON, where to go on. more: at once."""

    documents: Sequence[Document] = ()
    refs: Sequence[str] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict)
    more: bool = False


@dataclass(frozen=True)
class Outgoing:
    """One row to be sent. key: our stable business key; ref: what it is about in their words or ours.

    body: what the write mapping made (dict, or an lxml element). reached: results of the steps done so far, by name.
    known: their numbers of earlier writes about the same thing, so that a probe does not take one of those for this.
    """

    key: str
    ref: str
    body: Any
    reached: Mapping[str, str] = field(default_factory=dict)
    known: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one row (or of one probe): done with their ref, absent (probe only), or the error that decides."""

    state: Literal["done", "absent", "failed"]
    ref: str = ""
    error: YipanError | None = None

    @staticmethod
    def done(ref: str = "") -> Outcome:
        """It is so at their side; ref is their number for it."""
        return Outcome("done", ref=ref)

    @staticmethod
    def absent() -> Outcome:
        """Probed, and it is not there."""
        return Outcome("absent")

    @staticmethod
    def failed(error: YipanError) -> Outcome:
        """It did not happen, or nobody knows; the error's class decides what is next."""
        return Outcome("failed", error=error)


@dataclass(frozen=True)
class Request:
    """An HTTP request that came in, raw. query keeps order and repeats; header names are lower case."""

    method: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    remote: str = ""


@dataclass(frozen=True)
class Reply:
    """The answer in the sender's own words."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Client(Protocol):
    """Every client is made so: `Client(connection, manifest, http, now)`. The abilities it has are the manifest's."""

    def __init__(self, connection: Connection, manifest: Manifest, http: Any, now: Callable[[], datetime]) -> None: ...


class Fetches(Protocol):
    """`fetch_<noun>(cursor)`: one page from where the cursor stands ({} at first); fetch_one repairs and completes."""

    def fetch_orders(self, cursor: Mapping[str, Any]) -> Page: ...

    def fetch_one(self, kind: str, ref: str) -> Document: ...


class FetchesStock(Protocol):
    """What they show or hold for these listings or SKUs, now: one `stock` document per page read."""

    def fetch_stock(self, refs: Sequence[str]) -> Sequence[Document]: ...


class Sends(Protocol):
    """`send_<noun>(batch, step)`: one Outcome per row, in order. step is "" unless the manifest names steps.

    An exception means the same for every row of the call. `Mismatch`: a level of form `compare` met another figure than
    its `expected`, and was not written; the hub reads what is shown and says it again as `set`.
    """

    def send_stock(self, batch: Sequence[Outgoing], step: str = "") -> Sequence[Outcome]: ...


class Probes(Protocol):
    """Looks up by business key whether a call whose answer was lost has arrived: done(ref), absent, or failed."""

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome: ...


class Hears(Protocol):
    """Callbacks: authenticate over the raw bytes and cut into documents; answer in the sender's words.

    acknowledge: error is what read_callback or keeping raised, None when all was kept.
    """

    def read_callback(self, request: Request) -> Sequence[Document]: ...

    def acknowledge(self, request: Request, error: YipanError | None) -> Reply: ...


def _error_for(table: Mapping[str, str], code: str, message: str) -> YipanError:
    name = table.get(code) or next(
        (v for k, v in table.items() if k.endswith("*") and code.startswith(k[:-1])), "Refused"
    )
    return _DECIDES[name](f"{code}: {message}")


_DECIDES: dict[str, type[YipanError]] = {
    c.__name__: c for c in (Unavailable, Throttled, Mismatch, NotAuthorised, Refused, InDoubt)
}


__all__ = [
    "KINDS",
    "Ability",
    "CallBudget",
    "Client",
    "Connection",
    "Fetches",
    "FetchesStock",
    "Hears",
    "Manifest",
    "Outcome",
    "Outgoing",
    "Page",
    "Probes",
    "Reply",
    "Request",
    "Sends",
    "Setting",
]
