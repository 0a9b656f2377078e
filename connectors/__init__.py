"""Connectors: the wire of each external system, and nothing but the wire."""
