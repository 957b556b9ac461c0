"""What happens to a client's connection, as an iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from natsune import _native
from natsune._client_types import Event
from natsune._documents import read
from natsune._loop import Loop

if TYPE_CHECKING:
    from natsune._client import Client

_MOST = 64
_ENDED = 2


class Events(AsyncIterator[Event]):
    """Events from the moment it was made. It ends with the client; a cancelled wait ends nothing."""

    def __init__(self, client: Client, loop: Loop) -> None:
        # Children keep their parents.
        self._client, self._loop = client, loop
        self._texts: deque[str] = deque()
        self._over = False
        self._handle: int | None = None
        self._number = 0
        # Started here and not at the first iteration, so that nothing in between is missed.
        self._number = _native.start(loop.queue, client._handle, "events", "")
        self._opened = loop.expect(self._number)

    async def __anext__(self) -> Event:
        if self._handle is None:
            # Shielded: a cancelled wait must not lose what happened since the beginning.
            await asyncio.shield(self._opened)
        if self._handle is None:
            self._handle = _native.finish(self._number)
        while not self._texts:
            if self._over:
                raise StopAsyncIteration
            texts, state = _native.take_events(self._handle, _MOST)
            self._texts.extend(texts)
            self._over = state == _ENDED
            if not texts and not self._over:
                await self._loop.wait(_native.start_ready(self._loop.queue, self._handle))
        return read(Event, self._texts.popleft())

    def __del__(self) -> None:
        if self._handle is None:
            self._loop.forget(self._number)
        else:
            _native.close_handle(self._handle)
