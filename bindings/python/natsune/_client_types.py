"""Documents of the client and the broker: what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from natsune._documents import Seconds


@dataclass(kw_only=True)
class PublishCounts:
    """What became of everything published: `published = flushed + unknown + dropped + pending`."""

    published: int = 0
    """Accepted."""
    flushed: int = 0
    """Processed by the server."""
    unknown: int = 0
    """Written, then the connection broke: the server may have it."""
    dropped: int = 0
    """Given up."""
    pending: int = 0
    """Still ours or not confirmed yet."""
    rejected: int = 0
    """Refused by the server for lack of permission (these count as flushed as well)."""


@dataclass(kw_only=True)
class Stats:
    """Counters of a client since it was made."""

    in_messages: int = 0
    """Messages received, also those that an inbox had no room for."""
    in_bytes: int = 0
    """Bytes read from the connection, as plain text."""
    out_messages: int = 0
    """Messages published."""
    out_bytes: int = 0
    """Bytes written to the connection, as plain text."""
    dropped_messages: int = 0
    """Messages dropped because an inbox was full."""
    unreadable: int = 0
    """Frames skipped because their subject was not readable text."""
    connects: int = 0
    """Successful connects, the first one included."""
    buffered_bytes: int = 0
    """Bytes that wait in the outbound buffer."""
    requests_waiting: int = 0
    """Requests that wait for their answer."""
    subscriptions: int = 0
    """Open subscriptions."""
    publishes: PublishCounts = field(default_factory=PublishCounts)
    """What became of what was published."""


@dataclass(kw_only=True)
class SubscriptionStats:
    """Counters of one subscription since it was made."""

    pending: int = 0
    """Messages that wait to be taken."""
    pending_bytes: int = 0
    """Bytes that wait to be taken."""
    received: int = 0
    """Messages that came from the server."""
    delivered: int = 0
    """Messages handed out."""
    unhandled: int = 0
    """Messages handed out and not yet reported as handled."""
    dropped: int = 0
    """Messages dropped because there was no room."""


@dataclass(kw_only=True)
class ServerInfo:
    """What the server said of itself last."""

    server_id: str = ""
    """The server's id."""
    server_name: str = ""
    """The server's name."""
    version: str = ""
    """The server's version."""
    proto: int = 0
    """The protocol version."""
    host: str = ""
    """Where it listens, as it sees itself."""
    port: int = 0
    """The port it listens on."""
    headers: bool = False
    """Whether it takes message headers."""
    max_payload: int = 0
    """The largest message, headers included."""
    jetstream: bool = False
    """Whether JetStream is on."""
    client_id: int = 0
    """This connection's number."""
    client_ip: str = ""
    """Our address as the server sees it."""
    cluster: str = ""
    """The name of its cluster; empty without one."""
    domain: str = ""
    """The JetStream domain; empty without one."""
    auth_required: bool = False
    """Whether credentials are needed."""
    tls_required: bool = False
    """Whether TLS is needed."""
    tls_available: bool = False
    """Whether TLS is possible."""
    tls_verify: bool = False
    """Whether a client certificate is needed."""
    connect_urls: list[str] = field(default_factory=list)
    """Other servers of the cluster."""
    lame_duck: bool = False
    """Whether it will go away soon."""


@dataclass(kw_only=True)
class Event:
    """Something that happened to a client. `kind` says what; the other fields are there when they belong to it."""

    kind: str = ""
    """`connected` `disconnected` `reconnecting` `lame_duck` `slow_consumer` `permission_denied` `auth_expired`
    `server_error` `servers_changed` `closed`, or what a newer version knows."""
    reason: str | None = None
    """Why: `disconnected`, `closed` (absent when it was asked for)."""
    server: str | None = None
    """The server, `host:port`: `connected`."""
    unknown: int | None = None
    """Publishes that were written and not confirmed: `disconnected`."""
    pending: int | None = None
    """Publishes that are kept for the next connection: `disconnected`."""
    attempt: int | None = None
    """Counted from 1 since the break: `reconnecting`."""
    delay: Seconds | None = None
    """How long until the attempt begins: `reconnecting`."""
    subject: str | None = None
    """The subject: `slow_consumer`, `permission_denied`."""
    dropped: int | None = None
    """Messages dropped so far: `slow_consumer`."""
    operation: str | None = None
    """`publish` or `subscribe`: `permission_denied`."""
    text: str | None = None
    """The server's words: `server_error`."""
    servers: list[str] | None = None
    """The servers of the cluster: `servers_changed`."""


@dataclass(kw_only=True)
class NamespaceInfo:
    """A namespace: an account with its own subjects and streams."""

    id: str = ""
    """Its id: the account's public key."""
    name: str = ""
    """Its name."""
    created: datetime | None = None
    """When it was made."""


@dataclass(kw_only=True)
class CredentialsInfo:
    """Credentials of a namespace."""

    id: str = ""
    """Their id, a UUID."""
    name: str = ""
    """Their name."""
    namespace: str = ""
    """Name of the namespace."""
    namespace_id: str = ""
    """Id of the namespace."""
    public_key: str = ""
    """The user's public key."""
    created: datetime | None = None
    """When they were made."""
    creds_text: str | None = field(default=None, repr=False)
    """The text of the credentials file: a secret, given once, when they are made."""
