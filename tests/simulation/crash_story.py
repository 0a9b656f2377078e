"""One story of a hub that may end at any commit: told by forked processes, to an outside world that remembers.

argv: a JSON of the world's ids, and the file in which the outside world notes every call made to it. Reads lines of
JSON {url, stop, late}: stop is "" or `inside:N` (killed with the N-th transaction written and not committed) or
`after:N` (killed with it committed); late: seconds the story's clock begins after Monday 8:00. Answers each with one
line of JSON: how the process ended (0 or -9) and how many transactions it had committed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import select

from connectors.registry import connector
from connectors.spi import Outcome, Outgoing
from core.flow import publish_stock, reserve_stock
from core.flow.hear import Spoken
from core.flow.reserve_stock import Confirm, Release, Reserve, Subject
from core.model import Adjustment, ConfirmedLine, Document, Model, Order, Receipt
from core.model import Confirm as Confirmation
from core.rules.decide import Want
from core.store import inbox, outbox
from core.store import tables as t
from core.store.database import Database
from core.store.store import Store, Transaction, one
from core.store.trips import settle
from core.store.vault import Vault
from hub import outward
from hub.wiring import Hub, Wired
from tests.worlds import MASTER_KEY, Clock, minutes

NOUNS: dict[str, type[Model]] = {"order": Order, "confirm": Confirmation, "receipt": Receipt, "count": Adjustment}
LANES = ("stock", "orders", "fulfilment", "tracking", "slow")
AT_ONCE = 3
TURNS_MAX = 400


class Outside:
    """Every system the hub calls: it does what it is asked, and notes it where no crash of ours can reach it."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def __getattr__(self, ability: str) -> Callable[..., Sequence[Outcome]]:
        if not ability.startswith("send_"):
            raise AttributeError(ability)
        return lambda batch, step="": [self._do(ability, row, step) for row in batch]

    def _do(self, ability: str, row: Outgoing, step: str) -> Outcome:
        with self._notes.open("a") as notes:
            notes.write(json.dumps([ability, row.key, step]) + "\n")
        return self._done(row)

    def _done(self, row: Outgoing) -> Outcome:
        return Outcome.done(f"SF{row.ref}")

    def probe(self, ability: str, row: Outgoing, step: str = "") -> Outcome:
        """Whether it was asked for that."""
        return self._done(row) if [ability, row.key, step] in self.heard() else Outcome.absent()

    def heard(self) -> list[list[str]]:
        """(ability, key, step) of every call."""
        return [json.loads(line) for line in self._notes.read_text().splitlines()]


class InTurn:
    """A pool of one: calls are made one after the other, so that commits have an order."""

    def map(self, work: Callable[[Any], None], jobs: Iterable[Any]) -> list[None]:
        """Make them."""
        return [work(job) for job in jobs]


