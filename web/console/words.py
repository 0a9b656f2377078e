"""What the console says, in the reader's language; and how figures, times and amounts are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request

import mappings
from core.model.marked import read_yaml

FOLDER = Path(__file__).parent.parent / "words"
LANGUAGES = ("en", "zh")
COOKIE = "yipan_lang"
SIGNS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
NOTHING = "–"


@cache
def words(language: str) -> Mapping[str, Any]:
    """All words of a language."""
    found: dict[str, Any] = read_yaml(FOLDER / f"{language}.yaml")[0]
    return found


def language_of(request: Request, default: str) -> str:
    """The language asked for now, else the one asked for before, else the browser's, else the hub's."""
    asked = (request.query_params.get("lang"), request.cookies.get(COOKIE))
    for language in asked:
        if language in LANGUAGES:
            return str(language)
    browser = request.headers.get("accept-language", "")[:2].lower()
    return browser if browser in LANGUAGES else default


def moment(time: str | datetime | None) -> str:
    """A time as people read it: UTC, to the second."""
    if not time:
        return NOTHING
    at = datetime.fromisoformat(time) if isinstance(time, str) else time
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def units(n: int) -> str:
    """A count with thousands apart."""
    return f"{n:,}"


def money(minor: int, currency: str) -> str:
    """An amount in its currency: ¥ 128.00."""
    digits = _digits().get(currency, 2)
    return f"{SIGNS.get(currency, currency)} {minor / 10**digits:,.{digits}f}"


def fares(connection: Mapping[str, Any]) -> str:
    """How a connection fares: paused, failing or active."""
    if connection["state"] != "active":
        return str(connection["state"])
    return "failing" if any(reading["failures"] for reading in connection["reading"]) else "active"


def last_read(connection: Mapping[str, Any]) -> str | None:
    """Up to when anything of it has been read."""
    times = [reading["read_until"] for reading in connection["reading"] if reading["read_until"]]
    return max(times, default=None)


@cache
def _digits() -> dict[str, int]:
    found: dict[str, int] = read_yaml(Path(mappings.__path__[0]) / "tables" / "currencies.yaml")[0]
    return found
