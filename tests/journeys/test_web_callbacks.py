"""What senders push: kept before it is acknowledged, answered in their own words, never lost nor believed too much."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from connectors.courier.sf.client import Sf
from connectors.registry import connector
from core.store import inbox
from core.store import tables as t
from core.store.store import Store, one
from hub.unread import read_again
from hub.wiring import Hub

KEPT = '{"return_code":"0000","return_msg":"成功"}'
NOT_KEPT = '{"return_code":"1000","return_msg":"失败"}'
JSON = {"content-type": "application/json;charset=UTF-8"}


def push(waybill: str = "SF1000000001", code: str = "50") -> bytes:
    """One route push in JSON mode."""
    row = {"id": "1", "mailno": waybill, "acceptTime": "2026-11-01 10:00:00", "opCode": code, "remark": "x"}
    return json.dumps({"Body": {"WaybillRoute": [row]}}).encode()


def documents(store: Store) -> list[Any]:
    """All kept documents, opened, oldest first."""
    with store.read() as tx:
        rows = tx.rows(select(t.inbox).order_by(t.inbox.c.id))
        return [{**row, "text": tx.vault.open(tx, row["key_id"], row["body"])} for row in rows]


@pytest.fixture
def sf_path(web_pool: Any) -> str:
    """Where SF pushes to."""
    path: str = web_pool.did("POST", "/connections/sf1/token")["callback"]["path"]
    return path


def test_a_push_is_kept_raw_and_answered_in_the_senders_words(web_pool: Any, sf_path: str) -> None:
    answer = web_pool.door.post(sf_path, content=push(), headers=JSON)
    assert (answer.status_code, answer.text) == (200, KEPT)
    (document,) = documents(web_pool.store)
    assert (document["kind"], document["ref"], document["state"]) == ("tracking", "SF1000000001", "waiting")
    assert document["text"] == push()


def test_the_form_mode_gets_its_own_answer(web_pool: Any, sf_path: str) -> None:
    xml = '<Request service="RoutePushService"><Body><WaybillRoute id="1" mailno="SF1" opCode="50"/></Body></Request>'
    answer = web_pool.door.post(sf_path, data={"content": xml})
    assert answer.text == '<Response service="RoutePushService"><Head>OK</Head></Response>'
    assert [d["state"] for d in documents(web_pool.store)] == ["waiting"]


def test_the_same_push_twice_is_kept_once_and_acknowledged_twice(web_pool: Any, sf_path: str) -> None:
    answers = [web_pool.door.post(sf_path, content=push(), headers=JSON).text for _ in range(3)]
    assert answers == [KEPT] * 3
    assert len(documents(web_pool.store)) == 1
    assert web_pool.did("GET", "/figures")["tallies"]["duplicates_absorbed"] == 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"Body":{}}', push()[:-3], b"\xff\xfe\x00", b"[" * 5000])
def test_what_cannot_be_read_is_refused_in_their_words_and_parked_raw(web_pool: Any, sf_path: str, body: bytes) -> None:
    answer = web_pool.door.post(sf_path, content=body, headers=JSON)
    assert (answer.status_code, answer.text) == (200, NOT_KEPT)
    (document,) = documents(web_pool.store)
    assert (document["state"], document["text"]) == ("parked", body)
    (row,) = web_pool.did("GET", "/parked")["rows"]
    assert (row["kind"], row["what"], row["connection"], row["fix"]) == ("document", "callback", "sf1", "replay")
    assert row["reason"]


def test_a_doctype_is_refused(web_pool: Any, sf_path: str) -> None:
    xml = '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><r>&e;</r>'
    answer = web_pool.door.post(sf_path, data={"content": xml})
    assert "<Head>ERR</Head>" in answer.text
    assert [d["state"] for d in documents(web_pool.store)] == ["parked"]


def test_a_bad_push_has_no_effect_on_its_neighbours(web_pool: Any, sf_path: str) -> None:
    bodies = [push("SF1"), b"{", push("SF2")]
    answers = [web_pool.door.post(sf_path, content=b, headers=JSON).text for b in bodies]
    assert answers == [KEPT, NOT_KEPT, KEPT]
    assert [d["state"] for d in documents(web_pool.store)] == ["waiting", "parked", "waiting"]


def test_a_push_over_the_limit_is_refused_unread_and_noted(web_pool: Any, sf_path: str) -> None:
    limit = connector("courier/sf").manifest.body_limit_bytes
    answer = web_pool.door.post(sf_path, content=b"x" * (limit + 1), headers=JSON)
    assert answer.text == NOT_KEPT
    assert documents(web_pool.store) == []
    (row,) = web_pool.did("GET", "/parked")["rows"]
    assert (row["kind"], str(limit) in row["reason"]) == ("task", True)


def test_a_push_that_hides_its_length_is_stopped_at_the_limit(web_pool: Any, sf_path: str) -> None:
    def drip() -> Any:
        for _ in range(40):
            yield b"x" * 100_000

    assert web_pool.door.post(sf_path, content=drip(), headers=JSON).text == NOT_KEPT
    assert documents(web_pool.store) == []


def test_an_unknown_token_opens_nothing(web_pool: Any) -> None:
    answer = web_pool.door.post("/callbacks/nobody", content=push(), headers=JSON)
    assert (answer.status_code, answer.text) == (404, "not found")


def test_two_tokens_are_valid_and_the_third_retires_the_first(web_pool: Any) -> None:
    paths = [web_pool.did("POST", "/connections/sf1/token")["callback"]["path"] for _ in range(3)]
    answers = [web_pool.door.post(path, content=push(), headers=JSON).status_code for path in paths]
    assert answers == [404, 200, 200]


def test_a_revoked_token_opens_nothing_once_it_is_asked_about_again(
    web_pool: Any, sf_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.callbacks.RECHECKED_S", 0.0)
    assert web_pool.door.post(sf_path, content=push(), headers=JSON).status_code == 200
    web_pool.did("DELETE", f"/connections/sf1/token/{sf_path[-4:]}")
    assert web_pool.door.post(sf_path, content=push(), headers=JSON).status_code == 404


def test_a_paused_connection_still_keeps_what_it_is_told(web_pool: Any, sf_path: str) -> None:
    web_pool.did("POST", "/connections/sf1/pause")
    assert web_pool.door.post(sf_path, content=push(), headers=JSON).text == KEPT
    assert len(documents(web_pool.store)) == 1


def test_nothing_is_acknowledged_that_could_not_be_kept(
    web_pool: Any, sf_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(work: Any) -> Any:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(web_pool.store, "write", full)
        assert web_pool.door.post(sf_path, content=push(), headers=JSON).text == NOT_KEPT
    assert documents(web_pool.store) == []
    assert web_pool.door.post(sf_path, content=push(), headers=JSON).text == KEPT


def test_a_document_that_cannot_be_kept_does_not_take_its_batch_with_it(
    web_pool: Any, sf_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait in one batch, held up by a writer that is let go once they are queued."""
    write, go = web_pool.store.write, threading.Event()

    def picky(work: Any) -> Any:
        def run(tx: Any) -> Any:
            done = work(tx)
            if one(tx, t.inbox, ref="POISON"):
                raise OSError("the row does not fit")
            return done

        go.wait(10)
        return write(run)

    monkeypatch.setattr(web_pool.store, "write", picky)
    answers: dict[str, str] = {}

    def call(ref: str) -> None:
        answers[ref] = web_pool.door.post(sf_path, content=push(ref), headers=JSON).text

    threads = [threading.Thread(target=call, args=(ref,)) for ref in ("SF1", "POISON", "SF2")]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert answers == {"SF1": KEPT, "POISON": NOT_KEPT, "SF2": KEPT}


