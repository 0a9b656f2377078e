"""The contract suite itself: each row passes on a small sound connector and fails when just its promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from connectors.registry import Connector
from connectors.wire import signing
from core.rules import levels
from sandbox.contract import grade as grading
from sandbox.contract.case import Case, Trial
from sandbox.contract.check import Report, Result, check, check_connector, run
from sandbox.contract.grade import Grade, client_lines, code_lines, grade
from sandbox.contract.mutations import Vector, unnoticed_bytes, unnoticed_rules
from sandbox.contract.rows import ROWS

MANIFEST, CLIENT = "connectors/sales/tiny/connector.yaml", "connectors/sales/tiny/client.py"
TWIN, MAPPINGS = "sandbox/sales/tiny.py", "mappings/sales/tiny"
Shop = Callable[..., Connector]


def why(connector: Connector, name: str, ability: str = "") -> str:
    """The sentence one row fails with; "" when it passes."""
    trial = Trial(connector)
    try:
        return run(next(row for row in ROWS if row.name == name), Case(trial, ability)).why
    finally:
        trial.close()


def test_sound_connector_of_a_third_party_gets_an_a(shop: Shop) -> None:
    shop()
    report = check("sales/tiny")
    assert [(r.name, r.why) for r in report.failed] == []
    assert (report.grade, report.caps) == ("A", ())
    assert report.as_dict()["rows"][0]["passed"] is True
    assert report.warning == levels.BLIND


class Breakage(NamedTuple):
    """One promise broken: in which row and ability, by which change of which file, and what the sentence then says."""

    row: str
    ability: str
    file: str
    old: str
    new: str
    says: str


BREAKAGES: tuple[Breakage, ...] = (
    Breakage("manifest_is_complete", "", MANIFEST, "zh: 小店, ", "", "title.zh"),
    Breakage("settings_draw_the_form", "", MANIFEST, ", secret: true", "", "settings.secret looks secret"),
    Breakage(
        "required_abilities_are_claimed", "", MANIFEST, "  fetch_one:", "  fetch_two:", "fetch_one is not claimed"
    ),
    Breakage("twin_uses_the_settings", "", TWIN, '"shop": "s1"', '"stall": "s1"', "stall is given by the twin"),
    Breakage(
        "client_only_speaks_the_wire",
        "",
        CLIENT,
        "import hmac\n",
        "import hmac\nimport logging\n",
        "client.py:7: import logging",
    ),
    Breakage(
        "client_only_speaks_the_wire",
        "",
        CLIENT,
        "    order = json.loads(body)\n",
        "    try:\n        order = json.loads(body)\n    finally:\n        pass\n",
        "try:",
    ),
    Breakage(
        "client_has_the_ability",
        "send_stock",
        CLIENT,
        'send_stock(self, batch: Sequence[Outgoing], step: str = "")',
        "send_stock(self, rows)",
        "(rows)",
    ),
    Breakage("client_has_the_ability", "send_shipment", CLIENT, "def probe(", "def look_up(", "no probe"),
    Breakage(
        "secrets_never_show",
        "",
        CLIENT,
        "    def fetch_orders(",
        "    def __repr__(self):\n        return self.secret\n\n    def fetch_orders(",
        "secret",
    ),
    Breakage("vectors_reproduce", "", MANIFEST, "body_limit_bytes", "vectors: [NO1]\nbody_limit_bytes", "NO1 is not"),
    Breakage("mappings_compile", "", f"{MAPPINGS}/order.yaml", "lookup(status)", "lookup(stati)", "order.yaml:10"),
    Breakage("every_kind_has_a_fixture", "", MANIFEST, "documents: [stock]", "documents: [stock, order, item]", "item"),
    Breakage(
        "every_kind_has_a_held_fixture",
        "",
        f"{MAPPINGS}/fixtures/held/index.yaml",
        "noun: shipment",
        "noun: stock",
        "held lacks: write shipment",
    ),
    Breakage(
        "fixtures_name_their_fact",
        "",
        f"{MAPPINGS}/fixtures/held/index.yaml",
        "order.read.2.json",
        "order.read.3.json",
        "order.read.2.json is not in the index",
    ),
    Breakage(
        "fixtures_translate",
        "",
        f"{MAPPINGS}/fixtures/held/order.read.2.canonical.json",
        "请轻放",
        "请重放",
        "note should be '请重放'",
    ),
    Breakage("fixtures_translate", "", f"{MAPPINGS}/fixtures/built/stock.write.1.json", "7", "8", "count should be 8"),
    Breakage(
        "mutations_are_noticed",
        "",
        f"{MAPPINGS}/order.yaml",
        "  ref: id\n",
        "  ref: id\n  buyer: name? | default('')\n",
        "buyer",
    ),
    Breakage("does_its_work", "fetch_orders", TWIN, "for n in range(1, 6)", "for n in range(0)", "read nothing"),
    Breakage(
        "does_its_work",
        "send_shipment",
        TWIN,
        '["parcels"].append(asked["waybill"])',
        '["parcels"].extend([asked["waybill"]] * 2)',
        "2 times",
    ),
    Breakage(
        "does_its_work",
        "send_stock",
        TWIN,
        'self.shown[asked["id"]]',
        'self.hidden[asked["id"]]',
        "the twin broke: AttributeError",
    ),
    Breakage(
        "page_is_well_formed", "fetch_orders", MANIFEST, "documents: [order]", "documents: [item]", "yields order"
    ),
    Breakage(
        "empty_page_is_fine",
        "fetch_orders",
        CLIENT,
        'rows[-1].get("change", after + 1) if rows else after',
        'rows[-1].get("change", after + 1)',
        "IndexError",
    ),
    Breakage(
        "same_page_twice_is_the_same",
        "fetch_orders",
        TWIN,
        "        return changed[:PAGE]",
        "        self.sell('T1')\n        return changed[:PAGE]",
        "gives",
    ),
    Breakage(
        "moving_pages_lose_nothing",
        "fetch_orders",
        CLIENT,
        '{"after": last}',
        '{"after": last + 1}',
        "never read",
    ),
    Breakage("wrong_credentials_are_told", "fetch_orders", MANIFEST, "who: NotAuthorised", "who: Refused", "Refused"),
    Breakage(
        "wrong_credentials_are_told",
        "send_shipment",
        TWIN,
        'if call.headers.get("x-sign") != sign(call.body):',
        "if False:",
        "no error",
    ),
    Breakage(
        "survives_401_and_403",
        "fetch_stock",
        CLIENT,
        "headers=headers)",
        "headers=headers, accept=(200, 403))",
        "HTTP 403",
    ),
    Breakage("survives_429", "send_shipment", MANIFEST, "slow: Throttled", "slow: Refused", "after 429"),
    Breakage(
        "survives_5xx",
        "send_shipment",
        CLIENT,
        '"/ship", row.body, reads=False',
        '"/ship", row.body, reads=True',
        "was repeated",
    ),
    Breakage(
        "survives_timeout_before",
        "send_shipment",
        CLIENT,
        '"/ship", row.body, reads=False',
        '"/ship", row.body, reads=True',
        "was repeated",
    ),
    Breakage(
        "survives_timeout_after",
        "send_shipment",
        CLIENT,
        '"/ship", row.body, reads=False',
        '"/ship", row.body, reads=True',
        "was repeated",
    ),
    Breakage(
        "survives_timeout_after",
        "send_shipment",
        CLIENT,
        "if parcels else Outcome.absent()",
        "if parcels[1:] else Outcome.absent()",
        "took effect 2 times",
    ),
    Breakage(
        "survives_timeout_after", "send_shipment", MANIFEST, "probe: true", "idempotent: true", "took effect 2 times"
    ),
    Breakage(
        "survives_truncated",
        "send_shipment",
        CLIENT,
        "if parcels else Outcome.absent()",
        "if parcels[1:] else Outcome.absent()",
        "took effect 2 times",
    ),
    Breakage(
        "survives_garbled",
        "send_stock",
        CLIENT,
        'not {"ok", "error"} & set(answer)',
        'not {"ok", "error"} & set(answer) and reads',
        "KeyError",
    ),
    Breakage("survives_garbled", "fetch_orders", CLIENT, "not isinstance(answer, dict) or not", "not", "TypeError"),
    Breakage(
        "survives_hollow", "fetch_one", CLIENT, '"order", reads=True))', '"order", reads=False))', "a read is Later"
    ),
    Breakage(
        "survives_hollow", "send_shipment", CLIENT, '"parcel", reads=False', '"parcel", reads=True', "be sent again"
    ),
    Breakage("survives_hollow", "fetch_orders", CLIENT, 'row.get("id", "?")', 'row["id"]', "KeyError"),
    Breakage(
        "probe_only_reads",
        "send_shipment",
        CLIENT,
        'self._ask("probe", "/order", {"id": row.ref}, reads=True)',
        'self._ask("probe", "/order", {"id": row.ref}, reads=False)',
        "InDoubt",
    ),
    Breakage(
        "repeat_does_no_harm", "send_shipment", MANIFEST, "probe: true", "idempotent: true", "took effect 2 times"
    ),
    Breakage(
        "probe_tells_the_truth",
        "send_shipment",
        CLIENT,
        "if parcels else Outcome.absent()",
        "if parcels else Outcome.done('SF001')",
        "says done before",
    ),
    Breakage(
        "probe_tells_the_truth",
        "send_shipment",
        CLIENT,
        "Outcome.done(str(parcels[0]))",
        "Outcome.done(row.ref)",
        "finds 'T1'",
    ),
    Breakage(
        "callbacks_are_understood",
        "read_callback",
        MANIFEST,
        "documents: [order]",
        "documents: [order, stock]",
        "bring ['order']",
    ),
    Breakage(
        "same_delivery_twice_is_one", "read_callback", CLIENT, "b'{\"ok\": true}' if", "b'OK' if", "should accept it"
    ),
    Breakage(
        "same_delivery_twice_is_one",
        "read_callback",
        CLIENT,
        "return [_order(read_pushed(request.body))]",
        "return [_order({**read_pushed(request.body), 'id': str(id(object()))})]",
        "",
    ),
    Breakage(
        "failures_are_told", "read_callback", CLIENT, "b'{\"ok\": false}'", "b'{\"ok\": true}'", "should refuse it"
    ),
    Breakage(
        "malformed_bodies_are_answered",
        "read_callback",
        CLIENT,
        "if not same(",
        "if False and same(",
        "JSONDecodeError",
    ),
    Breakage(
        "flipped_byte_is_refused",
        "read_callback",
        CLIENT,
        "if not same(",
        "if 'x-sign' not in request.headers and not same(",
        "Error",
    ),
    Breakage(
        "missing_signature_is_refused",
        "read_callback",
        CLIENT,
        "if not same(",
        "if 'x-sign' in request.headers and not same(",
        "taken away",
    ),
)


@pytest.mark.parametrize("broken", BREAKAGES, ids=[f"{b.row}-{n}" for n, b in enumerate(BREAKAGES)])
def test_broken_promise_is_seen(shop: Shop, broken: Breakage) -> None:
    sentence = why(shop((broken.file, broken.old, broken.new)), broken.row, broken.ability)
    assert sentence
    assert broken.says in sentence


def test_every_row_is_seen_to_fail() -> None:
    assert {row.name for row in ROWS} == {b.row for b in BREAKAGES}


def test_every_rule_of_a_mapping_is_guarded_by_some_fixture(shop: Shop) -> None:
    assert unnoticed_rules(shop()) == []
    unguarded = shop((f"{MAPPINGS}/order.yaml", "  note: note?", "  buyer: name? | default('')\n  note: note?"))
    assert unnoticed_rules(unguarded) == ["order.yaml:15 buyer"]


def test_flipped_byte_that_changes_no_signature_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = Vector("X1", "Half signed", {"secret": "s", "params": {"a": "1", "b": "2"}}, "s1")
    monkeypatch.setitem(signing.VECTORS, "Half signed", lambda v: v["secret"] + v["params"]["a"])
    assert unnoticed_bytes(vector) == ["params.b[0]"]


def test_one_failed_row_costs_what_it_is_worth(shop: Shop) -> None:
    manifest = shop().manifest
    assert Grade("A") == grade(manifest, [])
    assert Grade("B", ("B: mutations_are_noticed fails",)) == grade(manifest, [("mutations_are_noticed", "", False)])
    failed = [("survives_429", "send_stock", True), ("survives_429", "fetch_one", True)]
    assert Grade("C", ("C: survives_429 fails for send_stock, fetch_one",)) == grade(manifest, failed)


@pytest.mark.parametrize(("mark", "expected"), [("V", "A"), ("A", "A"), ("B", "B"), ("C", "C"), ("D", "C")])
def test_weakest_fact_caps_the_grade(shop: Shop, mark: str, expected: str) -> None:
    one = shop((MANIFEST, "send_shipment: {mark: A", f"send_shipment: {{mark: {mark}"))
    assert expected == grade(one.manifest, []).grade


def test_client_lines_count_code_alone(shop: Shop) -> None:
    text = (
        '"""For what."""\n\n# why\nX = 1\n"""About X."""\n\n\ndef f() -> str:\n    """Says."""\n    return """a\nb"""\n'
    )
    assert code_lines(text) == 4


def test_wire_code_that_only_one_connector_uses_counts_as_its_own(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lent.py").write_text("def mine():\n    return helper()\n\n\ndef helper():\n    return 1\n")
    one = shop()
    own = client_lines(one)
    monkeypatch.setattr(grading, "WIRE", tmp_path)
    asks = "from connectors.wire.lent import mine\n"
    asking = shop((CLIENT, "from connectors.wire.signing", f"{asks}from connectors.wire.signing"))
    assert client_lines(asking) == own + 1 + 4


def test_anything_a_connector_raises_is_a_sentence_and_stops_no_other_row(shop: Shop) -> None:
    one = shop((TWIN, '    """A shop without orders."""\n', "    1 / 0\n"))
    report = check_connector(one)
    assert report.grade == "C"
    assert {"fixtures_translate", "mutations_are_noticed"} <= {r.row for r in report.results if r.passed}
    assert any("ZeroDivisionError: division by zero (tiny.py" in r.why for r in report.failed)
    assert not report.sound


def test_report_names_grade_cap_and_sentence() -> None:
    results = (Result("survives_429", "send_stock", True, "…", "it ended"), Result("secrets_never_show", "", True, "…"))
    report = Report("sales/tiny", "C", ("C: survives_429 fails for send_stock",), 61, results)
    assert str(report).splitlines() == [
        "sales/tiny: C, 1 of 2 rows pass, client_lines 61",
        "  C: survives_429 fails for send_stock",
        "  ✗ survives_429[send_stock]: it ended",
    ]
