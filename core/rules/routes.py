"""The one visible table of who hears of what (`routes.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import RootModel

from core.model.base import Model
from core.model.marked import read_model


class Route(Model):
    """One intent an event leads to."""

    to: Literal["shop", "wms", "courier", "erp"]
    ability: str
    key: Literal["order", "fulfilment", "asn", "transfer"]


class Routes(RootModel[dict[str, tuple[Route, ...]]]):
    """Event type → routes."""


@cache
def routes() -> dict[str, tuple[Route, ...]]:
    """The table; raises Misconfigured with file and line of a mistake."""
    return read_model(Path(__file__).with_name("routes.yaml"), Routes).root
