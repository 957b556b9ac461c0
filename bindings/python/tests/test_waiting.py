"""Waiting: cancelled at the worst moment, by several at once, with no time at all."""

from __future__ import annotations

import asyncio
import gc
import select
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from support import client, run

import natsune
from natsune import _native


async def cancelled_when_done(loop: Any, wait: Awaitable[object]) -> None:
    """Cancels a wait after its operation finished and before it heard of that."""
    task = asyncio.ensure_future(wait)
    # It has begun to wait after one turn.
    await asyncio.sleep(0)
    assert loop._futures
    assert select.select([loop._fd], [], [], 20)[0]
    loop.drained()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@run
async def test_cancelled_with_the_answer_leaves_no_subscription() -> None:
    async with client() as nc:
        before = nc.stats().subscriptions
        await cancelled_when_done(nc._loop, nc.subscribe("late"))
        await nc.flush()
        assert nc.stats().subscriptions == before


@run
async def test_cancelled_with_the_messages_they_go_to_the_next_fetch() -> None:
    async with client() as nc:
        js = nc.jetstream()
        stream = await js.create_stream(natsune.StreamConfig(name="S", subjects=["s"], storage="memory"))
        consumer = await stream.create_consumer(natsune.ConsumerConfig(durable="c", ack_wait=3600))
        for number in range(3):
            await js.publish("s", str(number))
        await cancelled_when_done(nc._loop, consumer.fetch(3, timeout=20))
        messages = await consumer.fetch(3, timeout=20)
        assert [message.data for message in messages] == [b"0", b"1", b"2"]
        assert [message.metadata.num_delivered for message in messages] == [1, 1, 1]


@run
async def test_no_time_at_all_still_gives_what_is_there() -> None:
    async with client() as nc, nc.subscribe("now") as sub:
        assert await sub.next(0) is None
        nc.publish("now", "1")
        nc.publish("now", "2")
        await nc.flush()
        messages = [await sub.next(timeout=0) for _ in range(3)]
        assert [message and message.data for message in messages] == [b"1", b"2", None]


async def publish_and_drain(nc: natsune.Client, sub: natsune.Subscription, count: int) -> None:
    """Numbers on `shared`, with turns for others in between."""
    for number in range(count):
        nc.publish("shared", str(number))
        if number % 3 == 0:
            await asyncio.sleep(0)
    await nc.flush()
    await sub.drain()


@run
async def test_several_wait_for_the_next_one() -> None:
    async with client() as nc, nc.subscribe("shared") as sub:
        seen: list[int] = []

        async def worker() -> None:
            while (message := await sub.next()) is not None:
                seen.append(int(message.data))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(worker())
            await publish_and_drain(nc, sub, 500)
        assert seen == list(range(500))


@run
async def test_several_wait_for_batches() -> None:
    async with client() as nc, nc.subscribe("shared") as sub:
        seen: list[int] = []

        async def worker() -> None:
            async for batch in sub.batches(7):
                assert 0 < len(batch) <= 7
                seen.extend(int(message.data) for message in batch)

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(worker())
            await publish_and_drain(nc, sub, 500)
        assert seen == list(range(500))


@run
async def test_batches_are_never_empty() -> None:
    async with client() as nc, nc.subscribe("batches") as sub:
        for number in range(3):
            nc.publish("batches", str(number))
        await nc.flush()
        draining = asyncio.ensure_future(sub.drain())
        assert [[message.data for message in batch] async for batch in sub.batches(0)] == [[b"0"], [b"1"], [b"2"]]
        await draining


async def patiently(messages: AsyncIterator[Any]) -> list[Any]:
    """Everything that comes, by waits that are cancelled at once."""
    seen = []
    while True:
        try:
            seen.append(await asyncio.wait_for(anext(messages), 0.000_01))
        except TimeoutError:
            continue
        except StopAsyncIteration:
            return seen