class Story:
    """What a hub does from its first order to its last, over what its inbox holds."""

    def __init__(self, store: Store, clock: Clock, ids: dict[str, int], outside: Outside) -> None:
        self.store, self.clock, self.ids, self.outside = store, clock, ids, outside
        self.hub = Hub(store)
        self.hub.wired = self.wired  # type: ignore[method-assign]
        self.hub.may_call = lambda wired, lane: True  # type: ignore[method-assign]  # budgets go by the real second,
        self.hub.will_call = lambda calls, lane: None  # type: ignore[method-assign]  # and so would commits be counted

    def wired(self, tx: Transaction, ident: int) -> Wired:
        """A connection that leads outside."""
        row = one(tx, t.connections, id=ident)
        assert row is not None
        return Wired(row, connector(row["connector"]), self.outside)

    def tell(self) -> None:
        """Callers ask; then everybody does what is due until nothing is."""
        self.callers()
        for _ in range(TURNS_MAX):
            if not self.turn() and not self.wait():
                return
        raise AssertionError("the story does not end")

    def callers(self) -> None:
        """Three reservations: confirmed, released, and left to run out; who was cut off asks again."""
        one, two, three = (Subject(self.ids["alpha"], "api", f"R{n}") for n in (1, 2, 3))
        want, west = (Want(0, self.ids["alpha"], self.ids["ink"], 1),), (self.ids["west"],)
        self.hub.funnel.decide([Reserve(one, want, west), Reserve(two, want, west)])
        self.hub.funnel.decide([Reserve(three, want, west, minutes(10)), Confirm(one)])
        self.hub.funnel.decide([Release(two)])

    def turn(self) -> int:
        """Everybody does what is due now, once; how much there was to do."""
        with self.store.read() as tx:
            expired, marked, late = outbox.any_expired(tx), publish_stock.any_marks(tx), reserve_stock.any_expired(tx)
        done = self.store.write(outbox.expire) if expired else 0
        done += self.store.write(reserve_stock.expire) if late else 0
        done += self.settle() + (self.store.write(publish_stock.take_marks) if marked else 0)
        done += sum(outward.drain(self.hub, lane, InTurn()) for lane in LANES)  # type: ignore[arg-type]
        return done or self.work()

    def settle(self) -> int:
        """Book what waits in the inbox, a few at a time."""
        with self.store.read() as tx:
            heard = inbox.waiting(tx, AT_ONCE)
            holders = {c["id"]: c["merchant_id"] for c in tx.rows(select(t.connections))}
        spoken = [
            Spoken(
                h.kind, h.id, h.connection_id, holders[h.connection_id] or 0, NOUNS[h.kind].model_validate_json(h.body)
            )
            for h in heard
        ]
        return len(self.hub.funnel.decide(spoken)) if spoken else 0

    def work(self) -> int:
        """The warehouse picks what it was told of and has not confirmed; it says so until it is heard."""
        f, li = t.fulfilments.c, t.fulfilment_lines.c
        told = select(f.id, f.ref, li.sku, li.quantity).join(t.fulfilment_lines, li.fulfilment_id == f.id)
        with self.store.read() as tx:
            rows = tx.rows(told.where(f.state == "released", f.final.is_(False), f.wms_ref != "").order_by(f.id))
        refs = list(dict.fromkeys(row["ref"] for row in rows))[:2]
        letters = [self.letter(ref, [row for row in rows if row["ref"] == ref]) for ref in refs]
        if not letters:
            return 0
        return len(self.store.write(lambda tx: inbox.keep(tx, self.ids["wms"], 0, letters)).new)

    def letter(self, ref: str, rows: Sequence[Any]) -> Document:
        """All of a fulfilment has left."""
        lines = tuple(ConfirmedLine(sku=row["sku"], quantity=row["quantity"]) for row in rows)
        noun = Confirmation(fulfilment=ref, event_id=f"c-{ref}", final=True, lines=lines)
        return Document(kind="confirm", ref=ref, event_id=noun.event_id, body=noun.model_dump_json().encode())

    def wait(self) -> bool:
        """Until the next thing is due; False when there is none."""
        o, c = t.outbox.c, t.claims.c
        with self.store.read() as tx:
            rows = tx.rows(select(o.due_at, o.lease_until).where(o.state.in_(("waiting", "sending", "in_doubt"))))
            kept = tx.conn.execute(select(c.expires_at).where(c.expires_at.is_not(None))).scalars().all()
        due = [at for at in [*kept, *(r["lease_until"] or r["due_at"] for r in rows)] if at > self.clock.now]
        self.clock.now = min(due, default=self.clock.now)
        return bool(due)


def die_at(stop: str) -> None:
    """From now on this process kills itself at that commit."""
    where, _, nth = stop.partition(":")
    real, count = Database.write, [0]

    def write(self: Database, work: Callable[[Any], Any], *sent: Any) -> Any:
        count[0] += 1
        last = count[0] == int(nth)
        dies = last and where == "inside"
        result = real(self, (lambda conn: kill((work(conn), settle(conn)))) if dies else work, *sent)
        return kill(result) if last else result

    Database.write = write  # type: ignore[method-assign]


def kill(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def run(url: str, stop: str, late: float, ids: dict[str, int], notes: Path, report: int) -> None:
    """One process's life."""
    clock = Clock(minutes(late / 60))
    with closing(Store(url, Vault([MASTER_KEY]), clock=clock)) as store:
        if stop:
            die_at(stop)
        Story(store, clock, ids, Outside(notes)).tell()
        os.write(report, str(store.db.commits).encode())


def forked(line: dict[str, Any], ids: dict[str, int], notes: Path) -> dict[str, int]:
    """How a process of its own ended, and its commits."""
    mine, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run(line["url"], line["stop"], line["late"], ids, notes, theirs)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(theirs)
    _, ended = os.waitpid(pid, 0)
    with os.fdopen(mine) as said:
        commits = said.read()
    return {"end": os.waitstatus_to_exitcode(ended), "commits": int(commits or 0)}


def main(ids: str, notes: str) -> None:
    outward.shown_by = lambda wired, refs: {}  # what a shop shows is another story
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(forked(json.loads(line), json.loads(ids), Path(notes))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
