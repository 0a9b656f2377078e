"""Takes rules that look at more than one value apart, where they have one of the common shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mappings.language.blocks import Leaf
from mappings.language.path import Path, parse_path
from mappings.language.steps import Step
from mappings.language.touched import Crooked
from mappings.language.values import text_of

TEXT = (Step("text", text_of),)
WHOLE = (["money"], ["int"], ["minor"])
"""Steps that sums can be made of."""


@dataclass(frozen=True)
class Shape:
    """A rule that looks at neighbours, taken apart: what it converts, and what it does with the others."""

    filled: bool
    steps: tuple[Step, ...]
    others: tuple[Path, ...] = ()
    only: tuple[Path, frozenset[str]] | None = None
    sums: tuple[tuple[Path, bool], ...] = ()

    @classmethod
    def of(cls, leaf: Leaf) -> Shape:
        """Raises Crooked where the rule has another shape."""
        written = list(zip(leaf.steps, (ones for _, ones in leaf.parsed.steps) if leaf.parsed else (), strict=False))
        written += [(step, ()) for step in leaf.steps[len(written) :]]
        filled = written[0][0].name == "filled"
        start = int(filled)
        ends = start
        while ends < len(written) and written[ends][0].name == "or":
            ends += 1
        others = tuple(parse_path(ones[0].text) for _, ones in written[start:ends])
        tails = [at for at in range(ends, len(written)) if written[at][0].name in ("when", "add", "less")]
        tail = tails[0] if tails else len(written)
        plain = tuple(step for step, _ in written[ends:tail])
        after = [(step.name, ones) for step, ones in written[tail:]]
        if not plain and after and after[-1][0] == "text":
            after.pop()
        if any(step.wide or step.bare or step.name in ("filled", "when") for step in plain):
            raise Crooked
        if any(not one.optional for one in others[:-1]) or (others and not (leaf.path and leaf.path.optional)):
            raise Crooked
        return cls._tailed(filled, plain or TEXT, others, after)

    @classmethod
    def _tailed(
        cls, filled: bool, plain: tuple[Step, ...], others: tuple[Path, ...], after: list[tuple[str, Any]]
    ) -> Shape:
        if not after:
            return cls(filled, plain, others)
        if others or filled:
            raise Crooked
        if len(after) == 1 and after[0][0] == "when":
            first, *wanted = after[0][1]
            return cls(filled, plain, only=(parse_path(first.text), frozenset(one.text for one in wanted)))
        if any(name not in ("add", "less") for name, _ in after) or [step.name for step in plain] not in WHOLE:
            raise Crooked
        return cls(
            filled, plain, sums=tuple((parse_path(one.text), name == "add") for name, ones in after for one in ones)
        )
