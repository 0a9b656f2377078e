"""Compares a wheel with the files of its checkout, so that no mapping, template or migration is dropped in silence."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile


def rooms_of(checkout: Path) -> set[str]:
    settings = ConfigParser()
    settings.read(checkout / "setup.cfg", encoding="utf-8")
    return {name for name in settings["options.packages.find"]["include"].split() if "." not in name}


def files_of(checkout: Path, rooms: set[str]) -> set[str]:
    files = (file for room in rooms for file in (checkout / room).rglob("*") if file.is_file())
    return {file.relative_to(checkout).as_posix() for file in files}


def files_in(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}


def main(wheel: Path, checkout: Path) -> int:
    expected, actual = files_of(checkout, rooms_of(checkout)), files_in(wheel)
    for name in sorted(expected - actual):
        print(f"{name}: in the checkout, missing in the wheel (package_data in setup.cfg)", file=sys.stderr)
    for name in sorted(actual - expected):
        print(f"{name}: in the wheel, not in the checkout", file=sys.stderr)
    print(f"wheel: {len(actual)} files, {len(expected - actual)} missing, {len(actual - expected)} strange")
    return 0 if actual and expected == actual else 1


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
