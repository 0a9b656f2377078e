"""TOP, the gateway of Taobao and Tmall: signed forms out, doubly nested JSON back, changes read window by window."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from connectors.spi import Ability, Connection, Manifest, Outcome, Outgoing
from connectors.wire.http import Http, lost, read_json
from connectors.wire.signing import top_sign
from core.errors import Refused, Unavailable, YipanError

BEIJING = timezone(timedelta(hours=8))
CLOCK = "%Y-%m-%d %H:%M:%S"
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
Window = Mapping[str, Any]
"""A span of time and a page of it: {"since", "until", "page"}, times as TOP writes them."""


class Top:
    """One account's calls. An answer that cannot be read is lost: a read is repeated, a write is in doubt.

    It needs the settings app_key and sign_method, and the secrets app_secret and session.
    """

    def __init__(self, connection: Connection, manifest: Manifest, http: Http, now: Callable[[], datetime]) -> None:
        self._settings, self._secrets = connection.settings, connection.secrets
        self._manifest, self._http, self._now = manifest, http, now

    @property
    def now(self) -> datetime:
        """The time in Beijing."""
        return self._now().astimezone(BEIJING)

    def call(self, ability: str, method: str, *, reads: bool, **business: str) -> dict[str, Any]:
        """What a method answers, out of its wrapper; raises what the manifest decides where it answers an error."""
        form = self._signed(method, business)
        answer = read_json(self._http.call(ability, "POST", reads=reads, data=form, headers=FORM), reads=reads)
        if isinstance(answer, dict) and "error_response" in answer:
            raise self._error(inside(answer, "error_response", reads=reads), reads)
        return inside(answer, method.removeprefix("taobao.").replace(".", "_") + "_response", reads=reads)

    def consign(self, row: Outgoing, **business: str) -> Outcome:
        """Ships by the seller's own courier (sales-platforms §1.4); what has been sent already is refused there."""
        answer = self.call("send_shipment", "taobao.logistics.offline.send", reads=False, **business)
        if str(inside(answer, "shipping", reads=False).get("is_success")).lower() != "true":
            return Outcome.failed(Refused(f"trade {row.ref} was not consigned: the answer says is_success false"))
        return Outcome.done(row.body["out_sid"])

    def _signed(self, method: str, business: Mapping[str, str]) -> dict[str, str]:
        """System and business parameters with their signature; empty ones are neither signed nor sent."""
        form = {
            "method": method,
            "app_key": str(self._settings["app_key"]),
            "session": self._secrets["session"],
            "timestamp": text(self.now),
            "v": "2.0",
            "format": "json",
            "sign_method": str(self._settings.get("sign_method", "hmac-sha256")),
            **{name: value for name, value in business.items() if value},
        }
        return {**form, "sign": top_sign(self._secrets["app_secret"], form)}

    def _error(self, error: Mapping[str, Any], reads: bool) -> YipanError:
        code = f"{error.get('code', '')}/{error.get('sub_code') or ''}"
        decided = self._manifest.decide(code, str(error.get("sub_msg") or error.get("msg") or ""))
        return lost(decided.message, reads=reads) if isinstance(decided, Unavailable) else decided


class Windows:
    """What has changed, read in windows that end behind now: each counted first, then from its last page to its first.

    What drops out of a window while it is read then shifts nothing past us. `claim` says how long the windows are and
    how they overlap; of the settings, first_days is how far back the first reading begins and page_size the rows per
    page. count(window) asks how many rows there are, read(window) for those of its page.
    """

    def __init__(
        self,
        top: Top,
        claim: Ability,
        settings: Mapping[str, Any],
        count: Callable[[Window], int],
        read: Callable[[Window], list[Any]],
    ) -> None:
        self._top, self._claim, self._count, self._read = top, claim, count, read
        self._first = timedelta(days=int(settings.get("first_days", 1)))
        self.page_size = int(settings.get("page_size", 50))

    def read_on(self, cursor: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
        """The rows of the next page, the cursor after it, and whether there is more at once."""
        window = dict(cursor) if "page" in cursor else self._open(cursor)
        page = window["page"]
        rows = self._read(window) if page else []
        if page > 1:
            return rows, {**window, "page": page - 1}, True
        return rows, {"since": window["until"]}, window["until"] < text(self._horizon())

    def _horizon(self) -> datetime:
        return self._top.now - timedelta(seconds=self._claim.behind_s)

    def _open(self, cursor: Mapping[str, Any]) -> dict[str, Any]:
        """The next window and the number of its last page, for which the count has to be asked first."""
        horizon, length = self._horizon(), timedelta(seconds=self._claim.window_s)
        overlap = timedelta(seconds=self._claim.overlap_s)
        since = cursor.get("since") or text(horizon - max(length - overlap, self._first))
        start = moment(since) - overlap
        window = {"since": text(start), "until": max(since, text(min(start + length, horizon)))}
        return {**window, "page": -(-self._count(window) // self.page_size)}


def total(answer: Mapping[str, Any]) -> int:
    """How many rows the answer says there are; one that does not say is lost."""
    found = answer.get("total_results")
    if not isinstance(found, int):
        raise lost("the answer has no total_results", reads=True)
    return found


def inside(answer: Any, name: str, *, reads: bool) -> dict[str, Any]:
    """The object of that name; an answer without it is one that cannot be read."""
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise lost(f"the answer has no {name}", reads=reads)
    return found


def many(outer: Any, name: str) -> list[Any]:
    """The rows of a doubly nested list; a single row may come as itself (sales-platforms §1.1)."""
    rows = outer.get(name, []) if isinstance(outer, dict) else []
    return rows if isinstance(rows, list) else [rows]


def compact(value: Any) -> str:
    """JSON without spaces, Chinese as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def text(moment: datetime) -> str:
    """A time as TOP writes it: GMT+8, to the second."""
    return moment.astimezone(BEIJING).strftime(CLOCK)


def moment(text: str) -> datetime:
    """A time as TOP writes it, read."""
    return datetime.strptime(text, CLOCK).replace(tzinfo=BEIJING)
