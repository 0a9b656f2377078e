"""Every error of the API as an RFC 9457 problem: what went wrong, and what to do next."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from core.errors import Broken, Person, YipanError
from core.model.marked import read_yaml

KINDS: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("problems.yaml"))[0]
MEDIA_TYPE = "application/problem+json"
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


def problem(status: int, title: str, detail: str, fix: str = "", type_: str = "about:blank") -> JSONResponse:
    """The answer for one problem."""
    body = Problem(type=type_, title=title, status=status, detail=detail, fix=fix)
    return JSONResponse(body.model_dump(), status, media_type=MEDIA_TYPE)


def for_error(error: YipanError) -> JSONResponse:
    """The answer for one of our errors, by the first of its classes the table knows."""
    name = next((c.__name__ for c in type(error).__mro__ if c.__name__ in KINDS), "Broken")
    kind = KINDS[name]
    if name == "Broken":
        log.error("broken", error=error.message)
        return problem(500, kind["title"], "something went wrong on our side", kind["fix"], f"urn:yipan:{name}")
    return problem(kind["status"], kind["title"], error.message, kind["fix"], f"urn:yipan:{name}")


def add_problems(app: FastAPI) -> None:
    """Let every error of this app be answered as a problem."""
    app.add_exception_handler(YipanError, _ours)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(HTTPException, _theirs)
    app.add_exception_handler(Exception, _unknown)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, YipanError)
    return for_error(error)


async def _unfit(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return problem(422, KINDS["Unfit"]["title"], "; ".join(faults), KINDS["Unfit"]["fix"], "urn:yipan:Unfit")


async def _theirs(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    log.error("broken", path=request.url.path, error=type(error).__name__, exc_info=error)
    return for_error(Broken("unknown"))
