"""How connectors are found: every folder with a `connector.yaml`, here and under the `yipan.connectors` entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from connectors.spi import KINDS, Connection, Manifest
from core.errors import Misconfigured
from core.model.marked import read_model

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Connector:
    """One connector: its manifest and where its three folders lie. module: import path of the wire's package."""

    manifest: Manifest
    folder: Path
    mappings: Path
    module: str
    twin: str

    @property
    def name(self) -> str:
        """`sales/tmall`: kind and id, its name everywhere."""
        return f"{self.manifest.kind}/{self.manifest.id}"

    def client(self, connection: Connection, http: Any, now: Callable[[], datetime]) -> Any:
        """A client for one connection; `http` is the wire it speaks through."""
        module, _, name = self.manifest.client.partition(":")
        return getattr(import_module(f"{self.module}.{module}"), name)(connection, self.manifest, http, now)


@cache
def connectors() -> dict[str, Connector]:
    """All connectors by name, ours first; a name found twice is a mistake and says so."""
    found: dict[str, Connector] = {}
    for connector in [*_ours(), *_theirs()]:
        if connector.name in found:
            raise Misconfigured(f"connector {connector.name} is there twice: {found[connector.name].folder.name}")
        found[connector.name] = connector
    return found


def connector(name: str) -> Connector:
    """The connector of that name; raises Misconfigured with the names there are."""
    try:
        return connectors()[name]
    except KeyError:
        raise Misconfigured(f"no connector {name!r}; there are: {', '.join(connectors())}") from None


def _ours() -> list[Connector]:
    return [_read(folder, "connectors", HERE.parent) for folder in _folders(HERE)]


def _theirs() -> list[Connector]:
    """Packages of others: the entry point names a package whose folder holds connectors/, mappings/ and sandbox/."""
    found = []
    for point in entry_points(group="yipan.connectors"):
        package = import_module(point.value)
        root = Path(str(package.__file__)).parent
        found += [_read(folder, f"{point.value}.connectors", root) for folder in _folders(root / "connectors")]
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(f.parent for kind in KINDS for f in (root / kind).glob("*/connector.yaml"))


def _read(folder: Path, package: str, root: Path) -> Connector:
    manifest = read_model(folder / "connector.yaml", Manifest)
    kind, name = folder.parent.name, folder.name
    if (manifest.kind, manifest.id) != (kind, name):
        raise Misconfigured(f"{kind}/{name}/connector.yaml: kind and id must be {kind} and {name}, as the folder says")
    prefix = package.removesuffix("connectors")
    return Connector(
        manifest, folder, root / "mappings" / kind / name, f"{package}.{kind}.{name}", f"{prefix}sandbox.{kind}.{name}"
    )
