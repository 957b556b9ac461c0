"""Headers: ordered, several values a name, names as they are written (ADR-4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import pack
from typing import TypeAlias

from natsune._errors import InvalidArgumentError


class Headers:
    """The headers of a message: ordered, multi-value, case-sensitive. `str(headers)` is for people."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: HeadersLike | None = None) -> None:
        self._pairs: list[tuple[str, str]] = [] if pairs is None else _pairs(pairs)

    def get(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        return next((value for key, value in self._pairs if key == name), None)

    def values(self, name: str) -> list[str]:
        """All values of `name`, in order."""
        return [value for key, value in self._pairs if key == name]

    def set(self, name: str, value: str) -> None:
        """One value, in place of all that were there."""
        self.delete(name)
        self._pairs.append((name, value))

    def append(self, name: str, value: str) -> None:
        """One value more."""
        self._pairs.append((name, value))

    def delete(self, name: str) -> None:
        """Removes `name`."""
        self._pairs = [pair for pair in self._pairs if pair[0] != name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._pairs == other._pairs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


HeadersLike: TypeAlias = Headers | Mapping[str, str | Iterable[str]] | Iterable[tuple[str, str]]


def _pairs(headers: HeadersLike) -> list[tuple[str, str]]:
    if isinstance(headers, Headers):
        return list(headers)
    try:
        if not isinstance(headers, Mapping):
            # A text is its letters, and a letter is no pair.
            return [(name, value) for name, value in headers]
        pairs: list[tuple[str, str]] = []
        for name, value in headers.items():
            pairs += [(name, value)] if isinstance(value, str) else [(name, each) for each in value]
        return pairs
    except (TypeError, ValueError):
        raise _wrong() from None


def _wrong() -> InvalidArgumentError:
    text = "headers are `Headers`, a mapping of names to a text or several, or pairs of texts"
    return InvalidArgumentError(text, detail={"field": "headers"})


def pack_headers(headers: HeadersLike) -> bytes:
    """Headers as they cross into the native part, which checks them."""
    out = bytearray()
    for pair in _pairs(headers):
        for text in pair:
            if not isinstance(text, str):
                raise _wrong()
            data = text.encode()
            out += pack("<I", len(data)) + data
    return bytes(out)
