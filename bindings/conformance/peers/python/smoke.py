"""Stock nats-py, unmodified, against a server: URL and a .creds file as arguments; prints one line a check."""

import asyncio
import sys

import nats
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig


def check(what: str, fine: bool) -> None:
    if not fine:
        raise SystemExit(f"FAILED {what}")
    print(f"ok {what}", flush=True)


async def main(url: str, creds: str) -> None:
    client = await nats.connect(url, user_credentials=creds, allow_reconnect=False)
    sub = await client.subscribe("py.plain")
    await client.publish("py.plain", b"hello", headers={"K": "v"})
    message = await sub.next_msg(timeout=5)
    check("publish and subscribe", message.data == b"hello" and message.headers == {"K": "v"})

    taken: list[int] = []
    workers = [await client.subscribe("py.queue", queue="workers") for _ in range(2)]
    for number in range(100):
        await client.publish("py.queue", str(number).encode())
    # Its flush does not end behind what was published before it: the PING goes out first, now and then.
    async with asyncio.timeout(5):
        while len(taken) < 100:
            await asyncio.sleep(0)
            for worker in workers:
                while worker.pending_msgs:
                    taken.append(int((await worker.next_msg(timeout=5)).data))
    await client.flush()
    check("nothing comes twice", not any(worker.pending_msgs for worker in workers))
    check("queue group", sorted(taken) == list(range(100)))

    async def answer(request):
        await request.respond(request.data.upper())

    await client.subscribe("py.service", cb=answer)
    reply = await client.request("py.service", b"abc", timeout=5)
    check("request", reply.data == b"ABC")
    try:
        await client.request("py.nobody", b"", timeout=5)
        check("no responders", False)
    except nats.errors.NoRespondersError:
        check("no responders", True)

    js = client.jetstream()
    await js.add_stream(StreamConfig(name="PYJOBS", subjects=["pyjobs.>"], retention=RetentionPolicy.WORK_QUEUE))
    acks = [await js.publish("pyjobs.a", str(number).encode()) for number in range(20)]
    check("stream and publish", [ack.seq for ack in acks] == list(range(1, 21)))
    again = [await js.publish("pyjobs.b", b"x", headers={"Nats-Msg-Id": "one"}) for _ in range(2)]
    check("duplicate", again[1].duplicate is True and again[1].seq == 21)
    pull = await js.pull_subscribe("pyjobs.>", durable="workers", config=ConsumerConfig(ack_wait=5))
    messages = await pull.fetch(21, timeout=5)
    check("pull", len(messages) == 21)
    for message in messages[:-1]:
        await message.ack()
    await messages[-1].ack_sync()
    check("ack", (await js.stream_info("PYJOBS")).state.messages == 0)

    kv = await js.create_key_value(bucket="PYKV", history=3)
    await kv.put("a", b"1")
    revision = await kv.update("a", b"2", last=1)
    entry = await kv.get("a")
    check("key-value put, update, get", entry.value == b"2" and entry.revision == revision)
    await kv.create("b", b"x")
    check("key-value keys", sorted(await kv.keys()) == ["a", "b"])
    watcher = await kv.watchall()
    seen = []
    async for update in watcher:
        if update is None:
            break
        seen.append((update.key, update.value))
    check("key-value watch", sorted(seen) == [("a", b"2"), ("b", b"x")])
    await kv.delete("a")
    try:
        await kv.get("a")
        check("key-value delete", False)
    except nats.js.errors.KeyNotFoundError:
        check("key-value delete", True)
    check("key-value history", [e.operation for e in await kv.history("a")] == [None, None, "DEL"])
    await js.delete_key_value("PYKV")
    await js.delete_stream("PYJOBS")
    await client.drain()


asyncio.run(main(sys.argv[1], sys.argv[2]))
