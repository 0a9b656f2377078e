"""Twins of couriers."""
