"""The native part, as the type checker sees it."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeAlias, final

from natsune._documents import Seconds
from natsune._headers import Headers, HeadersLike

Payload: TypeAlias = bytes | bytearray | memoryview | str

class Message:
    """A message."""

    @property
    def subject(self) -> str:
        """Its subject."""
    @property
    def data(self) -> bytes:
        """Its payload, copied."""
    @property
    def reply(self) -> str | None:
        """Where a reply goes, if anywhere."""
    @property
    def headers(self) -> Headers:
        """Its headers, never None."""
    @property
    def status(self) -> int | None:
        """The status code of a message that the server made, else None."""
    def view(self) -> memoryview:
        """The payload without a copy: the view keeps the batch in memory that the message came in."""
    def respond(self, payload: Payload | None = None, *, headers: HeadersLike | None = None) -> Awaitable[None]:
        """Publishes to the reply subject; may be awaited like `Client.publish`."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class MessageMetadata:
    """Where a message stands."""

    @property
    def stream(self) -> str:
        """Its stream."""
    @property
    def consumer(self) -> str:
        """The consumer that delivered it."""
    @property
    def domain(self) -> str | None:
        """The JetStream domain, if any."""
    @property
    def stream_sequence(self) -> int:
        """Its sequence in the stream."""
    @property
    def consumer_sequence(self) -> int:
        """The sequence of this delivery."""
    @property
    def num_delivered(self) -> int:
        """How often it was delivered, this time included."""
    @property
    def num_pending(self) -> int:
        """How many messages the consumer has yet to deliver."""
    @property
    def timestamp_ns(self) -> int:
        """When the stream stored it, nanoseconds since 1970."""

@final
class JetStreamMessage(Message):
    """A message that a consumer delivered: it wants to be settled."""

    @property
    def metadata(self) -> MessageMetadata:
        """Where it stands."""
    def ack(self) -> None:
        """Handled; goes out with the next write. Again is nothing, after another verb an `InvalidArgumentError`."""
    def nak(self, delay: Seconds | None = None) -> None:
        """Give it again, at once or after `delay`."""
    def term(self, reason: str | None = None) -> None:
        """Never give it again."""
    def in_progress(self) -> None:
        """Still at it: the consumer's ack wait starts anew."""
    def ack_sync(self, timeout: Seconds | None = None) -> Coroutine[Any, Any, None]:
        """Handled, and waits for the server's confirmation. After a time-out it can be repeated."""
    def _start_ack_sync(self, queue: int, timeout_ms: int) -> int: ...
    def _finish_ack_sync(self, id: int) -> None: ...

class ClientBase:
    def __init__(self, handle: int) -> None: ...
    @property
    def _handle(self) -> int: ...
    def _set_pressure(self, pressure: Any) -> None: ...
    def publish(
        self,
        subject: str,
        payload: Payload | None = None,
        *,
        reply: str | None = None,
        headers: HeadersLike | None = None,
    ) -> Awaitable[None]:
        """Copies the message into the outbound buffer and accepts it at once. Await the result to wait while the
        buffer is under pressure. Raises `BusyError` when the buffer is full: then nothing was accepted.
        """
    def try_publish(
        self,
        subject: str,
        payload: Payload | None = None,
        *,
        reply: str | None = None,
        headers: HeadersLike | None = None,
    ) -> bool:
        """Accepts the message at once, or raises. True: under pressure, `wait_writable` before going on."""
    def _start_request(self, queue: int, subject: str, headers: bytes, payload: Payload, timeout_ms: int) -> int: ...
    def _finish_message(self, id: int) -> Message: ...
    def _finish_messages(self, id: int) -> list[Any]: ...
    def _take(self, handle: int, max_messages: int, max_bytes: int, done: int) -> tuple[list[Any], int]: ...

def version() -> str: ...
def install(
    *,
    error: Callable[..., Exception],
    headers: type[Headers],
    pack: Callable[[HeadersLike], bytes],
    ack_sync: Callable[..., Coroutine[Any, Any, None]],
) -> None: ...
def queue_new() -> tuple[int, int]: ...
def queue_drain(queue: int) -> list[int]: ...
def queue_close(queue: int) -> None: ...
def cancel(id: int) -> None: ...
def start(queue: int, target: int, verb: str, document: str) -> int: ...
def finish(id: int) -> Any: ...
def finish_ack(id: int) -> dict[str, Any]: ...
def start_js_publish(
    queue: int, target: int, subject: str, headers: bytes, payload: Payload, options: str | None
) -> int: ...
def start_ready(queue: int, handle: int) -> int: ...
def take_events(handle: int, most: int) -> tuple[list[str], int]: ...
def info(handle: int, what: str) -> str: ...
def jetstream(client: int, document: str) -> int: ...
def close_handle(handle: int) -> None: ...
def open_handles() -> int: ...
def inject_panic() -> None: ...
