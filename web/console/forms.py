"""What people type into forms, as the doors behind them take it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import Unfit

F = TypeVar("F", bound=BaseModel)


def whole(text: str) -> int:
    """A whole number of units. Raises Unfit."""
    if not text.strip().isdecimal() or len(text) > 12:
        raise Unfit(f"{text!r} is no whole number of units: write one from 1")
    return int(text)


def filled(form: type[F], said: dict[str, Any]) -> F:
    """The form as it was filled in. Raises Unfit in words, naming the fields that do not fit."""
    try:
        return form.model_validate(said)
    except ValidationError as error:
        raise Unfit("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None


def moment(text: str) -> datetime | None:
    """A time as browsers write it, without a zone: it is meant in UTC. Raises Unfit."""
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise Unfit(f"{text!r} is no time: write one as 2026-06-18T20:00") from None
    return at.replace(tzinfo=UTC) if at and at.tzinfo is None else at
