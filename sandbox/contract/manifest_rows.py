"""Rows about what is written down: manifest, client code, signature vectors."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from connectors.registry import Connector
from sandbox.contract.case import Case
from sandbox.contract.fixtures import ContractFault
from sandbox.contract.mutations import Vector, signed, unnoticed_bytes

REQUIRED: dict[str, list[Any]] = yaml.safe_load((Path(__file__).parent / "required.yaml").read_text(encoding="utf-8"))
FACT = re.compile(r"[a-z][\w-]*(\.md)? \S")
SECRET_NAME = re.compile(r"secret|password|token|checkword|private|api_?key", re.IGNORECASE)
FOREIGN = ("logging", "structlog", "time", "tenacity", "urllib3", "httpx", "threading", "asyncio")
TAKES = {"fetch": [["cursor"], ["refs"]], "send": [["batch", "step"]], "fetch_one": [["kind", "ref"]]}


def manifest_is_complete(case: Case) -> None:
    """The manifest names the connector in Chinese and English, its docs, and for every ability a fact."""
    manifest, wrong = case.manifest, []
    wrong += [f"title.{tongue} is missing" for tongue in ("zh", "en") if not manifest.title.get(tongue)]
    wrong += [] if manifest.docs.startswith(("https://", "http://")) else ["docs is no address"]
    wrong += [] if manifest.can else ["it can do nothing: claim abilities under can"]
    unsure = [(name, ability.fact) for name, ability in manifest.can.items() if not FACT.search(ability.fact)]
    wrong += [f"can.{name}.fact {fact!r} names no sheet and section" for name, fact in unsure]
    _settle("connector.yaml", wrong)


def settings_draw_the_form(case: Case) -> None:
    """The onboarding form can be drawn: every setting has a title, choices are listed, what is secret is marked so."""
    wrong = []
    for name, setting in case.manifest.settings.items():
        wrong += [] if setting.title else [f"settings.{name} has no title"]
        empty = setting.type == "choice" and not setting.choices
        wrong += [f"settings.{name} is a choice without choices"] if empty else []
        wrong += [f"settings.{name} looks secret and is not marked so"] if _leaks(name, setting.secret) else []
    base = case.manifest.settings.get("base_url")
    wrong += [] if base and base.type == "url" else ["settings.base_url of type url is missing"]
    _settle("connector.yaml", wrong)


def _leaks(name: str, secret: bool) -> bool:
    return bool(SECRET_NAME.search(name)) and not secret


def twin_uses_the_settings(case: Case) -> None:
    """The twin's SETTINGS and SECRETS are exactly what the form asks for."""
    module, form = case.stage.module, case.manifest.settings
    given = {"base_url", *module.SETTINGS, *module.SECRETS}
    needed = {name for name, setting in form.items() if setting.required and setting.default is None}
    wrong = [f"{name} is required and the twin gives none" for name in sorted(needed - given)]
    wrong += [f"{name} is given by the twin and is no setting" for name in sorted(given - set(form))]
    doubtful = [name for name in given & set(form) - {"base_url"} if form[name].secret != (name in module.SECRETS)]
    wrong += [f"{name} is a secret in one place only" for name in sorted(doubtful)]
    _settle("twin", wrong)


def required_abilities_are_claimed(case: Case) -> None:
    """Every ability that this kind of connector must have is claimed."""
    can = case.manifest.can
    wanted = [w if isinstance(w, list) else [w] for w in REQUIRED[case.manifest.kind]]
    _settle("can", [f"{' or '.join(names)} is not claimed" for names in wanted if not set(names) & set(can)])


def client_has_the_ability(case: Case) -> None:
    """The client has a method of the ability's name that takes what the hub gives it."""
    client = case.client()
    _has(client, case.ability, TAKES.get(case.ability) or TAKES.get(case.ability.split("_")[0], []))
    if case.claim.probe:
        _has(client, "probe", [["ability", "row", "step"]])
    if case.ability == "read_callback":
        _has(client, "read_callback", [["request"]])
        _has(client, "acknowledge", [["request", "error"]])


def _has(client: Any, name: str, shapes: list[list[str]]) -> None:
    method = getattr(client, name, None)
    if not callable(method):
        raise ContractFault(f"the client has no {name}")
    takes = list(signature(method).parameters)
    if shapes and takes not in shapes:
        wanted = " or ".join(f"({', '.join(shape)})" for shape in shapes)
        raise ContractFault(f"{name} takes ({', '.join(takes)}); it should take {wanted}")


def client_only_speaks_the_wire(case: Case) -> None:
    """No try, sleep, log, print, retry, thread or HTTP library of its own in the connector's code."""
    wrong: list[str] = []
    for path in sorted(case.connector.folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            why = _own_wire(node)
            wrong += [f"{path.name}:{getattr(node, 'lineno', 1)}: {why}"] if why else []
    _settle("client", wrong)


def _own_wire(node: ast.AST) -> str:
    match node:
        case ast.Try() | ast.TryStar():
            return "try: the wire turns failures into the right error, let it pass"
        case ast.Import(names=names) if any(n.name.split(".")[0] in FOREIGN for n in names):
            return f"import {names[0].name}: that is the business of wire and hub"
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FOREIGN:
            return f"import from {module}: that is the business of wire and hub"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="requests"))):
            return "a request of its own: call self.http"
        case ast.Call(func=ast.Name(id="print" | "open" | "eval" | "exec" as name)):
            return f"{name}()"
    return ""


def vectors_reproduce(case: Case) -> None:
    """Every published signature vector of the system is claimed, reproduces, and notices one flipped byte."""
    known = vectors(case.connector)
    wrong = [f"{name} is not in sandbox/contract/vectors" for name in case.manifest.vectors if name not in known]
    mine = [known[name] for name in case.manifest.vectors if name in known]
    wrong += [f"{v.id}: expected {v.expected}, signed {made}" for v in mine if (made := signed(v)) != v.expected]
    systems = {v.system for v in mine}
    wrong += [f"{v.id} of {v.system} is not claimed" for v in known.values() if v.system in systems and v not in mine]
    wrong += [f"{v.id}: a flipped byte of {place} changes nothing" for v in mine for place in unnoticed_bytes(v)]
    _settle("vectors", wrong)


def vectors(connector: Connector) -> dict[str, Vector]:
    """All published vectors this connector's own root and ours hold, by id."""
    roots = {connector.mappings.parents[2], Path(__file__).parents[2]}
    return {v.id: v for root in roots for v in _vectors(root / "sandbox" / "contract" / "vectors")}


@cache
def _vectors(folder: Path) -> tuple[Vector, ...]:
    records = [r for path in sorted(folder.glob("*.json")) for r in json.loads(path.read_text(encoding="utf-8"))]
    return tuple(Vector(r["id"], r["system"], r["inputs"], r["expected"]) for r in records)


def secrets_never_show(case: Case) -> None:
    """No secret shows in the repr of client or connection."""
    client, connection = case.client(), case.connection()
    no_secret(case, repr(client), "repr(client)")
    no_secret(case, repr(connection), "repr(connection)")


def no_secret(case: Case, text: str, place: str) -> None:
    """Raises ContractFault when one of the connection's secrets stands in the text."""
    for name, secret in case.stage.module.SECRETS.items():
        if len(secret) > 3 and secret in text:
            raise ContractFault(f"the secret {name} shows in {place}")


def _settle(where: str, wrong: list[str]) -> None:
    if wrong:
        raise ContractFault(f"{where}: {'; '.join(wrong)}")
