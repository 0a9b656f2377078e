"""The grade: computed from what the contract found and how sure the facts are, never written down."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import connectors.wire
from connectors.registry import Connector
from connectors.registry import connectors as all_connectors
from connectors.spi import Manifest

BY_MARK = {"V": "A", "A": "A", "B": "B", "C": "C", "D": "C"}
"""How sure the facts are → the best grade they allow; V was seen at a real peer."""
WIRE = Path(connectors.wire.__path__[0])


@dataclass(frozen=True)
class Grade:
    """A, B or C, and every reason why it is not better."""

    grade: str
    caps: tuple[str, ...] = ()


def grade(manifest: Manifest, failed: Sequence[tuple[str, str, bool]]) -> Grade:
    """The grade of a connector with these failed rows: name, ability, whether it is required."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row, ability, required in failed:
        rows.setdefault(("C" if required else "B", row), []).append(ability)
    caps = [(best, f"{best}: {row} fails{_of(abilities)}") for (best, row), abilities in rows.items()]
    for name, claim in manifest.can.items():
        best = BY_MARK[claim.mark]
        caps.append((best, f"{best}: {name} stands on facts marked {claim.mark} ({claim.fact})"))
    worst = max((cap for cap, _ in caps), default="A")
    return Grade(worst, tuple(why for cap, why in caps if cap == worst != "A"))


def _of(abilities: Sequence[str]) -> str:
    named = [ability for ability in abilities if ability]
    return f" for {', '.join(named)}" if named else ""


def client_lines(connector: Connector) -> int:
    """Lines of code (not blank, comment or docstring) under the connector's folder, plus wire code only it uses."""
    own = sum(code_lines(path.read_text(encoding="utf-8")) for path in sorted(connector.folder.rglob("*.py")))
    others = [c for c in all_connectors().values() if c.name != connector.name]
    mine, theirs = _wire_used([connector.folder]), _wire_used([c.folder for c in others])
    return own + sum(_wire(WIRE)[name].lines for name in mine - theirs)


def code_lines(text: str) -> int:
    """Lines that hold code: not blank, not only a comment, not a docstring."""
    tree = ast.parse(text)
    return len(_lines_of(tree, text))


def _lines_of(tree: ast.AST, text: str) -> set[int]:
    texts = [doc for node in ast.walk(tree) for doc in _docstrings(node)]
    silent = {n for doc in texts for n in range(doc.lineno, (doc.end_lineno or doc.lineno) + 1)}
    written = {n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")}
    first = getattr(tree, "lineno", 1)
    last = getattr(tree, "end_lineno", None) or len(text.splitlines())
    return {n for n in written - silent if first <= n <= last}


def _docstrings(node: ast.AST) -> Iterator[ast.Expr]:
    """Texts that stand alone: docstrings of modules, classes, functions, and of names above them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and isinstance(child.value.value, str):
            yield child


@dataclass
class Lent:
    """One name the wire lends: how many lines it takes and which other names of the wire it uses."""

    lines: int
    uses: set[str] = field(default_factory=set)


@cache
def _wire(folder: Path) -> dict[str, Lent]:
    """`signing.sf_digest` → its lines and what it uses."""
    lent: dict[str, Lent] = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        imported = _imported(tree)
        for node in tree.body:
            for name in _names(node):
                used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                uses = {imported.get(u, f"{path.stem}.{u}") for u in used} - {f"{path.stem}.{name}"}
                lent[f"{path.stem}.{name}"] = Lent(len(_lines_of(node, text)), uses)
    return lent


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def _imported(tree: ast.AST) -> dict[str, str]:
    """Names taken from the wire: as written here → `module.name`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connectors.wire."):
            stem = str(node.module).removeprefix("connectors.wire.")
            found.update({alias.asname or alias.name: f"{stem}.{alias.name}" for alias in node.names})
    return found


def _wire_used(folders: Sequence[Path]) -> set[str]:
    """Everything of the wire these folders reach, also through the wire itself."""
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    open_ = {name for path in paths for name in _imported(ast.parse(path.read_text(encoding="utf-8"))).values()}
    reached: set[str] = set()
    while open_:
        name = open_.pop()
        if name in _wire(WIRE) and name not in reached:
            reached.add(name)
            open_ |= _wire(WIRE)[name].uses
    return reached
