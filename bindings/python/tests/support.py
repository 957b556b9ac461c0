"""What the tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps

import natsune


def run(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test on an event loop of its own, with a deadline."""

    @wraps(test)
    def wrapper() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    return wrapper


@asynccontextmanager
async def client() -> AsyncIterator[natsune.Client]:
    async with natsune.Broker.start() as broker, natsune.connect(broker.url) as made:
        yield made
