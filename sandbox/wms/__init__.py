"""Twins of warehouse management systems."""
