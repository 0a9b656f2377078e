"""A row of the contract: one named promise, and to which abilities it applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from connectors.spi import Manifest
from sandbox.contract.case import Case

Applies = Callable[[Manifest], Sequence[str]]


@dataclass(frozen=True)
class Row:
    """One promise. check raises ContractFault with a sentence when it is broken; not required: that costs one grade."""

    name: str
    check: Callable[[Case], None]
    applies: Applies
    required: bool = True

    @property
    def says(self) -> str:
        """What holds when the row passes."""
        return (self.check.__doc__ or self.name).strip().splitlines()[0]


def whole(manifest: Manifest) -> Sequence[str]:
    """The connector as such."""
    return ("",)


def reads(manifest: Manifest) -> Sequence[str]:
    """Abilities that read."""
    return tuple(a for a in manifest.can if a.startswith("fetch_"))


def writes(manifest: Manifest) -> Sequence[str]:
    """Abilities that write."""
    return tuple(a for a in manifest.can if a.startswith("send_"))


def calls(manifest: Manifest) -> Sequence[str]:
    """Abilities that call out."""
    return (*reads(manifest), *writes(manifest))


def repeatable(manifest: Manifest) -> Sequence[str]:
    """Writes of which a repeat does no harm."""
    return tuple(a for a in writes(manifest) if manifest.can[a].idempotent)


def probed(manifest: Manifest) -> Sequence[str]:
    """Writes that can be looked up."""
    return tuple(a for a in writes(manifest) if manifest.can[a].probe)


def hears(manifest: Manifest) -> Sequence[str]:
    """Callbacks."""
    return tuple(a for a in manifest.can if a == "read_callback")


def hears_signed(manifest: Manifest) -> Sequence[str]:
    """Callbacks whose body is signed."""
    return tuple(a for a in hears(manifest) if manifest.can[a].signed)


def claimed(manifest: Manifest) -> Sequence[str]:
    """Every claimed ability."""
    return tuple(manifest.can)
