"""What can be awaited or entered: `await connect()` and `async with connect() as client`."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Opening(Generic[T]):
    """An object on its way: await it to have it, or enter it to have it closed at the end."""

    __slots__ = ("_close", "_made", "_make", "_used", "_what")

    def __init__(
        self, what: str, make: Callable[[], Coroutine[Any, Any, T]], close: Callable[[T], Awaitable[None]]
    ) -> None:
        self._what, self._make, self._close = what, make, close
        self._made: T | None = None
        self._used = False

    def __await__(self) -> Generator[Any, Any, T]:
        self._used = True
        return self._make().__await__()

    async def __aenter__(self) -> T:
        self._used = True
        self._made = await self._make()
        return self._made

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made is not None:
            await self._close(self._made)

    def __del__(self) -> None:
        # As for a coroutine: without the await nothing happened at all.
        if not self._used:
            warnings.warn(f"{self._what} was never awaited or entered", RuntimeWarning, stacklevel=2)
