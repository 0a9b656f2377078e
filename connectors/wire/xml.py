"""XML for connectors: parsed without DTD, entities, network or huge trees."""

from __future__ import annotations

from typing import Any

import requests
from lxml import etree

from connectors.wire.http import lost
from core.errors import Unfit


def read_xml(body: bytes) -> Any:
    """The root element. Raises Unfit for anything that is not plain, well-formed XML."""
    if b"<!DOCTYPE" in body[:4096]:
        raise Unfit("a DOCTYPE is refused: send plain XML")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unfit(f"not well-formed XML: {error}") from None
    if root.getroottree().docinfo.doctype:
        raise Unfit("a DOCTYPE is refused: send plain XML")
    return root


def read_xml_answer(response: requests.Response, *, reads: bool) -> Any:
    """The answer's root element; an answer that cannot be read is one that was lost."""
    try:
        return read_xml(response.content)
    except Unfit:
        raise lost("the answer is not XML, or was cut short", reads=reads) from None


def child_text(element: Any, path: str) -> str:
    """Text of the first child at `path`, trimmed; "" where there is none."""
    return (element.findtext(path) or "").strip()


def write_xml(element: Any) -> bytes:
    """The element as UTF-8 with a declaration."""
    body: bytes = etree.tostring(element, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>' + body
