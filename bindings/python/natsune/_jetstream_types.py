"""Documents of JetStream: configurations and what the server says of streams, consumers and the account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from natsune._documents import Seconds

DeliverPolicy: TypeAlias = Literal["all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"] | str
"""Where a consumer begins."""

AckPolicy: TypeAlias = Literal["explicit", "all", "none", "flow_control"] | str
"""How messages are acknowledged."""

ReplayPolicy: TypeAlias = Literal["instant", "original"] | str
"""How fast stored messages are delivered."""

PriorityPolicy: TypeAlias = Literal["none", "overflow", "pinned_client", "prioritized"] | str
"""Which of several clients of a consumer is served."""

RetentionPolicy: TypeAlias = Literal["limits", "interest", "workqueue"] | str
"""When a stream lets messages go."""

StorageType: TypeAlias = Literal["file", "memory"] | str
"""Where a stream keeps its messages."""

DiscardPolicy: TypeAlias = Literal["old", "new"] | str
"""What happens at a limit."""

Compression: TypeAlias = Literal["none", "s2"] | str
"""How a stream's messages are compressed on disk."""

PersistMode: TypeAlias = Literal["default", "async"] | str
"""When a publish to a stream is acknowledged."""


@dataclass(kw_only=True)
class ConsumerConfig:
    """The configuration of a consumer. Absent fields get the server's defaults."""

    durable: str | None = None
    """Name of a consumer that stays."""
    name: str | None = None
    """Name of a consumer that goes when it is not used."""
    description: str | None = None
    """What it is for."""
    deliver_policy: DeliverPolicy | None = None
    """Where it begins."""
    start_sequence: int | None = None
    """Sequence to begin with."""
    start_time: datetime | None = None
    """Time to begin with."""
    ack_policy: AckPolicy | None = None
    """How messages are acknowledged."""
    ack_wait: Seconds | None = None
    """How long it waits for an ack before it delivers again."""
    max_deliver: int | None = None
    """Most deliveries of one message; -1 for no limit."""
    backoff: list[Seconds] = field(default_factory=list)
    """Waits before each further delivery."""
    filter_subject: str | None = None
    """Only this subject."""
    filter_subjects: list[str] = field(default_factory=list)
    """Only these subjects."""
    replay_policy: ReplayPolicy | None = None
    """How fast stored messages are delivered."""
    rate_limit: int | None = None
    """Bits per second for a push consumer."""
    sample_frequency: int | None = None
    """Share of acks that are sampled, in percent."""
    max_waiting: int | None = None
    """Most pull requests that may wait."""
    max_ack_pending: int | None = None
    """Most messages that may wait for their ack; -1 for no limit."""
    headers_only: bool = False
    """Only headers are delivered."""
    max_batch: int | None = None
    """Most messages of one pull request."""
    max_expires: Seconds | None = None
    """Longest time of one pull request."""
    max_bytes: int | None = None
    """Most bytes of one pull request."""
    inactive_threshold: Seconds | None = None
    """How long it stays unused."""
    num_replicas: int | None = None
    """Copies in a cluster; 0 as the stream."""
    memory_storage: bool = False
    """Its state is kept in memory."""
    pause_until: datetime | None = None
    """Nothing is delivered until then."""
    priority_groups: list[str] = field(default_factory=list)
    """Groups of clients."""
    priority_policy: PriorityPolicy | None = None
    """Which client of a group is served."""
    priority_timeout: Seconds | None = None
    """How long a pinned client may be silent."""
    deliver_subject: str | None = None
    """Subject that a push consumer delivers to."""
    deliver_group: str | None = None
    """Queue group of a push consumer."""
    flow_control: bool = False
    """A push consumer waits for the client."""
    idle_heartbeat: Seconds | None = None
    """How often a quiet push consumer says that it lives."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Notes of the user."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class SequenceInfo:
    """A position of a consumer."""

    consumer_sequence: int = 0
    """Sequence of the delivery."""
    stream_sequence: int = 0
    """Sequence in the stream."""
    last_active: datetime | None = None
    """When it last moved."""


@dataclass(kw_only=True)
class PeerInfo:
    """One of the servers that keep a copy."""

    name: str = ""
    """Name of the server."""
    current: bool = False
    """Whether it has everything."""
    offline: bool = False
    """Whether it cannot be reached."""
    active: Seconds | None = None
    """How long it was silent."""
    lag: int = 0
    """How many operations it is behind."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class ClusterInfo:
    """The place of a stream or consumer in a cluster."""

    name: str | None = None
    """Name of the cluster."""
    leader: str | None = None
    """Name of the leading server."""
    replicas: list[PeerInfo] = field(default_factory=list)
    """The other servers."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class ConsumerInfo:
    """A consumer as the server sees it."""

    stream: str = ""
    """Its stream."""
    name: str = ""
    """Its name."""
    created: datetime | None = None
    """When it was made."""
    config: ConsumerConfig = field(default_factory=ConsumerConfig)
    """Its configuration, with the server's defaults."""
    delivered: SequenceInfo = field(default_factory=SequenceInfo)
    """The last delivery."""
    ack_floor: SequenceInfo = field(default_factory=SequenceInfo)
    """Up to where everything is acknowledged."""
    num_ack_pending: int = 0
    """Delivered messages that wait for their ack."""
    num_redelivered: int = 0
    """Messages that were delivered more than once."""
    num_waiting: int = 0
    """Pull requests that wait."""
    num_pending: int = 0
    """Messages not delivered yet."""
    cluster: ClusterInfo | None = None
    """Its place in the cluster."""
    push_bound: bool = False
    """A client listens to this push consumer."""
    paused: bool = False
    """It is paused."""
    pause_remaining: Seconds | None = None
    """How long it stays paused."""
    timestamp: datetime | None = None
    """The server's time of this answer."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class SubjectTransform:
    """A subject and what it becomes."""

    source: str
    """The subject as published; wildcards allowed."""
    destination: str
    """What it becomes; `{{wildcard(1)}}` and the other functions of NATS."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class ExternalStream:
    """Where a stream of another account or domain is reached."""

    api_prefix: str
    """Prefix of its API, such as `$JS.hub.API`."""
    deliver_prefix: str | None = None
    """Prefix that its messages are delivered under."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class StreamSource:
    """Another stream that messages come from."""

    name: str
    """Name of the stream."""
    start_sequence: int | None = None
    """Sequence to begin with."""
    start_time: datetime | None = None
    """Time to begin with."""
    filter_subject: str | None = None
    """Only these subjects."""
    subject_transforms: list[SubjectTransform] = field(default_factory=list)
    """Subjects that are taken, and what they become."""
    external: ExternalStream | None = None
    """The stream is in another account or domain."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class Placement:
    """Where in a cluster a stream lives."""

    cluster: str | None = None
    """Name of the cluster."""
    tags: list[str] = field(default_factory=list)
    """Tags that its servers must have."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class Republish:
    """Stored messages are published again."""

    source: str
    """The subjects that are published again."""
    destination: str
    """The subject they get."""
    headers_only: bool = False
    """Only the headers are published."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class ConsumerLimits:
    """Limits that the consumers of a stream inherit."""

    inactive_threshold: Seconds | None = None
    """How long an unused consumer stays."""
    max_ack_pending: int | None = None
    """Most messages that may wait for their ack."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class StreamConfig:
    """The configuration of a stream. Absent fields get the server's defaults."""

    name: str
    """Name of the stream."""
    description: str | None = None
    """What it is for."""
    subjects: list[str] = field(default_factory=list)
    """The subjects it stores; wildcards allowed."""
    retention: RetentionPolicy | None = None
    """When messages are let go."""
    storage: StorageType | None = None
    """Where messages are kept."""
    discard: DiscardPolicy | None = None
    """What happens at a limit."""
    discard_new_per_subject: bool = False
    """With `discard` new: also refuse when the limit of one subject is reached."""
    max_messages: int | None = None
    """Most messages; -1 for no limit."""
    max_messages_per_subject: int | None = None
    """Most messages of one subject; -1 for no limit."""
    max_bytes: int | None = None
    """Most bytes; -1 for no limit."""
    max_age: Seconds | None = None
    """Oldest a message may get; 0 for no limit."""
    max_message_size: int | None = None
    """Largest message in bytes; -1 for no limit."""
    max_consumers: int | None = None
    """Most consumers; -1 for no limit."""
    num_replicas: int | None = None
    """Copies in a cluster, 1 to 5."""
    no_ack: bool = False
    """Publishes are not acknowledged."""
    duplicate_window: Seconds | None = None
    """How long message ids are remembered to find duplicates."""
    compression: Compression | None = None
    """Compression on disk."""
    first_sequence: int | None = None
    """Sequence of the first message."""
    sealed: bool = False
    """Nothing can be added or removed any more."""
    deny_delete: bool = False
    """Messages cannot be deleted one by one."""
    deny_purge: bool = False
    """The stream cannot be purged."""
    allow_rollup: bool = False
    """A message may replace all before it (`Nats-Rollup`)."""
    allow_direct: bool = False
    """Messages can be read from any replica."""
    mirror_direct: bool = False
    """Messages of the mirrored stream can be read from here."""
    mirror: StreamSource | None = None
    """The stream that this one copies."""
    sources: list[StreamSource] = field(default_factory=list)
    """The streams that this one gathers."""
    placement: Placement | None = None
    """Where in a cluster it lives."""
    republish: Republish | None = None
    """Stored messages are published again under another subject."""
    subject_transform: SubjectTransform | None = None
    """Messages are stored under another subject."""
    consumer_limits: ConsumerLimits | None = None
    """Limits that its consumers inherit."""
    allow_message_ttl: bool = False
    """Messages may have a time to live of their own (`Nats-TTL`)."""
    subject_delete_marker_ttl: Seconds | None = None
    """How long the mark of a message that aged out stays."""
    allow_message_counter: bool = False
    """Messages may be counters (`Nats-Incr`)."""
    allow_message_schedules: bool = False
    """Messages may be schedules."""
    allow_atomic_publish: bool = False
    """Batches may be published atomically."""
    allow_batched_publish: bool = False
    """Batches may be published fast."""
    persist_mode: PersistMode | None = None
    """When a publish is acknowledged."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Notes of the user."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know; they are sent back."""


