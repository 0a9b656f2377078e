"""Plain values: text, numbers, money and times read strictly and written exactly."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache
from typing import Any

from mappings.language.path import Wrong

NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})", re.ASCII)
EXPONENT_MAX = 40
DIGITS_MAX = 40
EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
CLOCK = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_MAX_S = 32503680000
DAYS_KEPT = 4096
TEXTS_KEPT = 4096
CHARS_KEPT = 32
BOOLS = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}


def text_of(value: Any) -> str:
    """A scalar as trimmed text."""
    if type(value) is str:
        return value.strip()
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is Decimal:
        return plain(value)
    if isinstance(value, dict) and "." in value:
        return text_of(value["."])
    raise Wrong(_not_plain(value), value)


def _not_plain(value: Any) -> str:
    if value is None:
        return "is empty"
    if isinstance(value, datetime):
        return "is a time: say how it is written with time, date or epoch"
    if isinstance(value, list | tuple):
        return "is a list: repeat over it with each, or join it"
    return "holds further names, it is no plain value" if isinstance(value, dict) else "is no plain value"


def plain(value: Decimal) -> str:
    """A Decimal without exponent."""
    if not value.is_finite() or abs(value.adjusted()) > EXPONENT_MAX:
        raise Wrong("is out of range", value)
    return format(value, "f")


def decimal_of(value: Any) -> Decimal:
    """A number, exactly. Texts with exponents, separators or other digits than 0-9 are refused."""
    if type(value) is int:
        return _within(Decimal(value), value)
    if type(value) is Decimal:
        plain(value)
        return _within(value, value)
    if isinstance(value, bool):
        raise Wrong("is no number", value)
    text = text_of(value)
    if not NUMBER.fullmatch(text):
        raise Wrong("is empty" if not text else "is no number", value)
    return _within(Decimal(text), value)


def _within(number: Decimal, value: Any) -> Decimal:
    if len(number.as_tuple().digits) > DIGITS_MAX:
        raise Wrong("is out of range", value)
    return number


def whole(number: Decimal, value: Any) -> int:
    """A number that has no fraction."""
    if number != number.to_integral_value():
        raise Wrong("is not a whole number", value)
    return int(number)


def int_of(value: Any) -> int:
    """A whole number; "3.0" is 3, "3.5" is refused."""
    if type(value) is int:
        return value
    if type(value) is str and value.isdigit() and value.isascii() and len(value) <= EXPONENT_MAX:
        return int(value)
    return whole(decimal_of(value), value)


def shifted(number: Decimal, digits: int, value: Any) -> int:
    """Major units → minor units."""
    minor = number.scaleb(digits, EXACT)
    if minor != minor.to_integral_value():
        raise Wrong(f"has more than {digits} decimal digits", value)
    return int(minor)


class Remembered(dict[str, Any]):
    """What a conversion made of short texts, by the text as it came; it asks for what it doesn't have."""

    def __init__(self, convert: Callable[[Any], Any]):
        super().__init__()
        self.convert = convert

    def __missing__(self, value: Any) -> Any:
        made = self.convert(value)
        if type(value) is str and len(value) <= CHARS_KEPT and type(made) is not list:
            if len(self) >= TEXTS_KEPT:
                self.clear()
            self[value] = made
        return made


@cache
def known_money(digits: int) -> Remembered:
    """Major units as text → minor units as int; amounts repeat, so some are remembered."""
    point = -1 - digits

    def learn(value: Any) -> int:
        if digits and type(value) is str and value[point : point + 1] == ".":
            minor = value[:point] + value[point + 1 :]
            if len(minor) <= DIGITS_MAX and minor.isascii() and minor.isdigit():
                return int(minor)
        return shifted(decimal_of(value), digits, value)

    return Remembered(learn)


