"""The console: who may come in, what each page shows, and forms that only their own session can send."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select
from starlette.testclient import TestClient

import web
from core.rules.levels import BLIND
from core.store import tables as t
from core.store.scope import HUB
from core.store.store import one
from hub.onboard.keys import NewUser, add_user
from web.console.session import Throttle

ROOM = Path(web.__path__[0])
PASSWORD = "correct horse 9"


def csrf(page: str) -> str:
    """The token in the page's first form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def log_in(door: TestClient, name: str, password: str = PASSWORD) -> Any:
    """Fill in the login form as a browser does."""
    token = csrf(door.get("/login").text)
    return door.post("/login", data={"name": name, "password": password, "csrf": token}, follow_redirects=False)


@pytest.fixture
def people(web_pool: Any) -> Iterator[TestClient]:
    """An operator and one user of each merchant; nobody is logged in yet."""
    for name, role, merchant in (("op", "operator", None), ("ann", "merchant", "alpha"), ("bob", "merchant", "beta")):
        new = NewUser(name=name, password=PASSWORD, role=role, merchant=merchant)  # type: ignore[arg-type]
        web_pool.store.write(lambda tx, n=new: add_user(tx, HUB, n))
    web_pool.door.cookies.clear()
    yield web_pool.door


@pytest.fixture
def op(people: TestClient) -> TestClient:
    """The operator, logged in."""
    assert log_in(people, "op").status_code == 303
    return people


