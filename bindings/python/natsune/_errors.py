"""Errors: one root, one class a code. `retryable` and `applied` answer "may I try again?"."""

from __future__ import annotations

import json
from typing import Any, Literal, final


class NatsError(Exception):
    """The root of all errors of this package."""

    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        detail: dict[str, Any] | None = None,
        retryable: bool = False,
        applied: Literal["no", "maybe", "yes"] = "no",
    ) -> None:
        super().__init__(message)
        self.message = message
        """What was wrong and what to do; for people, never part of the API."""
        self.detail = detail or {}
        """Facts beside the code: `err_code`, `status`, `subject`, `field`."""
        self.retryable = retryable
        """Whether the same call may succeed later."""
        self.applied = applied
        """Whether the call had an effect on the server."""


class InvalidArgumentError(NatsError, ValueError):
    """The caller's own mistake; nothing was sent."""

    code = "invalid_argument"


class AuthError(NatsError):
    """The server does not accept these credentials."""

    code = "auth"


class NatsPermissionError(NatsError, PermissionError):
    """These credentials do not allow that."""

    code = "permission"


class NatsConnectionError(NatsError, ConnectionError):
    """No connection, or it broke."""

    code = "connection"


@final
class ClosedError(NatsError):
    """The object is closed."""

    code = "closed"


class NatsTimeoutError(NatsError, TimeoutError):
    """No answer in time."""

    code = "timeout"


class NoRespondersError(NatsError):
    """Nobody listens on that subject."""

    code = "no_responders"


class NotFoundError(NatsError, LookupError):
    """No such stream, consumer or namespace."""

    code = "not_found"


class AlreadyExistsError(NatsError):
    """It exists, with another configuration."""

    code = "already_exists"


class ConflictError(NatsError):
    """An expectation was not met."""

    code = "conflict"


class LimitExceededError(NatsError):
    """A limit of the server, stream or payload."""

    code = "limit_exceeded"


class BusyError(NatsError):
    """Our own buffer is full; `wait_writable` says when to go on."""

    code = "busy"


class UnavailableError(NatsError):
    """JetStream is not ready."""

    code = "unavailable"


class UnsupportedError(NatsError):
    """The server is too old or does not do that."""

    code = "unsupported"


class IntegrityError(NatsError):
    """A digest does not fit."""

    code = "integrity"


class ServerError(NatsError):
    """The server said something else; the text says what."""

    code = "server"


class InternalError(NatsError):
    """A fault in this library."""

    code = "internal"


_BY_CODE: dict[str, type[NatsError]] = {
    kind.code: kind
    for kind in (
        InvalidArgumentError,
        AuthError,
        NatsPermissionError,
        NatsConnectionError,
        ClosedError,
        NatsTimeoutError,
        NoRespondersError,
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        LimitExceededError,
        BusyError,
        UnavailableError,
        UnsupportedError,
        IntegrityError,
        ServerError,
        InternalError,
    )
}


def make_error(
    code: str, message: str, detail: str, retryable: bool, applied: Literal["no", "maybe", "yes"]
) -> NatsError:
    """The error for a failure of the native part; a code from a newer one is a plain `NatsError`."""
    return _BY_CODE.get(code, NatsError)(message, detail=json.loads(detail), retryable=retryable, applied=applied)