def money_reader(digits: int) -> Callable[[Any], int]:
    """Major units as text or number → minor units as int."""
    known = known_money(digits)
    quick, learn = known.__getitem__, known.convert

    def read(value: Any) -> int:
        try:
            return quick(value)  # type: ignore[no-any-return]
        except TypeError:
            return learn(value)  # type: ignore[no-any-return]

    return read


def money_writer(digits: int) -> Callable[[Any], str]:
    """Minor units → major units as text with those digits."""

    def write(value: Any) -> str:
        minor = int_of(value)
        major, rest = divmod(abs(minor), 10**digits)
        sign = "-" if minor < 0 else ""
        return f"{sign}{major}.{rest:0{digits}}" if digits else f"{sign}{major}"

    return write


def bool_of(value: Any) -> bool:
    """true/false, 1/0, yes/no, y/n in any case."""
    found = BOOLS.get(text_of(value).lower())
    if found is None:
        raise Wrong("is neither true nor false", value)
    return found


class Clock:
    """Local times of one zone made aware: exact on days with a clock change, quick on all others."""

    def __init__(self, zone: tzinfo):
        self.zone = zone
        self._days: dict[str, str] = {}

    def read(self, value: Any) -> datetime:
        """ISO 8601 or `YYYY-MM-DD HH:MM:SS`; naive → this zone."""
        if type(value) is str and len(value) == 19 and value[10::3] == " ::":
            offset = self._days.get(value[:10])
            if offset is not None:
                try:
                    return datetime.fromisoformat(value + offset)
                except ValueError:
                    pass
        return self._read(value)

    def _read(self, value: Any) -> datetime:
        text = text_of(value)
        if not CLOCK.fullmatch(text):
            raise Wrong("is empty" if not text else "is no time (ISO 8601 or YYYY-MM-DD HH:MM:SS)", value)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise Wrong(f"is no time ({error})", value) from None
        if not 2 <= moment.year <= 9998:
            raise Wrong("is out of range", value)
        if moment.tzinfo is not None:
            return moment
        self._learn(text[:10], moment)
        return self.local(moment, value)

    def _learn(self, day: str, moment: datetime) -> None:
        """Remember the day's offset if the clock does not change around it."""
        noon = moment.replace(hour=12, minute=0, second=0, microsecond=0, tzinfo=self.zone)
        offsets = {(noon + timedelta(days=days)).isoformat()[19:] for days in (-1, 0, 1)}
        if len(self._days) >= DAYS_KEPT:
            self._days.clear()
        if len(offsets) == 1:
            self._days[day] = offsets.pop()

    def local(self, moment: datetime, value: Any) -> datetime:
        """A naive local time made aware; a time that the clock skipped is refused."""
        aware = moment.replace(tzinfo=self.zone)
        offset = aware.utcoffset()
        if offset is None or aware.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != moment:
            raise Wrong("never was on the clock there (daylight saving skipped it)", value)
        return moment.replace(tzinfo=timezone(offset))

    def parse(self, value: Any, form: str) -> datetime:
        """A time in a given format."""
        text = text_of(value)
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            raise Wrong(f"is no time written as {form}", value) from None
        if not 2 <= moment.year <= 9998:
            raise Wrong("is out of range", value)
        return moment if moment.tzinfo is not None else self.local(moment, value)

    def here(self, value: Any) -> datetime:
        """An aware time on this zone's clock."""
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise Wrong("is no aware time", value)
        return value.astimezone(self.zone)


def epoch_reader(per_second: int) -> Callable[[Any], datetime]:
    """An epoch count → aware time."""

    def read(value: Any) -> datetime:
        count = int_of(value)
        if not 0 <= count <= EPOCH_MAX_S * per_second:
            raise Wrong("is out of range", value)
        return EPOCH + timedelta(microseconds=count * (1_000_000 // per_second))

    return read


def epoch_writer(per_second: int) -> Callable[[Any], int]:
    """An aware time → an epoch count."""

    def write(value: Any) -> int:
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise Wrong("is no aware time", value)
        return (value - EPOCH) * per_second // timedelta(seconds=1)

    return write
