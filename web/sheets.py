"""Rows as files people open in a spreadsheet: CSV and XLSX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from openpyxl import Workbook
from starlette.responses import Response

FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet would compute instead of show."""
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Format = Literal["json", "csv", "xlsx"]


def sheet(name: str, form: Format, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """A file of that name to be saved: these columns with their names as a head."""
    table = [list(columns), *([_shown(row[column]) for column in columns] for row in rows)]
    body, media_type = (_csv(table), "text/csv; charset=utf-8") if form == "csv" else (_xlsx(table), XLSX)
    saved = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return Response(body, media_type=media_type, headers=saved)


def statement(name: str, form: Format, columns: Sequence[str], found: Mapping[str, Any]) -> Any:
    """What was found of some days as it is, or as a file that is named after them."""
    if form == "json":
        return found
    return sheet(f"{name}-{found['first']}-{found['last']}", form, columns, found["rows"])


def _csv(table: Sequence[Sequence[Any]]) -> bytes:
    """With a mark at its beginning, without which Excel takes UTF-8 for something else."""
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue().encode("utf-8-sig")


def _xlsx(table: Sequence[Sequence[Any]]) -> bytes:
    book = Workbook(write_only=True)
    page = book.create_sheet()
    for row in table:
        page.append(row)
    body = io.BytesIO()
    book.save(body)
    return body.getvalue()


def _shown(value: Any) -> Any:
    """The value; a text that would be a formula is marked as a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
