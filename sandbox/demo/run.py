"""One run of the demo: open the town, sell, ship, deliver, wait until nothing is due, audit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.demo.accounts import read_books, report, wait_until_quiet
from sandbox.demo.goods import goods
from sandbox.demo.onboard import onboard
from sandbox.demo.sharing import Broker
from sandbox.demo.shoppers import Truck, plan, shop_around
from sandbox.demo.town import Stopped, Town, town

HANG_S = 1.2
TIMEOUT_S = 0.8
STALL_S = 60.0
USED = "this database holds a hub already: the demo wants an empty one (YIPAN_DATABASE), or a fresh --home"
SETTINGS = {
    "YIPAN_BUS__PATIENCE": "0.06",
    "YIPAN_BUS__TIMEOUT_S": str(TIMEOUT_S),
    "YIPAN_BUS__LEASE_S": "8",
    "YIPAN_BUS__RETRY_S": "2",
    "YIPAN_BUS__SWEEP_S": "0.5",
    "YIPAN_BUS__THREADS": "12",
}
"""The demo's hub waits less than a real one: its shops and couriers are on this machine."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a run. kills: how many hub processes are killed with -9 while it runs.

    lie: a twin, and the units by which it shows one thing wrongly when all is quiet; lose: a twin, and the ability of
    which it answers one call as done without doing it.
    """

    orders: int = 300
    seed: int = 7
    faults: str = "mild"
    hints: bool = True
    leave: bool = False
    home: Path | None = None
    kills: int = 0
    lie: tuple[str, int] | None = None
    lose: tuple[str, str] | None = None


def run(wanted: Plan, as_json: bool) -> int:
    """Run it; 0 when the audit is clean. Progress goes to stderr, the result to stdout."""
    home = wanted.home or Path(tempfile.mkdtemp(prefix="yipan-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    settings = {**SETTINGS, "YIPAN_BUS__HINTS": "true" if wanted.hints else "false"}
    try:
        started = time.monotonic()
        with town(home, settings) as place:
            result = _play(place, wanted, started)
            print(json.dumps(result, ensure_ascii=False) if as_json else _words(result), flush=True)
            if not wanted.leave:
                _stay(place)
            return 0 if result["audit"] == "clean" else 1
    except Stopped as stopped:
        _say(str(stopped))
        return 1
    finally:
        if wanted.home is None:
            shutil.rmtree(home, ignore_errors=True)


def _play(place: Town, wanted: Plan, started: float) -> dict[str, Any]:
    if not (place.home / "first.json").exists():
        raise Stopped(USED)
    first = json.loads((place.home / "first.json").read_text())
    place.session.headers["Authorization"] = f"Bearer {first['api_key']}"
    on_sale = goods(wanted.orders)
    _say("onboarding two merchants, a distributor, six shops, two warehouses, a courier and an ERP")
    _set_faults(place, wanted.faults, wanted.seed)
    onboard(place, on_sale)
    if not wait_until_quiet(place, STALL_S, _say_busy):
        raise Stopped(f"the goods did not arrive: nothing has moved for {STALL_S:.0f} s")
    if wanted.lose:
        name, ability = wanted.lose
        place.ask(name, "lose", {"what": ability, "ability": ability})
    truck, killer = Truck(place), Killer(place, wanted.kills, wanted.seed)
    span_s = max(4.0, wanted.orders / 15)
    broker = Broker(place, on_sale, span_s)
    hints = "on" if wanted.hints else "off"
    _say(f"{wanted.orders} shoppers over {span_s:.0f} s, faults {wanted.faults}, hints {hints}, seed {wanted.seed}")
    if wanted.kills:
        _say(f"{wanted.kills} hub processes will be killed at random")
    shop_around(place, on_sale, plan(on_sale, wanted.orders, wanted.seed, span_s))
    killer.join()
    broker.join()
    quiet = wait_until_quiet(place, STALL_S, _say_busy)
    truck.stop()
    return _account(place, wanted, started, quiet)


def _account(place: Town, wanted: Plan, started: float, quiet: bool) -> dict[str, Any]:
    wall_s = time.monotonic() - started
    faults = {name: place.ask(name, "faults") for name in place.twins}
    for name in place.twins:
        if wanted.lie and wanted.lie[0] == name:
            place.ask(name, "lie", {"by": wanted.lie[1]})
    _rest(place)
    books = read_books(place)
    result = report(place, books, faults)
    placed = max(1, result["orders"]["placed"])
    result |= {"fdatasync_per_s": _disk(place.home), "commits_per_order": round(books.figures["commits"] / placed, 1)}
    verdict = result.pop("audit")
    if not quiet:
        verdict = [
            f"something was still due, and nothing has moved for {STALL_S:.0f} s",
            *(verdict if verdict != "clean" else []),
        ]
    return {**result, "wall_s": round(wall_s, 1), "audit": verdict}


def _set_faults(place: Town, level: str, seed: int) -> None:
    for n, name in enumerate(sorted(place.twins)):
        place.ask(name, "faults", {"seed": seed * 100 + n, "level": level, "hang_s": HANG_S})
        if level == "harsh" and name.startswith(("tmall", "vendure")):
            place.ask(name, "setup", {"moving_pages": True})


def _rest(place: Town) -> None:
    """No faults while the auditor reads."""
    for name in place.twins:
        place.ask(name, "faults", {"level": "none"})


class Killer:
    """Kills hub processes with -9 at random moments, the supervisor among them; the demo starts that one again."""

    def __init__(self, place: Town, kills: int, seed: int) -> None:
        self._place, self._left, self._chance = place, kills, random.Random(seed)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """All kills are done, and the hub runs."""
        self._thread.join()

    def _run(self) -> None:
        while self._left:
            time.sleep(self._chance.uniform(0.5, 2.0))
            self._kill(self._chance.choice(("worker", "web", "clock", "up")))

    def _kill(self, name: str) -> None:
        children = dict(line.split() for line in (self._place.home / "data" / "children").read_text().splitlines())
        if name not in children:
            return
        try:
            os.kill(int(children[name]), signal.SIGKILL)
        except ProcessLookupError:  # the supervisor that was started last has not named its children yet
            return
        self._left -= 1
        if name == "up" and self._place.hub:
            self._place.hub.wait()
            self._place.restarts += 1
            self._place.start_hub()
            self._place.wait_until_healthy()


def _disk(folder: Path) -> int:
    """How many fdatasync a second this disk does, measured for half a second."""
    path = folder / "disk-probe"
    handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    started, n = time.monotonic(), 0
    while time.monotonic() - started < 0.5:
        os.pwrite(handle, b"x" * 4096, 0)
        os.fdatasync(handle)
        n += 1
    os.close(handle)
    path.unlink()
    return int(n / 0.5)


def _stay(place: Town) -> None:
    """Keep the console open until Ctrl-C."""
    first = json.loads((place.home / "first.json").read_text())
    _say(f"the console stays up: {place.url}/  login {first['user']} / {first['password']}  (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        signal.pause()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_last: dict[str, Any] = {}


def _say_busy(busy: dict[str, Any]) -> None:
    if busy != _last.get("busy"):
        _last["busy"] = busy
        _say("  waiting for " + ", ".join(f"{name} {n}" for name, n in busy.items()) if busy else "  quiet")


def _words(result: dict[str, Any]) -> str:
    orders = ", ".join(f"{name} {n}" for name, n in result["orders"].items())
    rest = [f"{name}: {value}" for name, value in result.items() if name != "orders"]
    return "\n".join([f"orders: {orders}", *rest])
