"""What the doors of the API share: pages, limits, and the problems each may answer with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

from web.problems import MEDIA_TYPE, Problem
from web.reads.shape import LARGEST_PAGE, PAGE

Search = Annotated[str, Query(max_length=200)]
Required = Annotated[str, Query(min_length=1, max_length=200)]
Moment = Annotated[str, Query(max_length=40, description="ISO 8601 with its time zone: 2026-01-05T08:00:00Z")]
Key = Annotated[str, Query(max_length=20, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
FIRST = PAGE


class Page(BaseModel):
    """Rows in order; `next` is what to ask for after them, null at the end; as_of is the moment they show."""

    rows: list[dict[str, Any]]
    next: str | None
    as_of: str


def _problem(title: str) -> dict[str, Any]:
    return {"description": title, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("Not authorised"),
    403: _problem("Not allowed for this role"),
    404: _problem("Not found"),
    409: _problem("Conflict"),
    422: _problem("The request does not fit"),
}
