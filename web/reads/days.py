"""Days a statement is about, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_

from core.errors import Unfit

MOST = 366


class Days(NamedTuple):
    """The first and the last of them."""

    first: date
    last: date

    def hold(self, column: Any) -> ColumnElement[bool]:
        """The condition that a time lies in them."""
        return and_(column >= self.begin, column < _midnight(self.last + timedelta(days=1)))

    @property
    def begin(self) -> datetime:
        """When the first of them begins."""
        return _midnight(self.first)

    def named(self) -> dict[str, str]:
        """first and last, YYYY-MM-DD."""
        return {name: day.isoformat() for name, day in self._asdict().items()}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def day_of(at: datetime) -> date:
    """The day of a moment."""
    return at.astimezone(UTC).date()


def days(first: str, last: str, now: datetime) -> Days:
    """The days from first to last (YYYY-MM-DD); today without them. Raises Unfit."""
    found = Days(_day(first or last, now), _day(last or first, now))
    if not found.first <= found.last < found.first + timedelta(days=MOST):
        raise Unfit(f"{found.first} to {found.last} is no time of up to {MOST} days: say the first day and the last")
    return found


def _day(text: str, now: datetime) -> date:
    try:
        return date.fromisoformat(text) if text else day_of(now)
    except ValueError:
        raise Unfit(f"{text!r} is no day: write it like 2026-01-05") from None
