"""Wires: text in JSON, XML, form and CSV to plain trees and back, with limits on everything."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode

from lxml import etree
from pydantic_core import from_json

from mappings.language.path import Wrong
from mappings.language.values import EXPONENT_MAX, text_of

BODY_BYTES_MAX = 4 * 1024 * 1024
DEPTH_MAX = 40
FORM_FIELDS_MAX = 2000
CSV_COLUMNS_MAX = 500
FLOAT_DIGITS_MAX = 15
XML_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
NOT_TELLING = bytes(set(range(256)) - set(b"{[Na:"))
XML_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Unreadable(ValueError):
    """A body is no text of its format, or breaks a limit; the text says which."""


def parse(body: bytes, form: str) -> Any:
    """A body as a tree of dicts, lists and plain values; raises Unreadable."""
    if len(body) > BODY_BYTES_MAX:
        raise Unreadable(f"the document has {len(body)} bytes, more than the {BODY_BYTES_MAX} allowed")
    if not body.strip():
        raise Unreadable("the document is empty")
    return PARSERS[form](body)


def _exact(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number.adjusted()) > EXPONENT_MAX or len(text) > EXPONENT_MAX:
        raise Unreadable(f"the number {text[:20]} is out of range")
    return number


def _refuse(name: str) -> NoReturn:
    raise Unreadable(f"{name} is no JSON number")


_decode: Callable[[str], Any] = json.JSONDecoder(parse_float=_exact, parse_constant=_refuse).decode


def parse_json(body: bytes) -> Any:
    """JSON text; numbers with a point become Decimal, the last of equal keys wins."""
    try:
        tree = _decode(body.decode("utf-8-sig"))
    except Unreadable:
        raise
    except UnicodeDecodeError as error:
        raise Unreadable(f"the document is no UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise Unreadable(f"the document is nested deeper than {DEPTH_MAX}") from None
    except ValueError as error:
        raise Unreadable(f"the document is no JSON: {error}") from None
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX:
        _check_depth(tree)
    return tree


def quick_json(body: bytes) -> Any:
    """JSON text, read fast: numbers with a point are floats, which every step refuses. ValueError on any doubt."""
    if len(body) > BODY_BYTES_MAX or not shallow(body):
        raise ValueError("not a small document")
    return from_json(body, allow_inf_nan=False, cache_strings="keys")


def straight_text(body: bytes) -> None:
    """Raise ValueError on a text that pydantic's core would read more kindly than parse_json, or trim otherwise.

    Written for few passes over the text: they are a tenth of the work. rfind is the quicker one of the two.
    """
    telling = body.translate(None, NOT_TELLING)
    if (b"NaN" in telling and b"NaN" in body) or body.rfind(b"Infinity") >= 0:
        raise ValueError("no JSON number")
    if b"\\" in body and b"\\u001" in body:
        raise ValueError("control codes that Python takes for space and Rust does not")
    if telling.count(b"{") + telling.count(b"[") > DEPTH_MAX and not shallow(body):
        raise ValueError("nested too deep")
    if len(body) > BODY_BYTES_MAX:
        raise ValueError("too long")


def shallow(body: bytes) -> bool:
    """Whether a JSON text is nested no deeper than allowed."""
    if body.count(b"{") + body.count(b"[") <= DEPTH_MAX:
        return True
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(body.split(b'"')[::2]).translate(None, NOT_BRACKETS)
    for _ in range(DEPTH_MAX):
        if not outside:
            break
        outside = outside.replace(b"{}", b"").replace(b"[]", b"")
    return not outside


def _check_depth(tree: Any) -> None:
    level = [tree]
    for _ in range(DEPTH_MAX):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise Unreadable(f"the document is nested deeper than {DEPTH_MAX}")


def _children(node: Any) -> list[Any]:
    inside = node.values() if type(node) is dict else node if type(node) is list else ()
    return [child for child in inside if type(child) in (dict, list)]


def parse_xml(body: bytes) -> Any:
    """XML text as {root name: …}: local names, repeated elements as lists, `@name` attributes, `.` text beside them."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        if b"<!DOCTYPE" in body:
            raise Unreadable("the document carries a DOCTYPE, which is refused") from None
        raise Unreadable(f"the document is no XML: {error}") from None
    info: Any = root.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        raise Unreadable("the document carries a DOCTYPE, which is refused")
    return {_local(root.tag): _light(root, DEPTH_MAX)}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _light(element: Any, depth: int) -> Any:
    if depth == 0:
        raise Unreadable(f"the document is nested deeper than {DEPTH_MAX}")
    tree: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = _local(child.tag), _light(child, depth - 1)
        if name not in tree:
            tree[name] = value
        elif type(tree[name]) is list:
            tree[name].append(value)
        else:
            tree[name] = [tree[name], value]
    text = (element.text or "").strip()
    if not tree:
        return text or None
    if text:
        tree["."] = text
    return tree


