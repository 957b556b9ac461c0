"""The client: connect, publish, subscribe, request."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from natsune import _errors, _native
from natsune._client_types import Event, PublishCounts, ServerInfo, Stats
from natsune._credentials import Credentials
from natsune._documents import Seconds, document, milliseconds, read
from natsune._events import Events
from natsune._headers import HeadersLike, pack_headers
from natsune._loop import Loop, current
from natsune._native import Message
from natsune._opening import Opening
from natsune._subscription import Subscription
from natsune._tls import TlsOptions

if TYPE_CHECKING:
    from natsune._jetstream import JetStream


class _Pressure:
    """What `publish` gives under pressure: awaiting it waits for room, at most `publish_timeout`."""

    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        # Weak: the native part keeps this, and a circle through it would never be collected.
        self._client = weakref.ref(client)

    def __await__(self) -> Generator[Any, Any, None]:
        client = self._client()
        if client is not None:
            yield from client._loop.run(client._handle, "client.publish_room").__await__()


class Client(_native.ClientBase):
    """A connection to a NATS server that mends itself. Made by `connect`.

    `publish(subject, payload=b"", *, reply=None, headers=None)` accepts the message at once and gives something that
    may be awaited: it waits while the outbound buffer is under pressure, and lets the event loop run now and then.
    After `publish_timeout` that is a `NatsTimeoutError`, and the message stays accepted. It is an awaitable, not a
    coroutine: `asyncio.create_task` does not take it.
    """

    _loop: Loop

    def _begin(self, loop: Loop) -> None:
        self._loop = loop
        self._set_pressure(_Pressure(self))

    async def wait_writable(self) -> None:
        """Waits until the outbound buffer is below its mark."""
        await self._loop.run(self._handle, "client.wait_writable")

    def subscribe(
        self,
        subject: str,
        *,
        queue: str | None = None,
        pending_messages: int | None = None,
        pending_bytes: int | None = None,
        when_full: Literal["drop_new", "drop_old"] | None = None,
        max_messages: int | None = None,
        confirm: bool | None = None,
    ) -> Opening[Subscription]:
        """Subscribes; await it or enter it. Completes when the server confirmed it, so a missing right is raised here.

        The inbox keeps 524,288 messages and 64 MiB unless told otherwise; what does not fit is dropped (`when_full`)
        and counted.
        """
        options = document(
            subject=subject,
            queue=queue,
            pending_messages=pending_messages,
            pending_bytes=pending_bytes,
            when_full=when_full,
            max_messages=max_messages,
            confirm=confirm,
        )

        async def make() -> Subscription:
            handle = await self._loop.run(self._handle, "client.subscribe", options)
            return Subscription(self._loop, handle, self, subject)

        async def close(made: Subscription) -> None:
            made._stop()

        return Opening(f"subscribe({subject!r})", make, close)

    async def request(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview | str = b"",
        *,
        headers: HeadersLike | None = None,
        timeout: Seconds | None = None,
    ) -> Message:
        """Sends a request and waits for its reply; `NoRespondersError` at once when nobody listens."""
        packed = pack_headers(headers) if headers is not None else b""
        number = self._start_request(self._loop.queue, subject, packed, payload, milliseconds(timeout))
        await self._loop.wait(number)
        return self._finish_message(number)

    async def flush(self) -> PublishCounts:
        """One round trip to the server; what was published before it has been processed. Gives what became of it."""
        return read(PublishCounts, await self._loop.run(self._handle, "client.flush"))

    async def rtt(self) -> float:
        """The time of one round trip, in seconds."""
        answer = json.loads(await self._loop.run(self._handle, "client.rtt"))
        return float(answer["seconds"] if isinstance(answer, dict) else answer)

    async def drain(self) -> None:
        """Hands out what was received, flushes what was published, then closes."""
        await self._loop.run(self._handle, "client.drain")

    async def close(self) -> None:
        """Closes at once. Again is nothing; everything else afterwards is a `ClosedError`."""
        await self._loop.run(self._handle, "client.close")

    async def closed(self) -> str | None:
        """Waits until the client is closed for good, and says why (None: it was asked to)."""
        answer = await self._loop.run(self._handle, "client.closed")
        return json.loads(answer).get("reason") if answer else None

    async def reconnect(self) -> None:
        """Leaves the connection and makes a new one."""
        await self._loop.run(self._handle, "client.reconnect")

    def events(self) -> AsyncIterator[Event]:
        """What happens to the connection from this call on; ends when the client is closed."""
        return Events(self, self._loop)

    def stats(self) -> Stats:
        """Counters, in one snapshot."""
        return read(Stats, _native.info(self._handle, "stats"))

    @property
    def server_info(self) -> ServerInfo:
        """What the server last said of itself."""
        return read(ServerInfo, _native.info(self._handle, "server_info"))

    @property
    def max_payload(self) -> int:
        """The largest payload, headers included, that the server takes; bytes."""
        return int(json.loads(_native.info(self._handle, "max_payload")))

    def new_inbox(self) -> str:
        """A fresh reply subject."""
        return str(json.loads(_native.info(self._handle, "new_inbox")))

    def jetstream(self, *, domain: str | None = None, prefix: str | None = None) -> JetStream:
        """The JetStream of this connection."""
        from natsune._jetstream import JetStream

        return JetStream(self, domain=domain, prefix=prefix)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _leave(self)

    def __del__(self) -> None:
        _native.close_handle(self._handle)


async def _leave(client: Client) -> None:
    # Leaving the scope sends what was accepted, for at most 2 s.
    try:
        async with asyncio.timeout(2):
            await client.flush()
    except (_errors.NatsError, TimeoutError):
        pass
    finally:
        try:
            await client.close()
        except BaseException:
            # Cancelled again, as some frameworks do at every await: it closes in the background.
            _native.close_handle(client._handle)
            raise


def connect(
    servers: str | Sequence[str] | None = None,
    *,
    creds: Credentials | None = None,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    nkey_seed: str | None = None,
    tls: TlsOptions | None = None,
    name: str | None = None,
    connect_timeout: Seconds | None = None,
    reconnect: bool | None = None,
    reconnect_delay: Seconds | None = None,
    reconnect_delay_max: Seconds | None = None,
    max_reconnects: int | None = None,
    ping_interval: Seconds | None = None,
    max_pings_out: int | None = None,
    write_timeout: Seconds | None = None,
    outbound_mark: int | None = None,
    outbound_limit: int | None = None,
    publish_timeout: Seconds | None = None,
    request_timeout: Seconds | None = None,
    subscribe_timeout: Seconds | None = None,
    drain_timeout: Seconds | None = None,
    buffer_while_disconnected: bool | None = None,
    retry_on_failed_connect: bool | None = None,
    no_echo: bool | None = None,
    inbox_prefix: str | None = None,
    ignore_discovered_servers: bool | None = None,
    keep_server_order: bool | None = None,
    pending_messages: int | None = None,
    pending_bytes: int | None = None,
) -> Opening[Client]:
    """Connects to one of `servers` (`nats://localhost:4222` when none is given); await it or enter it.

    Completes when the server answered, so wrong credentials fail here. Durations are seconds or `timedelta`. The
    defaults are in the documentation of the Rust crate and the same in every language: reconnect for ever, 100 ms
    doubling to 5 s with jitter; ping every 10 s; requests 5 s.
    """
    named = {key: value for key, value in locals().items() if key not in ("servers", "creds") and value is not None}
    if servers is not None:
        named["servers"] = [servers] if isinstance(servers, str) else list(servers)
    if creds is not None:
        if not isinstance(creds, Credentials):
            text = "`creds` is `Credentials.file(path)` or `Credentials.text(text)`"
            raise _errors.InvalidArgumentError(text, detail={"field": "creds"})
        named |= creds._document()
    options = document(named)

    async def make() -> Client:
        loop = current()
        handle = await loop.run(0, "connect", options)
        client = Client(handle)
        client._begin(loop)
        return client

    return Opening("connect()", make, _leave)
