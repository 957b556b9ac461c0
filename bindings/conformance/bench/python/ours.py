"""The cases on natsune: `ours.py CASE URL COUNT`."""

from __future__ import annotations

import common
import natsune
from common import PAYLOAD, lanes, seen


async def make(case: str, url: str) -> common.Round:
    client = await natsune.connect(url)
    js = client.jetstream()
    if case == "sub":
        sub = await client.subscribe("bench.sub", pending_messages=1 << 40, pending_bytes=1 << 50)
    if case == "jspull":
        consumption = await js.consumer("BENCH", "bench").consume(max_messages=500)

    async def plain(count: int) -> None:
        publish = client.try_publish
        for _ in range(count):
            if publish("bench.pub", PAYLOAD):
                await client.wait_writable()
        await client.flush()

    async def awaited(count: int) -> None:
        for _ in range(count):
            await client.publish("bench.pub", PAYLOAD)
        await client.flush()

    async def receive(count: int) -> None:
        await client.publish("bench.flood", str(count))
        async for message in sub:
            seen(message.subject, message.data)
            count -= 1
            if count == 0:
                break

    async def ask() -> None:
        reply = await client.request("bench.req", PAYLOAD)
        seen(reply.subject, reply.data)

    async def store() -> None:
        await js.publish("bench.js", PAYLOAD)

    async def pull(count: int) -> None:
        async for message in consumption:
            seen(message.subject, message.data)
            message.ack()
            count -= 1
            if count == 0:
                break
        await client.flush()

    rounds: dict[str, common.Round] = {
        "pub": plain,
        "pub-await": awaited,
        "sub": receive,
        "req1": lambda count: lanes(1, count, ask),
        "req256": lambda count: lanes(256, count, ask),
        "jspub1": lambda count: lanes(1, count, store),
        "jspub256": lambda count: lanes(256, count, store),
        "jspull": pull,
    }
    return rounds[case]


common.run(make)