class Tags(HTMLParser):
    """Collects what a page may not have."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style") or any(name.startswith("on") or name == "style" for name, _ in attrs):
            self.wrong.append(tag)


PAGES = (
    "/",
    "/orders",
    "/stock",
    "/transfers",
    "/locks",
    "/title-transfers",
    "/contracts",
    "/oversold",
    "/policies",
    "/buffer-advice",
    "/publishing",
    "/reconcile",
    "/audit",
    "/parked",
    "/connections",
)


def test_nobody_sees_a_page_without_logging_in(people: TestClient) -> None:
    for path in PAGES:
        answer = people.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_opens_in_both_languages_without_script(op: TestClient, language: str) -> None:
    for path in PAGES:
        answer = op.get(f"{path}?lang={language}")
        tags = Tags()
        tags.feed(answer.text)
        assert (path, answer.status_code, tags.wrong) == (path, 200, [])
        assert f'<html lang="{language}">' in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]


def test_a_first_load_weighs_less_than_50_kb(op: TestClient) -> None:
    paths = ("/", "/static/console.css", "/static/icon.svg")
    assert sum(len(op.get(path).content) for path in paths) < 50_000


def test_the_language_once_chosen_stays(op: TestClient) -> None:
    op.get("/?lang=zh")
    assert "最近订单" in op.get("/").text


def test_both_languages_know_the_same_words() -> None:
    en, zh = (yaml.safe_load((ROOM / "words" / f"{name}.yaml").read_text()) for name in ("en", "zh"))
    assert set(en) == set(zh)
    assert set(en["states"]) == set(zh["states"])


def test_page_of_publishing_says_which_listings_wait_for_a_person_and_why(op: TestClient, web_pool: Any) -> None:
    def hold(tx: Any) -> None:
        first, second = tx.rows(select(t.listings).order_by(t.listings.c.id).limit(2))
        for row, refused in ((first, "gone from <there>"), (second, None)):
            mine = {"listing_id": row["id"], "connection_id": row["connection_id"], "held_at": tx.now}
            tx.add(t.held_levels, [{**mine, "refused": refused}])

    web_pool.store.write(hold)
    page = op.get("/publishing?lang=en").text
    assert "gone from &lt;there&gt;" in page
    assert "too many listings would have been emptied or changed at once" in page


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_word_is_said_twice(language: str) -> None:
    """The later of two would stand for both."""
    lines = (ROOM / "words" / f"{language}.yaml").read_text().splitlines()
    keys = [found[0] for line in lines if (found := re.match(r"[\w.-]+(?=:)", line))]
    assert [key for key, n in Counter(keys).items() if n > 1] == []


def test_every_word_a_template_uses_is_there() -> None:
    en = yaml.safe_load((ROOM / "words" / "en.yaml").read_text())
    templates = "".join(file.read_text() for file in (ROOM / "console" / "templates").glob("*.html"))
    used = set(re.findall(r"\bw\.(\w+)", templates))
    assert used - set(en) == set()


def test_a_wrong_password_says_no_more_than_a_wrong_name(people: TestClient) -> None:
    answers = [log_in(people, name, "wrong") for name in ("op", "nobody")]
    assert [a.status_code for a in answers] == [401, 401]
    assert "Name or password is wrong." in answers[0].text and "Name or password is wrong." in answers[1].text


def test_guesses_are_throttled_even_if_the_last_one_is_right(people: TestClient) -> None:
    statuses = [log_in(people, "op", "wrong").status_code for _ in range(5)] + [log_in(people, "op").status_code]
    assert statuses == [401] * 5 + [429]


def test_the_throttle_opens_again_after_its_window() -> None:
    now = [0.0]
    throttle = Throttle(tries=2, window_s=60, clock=lambda: now[0])
    throttle.failed("x")
    throttle.failed("x")
    assert throttle.closed("x") and not throttle.closed("y")
    now[0] = 61
    assert not throttle.closed("x")


def test_the_session_cookie_cannot_be_read_by_script_nor_sent_by_others(people: TestClient) -> None:
    header = next(h for h in log_in(people, "op").headers.get_list("set-cookie") if h.startswith("yipan_session"))
    assert "httponly" in header.lower() and "samesite=lax" in header.lower()


def test_a_forged_session_opens_nothing(people: TestClient) -> None:
    people.cookies.set("yipan_session", "eyJ1c2VyIjoiMSJ9.aaaa.bbbb")
    assert people.get("/", follow_redirects=False).status_code == 303


def test_who_holds_a_dead_session_can_log_in_again(people: TestClient) -> None:
    people.cookies.set("yipan_session", "eyJ1c2VyIjoiMSJ9.aaaa.bbbb")
    assert log_in(people, "op").status_code == 303


def test_a_new_password_ends_old_sessions(op: TestClient, web_pool: Any) -> None:
    with web_pool.store.read() as tx:
        user = one(tx, t.users, name="op")
    assert user
    web_pool.store.write(lambda tx: tx.set(t.users, user["id"], password_hash="another"))
    assert op.get("/", follow_redirects=False).status_code == 303


def test_no_form_is_taken_without_its_token(op: TestClient) -> None:
    for path in ("/logout", "/connections/sf1/pause", "/connections/sf1/rotate", "/parked/task/1/done"):
        for token in ("", "0" * 64, "é"):
            assert op.post(path, data={"csrf": token}, follow_redirects=False).status_code == 403
    assert op.get("/connections").text.count("paused") == 0


def test_login_itself_needs_the_forms_token(people: TestClient) -> None:
    answer = people.post("/login", data={"name": "op", "password": PASSWORD}, follow_redirects=False)
    assert answer.status_code == 403


def test_login_never_leads_to_another_house(people: TestClient) -> None:
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        token = csrf(people.get("/login").text)
        data = {"name": "op", "password": PASSWORD, "csrf": token, "next": target}
        assert people.post("/login", data=data, follow_redirects=False).headers["location"] == "/"


def test_after_login_one_is_where_one_wanted_to_be(people: TestClient) -> None:
    answer = people.get("/orders?search=7")
    token = csrf(answer.text)
    wanted = re.search(r'name="next" value="([^"]+)"', answer.text)
    assert wanted
    data = {"name": "op", "password": PASSWORD, "csrf": token, "next": wanted[1]}
    assert people.post("/login", data=data, follow_redirects=False).headers["location"] == "/orders?search=7"


def test_logging_out_ends_the_session(op: TestClient) -> None:
    op.post("/logout", data={"csrf": csrf(op.get("/").text)})
    assert op.get("/", follow_redirects=False).status_code == 303


def test_an_order_is_found_by_any_number_and_told_as_a_timeline(op: TestClient, web_pool: Any) -> None:
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    order = web_pool.sell("alpha", "TB2026-0007", 2)
    fulfilment = web_pool.did("GET", f"/orders/{order}")["fulfilments"][0]
    for search in ("TB2026-0007", "TB2026", "SKU-alpha-1", fulfilment["ref"]):
        assert "TB2026-0007" in op.get("/orders", params={"search": search}).text
    assert "TB2026-0007" not in op.get("/orders", params={"search": "TB9"}).text
    later = {"type": "parcel.delivered", "subject": f"order:{order}", "payload": {"waybill": "SF7"}}
    web_pool.store.write(lambda tx: tx.add(t.events, [{"id": tx.ids.new(), "time": tx.now, **later}]))
    page = op.get(f"/orders/{order}").text
    said = (
        "order.taken",
        "fulfilment.released",
        "parcel.delivered",
        "SF7",
        "SKU-alpha-1",
        "HZ",
        "send_booking",
        "¥ 19.90",
    )
    for piece in said:
        assert piece in page


def test_stock_shows_what_is_free_and_what_is_promised(op: TestClient, web_pool: Any) -> None:
    web_pool.stock_up("alpha", "SKU-alpha-1", 1200)
    web_pool.sell("alpha", "TB1", 100)
    page = op.get("/stock?search=SKU-alpha").text
    assert 'data-label="Available" class="n"><strong>1,100</strong>' in page
    assert 'data-label="Reserved" class="n">100<' in page


def test_a_merchant_sees_only_its_own_on_every_page(people: TestClient, web_pool: Any) -> None:
    web_pool.stock_up("alpha", "SKU-alpha-1", 5)
    order = web_pool.sell("alpha", "ORDER-alpha-1")
    web_pool.sell("alpha", "ORDER-alpha-short", 50)
    log_in(people, "bob")
    for path in PAGES:
        assert "alpha" not in people.get(path).text, path
    assert people.get(f"/orders/{order}").status_code == 404
    token = csrf(people.get("/").text)
    assert people.post("/connections/tmall-alpha/pause", data={"csrf": token}).status_code == 404


def test_what_others_wrote_is_shown_as_text(op: TestClient, web_pool: Any) -> None:
    items = [{"sku": "<b>x", "name": "<script>alert(1)</script>"}]
    web_pool.did("POST", "/items", {"owner": "alpha", "items": items})
    web_pool.stock_up("alpha", "<b>x", 1)
    page = op.get("/stock").text
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_empty_pages_say_what_to_do_next(web_stage: Any) -> None:
    web_stage.store.write(lambda tx: add_user(tx, HUB, NewUser(name="op", password=PASSWORD, role="operator")))
    log_in(web_stage.door, "op")
    hints = {
        "/orders": "Connect a shop",
        "/stock": "Announce goods",
        "/connections": "Plug in",
        "/parked": "Nothing needs you",
    }
    assert {path: hint in web_stage.door.get(path).text for path, hint in hints.items()} == dict.fromkeys(hints, True)


def test_an_unknown_page_is_a_page_for_people(op: TestClient) -> None:
    answer = op.get("/nowhere")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (404, "text/html")


def test_a_connection_is_paused_and_resumed_by_its_buttons(op: TestClient) -> None:
    for action, state in (("pause", "paused"), ("resume", "active")):
        page = op.post(f"/connections/tmall-alpha/{action}", data={"csrf": csrf(op.get("/connections").text)}).text
        assert re.search(rf"tmall-alpha <span[^>]*>{state}</span>", page)


def test_a_blind_shop_is_warned_of_on_its_page_and_over_rest(op: TestClient, web_pool: Any) -> None:
    """It can be told levels alone; a shop that can be read as well is not warned of."""

    def blinded(tx: Any) -> None:
        row = one(tx, t.connections, code="tmall-alpha")
        assert row
        can = {**row["can"], "send_stock": {**row["can"]["send_stock"], "forms": ["set"]}}
        tx.set(t.connections, row["id"], can=can)

    warned = '<p class="wrong" role="alert">This shop is told blindly'
    assert warned not in op.get("/connections").text
    web_pool.store.write(blinded)
    assert op.get("/connections").text.count(warned) == 1
    said = {row["code"]: row["warning"] for row in web_pool.did("GET", "/connections")["rows"]}
    assert {code for code, words in said.items() if words} == {"tmall-alpha"}
    assert web_pool.did("GET", "/connections/tmall-alpha")["warning"] == BLIND


def test_a_rotated_token_is_shown_once_and_works(op: TestClient) -> None:
    page = op.post("/connections/sf1/rotate", data={"csrf": csrf(op.get("/connections").text)}).text
    path = re.search(r"<code>(/callbacks/[^<]+)</code>", page)
    assert path and op.post(path[1], content=b"{", headers={"content-type": "application/json"}).status_code == 200
    assert path[1] not in op.get("/connections").text


def test_transfers_are_listed_and_a_stock_take_is_approved_by_its_button(op: TestClient, web_pool: Any) -> None:
    web_pool.stock_up("alpha", "SKU-alpha-1", 30)
    web_pool.did("POST", "/warehouses", {"code": "SH", "name": "上海仓"})
    web_pool.did("PUT", "/warehouses/SH/keepers", [{"owner": "alpha", "code": "OWN-A"}])
    lines = [{"sku": "SKU-alpha-1", "quantity": 7}]
    web_pool.did("POST", "/transfers", {"ref": "M-1", "from": "HZ", "to": "SH", "lines": lines}, by="alpha")
    now = datetime.now(UTC).isoformat()
    found = {"ref": "C-1", "warehouse": "HZ", "counted_at": now, "lines": lines}
    ident = web_pool.did("POST", "/counts", found, by="alpha")["id"]
    page = op.get("/transfers").text
    assert "M-1" in page and "HZ → SH" in page and "accepted" in page
    assert "C-1" in page and "-23" in page
    after = op.post(f"/counts/{ident}/approve", data={"csrf": csrf(page)}).text
    assert "C-1" not in after
    assert web_pool.did("GET", "/counts")["rows"][0]["decided_by"] == "op"
    assert op.post(f"/counts/{ident}/nothing", data={"csrf": csrf(page)}).status_code == 404
    op.post("/logout", data={"csrf": csrf(op.get("/").text)})
    log_in(op, "bob")
    assert "M-1" not in op.get("/transfers").text
