"""Subscriptions: iteration over batches that belong to the subscription, so that leaving a loop loses nothing."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from natsune import _native
from natsune._client_types import SubscriptionStats
from natsune._documents import Seconds, document, read, seconds
from natsune._errors import InvalidArgumentError, NatsError
from natsune._loop import Loop
from natsune._native import Message

M = TypeVar("M")

_BATCH = 256
_BYTES = 4 << 20
_ENDED = 2
# What the native part can count to.
_MOST = (1 << 32) - 1


class Taking(Generic[M]):
    """What is taken in batches: subscriptions, consumptions, readers. Iterate it, or ask for the next one."""

    def __init__(self, loop: Loop, handle: int) -> None:
        self._loop, self._handle = loop, handle
        self._batch: deque[M] = deque()
        self._taken = 0
        self._over = False
        # Nothing more comes from the native part; what is in the batch is still given.
        self._ended = False
        self._stopped = False

    def __aiter__(self) -> AsyncIterator[M]:
        return Messages(self)

    async def next(self, timeout: Seconds | None = None) -> M | None:
        """The next message; None when none came within `timeout`, or when it ended."""
        limit = None if timeout is None else seconds(timeout)
        if limit is not None and not limit >= 0:
            raise InvalidArgumentError("`timeout` must be seconds from 0 on", detail={"field": "timeout"})
        if not self._batch:
            try:
                async with asyncio.timeout(limit) as deadline:
                    # Again when somebody else who waits was faster.
                    while not self._batch and await self._fill(_BATCH):
                        pass
            except TimeoutError:
                if not deadline.expired():
                    raise
        # After a time-out as well: one may have come together with the deadline.
        return self._batch.popleft() if self._batch else None

    def batches(self, max: int = _BATCH) -> AsyncIterator[list[M]]:
        """Lists of what is there, at most `max` messages each; ends as the iteration does."""
        return Batches(self, max)

    async def _fill(self, most: int) -> bool:
        """Takes what is there, waiting for some; False: it ended."""
        waited = False
        while not self._over:
            # The batch is empty and more is asked for: all that was taken before has been handled.
            try:
                messages, state = self._take(most, self._taken)
            except BaseException:
                self._ended = True
                raise
            self._taken = len(messages)
            self._ended = state == _ENDED
            # After the last messages it is asked once more, so that they count as handled too.
            self._over = self._ended and not messages
            if messages:
                self._batch.extend(messages)
                if not waited:
                    # A flood must not keep the loop from everything else.
                    await asyncio.sleep(0)
                return True
            if self._over:
                break
            waited = True
            await self._loop.wait(_native.start_ready(self._loop.queue, self._handle))
        return False

    def _take(self, most: int, done: int) -> tuple[list[M], int]:
        raise NotImplementedError

    def _stop(self) -> None:
        """Ends it at once, also for those who wait; what was not handed out is gone."""
        self._batch.clear()
        self._over = self._ended = self._stopped = True
        _native.close_handle(self._handle)

    def __del__(self) -> None:
        # A forgotten one is unsubscribed; nothing here blocks.
        _native.close_handle(self._handle)


# No generators: a generator that is cancelled while it waits has ended, and the next `anext` would look like the end.


class Messages(AsyncIterator[M]):
    """One message after the other."""

    __slots__ = ("_of",)

    def __init__(self, of: Taking[M]) -> None:
        self._of = of

    async def __anext__(self) -> M:
        of = self._of
        batch = of._batch
        # Again when somebody else who waits was faster.
        while not batch:
            if not await of._fill(_BATCH):
                raise StopAsyncIteration
        return batch.popleft()


class Batches(AsyncIterator[list[M]]):
    """Lists of messages."""

    __slots__ = ("_max", "_of")

    def __init__(self, of: Taking[M], max: int) -> None:
        self._of = of
        self._max = min(max, _MOST) if max > 0 else 1

    async def __anext__(self) -> list[M]:
        of = self._of
        batch = of._batch
        while not batch:
            if not await of._fill(self._max):
                raise StopAsyncIteration
        return [batch.popleft() for _ in range(min(self._max, len(batch)))]


class Subscription(Taking[Message]):
    """Messages of one subject. Leaving a loop over it does not end it; `async with`, `unsubscribe` and `drain` do."""

    def __init__(self, loop: Loop, handle: int, client: Any, subject: str) -> None:
        super().__init__(loop, handle)
        self._client = client
        self.subject = subject
        """The subject that was subscribed to."""

    def _take(self, most: int, done: int) -> tuple[list[Message], int]:
        return self._client._take(self._handle, most, _BYTES, done)  # type: ignore[no-any-return]

    async def unsubscribe(self, after: int | None = None) -> None:
        """Ends it now, or after `after` messages in all. What waits is dropped; `drain` hands it out."""
        if not self._stopped:
            await self._loop.run(self._handle, "sub.unsubscribe", document(after=after))
        self._ended = self._ended or after is None

    async def drain(self) -> None:
        """Ends it when everything that came was handed out and handled."""
        if not self._stopped:
            await self._loop.run(self._handle, "sub.drain")
        self._ended = True

    async def closed(self) -> None:
        """Waits until it ended."""
        if not self._stopped:
            await self._loop.run(self._handle, "sub.closed")

    def stats(self) -> SubscriptionStats:
        """Counters in one snapshot. What waits in this facade's batch counts as pending."""
        stats = read(SubscriptionStats, _native.info(self._handle, "sub.stats"))
        stats.pending += len(self._batch)
        stats.delivered -= len(self._batch)
        return stats

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __del__(self) -> None:
        forgotten = not self._ended and self._still_open()
        super().__del__()
        # Last: a filter may make an error of it.
        if forgotten:
            message = f"a subscription to {self.subject} was forgotten: it is unsubscribed now"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def _still_open(self) -> bool:
        try:
            if _native.info(self._client._handle, "state") in ('"closed"', '"draining"'):
                return False
            # It may have ended by itself since the last look.
            return self._take(1, self._taken)[1] != _ENDED
        except NatsError:
            return False
