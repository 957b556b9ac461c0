"""Lifetimes: event loops that end, several of them, forks, what is forgotten, the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import client, run

import natsune
from natsune import _loop, _native


class Background:
    """An event loop on a thread of its own."""

    def __enter__(self) -> Background:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def opened(opening: Awaitable[Any]) -> Any:
    return await opening


FORKING = """
import asyncio, os, threading, natsune
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
def run(work):
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)
async def opened(opening):
    return await opening
broker = run(opened(natsune.Broker.start()))
client = run(opened(natsune.connect(broker.url)))
run(client.flush())
if os.fork() == 0:
    raise SystemExit(0)
assert os.wait()[1] == 0
print(run(client.rtt()) < 20)
"""


def test_a_forked_child_that_ends_leaves_its_parent_alone() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_another_event_loop_is_said() -> None:
    made: list[natsune.Client] = []

    async def first() -> None:
        made.append(await natsune.connect(url))
        await made[0].flush()

    async def second() -> None:
        for wait in (made[0].flush, lambda: made[0].request("a"), made[0].close):
            with pytest.raises(RuntimeError, match="event loop"):
                await wait()
        with pytest.raises(RuntimeError, match="event loop"):
            made[0].events()

    with Background() as background:
        broker = background.run(opened(natsune.Broker.start()))
        url = broker.url
        asyncio.run(first())
        gc.collect()
        asyncio.run(second())
        made.clear()
        nc = background.run(opened(natsune.connect(url)))

        async def here() -> None:
            with pytest.raises(RuntimeError, match="event loop"):
                await nc.flush()

        asyncio.run(here())
        background.run(nc.flush())
        background.run(nc.close())
        background.run(broker.stop())


def test_loops_of_several_threads() -> None:
    counts: list[int] = []

    async def talk(url: str, name: str) -> None:
        async with natsune.connect(url) as nc, nc.subscribe(name) as sub:
            for number in range(500):
                await nc.publish(name, str(number))
            await nc.flush()
            seen = [await sub.next(30) for _ in range(500)]
            assert [int(each.data) for each in seen if each] == list(range(500))
            counts.append(len(seen))

    with Background() as background:
        broker = background.run(opened(natsune.Broker.start()))
        threads = [threading.Thread(target=asyncio.run, args=(talk(broker.url, f"t{n}"),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        background.run(broker.stop())
    assert counts == [500] * 4


def test_publishing_from_other_threads() -> None:
    @run
    async def test() -> None:
        async with client() as nc, nc.subscribe("threads") as sub:

            def publish() -> None:
                for _ in range(1000):
                    nc.publish("threads", b"x")

            await asyncio.gather(*(asyncio.to_thread(publish) for _ in range(4)))
            for _ in range(4000):
                assert await sub.next(30)

    test()


def test_event_loops_leave_nothing() -> None:
    async def visit() -> None:
        async with natsune.connect(url) as nc:
            await nc.flush()

    with Background() as background:
        broker = background.run(opened(natsune.Broker.start()))
        url = broker.url
        asyncio.run(visit())
        gc.collect()
        files, handles, loops = len(os.listdir("/proc/self/fd")), _native.open_handles(), len(_loop._loops)
        for _ in range(20):
            asyncio.run(visit())
        gc.collect()
        assert len(_loop._loops) <= loops
        assert _native.open_handles() <= handles
        # Sockets of closed clients are closed in the background.
        deadline = time.monotonic() + 20
        while len(os.listdir("/proc/self/fd")) > files:
            assert time.monotonic() < deadline
            os.sched_yield()
        background.run(broker.stop())


@run
async def test_contexts_with_a_domain_leave_nothing() -> None:
    async with client() as nc:
        before = _native.open_handles()
        for _ in range(10):
            nc.jetstream()
            nc.jetstream(domain="hub")
            nc.jetstream(prefix="$JS.hub.API").stream("S")
        assert _native.open_handles() == before
        await nc.flush()


@contextmanager
def warned(expected: list[str]) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    found = [str(each.message) for each in caught if "subscription" in str(each.message)]
    assert found == expected


@run
async def test_a_forgotten_subscription_warns() -> None:
    async with client() as nc:
        with warned(["a subscription to forgotten was forgotten: it is unsubscribed now"]):
            await nc.subscribe("forgotten")
        with warned([]):
            async with nc.subscribe("entered"):
                pass
            sub = await nc.subscribe("unsubscribed")
            await sub.unsubscribe()
            sub = await nc.subscribe("drained")
            await sub.drain()
            sub = await nc.subscribe("one", max_messages=1)
            nc.publish("one")
            assert await sub.next(20)
            sub = await nc.subscribe("closed")
            await nc.close()
            del sub


FORGETTING = """
import asyncio, natsune
async def main():
    async with natsune.Broker.start() as broker, natsune.connect(broker.url) as client:
        await client.subscribe("a")
        await client.flush()
        print(client.stats().subscriptions)
