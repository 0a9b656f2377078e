"""Rows about callbacks: only the sender is believed, a delivery doubled is one, every answer is in its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.spi import Reply, Request
from core.errors import Unavailable, Unfit, YipanError
from core.model import Document
from sandbox.contract.case import Case
from sandbox.contract.fixtures import ContractFault
from sandbox.contract.manifest_rows import no_secret
from sandbox.twin import Pusher

SIGNATURE = re.compile(r"sign|hmac|digest|mac$|authorization", re.IGNORECASE)
FLIPS = 24
DOCTYPE = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><request>&b;</request>'
MALFORMED = (b"", b"\x00\xff\xfe", b"{", b"<request><order></request>", b"null", b"[]", b"[1]", b"plain words", DOCTYPE)


def callbacks_are_understood(case: Case) -> None:
    """Every sample push of the twin is read into documents of the kinds the manifest names, all kinds at least once."""
    client, seen = case.client(), set()
    for request in _samples(case):
        documents = client.read_callback(request)
        if not documents:
            raise ContractFault(f"a push of the twin brings no document: {request.body[:120]!r}")
        seen |= {d.kind for d in documents}
    if seen != set(case.claim.documents):
        raise ContractFault(f"the twin's pushes bring {sorted(seen)}; the manifest says {sorted(case.claim.documents)}")


def same_delivery_twice_is_one(case: Case) -> None:
    """The same delivery twice gives equal documents, equally numbered, and the sender's success answer both times."""
    client = case.client()
    for request in _samples(case):
        one, other = (_identity(client.read_callback(request)) for _ in range(2))
        if one != other:
            raise ContractFault(f"the same push gives {one} and then {other}")
        _accepted(case, client.acknowledge(request, None), True, "a kept push")
        _accepted(case, client.acknowledge(request, None), True, "the same push again")


def failures_are_told(case: Case) -> None:
    """What could not be kept is answered in the sender's own words for failure, and no secret stands in the answer."""
    client = case.client()
    for request in _samples(case):
        for error in (Unavailable("the store is full"), Unfit("the body is larger than the limit")):
            reply = client.acknowledge(request, error)
            _accepted(case, reply, False, f"a push that ended in {type(error).__name__}")
            no_secret(case, reply.body.decode(errors="replace"), "the answer")


def flipped_byte_is_refused(case: Case) -> None:
    """A byte flipped anywhere in a signed body is refused."""
    client = case.client()
    for request in _samples(case):
        for at in _places(len(request.body)):
            body = request.body[:at] + bytes([request.body[at] ^ 1]) + request.body[at + 1 :]
            _refused(case, client, replace(request, body=body), f"byte {at} flipped")


def missing_signature_is_refused(case: Case) -> None:
    """A delivery without its signature, or with an empty one, is refused."""
    client = case.client()
    for request in _samples(case):
        for unsigned in _unsigned(request):
            _refused(case, client, unsigned, "its signature taken away")


def malformed_bodies_are_answered(case: Case) -> None:
    """Malformed, truncated, oversized and DOCTYPE bodies raise a YipanError and get the sender's own failure answer."""
    client = case.client()
    for request in _samples(case):
        oversized = request.body + b" " * case.manifest.body_limit_bytes
        for body in (*MALFORMED, request.body[: len(request.body) // 2], oversized + request.body):
            bad = replace(request, body=body)
            error = _error_of(client, bad)
            if error is None:
                raise ContractFault(f"the body {body[:60]!r} ({len(body)} bytes) is taken as good")
            _accepted(case, client.acknowledge(bad, error), False, f"the body {body[:60]!r}")


def _samples(case: Case) -> list[Request]:
    twin = case.fresh()
    samples = case.stage.module.callbacks(twin)
    if not samples:
        raise ContractFault("callbacks(twin) gives no sample pushes")
    return [_request(sample) for sample in samples]


def _request(sample: dict[str, Any]) -> Request:
    headers = {name.lower(): value for name, value in sample["headers"].items()}
    return Request("POST", list(sample["query"]), headers, sample["body"], datetime.now(UTC))


def _identity(documents: Any) -> list[tuple[str, str, str | None, str | None, bytes]]:
    found: list[Document] = list(documents)
    return [(d.kind, d.ref, d.event_id, d.version, d.body) for d in found]


def _accepted(case: Case, reply: Reply, expected: bool, what: str) -> None:
    """The twin's own reading of the answer decides."""
    pushers = [p for p in vars(case.stage.twin).values() if isinstance(p, Pusher)]
    if not pushers:
        raise ContractFault("the twin has no Pusher, so nobody reads the answers")
    if pushers[0].accepted(reply.status, reply.body) is not expected:
        words = "accept" if expected else "refuse"
        raise ContractFault(f"the answer to {what} should {words} it: HTTP {reply.status} {reply.body[:200]!r}")


def _places(length: int) -> Iterator[int]:
    return iter(range(0, length, max(1, length // FLIPS)))


def _unsigned(request: Request) -> list[Request]:
    """The request without each of the parameters and headers that look like its signature."""
    names = [name for name, _ in request.query if SIGNATURE.search(name) and "method" not in name]
    headers = [name for name in request.headers if SIGNATURE.search(name)]
    if not names and not headers:
        raise ContractFault("no parameter or header of the push looks like a signature: if none is, say signed: false")
    without = [replace(request, query=[p for p in request.query if p[0] != name]) for name in names]
    emptied = [replace(request, query=[(n, "" if n == name else v) for n, v in request.query]) for name in names]
    bare = [replace(request, headers={k: v for k, v in request.headers.items() if k != name}) for name in headers]
    return [*without, *emptied, *bare]


def _refused(case: Case, client: Any, request: Request, what: str) -> None:
    error = _error_of(client, request)
    if error is None:
        raise ContractFault(f"a push with {what} is believed")
    _accepted(case, client.acknowledge(request, error), False, f"a push with {what}")
    no_secret(case, str(error), "the error")


def _error_of(client: Any, request: Request) -> YipanError | None:
    try:
        client.read_callback(request)
    except YipanError as error:
        return error
    return None
