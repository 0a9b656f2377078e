"""`yipan connectors new`: a small working skeleton in all rooms; rows that fail are the list of what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template
from typing import Any

import yaml

from connectors.spi import KINDS
from core.errors import Misconfigured

SKELETON = Path(__file__).parent / "skeleton"
STARTS: dict[str, dict[str, str]] = yaml.safe_load((SKELETON / "kinds.yaml").read_text(encoding="utf-8"))
IMPORTS = (
    "from connectors.spi import Connection, Manifest",
    "from connectors.wire.http import Http, Outbound",
    "from core.model.marked import read_model",
    "from mappings.language import load",
    "from sandbox.twin import Faults, Server",
    "from ${prefix}connectors.$kind.$id import client",
    "from ${prefix}sandbox.$kind import $id as twin_of",
)
"""What the skeleton's test imports; sorted when the package's name is known."""
ID = re.compile(r"[a-z][a-z0-9_]{1,39}")


def create(kind: str, id: str, root: Path) -> list[Path]:
    """Make connectors/, mappings/, sandbox/ and tests/ of `<kind>/<id>` under root; returns the files made.

    root is this repository, or the folder of a package that ships connectors of its own. Raises Misconfigured for an
    unknown kind, a strange id, or files that are there already.
    """
    if kind not in KINDS:
        raise Misconfigured(f"{kind!r} is no kind of connector; there are: {', '.join(KINDS)}")
    if not ID.fullmatch(id):
        raise Misconfigured(f"{id!r} is no id: use lower-case letters, digits and _, beginning with a letter")
    made = {root / place: _fill(template, kind, id, root) for place, template in _plan(kind, id, root).items()}
    there = [path for path in made if path.exists() and path.name != "__init__.py"]
    if there:
        raise Misconfigured(f"{kind}/{id} is there already: {there[0].relative_to(root)}")
    new = {path: text for path, text in made.items() if not path.exists()}
    for path, text in new.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(new)


def _plan(kind: str, id: str, root: Path) -> dict[str, str]:
    """Where → which template."""
    noun, fixtures = STARTS[kind]["noun"], f"mappings/{kind}/{id}/fixtures"
    return {
        **({} if _ours(root) else {"__init__.py": "package.txt"}),
        f"connectors/{kind}/{id}/__init__.py": "package.txt",
        f"connectors/{kind}/{id}/connector.yaml": "connector.yaml.txt",
        f"connectors/{kind}/{id}/client.py": "client.py.txt",
        f"mappings/{kind}/{id}/{noun}.yaml": f"{noun}.yaml.txt",
        f"{fixtures}/built/index.yaml": "index.yaml.txt",
        f"{fixtures}/built/{noun}.1.json": f"{noun}.1.json.txt",
        f"{fixtures}/built/{noun}.1.canonical.json": f"{noun}.1.canonical.json.txt",
        f"{fixtures}/held/index.yaml": "held.yaml.txt",
        f"sandbox/{kind}/{id}.py": "twin.py.txt",
        f"tests/unit/test_{id}_connector.py": "test.py.txt",
    }


def _fill(template: str, kind: str, id: str, root: Path) -> str:
    start: dict[str, Any] = STARTS[kind]
    prefix = "" if _ours(root) else f"{root.name}."
    example = json.loads((SKELETON / f"{start['noun']}.1.json.txt").read_text(encoding="utf-8"))
    return Template((SKELETON / template).read_text(encoding="utf-8")).substitute(
        start,
        kind=kind,
        id=id,
        name="".join(part.capitalize() for part in id.split("_")),
        title=id.replace("_", " ").capitalize(),
        imports="\n".join(sorted(Template(line).substitute(prefix=prefix, kind=kind, id=id) for line in IMPORTS)),
        rows=",\n        ".join(map(json.dumps, example["rows"])),
        root="Path(__file__).parents[2]",
    )


def _ours(root: Path) -> bool:
    return (root / "connectors" / "spi.py").exists()