@run
async def test_a_cancelled_wait_does_not_end_an_iterator() -> None:
    async with client() as nc, nc.subscribe("patient") as sub:
        js = nc.jetstream()
        stream = await js.create_stream(natsune.StreamConfig(name="S", subjects=["s"], storage="memory"))
        reading = asyncio.ensure_future(patiently(aiter(sub)))
        for number in range(100):
            nc.publish("patient", str(number))
            await js.publish("s", str(number))
        await sub.drain()
        assert [int(message.data) for message in await reading] == list(range(100))
        stored = stream.read(start=11)
        assert (await anext(stored)).sequence == 11
        assert [message.sequence for message in await patiently(stored)] == list(range(12, 101))
        async with nc.subscribe("patient") as again:
            reading = asyncio.ensure_future(patiently(again.batches(1 << 40)))
            for _ in range(100):
                await nc.publish("patient")
            await again.drain()
            assert sum(len(batch) for batch in await reading) == 100


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes the connection, and then reads no more."""
    writer.write(b'INFO {"server_id":"deaf","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}\r\n')
    while not (await reader.readline()).startswith(b"PING"):
        pass
    writer.write(b"PONG\r\n")


@run
async def test_publish_waits_no_longer_than_its_time() -> None:
    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    nc = await natsune.connect(url, publish_timeout=0.1, outbound_mark=100_000)
    accepted = 0

    async def flood() -> None:
        nonlocal accepted
        while accepted < 1000:
            accepted += 1
            await nc.publish("a", bytes(50_000))

    with pytest.raises(natsune.NatsTimeoutError, match="was accepted") as caught:
        await flood()
    assert (caught.value.applied, caught.value.retryable) == ("maybe", False)
    assert nc.stats().publishes.published == accepted
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await nc.wait_writable()
    await nc.close()
    server.close()


@run
async def test_leaving_ends_those_who_wait() -> None:
    async with client() as nc:

        async def iterate(sub: natsune.Subscription) -> str:
            async for _ in sub:
                pass
            return "ended"

        async with nc.subscribe("left") as sub:
            tasks = [asyncio.ensure_future(iterate(sub)) for _ in range(2)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == ["ended", "ended"]
        # Again is nothing.
        assert await sub.next() is None
        await sub.unsubscribe()
        await sub.drain()
        await sub.closed()


@run
async def test_events_begin_with_the_call_and_outlive_a_cancelled_wait() -> None:
    async with client() as nc:
        events = nc.events()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.001)
        await nc.reconnect()
        assert (await anext(events)).kind == "disconnected"
        kinds = []
        while "connected" not in kinds:
            try:
                kinds.append((await asyncio.wait_for(anext(events), 0.001)).kind)
            except TimeoutError:
                continue
        await nc.close()
        assert [event.kind async for event in events][-1] == "closed"
        with pytest.raises(StopAsyncIteration):
            await anext(events)


@run
async def test_events_that_nobody_asked_for_leave_nothing() -> None:
    async with client() as nc:
        before = _native.open_handles()
        for _ in range(100):
            nc.events()
        taken = nc.events()
        waiting = asyncio.ensure_future(anext(taken))
        await nc.rtt()
        waiting.cancel()
        del taken, waiting
        while _native.open_handles() > before:
            await asyncio.sleep(0)
            gc.collect()


@run
async def test_a_deadline_outside_passes_through() -> None:
    async with client() as nc, nc.subscribe("quiet") as sub:
        for wait in (sub.next(), sub.next(60), nc.request("quiet", timeout=60), nc.closed(), anext(nc.events())):
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.01):
                    await wait
            assert not isinstance(caught.value, natsune.NatsError)
        assert nc.stats().requests_waiting == 0


@run
async def test_one_failure_cancels_a_group() -> None:
    async with client() as nc, nc.subscribe("quiet") as sub:

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(sub.next())
                group.create_task(nc.request("quiet", timeout=60))
                group.create_task(nc.request("nobody"))

        with pytest.raises(ExceptionGroup) as caught:
            await together()
        assert caught.group_contains(natsune.NoRespondersError)
        assert nc.stats().requests_waiting == 0
