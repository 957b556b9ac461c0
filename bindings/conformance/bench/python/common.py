"""What the two programs share: a round to warm up, a measured round, one JSON line."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

PAYLOAD = b"x" * 128

Round = Callable[[int], Awaitable[None]]


def seen(subject: str, data: bytes) -> None:
    """A message as the case wants it: its subject and its payload are looked at."""
    if len(data) != len(PAYLOAD) or not subject:
        raise ValueError(f"{len(data)} bytes on {subject!r}")


async def lanes(parallel: int, count: int, once: Callable[[], Awaitable[None]]) -> None:
    """So many tasks, each one operation after the other."""
    numbers = iter(range(count))

    async def lane() -> None:
        for _ in numbers:
            await once()

    await asyncio.gather(*(lane() for _ in range(parallel)))


def run(make: Callable[[str, str], Awaitable[Round]]) -> None:
    """`CASE URL COUNT`: makes the case's round, warms up and measures."""
    case, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

    async def main() -> None:
        one_round = await make(case, url)
        await one_round(count // 4)
        begun, cpu = time.perf_counter(), time.process_time()
        await one_round(count)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        line = {"case": case, "ops": count, "seconds": seconds, "cpu_seconds": cpu}
        print(json.dumps(line), flush=True)

    asyncio.run(main())
