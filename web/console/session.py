"""Who is logged in: a signed cookie, a throttle on guesses, and a token in every form that the cookie vouches for."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from config.settings import Web
from core.errors import NotAuthorised, Person
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Store, one
from hub.onboard.keys import user_scope

SESSION, GUEST = "yipan_session", "yipan_guest"
TRIES, WINDOW_S, REMEMBERED = 5, 300.0, 10_000


class LoginNeeded(NotAuthorised):
    """Nobody is logged in. Log in first."""


class StaleForm(Person):
    """The form was not given out to this session. Load the page again."""


class Throttle:
    """At most so many failed tries per key within the window."""

    def __init__(
        self, tries: int = TRIES, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tries, self._window_s, self._clock = tries, window_s, clock
        self._failed: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def closed(self, key: str) -> bool:
        """Whether this key has to wait."""
        with self._lock:
            return len(self._recent(key)) >= self._tries

    def failed(self, key: str) -> None:
        """One more try went wrong."""
        with self._lock:
            if len(self._failed) >= REMEMBERED:
                self._failed = {k: recent for k in self._failed if (recent := self._recent(k))}
            self._failed[key] = [*self._recent(key), self._clock()]

    def forget(self, key: str) -> None:
        """The right word was said."""
        with self._lock:
            self._failed.pop(key, None)

    def _recent(self, key: str) -> list[float]:
        since = self._clock() - self._window_s
        return [at for at in self._failed.get(key, ()) if at > since]


class Sessions:
    """Gives out and reads the cookies of one hub; they are signed under a key derived from the vault's."""

    def __init__(self, store: Store, settings: Web) -> None:
        self._store, self._settings = store, settings
        key = store.vault.derive("console sessions")
        self._signer = URLSafeTimedSerializer(key, salt="session")
        self._csrf_key = store.vault.derive("console forms")

    def begin(self, response: Response, user_id: int) -> None:
        """Log this user in."""
        value = self._signer.dumps({"user": str(user_id), "mark": self._mark(user_id), "n": secrets.token_urlsafe(9)})
        self._set(response, SESSION, str(value), self._settings.session_hours * 3600)
        response.delete_cookie(GUEST)

    def end(self, response: Response) -> None:
        """Log out."""
        response.delete_cookie(SESSION)

    def scope(self, request: Request) -> Scope:
        """What the one logged in may see. Raises LoginNeeded."""
        try:
            said = self._signer.loads(request.cookies.get(SESSION, ""), max_age=self._settings.session_hours * 3600)
        except BadSignature:
            raise LoginNeeded("log in first") from None
        with self._store.read() as tx:
            scope = user_scope(tx, int(said["user"]))
        if scope is None or not hmac.compare_digest(said["mark"], self._mark(int(said["user"]))):
            raise LoginNeeded("log in again")
        return scope

    def form_token(self, cookie: str) -> str:
        """What every form given out to the holder of this cookie carries."""
        return hmac.new(self._csrf_key, cookie.encode(), sha256).hexdigest()

    def check_form(self, request: Request, token: str, cookie_name: str = SESSION) -> None:
        """Raises StaleForm when the form was not given out to this browser."""
        cookie = request.cookies.get(cookie_name)
        if not cookie or not hmac.compare_digest(token.encode(), self.form_token(cookie).encode()):
            raise StaleForm("this form is too old: load the page again")

    def guest(self, request: Request) -> str:
        """The cookie of somebody who is not logged in yet, made up when it is not there."""
        return request.cookies.get(GUEST) or secrets.token_urlsafe(16)

    def welcome(self, response: Response, guest: str) -> None:
        """Give the guest their cookie, which the login form is bound to."""
        self._set(response, GUEST, guest, 3600)

    def _mark(self, user_id: int) -> str:
        """Changes with the password, so that a new one ends old sessions."""
        with self._store.read() as tx:
            row = one(tx, t.users, id=user_id)
        return sha256(row["password_hash"].encode()).hexdigest()[:16] if row else ""

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, seconds, httponly=True, samesite="lax", secure=self._settings.secure_cookies)