@dataclass(kw_only=True)
class StreamState:
    """What a stream holds."""

    messages: int = 0
    """Messages."""
    bytes: int = 0
    """Bytes."""
    first_sequence: int = 0
    """Sequence of the first message."""
    first_timestamp: datetime | None = None
    """When the first message was stored."""
    last_sequence: int = 0
    """Sequence of the last message."""
    last_timestamp: datetime | None = None
    """When the last message was stored."""
    consumer_count: int = 0
    """Consumers."""
    num_subjects: int = 0
    """Subjects that have messages."""
    num_deleted: int = 0
    """Messages deleted in between."""
    deleted: list[int] = field(default_factory=list)
    """Their sequences, when asked for."""
    subjects: dict[str, int] = field(default_factory=dict)
    """Messages by subject, when asked for."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class SourceInfo:
    """How the copying from another stream goes."""

    name: str = ""
    """Name of the stream."""
    lag: int = 0
    """How many messages are missing."""
    active: Seconds | None = None
    """How long it was silent; absent when it never was heard."""
    filter_subject: str | None = None
    """Only these subjects."""
    subject_transforms: list[SubjectTransform] = field(default_factory=list)
    """Subjects that are taken, and what they become."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class StreamInfo:
    """A stream as the server sees it."""

    config: StreamConfig = field(default_factory=lambda: StreamConfig(name=""))
    """Its configuration, with the server's defaults."""
    created: datetime | None = None
    """When it was made."""
    state: StreamState = field(default_factory=StreamState)
    """What it holds."""
    cluster: ClusterInfo | None = None
    """Its place in the cluster."""
    mirror: SourceInfo | None = None
    """How its mirroring goes."""
    sources: list[SourceInfo] = field(default_factory=list)
    """How its gathering goes."""
    timestamp: datetime | None = None
    """The server's time of this answer."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class PublishAck:
    """What a stream says of a message that it stored."""

    stream: str = ""
    """The stream."""
    sequence: int = 0
    """Its sequence in the stream."""
    duplicate: bool = False
    """It was there already, by its id."""
    domain: str | None = None
    """The JetStream domain."""
    value: str | None = None
    """The new value of a counter."""


@dataclass(kw_only=True)
class AccountLimits:
    """Limits of JetStream; -1 for no limit."""

    max_memory: int = 0
    """Bytes in memory."""
    max_storage: int = 0
    """Bytes on disk."""
    max_streams: int = 0
    """Streams."""
    max_consumers: int = 0
    """Consumers."""
    max_ack_pending: int = 0
    """Most `max_ack_pending` of a consumer."""
    memory_max_stream_bytes: int = 0
    """Bytes of one stream in memory."""
    storage_max_stream_bytes: int = 0
    """Bytes of one stream on disk."""
    max_bytes_required: bool = False
    """Streams must say `max_bytes`."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""


