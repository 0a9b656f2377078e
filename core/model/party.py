"""A person or company that sends or receives goods."""

from __future__ import annotations

from typing import Literal

from core.model.base import Model


class Party(Model):
    """Who and where. Private: kept sealed in one table, never in events, journals or logs.

    kind: `plain`, `masked` (the shop hides parts) or `token` (an opaque id such as Taobao's OAID that only the issuing
    shop's channels can open; `token` holds it). Region names stand apart so that sourcing needs no private part.
    """

    kind: Literal["plain", "masked", "token"] = "plain"
    token: str | None = None
    name: str = ""
    company: str = ""
    phone: str = ""
    country: str = "CN"
    province: str = ""
    city: str = ""
    district: str = ""
    address: str = ""
    postcode: str = ""
