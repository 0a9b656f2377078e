"""Something an external system said, kept raw until it is understood."""

from __future__ import annotations

from datetime import datetime

from core.model.base import Model, Ref


class Document(Model):
    """One message in the sender's own words.

    kind: an inward noun ("order", "confirm", "tracking", …); ref: their number for what it speaks of.
    event_id: the sender's message id where there is one (unique per connection and kind); version: a text that sorts
    with time when the document carries state. part_of: the ref of the file or batch it was cut from.
    """

    kind: str
    ref: Ref
    body: bytes
    headers: dict[str, str] = {}
    received_at: datetime | None = None
    event_id: str | None = None
    version: str | None = None
    part_of: str | None = None
