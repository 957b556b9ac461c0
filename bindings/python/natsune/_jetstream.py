"""JetStream: streams, consumers, acknowledged publishing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from natsune import _native
from natsune._client import Client
from natsune._documents import Seconds, document, milliseconds, read
from natsune._headers import Headers, HeadersLike, pack_headers
from natsune._jetstream_types import AccountInfo, ConsumerConfig, ConsumerInfo, PublishAck, StreamConfig, StreamInfo
from natsune._native import JetStreamMessage
from natsune._opening import Opening
from natsune._subscription import Taking

_BYTES = 4 << 20


class JetStream:
    """The JetStream of a connection. Made by `client.jetstream()`, without asking the server."""

    def __init__(self, client: Client, *, domain: str | None = None, prefix: str | None = None) -> None:
        self._client, self._loop = client, client._loop
        self._handle = client._handle
        if domain is not None or prefix is not None:
            self._handle = _native.jetstream(client._handle, document(domain=domain, prefix=prefix))

    def __del__(self) -> None:
        if self._handle != self._client._handle:
            _native.close_handle(self._handle)

    async def _run(self, verb: str, options: str = "{}") -> Any:
        return await self._loop.run(self._handle, verb, options)

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview | str = b"",
        *,
        headers: HeadersLike | None = None,
        id: str | None = None,
        expected_stream: str | None = None,
        expected_last_sequence: int | None = None,
        expected_last_subject_sequence: int | None = None,
        expected_last_message_id: str | None = None,
        ttl: Seconds | None = None,
        timeout: Seconds | None = None,
    ) -> PublishAck:
        """Publishes and waits for the stream's ack. With an `id` the stream stores it once, however often it comes."""
        options = None
        if (
            id is not None
            or expected_stream is not None
            or expected_last_sequence is not None
            or expected_last_subject_sequence is not None
            or expected_last_message_id is not None
            or ttl is not None
            or timeout is not None
        ):
            options = document(
                id=id,
                expected_stream=expected_stream,
                expected_last_sequence=expected_last_sequence,
                expected_last_subject_sequence=expected_last_subject_sequence,
                expected_last_message_id=expected_last_message_id,
                ttl=ttl,
                timeout=timeout,
            )
        loop = self._loop
        packed = pack_headers(headers) if headers is not None else b""
        number = _native.start_js_publish(loop.queue, self._handle, subject, packed, payload, options)
        await loop.wait(number)
        return PublishAck(**_native.finish_ack(number))

    async def account_info(self) -> AccountInfo:
        """What the account uses and may use."""
        return read(AccountInfo, await self._run("js.account_info"))

    async def create_stream(self, config: StreamConfig) -> Stream:
        """Makes a stream. The same again succeeds; another of that name is an `AlreadyExistsError`."""
        return self._stream(await self._run("js.create_stream", document(config)))

    async def update_stream(self, config: StreamConfig) -> Stream:
        """Changes a stream."""
        return self._stream(await self._run("js.update_stream", document(config)))

    async def create_or_update_stream(self, config: StreamConfig) -> Stream:
        """Makes or changes a stream."""
        return self._stream(await self._run("js.create_or_update_stream", document(config)))

    async def delete_stream(self, name: str) -> None:
        """Deletes a stream with its messages."""
        await self._run("js.delete_stream", document(stream=name))

    def stream(self, name: str) -> Stream:
        """A handle, made without asking the server."""
        return Stream(self, name, None)

    def consumer(self, stream: str, name: str) -> Consumer:
        """A handle, made without asking the server."""
        return Consumer(self, stream, name, None)

    def _stream(self, text: str) -> Stream:
        info = read(StreamInfo, text)
        return Stream(self, info.config.name, info)


@dataclass(kw_only=True)
class StoredMessage:
    """A message as a stream keeps it."""

    stream: str
    """Its stream."""
    subject: str
    """Its subject."""
    sequence: int
    """Its sequence in the stream."""
    timestamp_ns: int
    """When it was stored, nanoseconds since 1970."""
    data: bytes
    """Its payload."""
    headers: Headers
    """Its headers, never None."""


def _stored(found: tuple[_native.Message, str, int, int]) -> StoredMessage:
    message, stream, sequence, timestamp = found
    return StoredMessage(
        stream=stream,
        subject=message.subject,
        sequence=sequence,
        timestamp_ns=timestamp,
        data=message.data,
        headers=message.headers,
    )


