"""Rows about meaning: mappings compile, fixtures exist on both shelves and translate exactly, mutations are noticed."""

from __future__ import annotations

from sandbox.contract.case import Case, kinds_of, noun_of
from sandbox.contract.fixtures import SHELVES, ContractFault, Fixture, differs, fixtures, mapping
from sandbox.contract.manifest_rows import FACT
from sandbox.contract.mutations import unnoticed_rules

UNNOTICED_SHOWN = 12


def mappings_compile(case: Case) -> None:
    """Every mapping file compiles, and every document kind and sent noun has one."""
    files = {path.stem for path in case.connector.mappings.glob("*.yaml")}
    for noun in sorted(files | {n for n, _ in _wanted(case)}):
        compiled = mapping(case.connector, noun)
        if compiled.noun != noun:
            raise ContractFault(f"{noun}.yaml says noun: {compiled.noun}; the file is named after its noun")


def _wanted(case: Case) -> list[tuple[str, str]]:
    """(noun, direction) of everything the manifest claims to read or to write."""
    kinds = {(kind, "read") for ability in case.manifest.can for kind in kinds_of(case.manifest, ability)}
    sent = {(noun_of(ability), "write") for ability in case.manifest.can if ability.startswith("send_")}
    return sorted(kinds | sent)


def every_kind_has_a_fixture(case: Case) -> None:
    """Every document kind it reads and every noun it sends has a built fixture, and callbacks say their kinds."""
    if "read_callback" in case.manifest.can and not case.manifest.can["read_callback"].documents:
        raise ContractFault("can.read_callback.documents must name the kinds that callbacks bring")
    _shelf_holds(case, "built")


def every_kind_has_a_held_fixture(case: Case) -> None:
    """Every one of them has a second fixture, held back while the mapping was written."""
    _shelf_holds(case, "held")
    built = {f.document for f in fixtures(case.connector, shelf="built")}
    doubled = [f.name for f in fixtures(case.connector, shelf="held") if f.document in built]
    if doubled:
        raise ContractFault(f"{', '.join(doubled)} only repeats a built one")


def _shelf_holds(case: Case, shelf: str) -> None:
    there = {(f.entry.noun, f.entry.direction) for f in fixtures(case.connector, shelf=shelf)}
    missing = [f"{direction} {noun}" for noun, direction in _wanted(case) if (noun, direction) not in there]
    if missing:
        raise ContractFault(f"fixtures/{shelf} lacks: {', '.join(missing)}")


def fixtures_translate(case: Case) -> None:
    """Every fixture translates exactly: what is read to its canonical value, what is written to its wire body."""
    compiled = {noun: mapping(case.connector, noun) for noun in {f.entry.noun for f in fixtures(case.connector)}}
    wrong = [why for f in fixtures(case.connector) if (why := differs(f, compiled[f.entry.noun]))]
    if wrong:
        raise ContractFault("; ".join(wrong))


def fixtures_name_their_fact(case: Case) -> None:
    """Every fixture file is listed, listed once, and names the fact it stands on."""
    wrong = [f"{f.name} names no fact" for f in fixtures(case.connector) if not FACT.search(f.entry.fact)]
    for shelf in SHELVES:
        found = fixtures(case.connector, shelf=shelf)
        listed = {name for f in found for name in (f.entry.document, f.entry.canonical)} | {"index.yaml"}
        wrong += [f"{shelf}/{name} is not in the index" for name in sorted(_files(found) - listed)]
    if wrong:
        raise ContractFault("; ".join(wrong))


def _files(found: list[Fixture]) -> set[str]:
    return {path.name for path in found[0].folder.iterdir() if path.is_file()} if found else set()


def mutations_are_noticed(case: Case) -> None:
    """One flipped path per mapping rule makes some fixture fail."""
    unnoticed = unnoticed_rules(case.connector)
    if unnoticed:
        more = f" and {len(unnoticed) - UNNOTICED_SHOWN} more" if len(unnoticed) > UNNOTICED_SHOWN else ""
        raise ContractFault(f"no fixture notices a wrong {', '.join(unnoticed[:UNNOTICED_SHOWN])}{more}")
