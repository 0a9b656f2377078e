"""The pages of the daily audit: statements of days, and what one of them found."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from web.console.pages import Ask
from web.console.show import show
from web.reads import statements as reads

router = APIRouter(include_in_schema=False)


@router.get("/audit")
def audit_page(request: Request, ask: Ask, before: str = "") -> Response:
    return show(request, "audit.html", ask.scope, here="audit", page=ask.read(reads.statements, before))


@router.get("/audit/{day}")
def statement_page(request: Request, ask: Ask, day: str) -> Response:
    return show(request, "audit_day.html", ask.scope, here="audit", one=ask.read(reads.statement, day))
