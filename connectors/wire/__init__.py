"""Lent to connectors so that none writes its own: HTTP, XML, signing."""
