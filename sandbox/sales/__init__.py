"""Twins of sales platforms."""