def parse_form(body: bytes) -> Any:
    """A form as {field: text}; a field that comes twice is a list, an empty one is nothing."""
    try:
        text = body.decode("utf-8").strip()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS_MAX)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the form is no UTF-8 text (byte {error.start})") from None
    except ValueError as error:
        raise Unreadable(f"the document is no form: {error}") from None
    if not pairs:
        raise Unreadable("the document is no form: it has no field")
    tree: dict[str, Any] = {}
    for name, value in pairs:
        tree.setdefault(name, []).append(value or None)
    return {name: values[0] if len(values) == 1 else values for name, values in tree.items()}


def parse_csv(body: bytes) -> Any:
    """CSV with a header row as [{column: text}]; an empty cell is nothing."""
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise Unreadable(f"the document is no UTF-8 text (byte {error.start})") from None
    except csv.Error as error:
        raise Unreadable(f"the document is no CSV: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if not header or len(set(header)) != len(header) or len(header) > CSV_COLUMNS_MAX:
        raise Unreadable(f"the CSV needs a header row of at most {CSV_COLUMNS_MAX} different names")
    return [_csv_row(header, row, number) for number, row in enumerate(rows[1:], 2) if any(row)]


def _csv_row(header: list[str], row: list[str], number: int) -> dict[str, str | None]:
    if len(row) != len(header):
        raise Unreadable(f"row {number} of the CSV has {len(row)} cells, its header has {len(header)}")
    return {name: cell.strip() or None for name, cell in zip(header, row, strict=True)}


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "json": parse_json,
    "xml": parse_xml,
    "form": parse_form,
    "csv": parse_csv,
}


def render(tree: Any, form: str) -> bytes:
    """A written tree as text; the inverse of parse for json, xml and form."""
    return RENDERERS[form](tree)


def json_text(tree: Any) -> str:
    """Compact JSON, Chinese as it is; Decimals are written as the number they are."""
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), default=_exact_number, allow_nan=False)


def _exact_number(value: Any) -> float:
    if type(value) is not Decimal:
        raise Wrong(f"{type(value).__name__} is nothing JSON can carry", value)
    if len(value.normalize().as_tuple().digits) > FLOAT_DIGITS_MAX:
        raise Wrong("has too many digits for a JSON number: write it as text", value)
    return float(value)


def _render_json(tree: Any) -> bytes:
    return json_text(tree).encode()


def element_of(tree: dict[str, Any]) -> Any:
    """{root name: …} as an lxml element; the order of keys is the order of elements."""
    ((name, inside),) = tree.items()
    root = etree.Element(name)
    _fill(root, inside)
    return root


def _fill(element: Any, inside: Any) -> None:
    if not isinstance(inside, dict):
        element.text = _xml_text(inside)
        return
    for name, value in inside.items():
        if name == ".":
            element.text = _xml_text(value)
        elif name.startswith("@"):
            element.set(name[1:], _xml_text(value))
        else:
            for one in value if isinstance(value, list | tuple) else (value,):
                _fill(etree.SubElement(element, name), one)


def _xml_text(value: Any) -> str:
    """What XML can carry of a text: its few illegal characters (control codes) are left out."""
    return XML_ILLEGAL.sub("", text_of(value))


def _render_xml(tree: Any) -> bytes:
    text: bytes = etree.tostring(tree, encoding="unicode").encode()
    return b'<?xml version="1.0" encoding="utf-8"?>' + text


def _render_form(tree: Any) -> bytes:
    return urlencode({name: text_of(value) for name, value in tree.items()}).encode()


RENDERERS: dict[str, Callable[[Any], bytes]] = {"json": _render_json, "xml": _render_xml, "form": _render_form}
