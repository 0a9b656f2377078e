"""Rows about calls: each ability does its work once and tells the truth, whatever the line and the other side do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core.errors import InDoubt, Later, NotAuthorised, YipanError
from core.model import Document
from sandbox.contract.case import PATIENT_S, Case, attempt, by_reference, deliver, look, patiently, read_all, read_page
from sandbox.contract.fixtures import ContractFault
from sandbox.contract.hollow import hollows
from sandbox.contract.manifest_rows import no_secret
from sandbox.twin import Answer

HASTY_S = 0.15
GARBLED = (b"", b"<html>please wait</html>", b'{"half": [1,', b"<half><way>", b"null", b"[]", b"{}", b'"text"')
SPOILT = (b"", b"<html>please wait</html>", b'{"half": [1,', b"<half><way>")
"""Answers that nobody can read; the others are whole texts of the wrong shape."""
SEEDS = (1, 2, 3)


def does_its_work(case: Case) -> None:
    """Against a healthy twin it reads documents, or writes with exactly one effect."""
    if _writes(case):
        _delivers(case, "", 0, harmless=True)
    elif not _read(case):
        raise ContractFault(f"{case.ability} read nothing although the twin was prepared for it")


def page_is_well_formed(case: Case) -> None:
    """Documents carry a kind the manifest names, a ref and a body; the cursor is JSON; reading on from it works."""
    case.fresh()
    client = case.client()
    documents, cursor = read_all(case, client)
    kinds = set(case.claim.documents)
    strange = sorted({d.kind for d in documents} - kinds) if kinds else []
    if strange:
        raise ContractFault(f"{case.ability} yields {', '.join(strange)}; can.{case.ability}.documents does not say so")
    if json.loads(json.dumps(dict(cursor))) != dict(cursor):
        raise ContractFault(f"the cursor {cursor!r} is not JSON")
    read_all(case, client, cursor)


def empty_page_is_fine(case: Case) -> None:
    """A twin with nothing to show gives no error, there is no more, and reading on from there gives none either."""
    case.stage.fresh()
    client = case.client()
    if case.ability == "fetch_one" or by_reference(client, case.ability):
        return
    _, cursor = read_all(case, client)
    read_all(case, client, cursor)


def same_page_twice_is_the_same(case: Case) -> None:
    """The same page read twice gives equal documents, so that the inbox knows them again."""
    case.fresh()
    client = case.client()
    one, other = (_said(case, client, read_page(case, client, {}).documents) for _ in range(2))
    if one != other:
        raise ContractFault(f"{case.ability} gives {one[:3]} and then {other[:3]}")


def moving_pages_lose_nothing(case: Case) -> None:
    """What moves while it is read, under every fault at once, is read in the end."""
    if case.ability == "fetch_one" or by_reference(case.client(), case.ability):
        return
    for seed in SEEDS:
        case.fresh()
        client = case.client(timeout_s=HASTY_S)
        case.stage.faults.set(seed=seed, level="harsh", hang_s=HASTY_S * 1.5)
        seen, cursor = read_all(case, client)
        case.stage.faults.set()
        later, _ = read_all(case, case.client(), cursor)
        truth, _ = read_all(case, case.client())
        lost = {d.ref for d in truth} - {d.ref for d in [*seen, *later]}
        if lost:
            raise ContractFault(f"{case.ability} (seed {seed}) never read {', '.join(sorted(lost)[:5])}")


def wrong_credentials_are_told(case: Case) -> None:
    """With wrong secrets it says NotAuthorised, and nothing happens."""
    if not case.stage.module.SECRETS:
        raise ContractFault("the twin has no SECRETS: a system without credentials is not believable")
    case.fresh()
    before = case.effects() if _writes(case) else 0
    error = _error_of(case, case.client(spoil=True))
    _expect(error, (NotAuthorised,), f"{case.ability} with wrong secrets")
    if _writes(case) and case.effects() != before:
        raise ContractFault(f"{case.ability} took effect with wrong secrets")
    no_secret(case, str(error), "the error")


def survives_401_and_403(case: Case) -> None:
    """HTTP 401 and 403 are NotAuthorised."""
    for status in (401, 403):
        case.fresh()
        client = case.client()
        case.stage.instead(case.ability, Answer('{"message": "no"}', status))
        error = _error_of(case, client)
        _expect(error, (NotAuthorised,), f"{case.ability} answered with HTTP {status}")
        no_secret(case, str(error), "the error")


def survives_429(case: Case) -> None:
    """Told to slow down it is Later, and the next try does it once."""
    _survives(case, "429")


def survives_5xx(case: Case) -> None:
    """A 5xx leaves a write in doubt and a read for later; settled, it is done once."""
    _survives(case, "5xx")


def survives_timeout_before(case: Case) -> None:
    """A call that never arrived is settled and done once."""
    _survives(case, "timeout_before")


def survives_timeout_after(case: Case) -> None:
    """A call that arrived and whose answer was lost is not done again."""
    _survives(case, "timeout_after")


def survives_truncated(case: Case) -> None:
    """A call whose answer was cut short is not done again."""
    _survives(case, "truncated")


def survives_garbled(case: Case) -> None:
    """An answer nobody can read, or of the wrong shape, is a lost answer: never done, never a crash."""
    for body in GARBLED:
        case.fresh()
        client = case.client()
        case.stage.instead(case.ability, Answer(body))
        what = f"{case.ability} answered with {body!r}"
        if _writes(case):
            error = attempt(client, case.ability, case.outgoing(), _first_step(case)).error
            _expect(error, (InDoubt, Later) if body in SPOILT else (YipanError,), what)
        else:
            error = _error_of(case, client)
            if error or body in SPOILT:
                _expect(error, (Later,) if body in SPOILT else (YipanError,), what)


def survives_hollow(case: Case) -> None:
    """An answer with any one piece missing is never a crash, a read never in doubt, a write never blindly repeated."""
    case.fresh()
    _once(case, case.client())
    whole = case.stage.heard.get(case.ability)
    for piece, answer in hollows(whole) if whole else []:
        case.fresh()
        client = case.client()
        case.stage.instead(case.ability, answer)
        error = _error_of(case, client)
        what = f"{case.ability} answered without {piece}"
        if isinstance(error, InDoubt) and not _writes(case):
            raise ContractFault(f"{what} is in doubt; a read is Later: {error}")
        if isinstance(error, Later) and _writes(case) and not case.claim.idempotent:
            raise ContractFault(f"{what} is Later and would be sent again, though it has arrived: {error}")


def repeat_does_no_harm(case: Case) -> None:
    """Called idempotent, it may be sent twice under the same key and takes effect once."""
    case.fresh()
    client, row, before = case.client(), case.outgoing(), case.effects()
    for _ in range(2):
        outcome = deliver(client, case.manifest, case.ability, row)
        if outcome.state != "done":
            raise ContractFault(f"{case.ability} sent twice ended {outcome.state}: {outcome.error}")
    _one_effect(case, before, case.ability)


def probe_tells_the_truth(case: Case) -> None:
    """The probe says absent before the call and done after it, and changes nothing."""
    case.fresh()
    client, row, before = case.client(), case.outgoing(), case.effects()
    step = _first_step(case)
    _probed(case, look(client, case.ability, row, step).state, "absent", "before it was sent")
    outcome = attempt(client, case.ability, row, step)
    if outcome.state != "done":
        raise ContractFault(f"{case.ability} ended {outcome.state}: {outcome.error}")
    found = look(client, case.ability, row, step)
    _probed(case, found.state, "done", "after it was done")
    if found.ref != outcome.ref:
        raise ContractFault(f"the probe of {case.ability} finds {found.ref!r}; the call itself gave {outcome.ref!r}")
    if not case.claim.steps:
        _one_effect(case, before, case.ability)


def probe_only_reads(case: Case) -> None:
    """A probe that gets no answer says Later; it is never in doubt itself and never guesses."""
    for fault in ("5xx", "truncated"):
        case.fresh()
        client, row, step = case.client(), case.outgoing(), _first_step(case)
        _probed(case, look(client, case.ability, row, step).state, "absent", "before it was sent")
        case.stage.faults.set(plan=[fault] * 2)
        _expect(look(client, case.ability, row, step).error, (Later,), f"the probe of {case.ability} after {fault}")


def _probed(case: Case, state: str, expected: str, when: str) -> None:
    if state != expected:
        raise ContractFault(f"the probe of {case.ability} says {state} {when}; it should say {expected}")


def _survives(case: Case, fault: str) -> None:
    """Every call the ability makes meets the fault once, each time on a fresh twin."""
    made = _calls_made(case)
    for at in range(1, made + 1):
        if _writes(case):
            _delivers(case, fault, at, harmless=case.claim.idempotent or made > 1)
        else:
            _reads(case, fault, at)


def _once(case: Case, client: Any) -> None:
    """The ability used once, with nothing in its way."""
    if _writes(case):
        deliver(client, case.manifest, case.ability, case.outgoing())
    else:
        read_page(case, client, {})


def _calls_made(case: Case) -> int:
    case.fresh()
    _once(case, case.client())
    made = case.stage.faults.calls
    if not made[case.ability]:
        raise ContractFault(f"the twin saw no call it names {case.ability}; it saw {', '.join(made) or 'none'}")
    return made[case.ability]


def _delivers(case: Case, fault: str, at: int, *, harmless: bool) -> None:
    """Sent through the fault and settled as the hub does: done, with one effect."""
    case.fresh()
    client, row, before = case.client(timeout_s=_patience(fault)), case.outgoing(), case.effects()
    if fault:
        case.stage.faults.aim(case.ability, fault, at)
    errors: list[YipanError] = []
    outcome = deliver(client, case.manifest, case.ability, row, errors)
    what = f"{case.ability}{_after(fault, at)}"
    if fault:
        _right_class(case, what, fault, harmless, errors)
    if outcome.state != "done" and not _at_most_once(case, outcome.error):
        raise ContractFault(f"{what} ended {outcome.state}: {outcome.error}")
    _one_effect(case, before, what, zero_too=outcome.state != "done")


def _right_class(case: Case, what: str, fault: str, harmless: bool, errors: list[YipanError]) -> None:
    """The first error: 429 is Later; else in doubt, unless a repeat does no harm or it was one call of several."""
    if not case.stage.faults.bitten:
        raise ContractFault(f"{what}: the fault met no call")
    if not errors and fault != "429" and not harmless:
        raise ContractFault(f"{what} was repeated without asking whether it had arrived: call with reads=False")
    allowed = (Later,) if fault == "429" else (InDoubt, Later) if harmless else (InDoubt,)
    for error in errors[:1]:
        _expect(error, allowed, what)
        no_secret(case, str(error), "the error")


def _at_most_once(case: Case, error: YipanError | None) -> bool:
    """What can be neither repeated nor probed stays in doubt, for a person."""
    return isinstance(error, InDoubt) and not case.claim.idempotent and not case.claim.probe


def _one_effect(case: Case, before: int, what: str, *, zero_too: bool = False) -> None:
    made = case.effects() - before
    if made != 1 and not (zero_too and made == 0):
        raise ContractFault(f"{what} took effect {made} times; it should have once")


def _reads(case: Case, fault: str, at: int) -> None:
    """Read through the fault, Later tried again: the same documents as without it."""
    case.fresh()
    client = case.client(timeout_s=_patience(fault))
    case.stage.faults.aim(case.ability, fault, at)
    through = patiently(lambda: read_page(case, client, {}))
    if not case.stage.faults.bitten:
        raise ContractFault(f"{case.ability}: the fault {fault} met no call")
    clean = read_page(case, case.client(), {})
    if _said(case, client, through.documents) != _said(case, client, clean.documents):
        raise ContractFault(f"{case.ability}{_after(fault, at)} reads other documents than without it")


def _said(case: Case, client: Any, documents: Sequence[Document]) -> list[tuple[str | None, ...]]:
    """What must be equal when it is read again: everything, but only kind and ref of a snapshot, which moves on."""
    if by_reference(client, case.ability):
        return sorted((d.kind, d.ref) for d in documents)
    return [(kind, ref, version, body.decode(errors="replace")) for kind, ref, version, body in _digest(documents)]


def _read(case: Case) -> list[Document]:
    case.fresh()
    return read_all(case, case.client())[0]


def _error_of(case: Case, client: Any) -> YipanError | None:
    """The error one call of the ability ends with."""
    if _writes(case):
        return attempt(client, case.ability, case.outgoing(), _first_step(case)).error
    try:
        read_page(case, client, {})
    except YipanError as error:
        return error
    return None


def _expect(error: YipanError | None, classes: tuple[type[YipanError], ...], what: str) -> None:
    if not isinstance(error, classes):
        got = f"{type(error).__name__}: {error}" if error else "no error"
        raise ContractFault(f"{what} gives {got}; it should be {' or '.join(c.__name__ for c in classes)}")


def _writes(case: Case) -> bool:
    return case.ability.startswith("send_")


def _first_step(case: Case) -> str:
    return case.claim.steps[0] if case.claim.steps else ""


def _patience(fault: str) -> float:
    return HASTY_S if fault.startswith("timeout") else PATIENT_S


def _after(fault: str, at: int) -> str:
    return f" after {fault} of call {at}" if fault else ""


def _digest(documents: Sequence[Document]) -> list[tuple[str, str, str | None, bytes]]:
    return sorted((d.kind, d.ref, d.version, d.body) for d in documents)
