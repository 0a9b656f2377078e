"""The REST API under /api/v1: forms in, rows out, problems for whatever does not fit."""

from __future__ import annotations

from fastapi import APIRouter

from web.api import access, connections, goods, holds, orders, parked, parties, reservations


def routers() -> list[APIRouter]:
    """All doors of the API."""
    return [m.router for m in (parties, connections, goods, holds, reservations, orders, parked, access)]
