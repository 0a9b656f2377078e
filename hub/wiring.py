"""Where the parts meet: one Hub a process, with its store, its connectors' clients and their mappings."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import select

from connectors.registry import Connector, connector
from connectors.spi import Connection, Outcome
from connectors.wire.http import Http, Outbound
from core.errors import Unmatched, YipanError
from core.flow.funnel import Funnel
from core.flow.stop_levels import Stop
from core.store import budgets
from core.store import tables as t
from core.store.store import Store, Transaction, one
from hub.together import Together
from mappings.language import Mapping as Meaning
from mappings.language import load

Observe = Callable[[str, str, str], None]
Fingerprint = tuple[Any, bytes]
HIDDEN, SECRET_MIN = "(secret)", 4
HANDFULS = 4
"""A process leases a quarter of a second's budget at once, so that several can share an account."""


@dataclass(frozen=True)
class Options:
    """What the hub is given of the settings. patience multiplies the waits of manifests (polls, settle times)."""

    allow: tuple[str, ...] = ()
    patience: float = 1.0
    timeout_s: float | None = None
    lease_s: float = 30.0
    retry_s: float = 5.0
    threads: int = 8
    mends_per_day: int = 100
    stop: Stop = field(default_factory=Stop)
    stale_s: float = 900.0


@dataclass(frozen=True)
class Wired:
    """One connection, ready to be spoken through."""

    row: Mapping[str, Any]
    connector: Connector
    client: Any
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def hide(self, error: YipanError) -> YipanError:
        """The error without this connection's secrets, should their answer have repeated one."""
        for secret in self.secrets:
            error.message = error.message.replace(secret, HIDDEN)
        return error

    def hidden(self, outcome: Outcome) -> Outcome:
        """The outcome, its error without secrets."""
        if outcome.error:
            self.hide(outcome.error)
        return outcome

    def ability(self, name: str) -> Any:
        """What the manifest says of an ability."""
        return self.connector.manifest.can[name]

    @property
    def holder(self) -> int:
        """The merchant that holds the connection, 0 for the operator."""
        return int(self.row["merchant_id"] or 0)


class Purse:
    """Calls this process may still make this second, leased from the accounts' rows a handful at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: dict[tuple[int, bool], tuple[int, int]] = {}
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def spend(self, wired: Wired, stock: bool) -> bool:
        """One call; the share kept for stock is closed to other lanes."""
        ident, second = int(wired.row["id"]), int(time.time())
        with self._locks[ident]:
            left = self._still(ident, stock, second) or self._lease({ident: wired}, stock, {})[ident]
            self._left[ident, stock] = (second, max(0, left - 1))
            return left > 0

    def fill(self, calls: Sequence[Wired], stock: bool) -> None:
        """Lease at once what these calls are going to spend, for all their accounts."""
        second, wired = int(time.time()), {int(one.row["id"]): one for one in calls}
        wanted = Counter(int(one.row["id"]) for one in calls)
        short = {ident: n for ident, n in wanted.items() if self._still(ident, stock, second) < n}
        if len(short) < 2:
            return
        for ident, units in self._lease({ident: wired[ident] for ident in short}, stock, short).items():
            with self._locks[ident]:
                self._left[ident, stock] = (second, self._still(ident, stock, second) + units)

    def _still(self, ident: int, stock: bool, second: int) -> int:
        when, left = self._left.get((ident, stock), (0, 0))
        return left if when == second else 0

    def _lease(self, accounts: Mapping[int, Wired], stock: bool, wanted: Mapping[int, int]) -> dict[int, int]:
        asks = {}
        for ident, wired in accounts.items():
            budget = wired.connector.manifest.budget
            share = 1.0 if stock else 1.0 - budget.share_for_stock
            per_day = None if budget.per_day is None else int(budget.per_day * share)
            handful = max(1, int(budget.per_s / HANDFULS), wanted.get(ident, 0))
            asks[str(ident)] = budgets.Ask(handful, budget.per_s * share, per_day)
        return {int(account): n for account, n in self._store.write(lambda tx: budgets.lease(tx, asks)).items()}


class Hub:
    """Everything a worker or a door needs, made once a process."""

    def __init__(self, store: Store, options: Options | None = None, observe: Observe | None = None) -> None:
        self.store, self.funnel = store, Funnel(store)
        self.options = options or Options()
        self._observe = observe or (lambda connection, ability, result: None)
        self._wired: dict[int, tuple[Fingerprint, Wired]] = {}
        self._lock = threading.Lock()
        self._purse = Purse(store)
        self.together = Together(store)

    def will_call(self, calls: Sequence[Wired], lane: str) -> None:
        """These are about to be called: take what that costs out of their accounts' budgets together."""
        self._purse.fill(calls, lane == "stock")

    def may_call(self, wired: Wired, lane: str) -> bool:
        """Take one call out of the account's budget; False when it has none left for this lane now."""
        return self._purse.spend(wired, lane == "stock")

    def wired(self, tx: Transaction, connection_id: int) -> Wired:
        """The connection's client; made anew only when its settings or secrets changed. Raises Unmatched."""
        row = one(tx, t.connections, id=connection_id)
        if row is None:
            raise Unmatched("connection", str(connection_id))
        mark = (row["settings"], bytes(row["secrets"]))
        with self._lock:
            known = self._wired.get(connection_id)
            if known is None or known[0] != mark:
                known = (mark, self._wire(row))
                self._wired[connection_id] = known
        return replace(known[1], row=row)

    def client(self, connection_id: int) -> Any:
        """The client of a connection, for doors that only listen."""
        with self.store.read() as tx:
            return self.wired(tx, connection_id).client

    def _wire(self, row: Mapping[str, Any]) -> Wired:
        found = connector(row["connector"])
        secrets = json.loads(self.store.vault.open_secret(row["secrets"]))
        connection = Connection(str(row["id"]), row["connector"], row["settings"], secrets)
        http = Http(
            row["settings"]["base_url"],
            timeout_s=self.options.timeout_s or found.manifest.timeout_s,
            outbound=Outbound(self.options.allow),
            observe=lambda ability, result: self._observe(row["code"], ability, result),
        )
        client = found.client(connection, http, lambda: datetime.now(UTC))
        return Wired(row, found, client, tuple(s for s in secrets.values() if len(s) >= SECRET_MIN))


@cache
def meaning(name: str, noun: str) -> Meaning:
    """The compiled mapping of one noun of one connector."""
    return load(connector(name).mappings / f"{noun}.yaml")


def links_to_ours(tx: Transaction, connection_id: int, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(kind, their ref) → our id, for a whole batch."""
    li = t.links.c
    refs = sorted({ref for _, ref in asked})
    rows = tx.rows(select(t.links).where(li.connection_id == connection_id, li.ref.in_(refs))) if refs else []
    return {(r["kind"], r["ref"]): r["ours"] for r in rows}


def links_to_theirs(
    tx: Transaction, connection_id: int, asked: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """(kind, our id) → their ref, for a whole batch."""
    li = t.links.c
    ours = sorted({ident for _, ident in asked})
    rows = tx.rows(select(t.links).where(li.connection_id == connection_id, li.ours.in_(ours))) if ours else []
    return {(r["kind"], r["ours"]): r["ref"] for r in rows}
