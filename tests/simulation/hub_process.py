"""A process of its own that takes orders from the inbox, for tests that kill it or let several race.

argv: database url, master key, shop's connection id, its merchant's id, batch size, and where to stop: `never`,
or `inside:N` to wait for the end inside the N-th transaction. Says `ready`, then one line per commit or `inside`.
"""

from __future__ import annotations

import sys
import threading
from contextlib import closing

from core.flow.hear import Spoken
from core.flow.take_order import take_orders
from core.model import Order
from core.store import inbox
from core.store.store import Store, Transaction
from core.store.trips import settle
from core.store.vault import Vault


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main(url: str, key: str, shop: str, merchant: str, size: str, stop: str) -> None:
    last = int(stop.partition(":")[2] or 0)
    with closing(Store(url, Vault([key]))) as store:
        say("ready")
        sys.stdin.readline()
        for n in range(1, 10_000):
            with store.read() as tx:
                heard = inbox.waiting(tx, int(size))
            if not heard:
                break
            batch = [Spoken("order", h.id, int(shop), int(merchant), Order.model_validate_json(h.body)) for h in heard]
            store.write(lambda tx, batch=batch, n=n: take(tx, batch, n == last))
            say("committed")


def take(tx: Transaction, batch: list[Spoken], stop: bool) -> None:
    take_orders(tx, batch)
    if stop:
        settle(tx.conn)
        say("inside")
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
