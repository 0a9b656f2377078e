"""What the funnel answers, in its asker's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from core.errors import OutOfStock, YipanError

A = TypeVar("A")


def given(answer: A | YipanError) -> A:
    """What was asked for. Raises what was answered instead."""
    if isinstance(answer, YipanError):
        raise answer
    return answer


def named(ref: str, answer: A | YipanError, skus: Mapping[int, str]) -> A:
    """What was asked for. Raises what was answered instead; what is out of stock in the asker's own words."""
    if isinstance(answer, OutOfStock) and answer.missing:
        raise type(answer)(f"{ref}: {answer.words(answer.missing, skus)}", answer.missing)
    return given(answer)
