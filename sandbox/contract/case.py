"""One connector and one of its abilities on trial: rows make clients, call and settle doubts here as the hub does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from inspect import signature
from typing import Any

from connectors.registry import Connector
from connectors.spi import Ability, Connection, Manifest, Outcome, Outgoing, Page
from connectors.wire.http import Http, Outbound
from core.errors import InDoubt, Later, YipanError
from core.model import Document
from sandbox.contract.fixtures import ContractFault, Fixture, fixtures, mapping, written
from sandbox.contract.stage import Stage

TRIES = 8
PAGES_MAX = 200
PATIENT_S = 3.0
Cursor = Mapping[str, Any]


@dataclass
class Trial:
    """What all rows of one connector share: its stage, opened when the first row needs it."""

    connector: Connector

    @cached_property
    def stage(self) -> Stage:
        """The twin's server."""
        return Stage(self.connector)

    @property
    def opened(self) -> bool:
        """Whether a row has needed the stage."""
        return "stage" in self.__dict__

    def close(self) -> None:
        """Close the stage if it was opened."""
        if self.opened:
            self.stage.stop()


@dataclass
class Case:
    """One row's view: the connector, the ability in question ("" for the connector as a whole), and a fresh twin."""

    trial: Trial
    ability: str = ""

    @property
    def connector(self) -> Connector:
        """What is on trial."""
        return self.trial.connector

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.connector.manifest

    @property
    def claim(self) -> Ability:
        """What the manifest says of the ability."""
        return self.manifest.can[self.ability]

    @property
    def stage(self) -> Stage:
        """Its twin's server."""
        return self.trial.stage

    def fresh(self, ability: str = "") -> Any:
        """A new twin in which this row's ability has something to do."""
        twin = self.stage.fresh()
        self.stage.module.prepare(twin, ability or self.ability)
        return twin

    def connection(self, spoil: bool = False) -> Connection:
        """A connection to the twin; spoil: with wrong secrets."""
        secrets = {k: spoiled(v) if spoil else v for k, v in self.stage.module.SECRETS.items()}
        settings = {**self.stage.module.SETTINGS, "base_url": self.stage.url}
        return Connection("c-1", self.connector.name, settings, secrets)

    def client(self, *, timeout_s: float = PATIENT_S, spoil: bool = False) -> Any:
        """A client that speaks to the twin."""
        http = Http(self.stage.url, timeout_s=timeout_s, outbound=Outbound(["127.0.0.0/8"]), attempts=2)
        return self.connector.client(self.connection(spoil), http, self.now)

    def now(self) -> datetime:
        """A clock just far enough ahead that what the twin did a moment ago lies behind every cursor's window."""
        ahead = max((a.behind_s for a in self.manifest.can.values()), default=0)
        return datetime.now(UTC) + timedelta(seconds=ahead + 1)

    def effects(self) -> int:
        """How often the ability has really taken effect at the twin."""
        return int(self.stage.module.effects(self.stage.twin, self.ability))

    def outgoing(self) -> Outgoing:
        """The row that the first built write fixture makes."""
        found = fixtures(self.connector, "write", noun_of(self.ability), "built")
        if not found:
            raise ContractFault(f"{self.ability} has no write fixture to send")
        return outgoing(found[0], mapping(self.connector, found[0].entry.noun))

    def refs(self) -> list[str]:
        """What to ask for where an ability reads by reference: the twin's `refs`, else what the fixtures speak of."""
        return self.named_refs() or known_refs(self.connector, noun_of(self.ability))

    def named_refs(self) -> list[Any]:
        """What the twin module's `refs(twin, ability)` names, where it has that function."""
        refs = getattr(self.stage.module, "refs", None)
        return list(refs(self.stage.twin, self.ability)) if refs else []


def outgoing(fixture: Fixture, compiled: Any) -> Outgoing:
    """A fixture as the hub would send it: the key is stable, the ref is what the row is about."""
    value: Any = fixture.canonical
    key = getattr(value, "key", "") or value.ref
    ref = getattr(value, "listing", "") or getattr(value, "order_ref", "") or value.ref
    return Outgoing(key, ref, written(fixture, compiled))


def spoiled(secret: str) -> str:
    """Another text of the same length and kind."""
    return secret[:-1] + ("b" if secret[-1:] != "b" else "a")


def noun_of(ability: str) -> str:
    """`send_stock` → stock, `fetch_orders` → order."""
    noun = ability.split("_", 1)[1]
    return noun[:-1] if ability.startswith("fetch_") and noun.endswith("s") else noun


def kinds_of(manifest: Manifest, ability: str) -> tuple[str, ...]:
    """The document kinds an inward ability yields, as the manifest says or its name does."""
    claim = manifest.can[ability]
    if claim.documents or not ability.startswith("fetch_") or ability == "fetch_one":
        return claim.documents
    return (noun_of(ability),)


def known_refs(connector: Connector, noun: str) -> list[str]:
    """Products, listings, SKUs or waybills of the built fixtures of this noun: those it writes, else those it reads."""
    found: dict[str, None] = {}
    for fixture in fixtures(connector, "write", noun, "built") or fixtures(connector, "read", noun, "built"):
        value: Any = fixture.canonical
        for row in getattr(value, "rows", None) or [value]:
            ref = next((r for n in ("product", "listing", "sku", "waybill") if (r := getattr(row, n, ""))), "")
            found.update({ref: None} if ref else {})
    return list(found)


