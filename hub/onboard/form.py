"""What the forms of onboarding share: closed values, codes, finding what they name, and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Table, select

from core.errors import Refused, Unmatched
from core.store import tables as t
from core.store.scope import Scope
from core.store.store import Transaction, one

Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
"""A short name of ours: letters, digits, dot, dash, underscore."""
PRINTED = r"^[^\x00-\x1f\x7f]+$"
"""No control characters: a database ends a text at NUL or refuses it, and what is kept under it is not found again."""
Name = Annotated[str, Field(max_length=200, pattern=PRINTED)]
Ref = Annotated[str, Field(max_length=200, pattern=PRINTED)]
"""Their identifier, exactly as they write it."""
Row = Mapping[str, Any]


class Form(BaseModel):
    """A form as it was filled in; a field it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def find(tx: Transaction, scope: Scope, table: Table, code: str) -> Row:
    """The row with this code, if the scope sees it. Raises Unmatched, whether it is another's or not there."""
    tenant = table.c.merchant_id if "merchant_id" in table.c else table.c.id
    query = select(table).where(table.c.code == code)
    if table is not t.warehouses:
        query = query.where(scope.sees(tenant))
    row = tx.row(query)
    if row is None:
        noun = table.name.removesuffix("s")
        raise Unmatched(noun, code, f"there is no {noun} {code!r}: add it first")
    return row


def refuse_twice(tx: Transaction, table: Table, code: str) -> None:
    """Raises Refused when the code is taken."""
    if one(tx, table, code=code):
        raise Refused(
            f"the {table.name.removesuffix('s')} {code!r} is there already: change it, or choose another code"
        )


def note(tx: Transaction, scope: Scope, action: str, subject: str, **detail: Any) -> None:
    """Write a human act into the audit log; never secrets or personal data."""
    row = {
        "id": tx.ids.new(),
        "at": tx.now,
        "actor": scope.actor,
        "action": action,
        "subject": subject,
        "detail": detail,
    }
    tx.add(t.audit_log, [row])
