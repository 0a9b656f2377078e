"""What is sold: an owner's items as an external system lists them."""

from __future__ import annotations

from core.model.base import Model, Ref


class CatalogueItem(Model):
    """One item in their words: `ref` their internal number, `sku` the code both sides know."""

    ref: Ref
    sku: Ref
    name: str = ""
    unit: str = ""
    active: bool = True


class Catalogue(Model):
    """Items an external system told us of; each becomes a link between its number and our item."""

    items: tuple[CatalogueItem, ...]
