"""Errors decide what happens next: the class says who acts, the docstring says what to do.

YipanError
├── Later             retried by itself
│   ├── Unavailable       the other side did not answer, and nothing arrived there
│   ├── Throttled         the other side asked us to slow down (`retry_after_s`)
│   └── Mismatch          it shows something else than a compare-and-set expected, and changed nothing
├── Person            parked until someone acts; `fix` names the button
│   ├── NotAuthorised     credentials, signature or permission
│   ├── Refused           the other side understood and said no
│   │   ├── OutOfStock        the pool cannot back all a caller asks for (`missing`)
│   │   │   └── Withheld          it could, but a channel policy keeps the rest
│   │   ├── Implausible       a snapshot that looks wrong as a whole
│   │   └── Contradicted      a number that names one fact came again and says something else
│   ├── Unfit             the document cannot be read or written (`faults`)
│   └── Unmatched         it names something we do not know (`kind`, `ref`)
├── InDoubt           the call may have arrived: probe by business key, never a blind retry
└── Broken            our own bug: stop this document, keep everything, shout
    └── Misconfigured     a setting, manifest or mapping file is wrong (file, line, key)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class YipanError(Exception):
    """Something went wrong; the subclass says what happens next."""

    fix = "look"

    def __init__(self, message: str, *, connection: str | None = None, document: str | None = None):
        super().__init__(message)
        self.message = message
        self.connection = connection
        self.document = document


class Later(YipanError):
    """Nothing was lost. The hub tries again by itself."""

    fix = "wait"
    retry_after_s: float | None = None


class Unavailable(Later):
    """The other side could not be reached, and the request provably did not arrive. Retried by itself."""


class Throttled(Later):
    """The other side asked us to slow down. Retried after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, **names: str | None):
        super().__init__(message, **names)
        self.retry_after_s = retry_after_s


class Mismatch(Later):
    """A compare-and-set met another figure than it expected, and nothing was changed. Read first, then said again."""


class Person(YipanError):
    """A person has to act. The item is parked with the button that fixes it."""

    fix = "retry"


class NotAuthorised(Person):
    """Credentials, signature or permission were refused. Renew them on the connection's page, then retry."""

    fix = "authorise"


class Refused(Person):
    """The other side understood the request and said no. Read its words, mend the cause, then retry."""

    fix = "retry"


class OutOfStock(Refused):
    """The pool cannot back all of what was asked for; nothing was reserved. Ask for less, or later.

    missing: (item id, units asked for, units there are) of each item of which there are too few.
    """

    def __init__(self, message: str, missing: tuple[tuple[int, int, int], ...] = (), **names: str | None):
        super().__init__(message, **names)
        self.missing = missing

    @classmethod
    def words(cls, missing: Iterable[tuple[int, int, int]], names: Mapping[int, str]) -> str:
        """What is missing, in words. names: of the items."""
        return ", ".join(f"{n} of {names[item]} where there are {left}" for item, n, left in missing)


class Withheld(OutOfStock):
    """The channel policy keeps the rest from callers; nothing was reserved. Ask for less, or change the policy.

    missing: (item id, units asked for, units that may be promised) of each item.
    """

    @classmethod
    def words(cls, missing: Iterable[tuple[int, int, int]], names: Mapping[int, str]) -> str:
        """What is missing and why, in words. names: of the items."""
        some = ", ".join(f"{n} of {names[item]} where {left} may be promised" for item, n, left in missing)
        return f"{some}: the channel policy keeps the rest: ask for less, or change the policy"


class Implausible(Refused):
    """A snapshot is empty, short, or changes too much at once. Look at their side, then accept or dismiss it."""

    fix = "accept"


class Contradicted(Refused):
    """A number that names one fact came again and says something else; nothing of the second was booked.

    Settle with the sender which is true; what is missing is told under a number of its own. Then dismiss it.
    """

    fix = "dismiss"


@dataclass(frozen=True)
class Fault:
    """One place where a document and its mapping disagree."""

    file: str
    line: int
    column: int
    target: str
    source: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.target} <- {self.source}: {self.why} (got {self.value})"


class Unfit(Person):
    """The document cannot be translated. Mend the mapping or the document, then replay it."""

    fix = "replay"

    def __init__(self, message: str, faults: tuple[Fault, ...] = (), **names: str | None):
        super().__init__("; ".join([message, *map(str, faults)]) if faults else message, **names)
        self.faults = faults


class Unmatched(Person):
    """The document names something we do not know. Link it, then replay the document."""

    fix = "link"

    def __init__(self, kind: str, ref: str, message: str | None = None, **names: str | None):
        super().__init__(message or f"no {kind} is linked to {ref!r}: link it, then replay", **names)
        self.kind = kind
        self.ref = ref


class InDoubt(YipanError):
    """The call may have arrived. The hub probes by business key before anything is sent again."""

    fix = "probe"


class Broken(YipanError):
    """A bug of ours. The document is stopped, everything is kept, the log shouts."""

    fix = "replay"


class Misconfigured(Broken):
    """A setting, manifest or mapping is wrong. The message names file, line and key; mend it and start again."""
