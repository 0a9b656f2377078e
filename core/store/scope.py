"""Who asks: every question to the store is narrowed to what its asker may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, false, true


@dataclass(frozen=True)
class Scope:
    """role: operator, merchant, warehouse or support. merchant_id: the only tenant seen; None is all.

    actor: the name that stands in the audit log.
    """

    role: str
    merchant_id: int | None = None
    actor: str = ""

    def sees(self, tenant: Any) -> ColumnElement[bool]:
        """The condition that narrows a query whose tenant stands in this column."""
        if self.merchant_id is not None:
            return tenant == self.merchant_id  # type: ignore[no-any-return]
        return false() if self.role == "merchant" else true()


HUB = Scope("operator", actor="hub")
"""The hub itself."""
