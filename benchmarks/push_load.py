"""The load of the callbacks bench, a process of its own: keep-alive connections, each push timed from when it was due.

`python -m benchmarks.push_load PORT PATH open RATE SECONDS` or `… closed CALLERS SECONDS`; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import count

CONNECTIONS = 50
PARCELS = 500
"""The waybills SF9…0 to SF9…499."""
ACCEPTED = b"HTTP/1.1 200"
MIND = b"0000"
"""What SF reads as kept."""


def push(n: int) -> bytes:
    """A route push no other equals."""
    row = {
        "id": str(n),
        "mailno": f"SF9{n % PARCELS:012}",
        "orderid": f"Y{n % PARCELS}",
        "acceptTime": "2026-06-18 10:00:00",
        "acceptAddress": "杭州市",
        "remark": "快件已到达【杭州转运中心】",
        "opCode": "31",
    }
    return json.dumps({"Body": {"WaybillRoute": [row]}}, ensure_ascii=False).encode()


class Caller:
    """One keep-alive connection."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json;charset=UTF-8\r\ncontent-length: "
        )

    async def open(self) -> Caller:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def call(self, body: bytes) -> bool:
        """Push once; whether it was accepted as kept."""
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        return head.startswith(ACCEPTED) and MIND in answer


async def offered(callers: list[Caller], rate: float, seconds: float, numbers: Iterator[int]) -> dict[str, object]:
    """An open loop: each push is due at its time, whether or not those before were answered."""
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    latencies: list[float] = []
    refused = 0

    async def work(caller: Caller) -> None:
        nonlocal refused
        while (job := await due.get()) is not None:
            at, body = job
            refused += not await caller.call(body)
            latencies.append(time.perf_counter() - at)

    workers = [asyncio.create_task(work(caller)) for caller in callers]
    start, total = time.perf_counter() + 0.05, int(rate * seconds)
    for n in range(total):
        at = start + n / rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        due.put_nowait((at, push(next(numbers))))
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    latencies.sort()
    p99, p50 = (latencies[int(len(latencies) * q)] * 1000 for q in (0.99, 0.5))
    return {"pushes": total, "refused": refused, "p50_ms": p50, "p99_ms": p99, "max_ms": latencies[-1] * 1000}


async def closed(callers: list[Caller], seconds: float, numbers: Iterator[int]) -> dict[str, object]:
    """Each caller pushes again as soon as it was answered."""
    refused = done = 0
    until = time.perf_counter() + seconds

    async def work(caller: Caller) -> None:
        nonlocal refused, done
        while time.perf_counter() < until:
            refused += not await caller.call(push(next(numbers)))
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(work(caller) for caller in callers))
    return {"pushes": done, "refused": refused, "per_s": done / (time.perf_counter() - started)}


async def main(port: int, path: str, way: str, first: float, seconds: float) -> None:
    """Load, then say what came of it."""
    callers = [await Caller(port, path).open() for _ in range(CONNECTIONS if way == "open" else int(first))]
    numbers = count(time.time_ns() // 1000)
    result = offered(callers, first, seconds, numbers) if way == "open" else closed(callers, seconds, numbers)
    print(json.dumps(await result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])))