def test_a_broken_client_is_no_server_error_and_loses_nothing(
    web_pool: Any, sf_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: Any, request: Any) -> Any:
        raise KeyError("mailno")

    monkeypatch.setattr(Sf, "read_callback", stumble)
    answer = web_pool.door.post(sf_path, content=push(), headers=JSON)
    assert (answer.status_code, answer.text) == (200, NOT_KEPT)
    assert [(d["state"], d["problem"]) for d in documents(web_pool.store)] == [("parked", "Broken")]


def test_a_flipped_byte_in_a_signed_push_is_refused_and_not_kept(web_pool: Any) -> None:
    path = web_pool.did("POST", "/connections/wms1/token")["callback"]["path"]
    body = b"<request><deliveryOrder><deliveryOrderCode>Y1</deliveryOrderCode></deliveryOrder></request>"
    params = {
        "method": "taobao.qimen.deliveryorder.confirm",
        "timestamp": datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "format": "xml",
        "app_key": "k",
        "v": "2.0",
        "sign": "00" * 16,
        "sign_method": "md5",
        "customerId": "c",
    }
    answer = web_pool.door.post(path, params=params, content=body, headers={"content-type": "text/xml;charset=utf-8"})
    assert answer.status_code < 500 and "failure" in answer.text
    assert documents(web_pool.store) == []


def test_tokens_are_kept_as_digests_only(web_pool: Any, sf_path: str) -> None:
    token = sf_path.rsplit("/", 1)[1]
    with web_pool.store.read() as tx:
        rows = tx.rows(select(t.doors))
    assert hashlib.sha256(token.encode()).hexdigest() in {row["digest"] for row in rows}
    assert token not in str(rows)


def test_health_names_the_role_whose_heart_stopped(web_pool: Any) -> None:
    answer = web_pool.door.get("/healthz")
    roles = {name: role["state"] for name, role in answer.json()["roles"].items()}
    assert (answer.status_code, roles) == (503, {"web": "ok", "worker": "missing", "clock": "missing"})


def test_health_is_good_when_every_role_beats(web_pool: Any) -> None:
    others = [Store(web_pool.store.db.url, web_pool.store.vault, role=role) for role in ("worker", "clock")]
    assert web_pool.door.get("/healthz").status_code == 200
    for other in others:
        other.close()
    assert web_pool.door.get("/healthz").status_code == 503


def test_metrics_count_what_waits(web_pool: Any, sf_path: str) -> None:
    web_pool.door.post(sf_path, content=push(), headers=JSON)
    text = web_pool.door.get("/metrics").text
    assert 'yipan_inbox_open{state="waiting"} 1.0' in text
    assert 'yipan_callbacks_total{connector="courier/sf",result="kept"}' in text


def test_a_push_nobody_could_read_is_read_again_once_its_connector_was_mended(
    web_pool: Any, sf_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(self: Any, request: Any) -> Any:
        raise KeyError("mailno")

    with monkeypatch.context() as broken:
        broken.setattr(Sf, "read_callback", stumble)
        web_pool.door.post(sf_path, content=push(), headers=JSON)
    (row,) = web_pool.did("GET", "/parked")["rows"]
    web_pool.did("POST", f"/parked/document/{row['id']}/replay")
    hub = Hub(web_pool.store)
    with web_pool.store.read() as tx:
        heard = inbox.waiting(tx)
    read_again(hub, heard)
    assert [(d["kind"], d["state"]) for d in documents(web_pool.store)] == [
        ("callback", "done"),
        ("tracking", "waiting"),
    ]
