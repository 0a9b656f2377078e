"""All pages of the console."""

from __future__ import annotations

from fastapi import APIRouter

from web.console import buffers, contracts, locks, moves, oversold, pages, policies, publishing, statements, titles


def routers() -> list[APIRouter]:
    """The doors of its pages, in the order they are looked through."""
    stock = (moves, locks, policies, buffers, publishing, oversold, contracts, titles)
    return [m.router for m in (pages, *stock, statements)]
