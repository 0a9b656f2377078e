"""Twins of the outside world with state and faults, and the contract every connector must pass."""
