"""What all nouns share: frozen, closed to unknown fields, times always aware."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Time = AwareDatetime
Quantity = Annotated[int, Field(ge=0, le=10**12)]
"""Base units of an item, never negative."""
Change = Annotated[int, Field(ge=-(10**12), le=10**12)]
"""A signed difference in base units."""
Minor = Annotated[int, Field(ge=-(10**15), le=10**15)]
"""An amount in the currency's minor unit (fen, cent)."""
Ref = Annotated[str, Field(min_length=1, max_length=200)]
"""Their identifier, exactly as they write it."""
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]

__all__ = ["Change", "Currency", "Minor", "Model", "Quantity", "Ref", "Time", "datetime"]


class Model(BaseModel):
    """A frozen canonical value. Unknown fields are refused, so that a misspelt mapping target is found."""

    model_config = ConfigDict(frozen=True, extra="forbid")
