"""A child ends with its parent, also when the parent is killed: it reads a pipe only the parent holds open."""

from __future__ import annotations

import os
import threading

VARIABLE = "YIPAN_LEASH"


def make() -> tuple[int, int]:
    """A pipe: the reading end is the children's, the writing end the parent's alone."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    return reading, writing


def hold() -> None:
    """In a child: end this process as soon as the parent is gone. Without a leash nothing happens."""
    number = os.environ.get(VARIABLE)
    if number is not None:
        threading.Thread(target=_watch, args=(int(number),), name="leash", daemon=True).start()


def _watch(reading: int) -> None:
    while os.read(reading, 1):
        continue
    os._exit(0)
