"""Couriers and tracking."""
