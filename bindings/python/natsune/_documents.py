"""Documents cross as JSON: dataclasses on this side, one definition of names, defaults and checks on the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from natsune._errors import InvalidArgumentError

T = TypeVar("T")

Seconds: TypeAlias = float | timedelta
"""A duration: seconds, or a `timedelta`."""


def seconds(value: Seconds) -> float:
    """A duration as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def milliseconds(timeout: Seconds | None) -> int:
    """A time-out as the hot lane takes it: whole milliseconds, 0 for the client's own."""
    if timeout is None:
        return 0
    number = seconds(timeout)
    if not 0 <= number < 1e15:
        raise InvalidArgumentError("`timeout` must be seconds from 0 on", detail={"field": "timeout"})
    return max(1, round(number * 1000))


def plain(value: Any) -> Any:
    """What JSON can say: absent fields left out, durations as seconds, instants as RFC 3339."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        named = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name: plain(each) for name, each in named.items() if each is not None}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def document(value: Any = None, /, **named: Any) -> str:
    """A dataclass or named values as a JSON document."""
    try:
        return json.dumps(plain(named if value is None else value), allow_nan=False)
    except ValueError as error:
        raise InvalidArgumentError("numbers must be finite, and no value may hold itself") from error


def read(kind: type[T], text: str) -> T:
    """The dataclass of a JSON document."""
    return _read(kind, json.loads(text))  # type: ignore[no-any-return]


def read_list(kind: type[T], text: str) -> list[T]:
    """The dataclasses of a JSON list."""
    return [_read(kind, each) for each in json.loads(text)]


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _read(hints[name], each) for name, each in value.items() if name in hints})
    if kind is datetime:
        return _instant(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return [_read(arguments[0], each) for each in value]
    if origin is dict:
        return {name: _read(arguments[1], each) for name, each in value.items()}
    if arguments and origin is not None and type(None) in arguments:
        return _read(next(each for each in arguments if each is not type(None)), value)
    return value


def _instant(text: str) -> datetime:
    # The standard library reads six digits of a second; servers write nine.
    head, dot, tail = text.partition(".")
    if dot:
        digits = "".join(character for character in tail if character.isdigit())
        zone = tail[len(tail) - len(tail.lstrip("0123456789")) :]
        text = f"{head}.{(tail[: len(tail) - len(zone)] or digits)[:6]:0<6}{zone}"
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
