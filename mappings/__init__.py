"""Meaning as data: what every connector's documents say, both ways."""
