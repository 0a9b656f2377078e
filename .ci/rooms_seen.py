"""Makes sure that no module hides from the contracts: import-linter skips folders without an __init__.py in silence."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path

import grimp


def modules_on_disk(room: str) -> set[str]:
    files = (file.with_suffix("") for file in Path(room).rglob("*.py"))
    return {".".join(file.parent.parts if file.name == "__init__" else file.parts) for file in files}


def main() -> int:
    settings = ConfigParser()
    settings.read("setup.cfg", encoding="utf-8")
    rooms = settings["importlinter"]["root_packages"].split()
    sys.path.insert(0, str(Path.cwd()))
    seen = grimp.build_graph(*rooms, cache_dir=None).modules
    hidden = sorted(module for room in rooms for module in modules_on_disk(room) - seen)
    for module in hidden:
        print(f"{module}: not seen by import-linter; give every folder on its way an __init__.py", file=sys.stderr)
    print(f"rooms: {len(seen)} modules seen, {len(hidden)} hidden")
    return 1 if hidden else 0


if __name__ == "__main__":
    raise SystemExit(main())