asyncio.run(main())
"""


def test_a_warning_that_is_an_error_unsubscribes_as_well() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", FORGETTING], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("0\n", 0)
    assert "was forgotten" in done.stderr


@run
async def test_what_was_never_awaited_warns() -> None:
    async with client() as nc:
        consumer = nc.jetstream().consumer("S", "c")
        for call in (lambda: nc.subscribe("a"), consumer.consume, natsune.connect, natsune.Broker.start):
            with pytest.warns(RuntimeWarning, match="never awaited or entered") as caught:
                call()
            assert caught[0].filename == __file__


@run
async def test_a_scope_is_left_when_every_await_is_cancelled() -> None:
    async def scope(nc: natsune.Client, entered: asyncio.Event) -> None:
        async with nc:
            entered.set()
            await asyncio.sleep(60)

    async with natsune.Broker.start() as broker:
        # Kept, so that no finaliser closes them.
        clients = [await natsune.connect(broker.url) for _ in range(20)]
        for nc in clients:
            entered = asyncio.Event()
            task = asyncio.ensure_future(scope(nc, entered))
            await entered.wait()
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
        deadline = time.monotonic() + 20
        while any(_state(nc) != "closed" for nc in clients):
            assert time.monotonic() < deadline
            await asyncio.sleep(0)


def _state(nc: natsune.Client) -> str:
    try:
        return str(json.loads(_native.info(nc._handle, "state")))
    except natsune.ClosedError:
        return "closed"


SUBINTERPRETER = """
import natsune
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters  # before Python 3.13
try:
    print(interpreters.run_string(interpreters.create(), "import natsune"))
except interpreters.RunFailedError as error:
    print(error)
"""


def test_a_second_interpreter_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", SUBINTERPRETER], capture_output=True, text=True, timeout=60)
    # Python itself may refuse before we do, in words of its own.
    assert "subinterpreters" in done.stdout
    assert done.returncode == 0


def test_a_missing_native_part_is_said(tmp_path: Path) -> None:
    source = Path(natsune.__file__).parent
    shutil.copytree(source, tmp_path / "natsune", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = subprocess.run(
        [sys.executable, "-c", "import natsune"], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert "ImportError: natsune cannot load its native part" in done.stderr
    assert "No module named 'natsune._native'" in done.stderr
    assert "circular" not in done.stderr


PROGRAM = """
import asyncio, sys, natsune
async def main():
    broker = await natsune.Broker.start()
    client = await natsune.connect(broker.url)
    sub = await client.subscribe("a")
    await client.publish("a", b"x")
    consumer = client.jetstream().consumer("S", "c")
    message = await sub.next(20)
    events = client.events()
    %s
asyncio.run(main())
%s
"""


@pytest.mark.parametrize(
    ("inside", "after"),
    [
        ("", ""),
        ("globals().update(locals())", ""),
        ("sys.modules['natsune'].kept = locals()", ""),
        ("client.me = sub.me = client", ""),
        ("asyncio.ensure_future(sub.next()); asyncio.ensure_future(anext(events)); await asyncio.sleep(0)", ""),
        (
            "import threading; globals().update(locals())",
            "threading.Thread(target=lambda: client.publish('a')).start()",
        ),
    ],
)
def test_the_interpreter_ends_with_everything_open(inside: str, after: str) -> None:
    for development in ([], ["-X", "dev"]):
        done = subprocess.run(
            [sys.executable, *development, "-c", PROGRAM % (inside, after)], capture_output=True, text=True, timeout=60
        )
        lines = [line for line in done.stderr.splitlines() if "Warning" not in line and line.strip()]
        assert (done.returncode, [line for line in lines if "Error" in line or "Exception" in line]) == (0, [])


def test_an_interrupt_closes_what_was_entered() -> None:
    # Started in the background, by a script say, a program ignores interrupts; and so do those that it starts.
    program = """
import asyncio, natsune, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
async def main():
    async with natsune.Broker.start() as broker, natsune.connect(broker.url) as client, client.subscribe("a") as sub:
        print("ready", flush=True)
        try:
            async for message in sub:
                pass
        finally:
            print("left", flush=True)
    print("never")
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        try:
            assert child.communicate(timeout=30)[0] == "left\ninterrupted\n"
        finally:
            child.kill()
        assert child.returncode == 0
