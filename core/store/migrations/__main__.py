"""Writes the next revision from `core.store.tables`: `python -m core.store.migrations "what changed"`.

Until the first release there is one revision, which is written anew: `python -m core.store.migrations --anew`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

from alembic import command

from core.store import schema
from core.store.database import alone
from core.store.migrations import settings

FIRST = "spine"


def write_revision(message: str, number: str) -> Path:
    """What the revisions there are do not say of the tables yet, as revision `number`."""
    with TemporaryDirectory() as folder, alone(f"sqlite:///{folder}/empty.db") as conn:
        command.upgrade(settings(conn), "head")
        command.revision(settings(conn), message, autogenerate=True, rev_id=number)
    return next(schema.VERSIONS.glob(f"{number}_*.py"))


def main(words: list[str]) -> None:
    """Write it, and say where it is."""
    if words == ["--anew"]:
        for old in schema.VERSIONS.glob("[0-9]*.py"):
            old.unlink()
        written = write_revision(FIRST, "0001")
    elif len(words) == 1:
        written = write_revision(words[0], f"{int(schema.newest()) + 1:04}")
    else:
        sys.exit(__doc__)
    tidy(written)
    sys.stdout.write(f"{written}\n")


def tidy(written: Path) -> None:
    """Laid out as the rest of the code is, without alembic's own remarks."""
    lines = written.read_text().splitlines(keepends=True)
    written.write_text("".join(line for line in lines if not line.lstrip().startswith("# ###")))
    for pass_ in (["format", "--quiet"], ["check", "--fix", "--quiet"], ["format", "--quiet"]):
        run([sys.executable, "-m", "ruff", *pass_, str(written)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
