"""The mapping language: small, safe, the same both ways; what merchants write and connectors ship."""

from mappings.language.check import Rule
from mappings.language.mapping import TABLES, Mapping, Overlay, load

__all__ = ["TABLES", "Mapping", "Overlay", "Rule", "load"]
