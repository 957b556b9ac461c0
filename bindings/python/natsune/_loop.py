"""One completion queue for each event loop: the native part writes to a descriptor, the loop reads and drains.

No native thread ever enters the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import Any

from natsune import _native

_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Loop] = weakref.WeakKeyDictionary()


class Loop:
    """What waits on one event loop."""

    __slots__ = ("__weakref__", "_fd", "_futures", "_loop", "process", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not the loop itself: a value that holds its own key is never collected.
        self._loop = weakref.ref(loop)
        self._futures: dict[int, asyncio.Future[None]] = {}
        self.queue, self._fd = _native.queue_new()
        self.process = os.getpid()
        loop.add_reader(self._fd, _drain, weakref.ref(self))
        weakref.finalize(self, _close, self._loop, self.queue, self._fd, self.process)

    def drained(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 64)
        futures = self._futures
        for number in _native.queue_drain(self.queue):
            future = futures.pop(number, None)
            if future is not None and not future.done():
                future.set_result(None)

    async def wait(self, number: int) -> None:
        """Until `number` is finished. Cancelled: the operation is cancelled too and leaves nothing behind."""
        if self._loop() is not asyncio.get_running_loop():
            _native.cancel(number)
            raise _elsewhere()
        try:
            await self.expect(number)
        except BaseException:
            # Also when it finished in the meantime: its result may be a handle or messages.
            self.forget(number)
            raise

    def expect(self, number: int) -> asyncio.Future[None]:
        """Done when `number` is finished. To be asked for before anything else is waited for."""
        loop = self._loop()
        if loop is None:
            _native.cancel(number)
            raise _elsewhere()
        future = self._futures[number] = loop.create_future()
        return future

    def forget(self, number: int) -> None:
        """Nobody waits for `number` any more: the operation is cancelled, or its result goes back."""
        self._futures.pop(number, None)
        _native.cancel(number)

    async def run(self, target: int, verb: str, document: str = "{}") -> Any:
        """An operation of the control lane, and its result."""
        number = _native.start(self.queue, target, verb, document)
        await self.wait(number)
        return _native.finish(number)


def _elsewhere() -> RuntimeError:
    return RuntimeError(
        "a client and all that is made of it belong to the event loop that it connected in, "
        "and this is another one: connect again here"
    )


def _drain(reference: weakref.ref[Loop]) -> None:
    loop = reference()
    if loop is not None:
        loop.drained()


def _close(reference: weakref.ref[asyncio.AbstractEventLoop], queue: int, fd: int, process: int) -> None:
    loop = reference()
    # Before the descriptor is closed, or a reused number would get stray bytes. Not in a forked child: it shares the
    # selector with its parent, who would never be woken again.
    if loop is not None and not loop.is_closed() and process == os.getpid():
        loop.remove_reader(fd)
    _native.queue_close(queue)
    os.close(fd)


def current() -> Loop:
    """The queue of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _loops.get(loop)
    # A forked child may go on with the loop of its parent, but not with the parent's queue.
    if found is None or found.process != os.getpid():
        found = _loops[loop] = Loop(loop)
    return found
