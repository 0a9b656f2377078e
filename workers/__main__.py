"""`python -m workers` is `yipan`; a child of the supervisor is on its leash before it imports anything slow."""

from importlib import import_module

from workers import leash

leash.hold()
import_module("workers.cli").main()
