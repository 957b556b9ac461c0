"""The cases on nats-py: `peer.py CASE URL COUNT`."""

from __future__ import annotations

import common
import nats
from common import PAYLOAD, lanes, seen


async def make(case: str, url: str) -> common.Round:
    client = await nats.connect(url)
    # The most acks that are outstanding: what its own way of publishing many has for that.
    js = client.jetstream(publish_async_max_pending=256)
    if case == "sub":
        sub = await client.subscribe("bench.sub", pending_msgs_limit=0, pending_bytes_limit=0)
        await client.flush()
    if case == "jspull":
        consumer = await js.pull_subscribe_bind("bench", "BENCH")

    async def publish(count: int) -> None:
        for _ in range(count):
            await client.publish("bench.pub", PAYLOAD)
        await client.flush(60)

    async def receive(count: int) -> None:
        await client.publish("bench.flood", str(count).encode())
        async for message in sub.messages:
            seen(message.subject, message.data)
            count -= 1
            if count == 0:
                break

    async def ask() -> None:
        reply = await client.request("bench.req", PAYLOAD, timeout=30)
        seen(reply.subject, reply.data)

    async def store() -> None:
        await js.publish("bench.js", PAYLOAD)

    async def store_many(count: int) -> None:
        acks = [await js.publish_async("bench.js", PAYLOAD) for _ in range(count)]
        await js.publish_async_completed()
        for ack in acks:
            ack.result()

    async def pull(count: int) -> None:
        while count > 0:
            messages = await consumer.fetch(min(500, count), timeout=30)
            for message in messages:
                seen(message.subject, message.data)
                await message.ack()
            count -= len(messages)
        await client.flush(60)

    rounds: dict[str, common.Round] = {
        "pub": publish,
        "pub-await": publish,
        "sub": receive,
        "req1": lambda count: lanes(1, count, ask),
        "req256": lambda count: lanes(256, count, ask),
        "jspub1": lambda count: lanes(1, count, store),
        "jspub256": store_many,
        "jspull": pull,
    }
    return rounds[case]


common.run(make)
