"""Twins of ERP systems."""
