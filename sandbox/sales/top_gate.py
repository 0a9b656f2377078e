"""The door of TOP, lent to its twins: who may call, how answers and refusals are worded, how parameters are read.

Built from sales-platforms §1.1 and §1.2 alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from connectors.wire.signing import same, top_sign
from sandbox.twin import Answer, Call

BEIJING = timezone(timedelta(hours=8))
CLOCK = "%Y-%m-%d %H:%M:%S"
SKEW_S = 600
SETTINGS: dict[str, Any] = {"app_key": "12345678", "sign_method": "hmac-sha256"}
SECRETS = {"app_secret": "helloworld", "session": "test"}
Form = dict[str, str]


class Wrong(Exception):
    """The call is refused in TOP's words: code, message, sub code, sub message."""

    def __init__(self, code: int, msg: str, sub_code: str = "", sub_msg: str = ""):
        super().__init__(msg)
        self.words = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg or sub_code}


def missing(name: str) -> Wrong:
    return Wrong(40, "Missing required arguments", f"isv.missing-parameter:{name}", f"缺少必要参数 {name}")


def invalid(name: str, why: str) -> Wrong:
    return Wrong(41, "Invalid arguments", f"isv.invalid-parameter:{name}", why)


class Gate:
    """One account's door. methods: those of TOP it lets through; clock: the twin's own."""

    def __init__(self, methods: Mapping[str, str], clock: Callable[[], datetime]) -> None:
        self._methods, self._clock = methods, clock
        self.app_key, self.app_secret, self.session = SETTINGS["app_key"], SECRETS["app_secret"], SECRETS["session"]

    @property
    def now(self) -> datetime:
        """The time in Beijing, to the second."""
        return self._clock().astimezone(BEIJING).replace(microsecond=0)

    def setup(self, body: dict[str, Any]) -> None:
        """Let in another app or account from now on."""
        self.app_key, self.app_secret = body.get("app_key", self.app_key), body.get("app_secret", self.app_secret)
        self.session = body.get("session", self.session)

    def answer(self, call: Call, do: Callable[[Form], dict[str, Any]]) -> Answer:
        """Authenticate, do it, and wrap the result as the method's name says (§1.1)."""
        form = call.form
        try:
            self._authenticate(form)
            result = do(form)
        except Wrong as wrong:
            return _refusal(wrong)
        name = form["method"].removeprefix("taobao.").replace(".", "_") + "_response"
        return Answer(json.dumps({name: {**result, "request_id": "0ba2887315178178017221014"}}, ensure_ascii=False))

    def throttled(self) -> Answer:
        """Flow control answers 200, like every error of TOP."""
        words = "This ban will last for 1 more seconds"
        return _refusal(Wrong(7, "App Call Limited", "accesscontrol.limited-by-app-api-access-count", words))

    def _authenticate(self, form: Form) -> None:
        checks: list[tuple[bool, int, str]] = [
            ("method" in form, 21, "Missing Method"),
            (form.get("method") in self._methods, 22, "Invalid Method"),
            (form.get("format") == "json", 23, "Invalid Format"),
            ("app_key" in form, 28, "Missing App Key"),
            (form.get("app_key") == self.app_key, 29, "Invalid App Key"),
            ("timestamp" in form, 30, "Missing Timestamp"),
            (self._on_time(form.get("timestamp", "")), 31, "Invalid Timestamp"),
            (form.get("v") == "2.0", 33, "Invalid Version"),
            ("sign" in form, 24, "Missing Signature"),
            (same(form.get("sign", ""), top_sign(self.app_secret, form)), 25, "Invalid Signature"),
            ("session" in form, 26, "Missing Session"),
        ]
        for fine, code, msg in checks:
            if not fine:
                raise Wrong(code, msg)
        if form["session"] != self.session:
            raise Wrong(27, "Invalid Session", "session-expired", "授权已过期，请重新授权")

    def _on_time(self, text: str) -> bool:
        moment = _moment(text)
        return moment is not None and abs((moment - self.now).total_seconds()) <= SKEW_S


def _refusal(wrong: Wrong) -> Answer:
    return Answer(json.dumps({"error_response": {**wrong.words, "request_id": "0ba2887315178178017221015"}}))


def said(moment: datetime) -> str:
    """A time of Beijing as TOP writes it."""
    return moment.strftime(CLOCK)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, CLOCK).replace(tzinfo=BEIJING)
    except ValueError:
        return None


def needed(form: Form, name: str) -> str:
    """A parameter that must be there."""
    if not form.get(name):
        raise missing(name)
    return form[name]


def time(form: Form, name: str) -> datetime:
    """A parameter that must be a time."""
    moment = _moment(needed(form, name))
    if moment is None:
        raise invalid(name, "日期格式应为 yyyy-MM-dd HH:mm:ss")
    return moment


def number(form: Form, name: str, least: int, most: int, default: int | None = None) -> int:
    """A parameter that must be a whole number within these bounds; without a default it must be there."""
    text = form.get(name) or (str(default) if default is not None else needed(form, name))
    if not (whole(text) and least <= int(text) <= most):
        raise invalid(name, "数值不正确")
    return int(text)


def whole(value: Any) -> bool:
    """Whether this reads as a whole number."""
    return str(value).removeprefix("-").isdecimal()
