"""What all benches share: rounds with rivals side by side, machine facts, and the one JSON line at the end."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def machine_facts() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def race(rivals: dict[str, Callable[[], object]], *, heats: int, calls: int) -> dict[str, float]:
    """One round: rivals take turns in short heats; each one's best seconds per call, without gc as timeit."""
    best = dict.fromkeys(rivals, float("inf"))
    gc.collect()
    gc.disable()
    try:
        for _ in range(heats):
            for name, call in rivals.items():
                best[name] = min(best[name], seconds_per_call(call, calls))
    finally:
        gc.enable()
    return best


def seconds_per_call(call: Callable[[], object], times: int) -> float:
    """Mean wall time of one call over a run of calls."""
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times


def result_row(
    goal: str, ratios: Sequence[float], *, floor: float | None, target: float, absolute: dict[str, Any]
) -> dict[str, Any]:
    """One goal's row: the median of the rounds' ratios (larger is better) against floor and target."""
    median = statistics.median(ratios)
    return {
        "goal": goal,
        "ratio": round(median, 3),
        "min": round(min(ratios), 3),
        "max": round(max(ratios), 3),
        "floor": floor,
        "target": target,
        "held": floor is None or median >= floor,
        "met": median >= target,
        "absolute": absolute,
    }


def bench_result(bench: str, rounds: int, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The object of the last line."""
    return {"bench": bench, "rounds": rounds, "machine": machine_facts(), "results": list(results)}


class Unequal(AssertionError):
    """The rivals don't compute the same thing, so their times say nothing: the bench ends without a result."""


def must_equal(what: str, ours: object, theirs: object) -> None:
    """A hard condition of a bench; raises Unequal."""
    if ours != theirs:
        raise Unequal(f"{what}: ours {ours!r}, theirs {theirs!r}")
