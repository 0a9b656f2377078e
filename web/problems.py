"""Every error of the API as an RFC 9457 problem: what went wrong, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from core.errors import Broken, Person, Unfit, YipanError
from core.model.marked import read_yaml

KINDS: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("problems.yaml"))[0]
MEDIA_TYPE = "application/problem+json"
Page = Callable[[Request, int, str, str, str, Exception], Response]
"""(request, status, title, detail, fix, error) → what people see."""
log = structlog.get_logger()


class Forbidden(Person):
    """The role of the asker may not do this. Use another key."""


class TooLarge(Person):
    """The request is larger than is taken. Send less."""


class Problem(BaseModel):
    """RFC 9457, with `fix`: what to do next."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    fix: str = ""


def named(error: YipanError) -> Problem:
    """The problem one of our errors is, by the first of its classes the table knows."""
    name = next((c.__name__ for c in type(error).__mro__ if c.__name__ in KINDS), "Broken")
    kind = KINDS[name]
    if name == "Broken":
        log.error("broken", error=error.message)
    detail = error.message if name != "Broken" else "something went wrong on our side"
    return Problem(type=f"urn:yipan:{name}", title=kind["title"], status=kind["status"], detail=detail, fix=kind["fix"])


def add_problems(app: FastAPI, page: Page) -> None:
    """Answer every error of this app: as a problem below /api, else by `page`, for people."""

    def answer(request: Request, found: Problem, error: Exception) -> Response:
        if not request.url.path.startswith("/api/"):
            return page(request, found.status, found.title, found.detail, found.fix, error)
        headers = dict(getattr(error, "headers", None) or {})
        return JSONResponse(found.model_dump(), found.status, headers, media_type=MEDIA_TYPE)

    def on(kind: type[Exception], name_it: Callable[[Any], Problem]) -> None:
        async def handle(request: Request, error: Exception) -> Response:
            return answer(request, name_it(error), error)

        app.add_exception_handler(kind, handle)

    on(YipanError, named)
    on(RequestValidationError, _unfit)
    on(HTTPException, _theirs)
    on(Exception, _unknown)


def _unfit(error: RequestValidationError) -> Problem:
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return named(Unfit("; ".join(faults)))


def _theirs(error: HTTPException) -> Problem:
    return Problem(title=HTTPStatus(error.status_code).phrase, status=error.status_code, detail=str(error.detail))


def _unknown(error: Exception) -> Problem:
    log.error("broken", error=type(error).__name__, exc_info=error)
    return named(Broken(type(error).__name__))
