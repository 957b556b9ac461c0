"""What is Python's own: cancellation, lifetime, fork, the wall. What all languages share is in the scenarios."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from support import client, run

import natsune
from natsune import _headers, _native


@run
async def test_cancelled_next_loses_nothing() -> None:
    async with client() as nc, nc.subscribe("numbers") as sub:
        seen: list[int] = []
        for number in range(300):
            waiting = asyncio.ensure_future(sub.next())
            await asyncio.sleep(0)
            nc.publish("numbers", str(number))
            if number % 2:
                await nc.flush()
                waiting.cancel()
            try:
                message = await waiting
            except asyncio.CancelledError:
                continue
            assert message is not None
            seen.append(int(message.data))
        await nc.flush()
        while (message := await sub.next(1)) is not None:
            seen.append(int(message.data))
        assert sorted(seen) == list(range(300))


@run
async def test_cancelled_request_leaves_nothing() -> None:
    async with client() as nc, nc.subscribe("silent") as silent:
        asked = asyncio.ensure_future(nc.request("silent", timeout=60))
        assert await silent.next(10) is not None
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert nc.stats().requests_waiting == 0


@run
async def test_leaving_a_loop_loses_nothing() -> None:
    async with client() as nc, nc.subscribe("loop") as sub:
        for number in range(700):
            nc.publish("loop", str(number))
        seen: list[int] = []
        while len(seen) < 700:
            async for message in sub:
                seen.append(int(message.data))
                if len(seen) % 7 == 0 or len(seen) == 700:
                    break
        assert seen == list(range(700))


@run
async def test_a_thousand_requests_at_once() -> None:
    async with client() as nc, nc.subscribe("echo") as service:

        async def serve() -> None:
            async for message in service:
                message.respond(message.data)

        serving = asyncio.ensure_future(serve())
        replies = await asyncio.gather(*(nc.request("echo", str(number), timeout=30) for number in range(1000)))
        assert [int(reply.data) for reply in replies] == list(range(1000))
        serving.cancel()


@run
async def test_publish_can_be_awaited_or_not() -> None:
    async with client() as nc, nc.subscribe("both") as sub:
        nc.publish("both", "plain")
        await nc.publish("both", bytearray(b"awaited"))
        nc.publish("both", memoryview(b"view"))
        texts = [(await sub.next(5)).data for _ in range(3)]  # type: ignore[union-attr]
        assert texts == [b"plain", b"awaited", b"view"]
        with pytest.raises(TypeError, match="payload is bytes"):
            nc.publish("both", 42)  # type: ignore[arg-type]


@run
async def test_an_empty_message_is_a_message() -> None:
    async with client() as nc, nc.subscribe("empty") as sub:
        nc.publish("empty")
        message = await sub.next(20)
        assert message
        assert len(message) == 0


@run
async def test_a_view_outlives_its_message() -> None:
    async with client() as nc, nc.subscribe("view") as sub:
        nc.publish("view", b"x" * 10_000)
        message = await sub.next(5)
        assert message is not None
        view = message.view()
        del message
        gc.collect()
        assert view.nbytes == 10_000
        assert view[9_999] == ord("x")
        assert view.readonly


@run
async def test_a_panic_inside_is_an_internal_error() -> None:
    async with client() as nc:
        for call in (lambda: nc.try_publish("x"), lambda: nc.stats(), lambda: nc.new_inbox()):
            _native.inject_panic()
            with pytest.raises(natsune.InternalError):
                call()
        await nc.flush()


@run
async def test_everything_after_close_is_closed() -> None:
    async with client() as nc:
        await nc.close()
        await nc.close()
        with pytest.raises(natsune.ClosedError):
            nc.try_publish("x")
        with pytest.raises(natsune.ClosedError):
            await nc.request("x")


@run
async def test_errors_are_builtins_too() -> None:
    async with client() as nc, nc.subscribe("silent"):
        with pytest.raises(TimeoutError) as caught:
            await nc.request("silent", timeout=0.05)
        assert isinstance(caught.value, natsune.NatsTimeoutError)
        assert caught.value.applied == "maybe"


@run
async def test_a_forgotten_subscription_is_unsubscribed() -> None:
    async with client() as nc:
        sub = await nc.subscribe("forgotten")
        assert nc.stats().subscriptions >= 1
        before = nc.stats().subscriptions
        del sub
        gc.collect()
        await nc.flush()
        assert nc.stats().subscriptions == before - 1


def in_child(url: str, told: Any) -> None:
    told.put("started")
    try:
        asyncio.run(use(url))
        told.put("connected again")
    except BaseException as error:
        told.put(f"{type(error).__name__}: {error}")


async def use(url: str) -> None:
    async with natsune.connect(url) as nc:
        await nc.flush()


@run
async def test_a_forked_child_gets_a_clear_error() -> None:
    async with client() as nc:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                nc.try_publish("x")
                os.write(writer, b"no error")
            except natsune.ClosedError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)  # noqa: ASYNC222
        assert b"forked child" in os.read(reader, 4096)
        os.close(reader)
        await nc.flush()


@run
async def test_a_forked_child_can_connect_again() -> None:
    async with natsune.Broker.start() as broker:
        context = multiprocessing.get_context("fork")
        told = context.Queue()
        child = context.Process(target=in_child, args=(broker.url, told))
        child.start()
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, told.get) == "started"
        assert await loop.run_in_executor(None, told.get) == "connected again"
        child.join()


def test_headers() -> None:
    headers = natsune.Headers({"a": "1", "B": ["2", "3"]})
    headers.append("a", "4")
    assert list(headers) == [("a", "1"), ("B", "2"), ("B", "3"), ("a", "4")]
    assert (headers.get("a"), headers.get("b"), headers.values("B")) == ("1", None, ["2", "3"])
    headers.set("a", "5")
    headers.delete("B")
    assert list(headers) == [("a", "5")]


def test_packed_headers_are_the_vectors() -> None:
    file = Path(__file__).parents[2] / "conformance" / "vectors" / "batch.json"
    vectors = json.loads(file.read_text())["headers"]
    assert len(vectors) > 3
    for vector in vectors:
        pairs = [(name, value) for name, value in vector["headers"]]
        assert _headers.pack_headers(pairs).hex() == vector["packed_hex"], vector["name"]


def test_credentials_are_never_shown() -> None:
    assert "SECRET" not in repr(natsune.Credentials.text("SECRET"))
    assert "SECRET" not in str(natsune.Credentials.text("SECRET"))
