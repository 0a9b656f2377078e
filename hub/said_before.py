"""Facts whose number came before with other words: held against what was said first, before any flow sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Contradicted, YipanError
from core.flow.hear import OTHERWISE, Spoken

UNBOOKED = (
    "{number} came again and says something else. First: {first}. Now: {now}. Neither is booked: settle with the "
    "sender which is true, dismiss the other, then replay it"
)
TIME = "happened_at"
"""When it happened books nothing, and senders may write it anew each time they say the same."""
PLAIN = ("sku", "quantity", "event_id")
USUAL = ("", None, [], "ZP")
Row = Mapping[str, Any]


def judge(
    row: Row, first: Spoken | YipanError, others: Sequence[Spoken | YipanError], now: Spoken
) -> Spoken | Contradicted | None:
    """The document itself where the first was dismissed, None where another says the same, else what a person settles.

    row: the inbox row of what came first. first, others: what was said under the number, or why it cannot be read.
    """
    content = _content(now)
    if content in [_content(one) for one in (first, *others)]:
        return None
    if row["state"] == "dismissed":
        return now
    stands = _content(first)
    names = [name for name in content if content[name] != stands.get(name)]
    was = f"what cannot be read ({first.message})" if isinstance(first, YipanError) else _words(stands, names)
    words = UNBOOKED if row["state"] == "parked" else OTHERWISE
    return Contradicted(words.format(number=row["event_id"], first=was[:600], now=_words(content, names)[:600]))


def _content(said: Spoken | YipanError) -> dict[str, Any]:
    """What it says but for times, the same for lines in whatever order; {} of what cannot be read."""
    if isinstance(said, YipanError):
        return {}
    return {name: _sorted(value) for name, value in said.noun.model_dump(mode="json").items() if name != TIME}


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_sorted(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    if isinstance(value, dict):
        return {name: _sorted(one) for name, one in value.items() if name != TIME}
    return value


def _words(content: Row, names: list[str]) -> str:
    return "; ".join(f"{name} {_said(content[name])}" for name in names)


def _said(value: Any) -> str:
    """A value in words: a line as units and SKU, then what is not as usual."""
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if not isinstance(value, dict):
        return str(value).lower() if isinstance(value, bool) else str(value)
    goods = [str(value[name]) for name in ("quantity", "sku") if name in value]
    more = [f"{name} {_said(one)}" for name, one in value.items() if name not in PLAIN and one not in USUAL]
    return " ".join([*goods, *([f"({'; '.join(more)})"] if goods and more else more)])
