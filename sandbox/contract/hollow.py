"""Answers with one piece missing: what a system sends on its worse days, made from what it sends on good ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lxml import etree

from sandbox.twin import Answer

HOLLOWS_MAX = 24


def hollows(answer: Answer) -> list[tuple[str, Answer]]:
    """(what is missing, the answer without it); the outermost pieces where there are too many."""
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    found = list(_without_json(body) or _without_xml(body))
    found.sort(key=lambda hollow: hollow[0].count("."))
    return [(what, replace(answer, body=hollow)) for what, hollow in found[:HOLLOWS_MAX]]


def _without_json(body: bytes) -> list[tuple[str, bytes]]:
    try:
        tree = json.loads(body)
    except ValueError:
        return []
    return [(what, json.dumps(hollow, ensure_ascii=False).encode()) for what, hollow in _without(tree, "")]


def _without(tree: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The tree without each of its keys, and with each of its lists empty; JSON inside a text is a tree too."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            here = f"{place}.{key}".lstrip(".")
            yield here, {k: v for k, v in tree.items() if k != key}
            yield from ((what, {**tree, key: inner}) for what, inner in _without(value, here))
    elif isinstance(tree, list) and tree:
        yield f"{place}[]", []
        yield from ((what, [inner, *tree[1:]]) for what, inner in _without(tree[0], f"{place}.0"))
    elif isinstance(tree, str) and tree[:1] in ("{", "["):
        yield from ((what, json.dumps(inner, ensure_ascii=False)) for what, inner in _without(_parsed(tree), place))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _without_xml(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        root = etree.fromstring(body)
    except (etree.XMLSyntaxError, ValueError):
        return
    for at, parent in enumerate(root.iter(etree.Element)):
        for child in range(len(parent)):
            hollow = copy.deepcopy(root)
            del list(hollow.iter(etree.Element))[at][child]
            above = [str(a.tag) for a in parent.iterancestors()][::-1]
            yield ".".join([*above, str(parent.tag), str(parent[child].tag)]), etree.tostring(hollow, encoding="utf-8")