def by_reference(client: Any, ability: str) -> bool:
    """Whether the ability asks for given references (`fetch_stock(refs)`), not along a cursor."""
    return "refs" in signature(getattr(client, ability)).parameters


def read_page(case: Case, client: Any, cursor: Cursor) -> Page:
    """One page of the case's ability, whatever its shape; refs are completed by fetch_one."""
    ask = getattr(client, case.ability)
    if case.ability == "fetch_one":
        return Page([ask(kind, ref) for kind, ref in one_refs(case, client)])
    if by_reference(client, case.ability):
        return Page(list(ask(case.refs())))
    page: Page = ask(cursor)
    kind = next(iter(kinds_of(case.manifest, case.ability)), "")
    details = [client.fetch_one(kind, ref) for ref in page.refs]
    return replace(page, documents=[*page.documents, *details], refs=())


def one_refs(case: Case, client: Any) -> list[tuple[str, str]]:
    """(kind, ref) of something fetch_one can read: what the twin's `refs` names, else what the list shows."""
    named = case.named_refs()
    if named:
        return [(kind, ref) for kind, ref in named]
    fetches = [a for a in case.manifest.can if a.startswith("fetch_") and a != "fetch_one"]
    for ability in (a for a in fetches if not by_reference(client, a)):
        page: Page = getattr(client, ability)({})
        kind = next(iter(kinds_of(case.manifest, ability)))
        found = [(d.kind, d.ref) for d in page.documents] or [(kind, ref) for ref in page.refs]
        if found:
            return found[:1]
    raise ContractFault("fetch_one found nothing to read: give the twin refs(twin, ability) with (kind, ref) pairs")


def read_all(case: Case, client: Any, cursor: Cursor | None = None) -> tuple[list[Document], Cursor]:
    """Every page from the cursor on, what is Later tried again; the documents and where the cursor then stands."""
    documents: list[Document] = []
    place: Cursor = cursor or {}
    for _ in range(PAGES_MAX):
        page = patiently(lambda at=place: read_page(case, client, at))  # type: ignore[misc]
        documents += page.documents
        place = page.cursor
        if not page.more:
            return documents, place
    raise ContractFault(f"{case.ability} still says there is more after {PAGES_MAX} pages")


def patiently(read: Callable[[], Any]) -> Any:
    """The read, tried again while it says Later."""
    for _ in range(TRIES - 1):
        try:
            return read()
        except Later:
            continue
    return read()


def attempt(client: Any, ability: str, row: Outgoing, step: str = "") -> Outcome:
    """One send of one row; what it raises counts as its outcome."""
    return _outcome(lambda: getattr(client, ability)([row], step), ability)


def look(client: Any, ability: str, row: Outgoing, step: str = "") -> Outcome:
    """One probe; what it raises counts as its outcome."""
    return _outcome(lambda: [client.probe(ability, row, step)], "probe")


def _outcome(call: Callable[[], Sequence[Outcome]], name: str) -> Outcome:
    try:
        outcomes = list(call())
    except YipanError as error:
        return Outcome.failed(error)
    if len(outcomes) != 1 or not isinstance(outcomes[0], Outcome):
        raise ContractFault(f"{name} must give one Outcome per row, and gave {outcomes!r}")
    return outcomes[0]


def deliver(
    client: Any, manifest: Manifest, ability: str, row: Outgoing, errors: list[YipanError] | None = None
) -> Outcome:
    """Send a row as the hub does, step by step: Later is sent again, what is in doubt is probed (absent twice) before.

    errors: gathers what went wrong on the way.
    """
    outcome = Outcome.absent()
    for step in manifest.can[ability].steps or ("",):
        outcome = _settle(client, manifest.can[ability], ability, row, step, errors if errors is not None else [])
        if outcome.state != "done":
            return outcome
        row = replace(row, reached={**row.reached, step: outcome.ref})
    return outcome


def _settle(client: Any, claim: Ability, ability: str, row: Outgoing, step: str, errors: list[YipanError]) -> Outcome:
    outcome = attempt(client, ability, row, step)
    for _ in range(TRIES):
        errors += [outcome.error] if outcome.error else []
        if isinstance(outcome.error, InDoubt) and not claim.idempotent:
            if not claim.probe:
                return outcome
            outcome = _probed(client, ability, row, step)
        if outcome.state != "absent" and not isinstance(outcome.error, Later | InDoubt):
            return outcome
        outcome = attempt(client, ability, row, step)
    return outcome


def _probed(client: Any, ability: str, row: Outgoing, step: str) -> Outcome:
    """What the probe finds; absent only when it says so twice."""
    first = _firm(lambda: look(client, ability, row, step))
    return _firm(lambda: look(client, ability, row, step)) if first.state == "absent" else first


def _firm(ask: Callable[[], Outcome]) -> Outcome:
    outcome = ask()
    for _ in range(TRIES):
        if not isinstance(outcome.error, Later):
            break
        outcome = ask()
    return outcome
