"""The REST API under /api/v1: forms in, rows out, problems for whatever does not fit."""

from __future__ import annotations

from fastapi import APIRouter

from web.api import (
    access,
    assemblies,
    buffers,
    connections,
    contracts,
    counts,
    goods,
    holds,
    locks,
    orders,
    oversold,
    parked,
    parties,
    policies,
    publishing,
    reconcile,
    reservations,
    serials,
    statements,
    titles,
    transfers,
)


def routers() -> list[APIRouter]:
    """All doors of the API."""
    stock = (
        goods,
        assemblies,
        holds,
        locks,
        serials,
        reservations,
        transfers,
        titles,
        contracts,
        counts,
        oversold,
        policies,
        buffers,
        publishing,
        reconcile,
        statements,
    )
    return [m.router for m in (parties, connections, *stock, orders, parked, access)]
