"""NATS for Python: publish and subscribe, request and reply, JetStream; and a broker in the package for tests.

async with natsune.connect("nats://localhost:4222") as client:
    client.publish("greet.joe", b"hello")
"""

try:
    # First and by its full name: any other way a missing one looks like a circular import.
    import natsune._native  # noqa: F401
except ImportError as error:
    raise ImportError(
        "natsune cannot load its native part, which is there for CPython 3.11 and newer on Linux, x86-64, "
        f"with glibc 2.17 or newer: {error}"
    ) from error

from natsune import _errors, _headers, _jetstream, _native
from natsune._broker import Broker
from natsune._client import Client, connect
from natsune._client_types import (
    CredentialsInfo,
    Event,
    NamespaceInfo,
    PublishCounts,
    ServerInfo,
    Stats,
    SubscriptionStats,
)
from natsune._credentials import Credentials
from natsune._errors import (
    AlreadyExistsError,
    AuthError,
    BusyError,
    ClosedError,
    ConflictError,
    IntegrityError,
    InternalError,
    InvalidArgumentError,
    LimitExceededError,
    NatsConnectionError,
    NatsError,
    NatsPermissionError,
    NatsTimeoutError,
    NoRespondersError,
    NotFoundError,
    ServerError,
    UnavailableError,
    UnsupportedError,
)
from natsune._headers import Headers
from natsune._jetstream import Consumer, Consumption, JetStream, StoredMessage, Stream
from natsune._jetstream_types import (
    AccountInfo,
    ConsumerConfig,
    ConsumerInfo,
    PublishAck,
    StreamConfig,
    StreamInfo,
    StreamState,
)
from natsune._native import JetStreamMessage, Message, MessageMetadata
from natsune._subscription import Subscription
from natsune._tls import TlsOptions

__version__ = _native.version()

_native.install(
    error=_errors.make_error,
    headers=_headers.Headers,
    pack=_headers.pack_headers,
    ack_sync=_jetstream.ack_sync,
)

__all__ = [
    "AccountInfo",
    "AlreadyExistsError",
    "AuthError",
    "Broker",
    "BusyError",
    "Client",
    "ClosedError",
    "ConflictError",
    "Consumer",
    "ConsumerConfig",
    "ConsumerInfo",
    "Consumption",
    "Credentials",
    "CredentialsInfo",
    "Event",
    "Headers",
    "IntegrityError",
    "InternalError",
    "InvalidArgumentError",
    "JetStream",
    "JetStreamMessage",
    "LimitExceededError",
    "Message",
    "MessageMetadata",
    "NamespaceInfo",
    "NatsConnectionError",
    "NatsError",
    "NatsPermissionError",
    "NatsTimeoutError",
    "NoRespondersError",
    "NotFoundError",
    "PublishAck",
    "PublishCounts",
    "ServerError",
    "ServerInfo",
    "Stats",
    "StoredMessage",
    "Stream",
    "StreamConfig",
    "StreamInfo",
    "StreamState",
    "Subscription",
    "SubscriptionStats",
    "TlsOptions",
    "UnavailableError",
    "UnsupportedError",
    "connect",
]
