"""Turns a template and what it shows into a page, with the headers every page carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from core.errors import YipanError
from core.store.scope import Scope
from web.asking import ROLES, hall
from web.console.session import SESSION, LoginNeeded, Sessions, StaleForm
from web.console.words import COOKIE, fares, language_of, last_read, moment, money, units, words

HERE = Path(__file__).parent
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
pages = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
pages.filters |= {"moment": moment, "money": money, "units": units, "fares": fares, "last_read": last_read}


class Word(dict[str, Any]):
    """Words by name; the states among them may miss one, which is then shown as it is."""

    def __missing__(self, name: str) -> str:
        return ""


def sessions(request: Request) -> Sessions:
    """The sessions of this hub."""
    found: Sessions = request.app.state.sessions
    return found


def show(request: Request, template: str, scope: Scope | None = None, status: int = 200, **more: Any) -> Response:
    """The page, in the reader's language; a chosen language is remembered."""
    default = hall(request).language
    language = language_of(request, default)
    said = dict(words(language))
    said["states"] = Word(said["states"])
    cookie = request.cookies.get(SESSION) if scope else sessions(request).guest(request)
    field = f'<input type="hidden" name="csrf" value="{sessions(request).form_token(cookie or "")}">'
    role = ROLES.get(scope.role, {}) if scope else {}
    may = role.get("changes") not in (None, [])
    common = {
        "w": said,
        "lang": language,
        "who": scope,
        "csrf": Markup(field),
        "may": may,
        "reads": role.get("reads", []),
        "here": more.pop("here", ""),
    }
    response = HTMLResponse(pages.get_template(template).render(**common, **more), status, HEADERS)
    if scope is None and cookie:
        sessions(request).welcome(response, cookie)
    if request.query_params.get("lang") == language:
        response.set_cookie(COOKIE, language, 365 * 86400, samesite="lax", httponly=True)
    return response


def go(path: str) -> RedirectResponse:
    """To another page of ours, after something was done."""
    return RedirectResponse(local(path), 303)


def local(path: str) -> str:
    """The path when it stays in this house, else the first page."""
    parts = urlsplit(path)
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if safe and "\n" not in path and "\r" not in path else "/"


def show_problem(request: Request, status: int, title: str, detail: str, fix: str, error: Exception) -> Response:
    """What went wrong, as a page; who is not logged in is asked to."""
    if isinstance(error, LoginNeeded):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quoted(target)}" if request.method == "GET" else "/login", 303)
    said = words(language_of(request, hall(request).language))
    if isinstance(error, StaleForm):
        status, detail, fix = 403, said["problem_csrf"], ""
    elif status in (403, 404):
        detail = said[f"problem_{status}"]
    return show(request, "problem.html", _scope(request), status, title=title, detail=detail, fix=fix)


def quoted(path: str) -> str:
    """A path inside a query."""
    return quote(path, safe="")


def _scope(request: Request) -> Scope | None:
    try:
        return sessions(request).scope(request)
    except YipanError:
        return None