@dataclass(kw_only=True)
class ApiStats:
    """What an account asked of the JetStream API."""

    total: int = 0
    """Requests."""
    errors: int = 0
    """Requests that failed."""
    level: int = 0
    """The server's level of the API."""
    inflight: int = 0
    """Requests in flight."""


@dataclass(kw_only=True)
class AccountTier:
    """Usage and limits of one tier (replication)."""

    memory: int = 0
    """Bytes in memory."""
    storage: int = 0
    """Bytes on disk."""
    reserved_memory: int = 0
    """Bytes in memory set aside for its streams."""
    reserved_storage: int = 0
    """Bytes on disk set aside for its streams."""
    streams: int = 0
    """Streams."""
    consumers: int = 0
    """Consumers."""
    limits: AccountLimits = field(default_factory=AccountLimits)
    """Its limits."""


@dataclass(kw_only=True)
class AccountInfo:
    """What an account has of JetStream, and uses of it."""

    memory: int = 0
    """Bytes in memory."""
    storage: int = 0
    """Bytes on disk."""
    reserved_memory: int = 0
    """Bytes in memory set aside for its streams."""
    reserved_storage: int = 0
    """Bytes on disk set aside for its streams."""
    streams: int = 0
    """Streams."""
    consumers: int = 0
    """Consumers."""
    domain: str | None = None
    """The JetStream domain."""
    limits: AccountLimits = field(default_factory=AccountLimits)
    """Its limits."""
    api: ApiStats = field(default_factory=ApiStats)
    """Its API requests."""
    tiers: dict[str, AccountTier] = field(default_factory=dict)
    """Limits and usage by tier."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that this version does not know."""
