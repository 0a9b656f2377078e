"""The page of how well shops are kept up, with a chart per shop."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from web.asking import hall
from web.console.chart import line_chart
from web.console.pages import Ask
from web.console.show import show
from web.console.words import language_of, words
from web.reads import publishing as reads

router = APIRouter(include_in_schema=False)


@router.get("/publishing")
def publishing_page(request: Request, ask: Ask) -> Response:
    found = ask.read(reads.publishing)
    title = words(language_of(request, hall(request).language))["lag_p95"]
    charts = {
        row["connection"]: line_chart([(h["hour"][11:13], h["p95_ms"]) for h in row["hours"][-12:]], title)
        for row in found["rows"]
        if row["calls"]
    }
    return show(request, "publishing.html", ask.scope, here="publishing", page=found, charts=charts)
