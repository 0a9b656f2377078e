"""JSON for connectors where it is not an answer's whole body: carried as a text inside one, or pushed to us."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from connectors.wire.http import lost
from core.errors import Unfit


def read_inner_json(text: Any, *, reads: bool) -> Any:
    """JSON inside a text of an answer; one that cannot be read is an answer that was lost."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (TypeError, ValueError, RecursionError):
        raise lost("the JSON inside the answer cannot be read", reads=reads) from None


def read_pushed_json(body: bytes) -> Any:
    """What a sender pushed. Raises Unfit for anything that is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise Unfit("the push is not JSON, or was cut short") from None


def write_json(value: Any) -> str:
    """Compact JSON text, Chinese as it is; Decimals as the numbers they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=float)
