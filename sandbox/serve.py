"""Serves twins in one child process: a list of them as JSON on stdin, their addresses as JSON on stdout."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from sandbox.twin import Faults, Server


def serve(wanted: list[dict[str, Any]]) -> dict[str, str]:
    """Start one twin for each {name, module, options}; name → address."""
    addresses = {}
    for one in wanted:
        faults = Faults()
        twin = import_module(one["module"]).make(faults, **one.get("options", {}))
        addresses[one["name"]] = Server(twin, faults).url
    return addresses


def main() -> None:
    """Serve until stdin closes, which it does when the parent goes."""
    print(json.dumps(serve(json.loads(sys.stdin.readline()))), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