class Stream:
    """A stream: messages in their order, kept."""

    def __init__(self, js: JetStream, name: str, info: StreamInfo | None) -> None:
        self._js = js
        self.name = name
        """Its name."""
        self.cached_info = info
        """What the server said when this handle was made; None when it was not asked."""

    async def info(self) -> StreamInfo:
        """Its configuration and state."""
        return read(StreamInfo, await self._js._run("js.stream_info", document(stream=self.name)))

    async def purge(self, *, filter: str | None = None, sequence: int | None = None, keep: int | None = None) -> int:
        """Deletes messages: all, of a subject, below a sequence, or all but the last `keep`. Gives how many."""
        options = document(stream=self.name, filter=filter, sequence=sequence, keep=keep)
        return int(read(_Purged, await self._js._run("js.purge_stream", options)).purged)

    async def get(
        self, sequence: int | None = None, *, last_for: str | None = None, next_for: str | None = None
    ) -> StoredMessage | None:
        """One message by its sequence, or the last of a subject, or the next of a subject from `sequence` on."""
        options = document(stream=self.name, sequence=sequence, last_for=last_for, next_for=next_for)
        found = await self._js._run("js.get_message", options)
        return None if found is None else _stored(found)

    async def delete_message(self, sequence: int) -> None:
        """Deletes one message."""
        await self._js._run("js.delete_message", document(stream=self.name, sequence=sequence))

    def read(self, *, start: int | None = None) -> AsyncIterator[StoredMessage]:
        """Reads the stream in order from `start` on; ends at the end that it has by then."""
        return Reading(self, start)

    async def _reader(self, start: int | None) -> Reader:
        loop = self._js._loop
        handle = await self._js._run("stream.read", document(stream=self.name, start=start))
        return Reader(loop, handle, self._js._client)

    async def create_consumer(self, config: ConsumerConfig) -> Consumer:
        """Makes a consumer. The same again succeeds; another of that name is an `AlreadyExistsError`."""
        return await self._consumer("js.create_consumer", config)

    async def update_consumer(self, config: ConsumerConfig) -> Consumer:
        """Changes a consumer."""
        return await self._consumer("js.update_consumer", config)

    async def create_or_update_consumer(self, config: ConsumerConfig) -> Consumer:
        """Makes or changes a consumer."""
        return await self._consumer("js.create_or_update_consumer", config)

    async def _consumer(self, verb: str, config: ConsumerConfig) -> Consumer:
        info = read(ConsumerInfo, await self._js._run(verb, document(stream=self.name, config=config)))
        return Consumer(self._js, self.name, info.name, info)

    async def delete_consumer(self, name: str) -> None:
        """Deletes a consumer."""
        await self._js._run("js.delete_consumer", document(stream=self.name, consumer=name))

    def consumer(self, name: str) -> Consumer:
        """A handle, made without asking the server."""
        return Consumer(self._js, self.name, name, None)


@dataclass(kw_only=True)
class _Purged:
    purged: int = 0


class Reader(Taking[StoredMessage]):
    """A stream being read; see `Stream.read`."""

    def __init__(self, loop: Any, handle: int, client: Client) -> None:
        super().__init__(loop, handle)
        self._client = client

    def _take(self, most: int, done: int) -> tuple[list[StoredMessage], int]:
        found, state = self._client._take(self._handle, most, _BYTES, done)
        return [_stored(each) for each in found], state


class Reading(AsyncIterator[StoredMessage]):
    """A stream being read, opened by the first that is asked for; a cancelled wait ends nothing."""

    def __init__(self, stream: Stream, start: int | None) -> None:
        self._stream, self._start = stream, start
        self._messages: AsyncIterator[StoredMessage] | None = None

    async def __anext__(self) -> StoredMessage:
        if self._messages is None:
            self._messages = aiter(await self._stream._reader(self._start))
        return await anext(self._messages)


class Consumer:
    """A cursor on a stream, with its own memory of what was handled."""

    def __init__(self, js: JetStream, stream: str, name: str, info: ConsumerInfo | None) -> None:
        self._js = js
        self.stream = stream
        """Its stream's name."""
        self.name = name
        """Its name."""
        self.cached_info = info
        """What the server said when this handle was made; None when it was not asked."""

    def _document(self, **more: Any) -> str:
        return document(stream=self.stream, consumer=self.name, **more)

    async def info(self) -> ConsumerInfo:
        """Its configuration and state."""
        return read(ConsumerInfo, await self._js._run("js.consumer_info", self._document()))

    async def next(self, timeout: Seconds | None = None) -> JetStreamMessage | None:
        """The next message; None when none came within `timeout` (5 s)."""
        messages = await self._messages("consumer.next", self._document(timeout=timeout))
        return messages[0] if messages else None

    async def fetch(
        self,
        max_messages: int,
        *,
        max_bytes: int | None = None,
        timeout: Seconds | None = None,
        no_wait: bool | None = None,
    ) -> list[JetStreamMessage]:
        """Up to `max_messages`; an empty list when none came within `timeout`."""
        options = self._document(max_messages=max_messages, max_bytes=max_bytes, timeout=timeout, no_wait=no_wait)
        return await self._messages("consumer.fetch", options)

    async def _messages(self, verb: str, options: str) -> list[JetStreamMessage]:
        loop = self._js._loop
        number = _native.start(loop.queue, self._js._handle, verb, options)
        await loop.wait(number)
        return self._js._client._finish_messages(number)

    def consume(self, *, max_messages: int | None = None, max_bytes: int | None = None) -> Opening[Consumption]:
        """Keeps pulling, 500 messages ahead unless told otherwise; await it or enter it. Never ends on a reconnect."""
        options = self._document(max_messages=max_messages, max_bytes=max_bytes)

        async def make() -> Consumption:
            handle = await self._js._run("consumer.consume", options)
            return Consumption(self._js._loop, handle, self._js._client)

        async def close(made: Consumption) -> None:
            made.stop()

        return Opening("consume()", make, close)


class Consumption(Taking[JetStreamMessage]):
    """The messages of `consume`: iterate it. Leaving `async with` stops it."""

    def __init__(self, loop: Any, handle: int, client: Client) -> None:
        super().__init__(loop, handle)
        self._client = client

    def _take(self, most: int, done: int) -> tuple[list[JetStreamMessage], int]:
        return self._client._take(self._handle, most, _BYTES, done)

    def stop(self) -> None:
        """Ends it at once. What was not handed out comes again after the consumer's ack wait."""
        self._stop()

    async def drain(self) -> None:
        """Pulls no more and hands out what came; the iteration ends then."""
        if not self._stopped:
            await self._loop.run(self._handle, "consume.drain")

    async def __aenter__(self) -> Consumption:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def ack_sync(message: JetStreamMessage, queue_of: Client, timeout: Seconds | None) -> None:
    """The waiting half of `JetStreamMessage.ack_sync`."""
    loop = queue_of._loop
    number = message._start_ack_sync(loop.queue, milliseconds(timeout))
    await loop.wait(number)
    message._finish_ack_sync(number)
