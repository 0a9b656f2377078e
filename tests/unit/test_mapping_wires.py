"""The mapping language on the wire: JSON, XML, form and CSV, their limits, and what a broken body is told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import Unfit
from core.model import Asn, AsnLine, Shipment
from mappings.language import Mapping, load, wires

STOCK = """\
noun: stock
format: {form}
zone: Asia/Shanghai
read:
  as_of: {as_of}
  rows[]:
    each: {each}
    sku: {sku}
    quantity: qty | int
"""
ASN = """\
noun: asn
format: xml
zone: Asia/Shanghai
write:
  request:
    '@version': = 2.0
    entryOrder:
      entryOrderCode: ref
      ownerCode: keeper
      orderCreateTime: created_at | time
      expectStartTime: expected_at? | time
      extend?:
        remark: expected_at? | date
    orderLines:
      orderLine[]:
        each: lines
        '@no': line
        itemCode: sku
        planQty: quantity
    codes:
      code[]:
        each: lines
        .: sku | lower
"""


def made(tmp_path: Path, text: str) -> Mapping:
    path = tmp_path / "doc.yaml"
    path.write_text(text, "utf-8")
    return load(path)


def stock(tmp_path: Path, form: str, *, each: str, sku: str = "code", as_of: str = "at? | time") -> Mapping:
    return made(tmp_path, STOCK.format(form=form, each=each, sku=sku, as_of=as_of))


def rows(mapping: Mapping, body: bytes) -> list[tuple[Any, Any]]:
    return [(row["sku"], row["quantity"]) for row in mapping.read_values(mapping.parse(body))["rows"]]


def asn() -> Asn:
    lines = (AsnLine(line="1", sku="A&B", quantity=2), AsnLine(line="2", sku="<红>\x0b", quantity=3))
    return Asn(ref="R1", warehouse="W", keeper="货主", created_at="2024-05-01T04:30:00Z", lines=lines)


def test_xml_is_read_by_local_names(tmp_path: Path) -> None:
    mapping = stock(tmp_path, "xml", each="r.items.item", sku="code.@id", as_of="r.at? | time")
    one = b"<n:r xmlns:n='urn:x'><n:items><n:item><n:code n:id=' A '/><n:qty> 1 </n:qty></n:item></n:items></n:r>"
    first, second = "<item><code id='A'/><qty>1</qty></item>", "<item><code id='乙'>t</code><qty>2</qty></item>"
    two = f"<r><at/><items>{first}<!-- x -->{second}</items></r>"
    assert rows(mapping, one) == [("A", 1)]
    assert rows(mapping, two.encode()) == [("A", 1), ("乙", 2)]
    assert rows(mapping, b'<?xml version="1.0" encoding="GBK"?>' + two.encode("gbk")) == [("A", 1), ("乙", 2)]


def test_xml_text_beside_attributes_is_a_plain_value(tmp_path: Path) -> None:
    mapping = stock(tmp_path, "xml", each="r.i", sku="code")
    assert rows(mapping, b"<r><i><code lang='zh'> A </code><qty u='pc'>3</qty></i></r>") == [("A", 3)]


def test_an_empty_element_is_nothing(tmp_path: Path) -> None:
    mapping = stock(tmp_path, "xml", each="r.items?.item?", sku="code? | default(none)", as_of="r.at? | time")
    assert rows(mapping, b"<r><at> </at><items/></r>") == []
    assert rows(mapping, b"<r><items><item><code/><qty>1</qty></item></items></r>") == [("none", 1)]
    with pytest.raises(Unfit, match="'qty' is empty"):
        mapping.read(b"<r><items><item><qty/></item></items></r>")


def test_xml_is_written_in_order_and_escaped(tmp_path: Path) -> None:
    mapping = made(tmp_path, ASN)
    assert mapping.render(mapping.write(asn())).decode() == (
        '<?xml version="1.0" encoding="utf-8"?><request version="2.0"><entryOrder><entryOrderCode>R1</entryOrderCode>'
        "<ownerCode>货主</ownerCode><orderCreateTime>2024-05-01 12:30:00</orderCreateTime></entryOrder><orderLines>"
        '<orderLine no="1"><itemCode>A&amp;B</itemCode><planQty>2</planQty></orderLine>'
        '<orderLine no="2"><itemCode>&lt;红&gt;</itemCode><planQty>3</planQty></orderLine></orderLines>'
        "<codes><code>a&amp;b</code><code>&lt;红&gt;</code></codes></request>"
    )


def test_a_form_is_read_and_written(tmp_path: Path) -> None:
    mapping = stock(tmp_path, "form", each=".")
    assert rows(mapping, b"code=%E7%BA%A2+1&qty=2&at=") == [("红 1", 2)]
    rules = "  tid: order_ref\n  sid: waybill\n  split: split | flag(1, 0)\n"
    out = made(tmp_path, f"noun: shipment\nformat: form\nwrite:\n{rules}")
    sent = Shipment(ref="r", order_ref="红&", carrier="SF", waybill="SF1", shipped_at="2024-05-01T00:00:00Z", lines=())
    assert out.render(out.write(sent)) == b"tid=%E7%BA%A2%26&sid=SF1&split=0"
    assert mapping.parse(b"a=1&a=2&b=3") == {"a": ["1", "2"], "b": "3"}


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    mapping = stock(tmp_path, "csv", each=".", sku="\"'商品 编码'\"", as_of="= 2024-05-01 | time")
    body = '\ufeff商品 编码,qty\n"A,1",2\n\nB, 3 \n'.encode()
    assert rows(mapping, body) == [("A,1", 2), ("B", 3)]
    with pytest.raises(Unfit, match="'商品 编码' is empty"):
        mapping.read("商品 编码,qty\n,2\n".encode())


def test_json_numbers_stay_exact(tmp_path: Path) -> None:
    text = STOCK.format(form="json", each="rows", sku="code", as_of="at? | time")
    mapping = made(tmp_path, text.replace("qty | int", "qty | times(100)"))
    body = b'{"rows": [{"code": 0.10, "qty": 1.15}]}'
    assert mapping.parse(body) == {"rows": [{"code": Decimal("0.10"), "qty": Decimal("1.15")}]}
    snapshot = mapping.read(body)
    assert [(row.sku, row.quantity) for row in snapshot.rows] == [("0.10", 115)]  # type: ignore[attr-defined]


def test_json_is_rendered_compact_with_exact_numbers(tmp_path: Path) -> None:
    mapping = made(tmp_path, "noun: booking\nformat: json\nwrite:\n  w: weight_g | over(1000) | number\n  c: goods\n")
    assert mapping.render(mapping.write({"weight_g": 489, "goods": "红"})) == '{"w":0.489,"c":"红"}'.encode()
    with pytest.raises(Unfit, match="half a character"):
        mapping.render(mapping.write({"weight_g": 1, "goods": "\ud800"}))
    with pytest.raises(Unfit, match="too many digits"):
        mapping.render({"w": Decimal("0.12345678901234567")})


@pytest.mark.parametrize(
    ("form", "body", "why"),
    [
        ("json", b"", "the document is empty"),
        ("json", b'{"a": 1', "is no JSON"),
        ("json", b'{"a": NaN}', "NaN is no JSON number"),
        ("json", b'{"a": 1e999999999}', "is out of range"),
        ("json", b'{"a": ' + b"9" * 5000 + b"}", "is no JSON"),
        ("json", b'{"a": "\xff"}', "is no UTF-8 text"),
        ("json", b"[" * 41 + b"]" * 41, "nested deeper than 40"),
        ("json", b"[" * 100_000, "nested deeper than 40"),
        ("json", b'{"a":' * 50 + b"1" + b"}" * 50, "nested deeper than 40"),
        ("json", b"[" + b" " * 4 * 1024 * 1024 + b"]", "more than the 4194304 allowed"),
        ("xml", b"<a><b></a>", "is no XML"),
        ("xml", b"<a>", "is no XML"),
        ("xml", b"text", "is no XML"),
        ("xml", b"<a>" * 41 + b"</a>" * 41, "nested deeper than 40"),
        ("xml", b"<a>" * 5000 + b"</a>" * 5000, "is no XML"),
        ("xml", b"<!DOCTYPE a><a/>", "DOCTYPE"),
        ("xml", b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "DOCTYPE"),
        ("xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "DOCTYPE"),
        ("xml", '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"), "DOCTYPE"),
        ("xml", b"<a>&undeclared;</a>", "is no XML"),
        ("form", b"", "the document is empty"),
        ("form", b"\xff=1", "is no UTF-8 text"),
        ("form", b"&".join(b"a=1" for _ in range(2001)), "is no form"),
        ("csv", b"\xff", "is no UTF-8 text"),
        ("csv", b"a,a\n1,2\n", "different names"),
        ("csv", b"a,b\n1\n", "row 2 of the CSV has 1 cells, its header has 2"),
        ("csv", b'a,b\n"1,2', "is no CSV"),
    ],
)
def test_a_broken_body_is_unfit_with_a_sentence(tmp_path: Path, form: str, body: bytes, why: str) -> None:
    mapping = stock(tmp_path, form, each=".")
    for act in (mapping.parse, mapping.read):
        with pytest.raises(Unfit) as caught:
            act(body)
        assert why in caught.value.message


def test_nested_entities_never_grow(tmp_path: Path) -> None:
    laughs = b"<!DOCTYPE a [<!ENTITY l0 'ha'>" + b"".join(
        f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>".encode() for n in range(1, 12)
    )
    for use in (b"<a>&l11;</a>", b"<a x='&l11;'/>"):
        with pytest.raises(Unfit, match="DOCTYPE"):
            stock(tmp_path, "xml", each=".").parse(laughs + b"]>" + use)


def test_the_quick_decoder_and_the_exact_one_agree() -> None:
    body = '{"a": ["红", 1, -2, true, null, {"b": "\\u4e2d"}], "a": 5}'.encode()
    assert wires.quick_json(body) == wires.parse_json(body) == {"a": 5}
