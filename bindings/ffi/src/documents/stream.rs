//! Streams: their configuration and what the server says of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::documents::wire::{Kind, Table};
use crate::documents::{fields, info, options, words};

words! {
    /// When a stream lets messages go.
    RetentionPolicy {
        /// When a limit is reached.
        Limits = "limits",
        /// When every consumer acknowledged it.
        Interest = "interest",
        /// When one consumer acknowledged it.
        Workqueue = "workqueue",
    }
}
words! {
    /// Where a stream keeps its messages.
    StorageType {
        /// On disk.
        File = "file",
        /// In memory.
        Memory = "memory",
    }
}
words! {
    /// What happens at a limit.
    DiscardPolicy {
        /// The oldest messages go.
        Old = "old",
        /// New messages are refused.
        New = "new",
    }
}
words! {
    /// How a stream's messages are compressed on disk.
    Compression {
        /// Not at all.
        Off = "none",
        /// S2.
        S2 = "s2",
    }
}
words! {
    /// When a publish to a stream is acknowledged.
    PersistMode {
        /// After it is safe on disk.
        Standard = "default",
        /// Before.
        Async = "async",
    }
}

options! {
    #[derive(Debug)]
    /// The configuration of a stream. Absent fields get the server's defaults.
    StreamConfig {
        /// Name of the stream.
        name: String,
        ;
        /// What it is for.
        description: Option<String>,
        /// The subjects it stores; wildcards allowed.
        subjects: Vec<String>,
        /// When messages are let go.
        retention: Option<RetentionPolicy>,
        /// Where messages are kept.
        storage: Option<StorageType>,
        /// What happens at a limit.
        discard: Option<DiscardPolicy>,
        /// With `discard` new: also refuse when the limit of one subject is reached.
        discard_new_per_subject: bool,
        /// Most messages; -1 for no limit.
        max_messages: Option<i64>,
        /// Most messages of one subject; -1 for no limit.
        max_messages_per_subject: Option<i64>,
        /// Most bytes; -1 for no limit.
        max_bytes: Option<i64>,
        /// Oldest a message may get; 0 for no limit.
        #[serde(with = "fields::seconds_option")]
        max_age: Option<Duration>,
        /// Largest message in bytes; -1 for no limit.
        max_message_size: Option<i32>,
        /// Most consumers; -1 for no limit.
        max_consumers: Option<i32>,
        /// Copies in a cluster, 1 to 5.
        num_replicas: Option<u32>,
        /// Publishes are not acknowledged.
        no_ack: bool,
        /// How long message ids are remembered to find duplicates.
        #[serde(with = "fields::seconds_option")]
        duplicate_window: Option<Duration>,
        /// Compression on disk.
        compression: Option<Compression>,
        /// Sequence of the first message.
        first_sequence: Option<u64>,
        /// Nothing can be added or removed any more.
        sealed: bool,
        /// Messages cannot be deleted one by one.
        deny_delete: bool,
        /// The stream cannot be purged.
        deny_purge: bool,
        /// A message may replace all before it (`Nats-Rollup`).
        allow_rollup: bool,
        /// Messages can be read from any replica.
        allow_direct: bool,
        /// Messages of the mirrored stream can be read from here.
        mirror_direct: bool,
        /// The stream that this one copies.
        mirror: Option<StreamSource>,
        /// The streams that this one gathers.
        sources: Vec<StreamSource>,
        /// Where in a cluster it lives.
        placement: Option<Placement>,
        /// Stored messages are published again under another subject.
        republish: Option<Republish>,
        /// Messages are stored under another subject.
        subject_transform: Option<SubjectTransform>,
        /// Limits that its consumers inherit.
        consumer_limits: Option<ConsumerLimits>,
        /// Messages may have a time to live of their own (`Nats-TTL`).
        allow_message_ttl: bool,
        /// How long the mark of a message that aged out stays.
        #[serde(with = "fields::seconds_option")]
        subject_delete_marker_ttl: Option<Duration>,
        /// Messages may be counters (`Nats-Incr`).
        allow_message_counter: bool,
        /// Messages may be schedules.
        allow_message_schedules: bool,
        /// Batches may be published atomically.
        allow_atomic_publish: bool,
        /// Batches may be published fast.
        allow_batched_publish: bool,
        /// When a publish is acknowledged.
        persist_mode: Option<PersistMode>,
        /// Notes of the user.
        metadata: HashMap<String, String>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// Another stream that messages come from.
    StreamSource {
        /// Name of the stream.
        name: String,
        ;
        /// Sequence to begin with.
        start_sequence: Option<u64>,
        /// Time to begin with.
        #[serde(with = "fields::instant_option")]
        start_time: Option<SystemTime>,
        /// Only these subjects.
        filter_subject: Option<String>,
        /// Subjects that are taken, and what they become.
        subject_transforms: Vec<SubjectTransform>,
        /// The stream is in another account or domain.
        external: Option<ExternalStream>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// Where a stream of another account or domain is reached.
    ExternalStream {
        /// Prefix of its API, such as `$JS.hub.API`.
        api_prefix: String,
        ;
        /// Prefix that its messages are delivered under.
        deliver_prefix: Option<String>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// A subject and what it becomes.
    SubjectTransform {
        /// The subject as published; wildcards allowed.
        source: String,
        /// What it becomes; `{{wildcard(1)}}` and the other functions of NATS.
        destination: String,
        ;
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// Where in a cluster a stream lives.
    Placement {
        ;
        /// Name of the cluster.
        cluster: Option<String>,
        /// Tags that its servers must have.
        tags: Vec<String>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// Stored messages are published again.
    Republish {
        /// The subjects that are published again.
        source: String,
        /// The subject they get.
        destination: String,
        ;
        /// Only the headers are published.
        headers_only: bool,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

options! {
    #[derive(Debug)]
    /// Limits that the consumers of a stream inherit.
    ConsumerLimits {
        ;
        /// How long an unused consumer stays.
        #[serde(with = "fields::seconds_option")]
        inactive_threshold: Option<Duration>,
        /// Most messages that may wait for their ack.
        max_ack_pending: Option<i64>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// A stream as the server sees it.
    StreamInfo {
        /// Its configuration, with the server's defaults.
        config: StreamConfig,
        /// When it was made.
        #[serde(with = "fields::instant_option")]
        created: Option<SystemTime>,
        /// What it holds.
        state: StreamState,
        /// Its place in the cluster.
        cluster: Option<ClusterInfo>,
        /// How its mirroring goes.
        mirror: Option<SourceInfo>,
        /// How its gathering goes.
        sources: Vec<SourceInfo>,
        /// The server's time of this answer.
        #[serde(with = "fields::instant_option")]
        timestamp: Option<SystemTime>,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// What a stream holds.
    StreamState {
        /// Messages.
        messages: u64,
        /// Bytes.
        bytes: u64,
        /// Sequence of the first message.
        first_sequence: u64,
        /// When the first message was stored.
        #[serde(with = "fields::instant_option")]
        first_timestamp: Option<SystemTime>,
        /// Sequence of the last message.
        last_sequence: u64,
        /// When the last message was stored.
        #[serde(with = "fields::instant_option")]
        last_timestamp: Option<SystemTime>,
        /// Consumers.
        consumer_count: u64,
        /// Subjects that have messages.
        num_subjects: u64,
        /// Messages deleted in between.
        num_deleted: u64,
        /// Their sequences, when asked for.
        deleted: Vec<u64>,
        /// Messages by subject, when asked for.
        subjects: HashMap<String, u64>,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// The place of a stream or consumer in a cluster.
    ClusterInfo {
        /// Name of the cluster.
        name: Option<String>,
        /// Name of the leading server.
        leader: Option<String>,
        /// The other servers.
        replicas: Vec<PeerInfo>,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// One of the servers that keep a copy.
    PeerInfo {
        /// Name of the server.
        name: String,
        /// Whether it has everything.
        current: bool,
        /// Whether it cannot be reached.
        offline: bool,
        /// How long it was silent.
        #[serde(with = "fields::seconds_option")]
        active: Option<Duration>,
        /// How many operations it is behind.
        lag: u64,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// How the copying from another stream goes.
    SourceInfo {
        /// Name of the stream.
        name: String,
        /// How many messages are missing.
        lag: u64,
        /// How long it was silent; absent when it never was heard.
        #[serde(with = "fields::seconds_option")]
        active: Option<Duration>,
        /// Only these subjects.
        filter_subject: Option<String>,
        /// Subjects that are taken, and what they become.
        subject_transforms: Vec<SubjectTransform>,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

use Kind::{Doc, Docs, Nanos, Plain};

pub(crate) static STREAM_CONFIG: Table = Table {
    fields: &[
        ("name", "name", Plain),
        ("description", "description", Plain),
        ("subjects", "subjects", Plain),
        ("retention", "retention", Plain),
        ("storage", "storage", Plain),
        ("discard", "discard", Plain),
        ("discard_new_per_subject", "discard_new_per_subject", Plain),
        ("max_messages", "max_msgs", Plain),
        ("max_messages_per_subject", "max_msgs_per_subject", Plain),
        ("max_bytes", "max_bytes", Plain),
        ("max_age", "max_age", Nanos),
        ("max_message_size", "max_msg_size", Plain),
        ("max_consumers", "max_consumers", Plain),
        ("num_replicas", "num_replicas", Plain),
        ("no_ack", "no_ack", Plain),
        ("duplicate_window", "duplicate_window", Nanos),
        ("compression", "compression", Plain),
        ("first_sequence", "first_seq", Plain),
        ("sealed", "sealed", Plain),
        ("deny_delete", "deny_delete", Plain),
        ("deny_purge", "deny_purge", Plain),
        ("allow_rollup", "allow_rollup_hdrs", Plain),
        ("allow_direct", "allow_direct", Plain),
        ("mirror_direct", "mirror_direct", Plain),
        ("mirror", "mirror", Doc(&STREAM_SOURCE)),
        ("sources", "sources", Docs(&STREAM_SOURCE)),
        ("placement", "placement", Doc(&PLACEMENT)),
        ("republish", "republish", Doc(&REPUBLISH)),
        ("subject_transform", "subject_transform", Doc(&TRANSFORM)),
        ("consumer_limits", "consumer_limits", Doc(&CONSUMER_LIMITS)),
        ("allow_message_ttl", "allow_msg_ttl", Plain),
        ("subject_delete_marker_ttl", "subject_delete_marker_ttl", Nanos),
        ("allow_message_counter", "allow_msg_counter", Plain),
        ("allow_message_schedules", "allow_msg_schedules", Plain),
        ("allow_atomic_publish", "allow_atomic", Plain),
        ("allow_batched_publish", "allow_batched", Plain),
        ("persist_mode", "persist_mode", Plain),
        ("metadata", "metadata", Plain),
    ],
    dropped: &[],
};
static STREAM_SOURCE: Table = Table {
    fields: &[
        ("name", "name", Plain),
        ("start_sequence", "opt_start_seq", Plain),
        ("start_time", "opt_start_time", Plain),
        ("filter_subject", "filter_subject", Plain),
        ("subject_transforms", "subject_transforms", Docs(&TRANSFORM)),
        ("external", "external", Doc(&EXTERNAL)),
    ],
    dropped: &[],
};
static EXTERNAL: Table =
    Table { fields: &[("api_prefix", "api", Plain), ("deliver_prefix", "deliver", Plain)], dropped: &[] };
static TRANSFORM: Table = Table { fields: &[("source", "src", Plain), ("destination", "dest", Plain)], dropped: &[] };
static PLACEMENT: Table = Table { fields: &[("cluster", "cluster", Plain), ("tags", "tags", Plain)], dropped: &[] };
static REPUBLISH: Table = Table {
    fields: &[("source", "src", Plain), ("destination", "dest", Plain), ("headers_only", "headers_only", Plain)],
    dropped: &[],
};
static CONSUMER_LIMITS: Table = Table {
    fields: &[("inactive_threshold", "inactive_threshold", Nanos), ("max_ack_pending", "max_ack_pending", Plain)],
    dropped: &[],
};
pub(crate) static STREAM_INFO: Table = Table {
    fields: &[
        ("config", "config", Doc(&STREAM_CONFIG)),
        ("created", "created", Plain),
        ("state", "state", Doc(&STREAM_STATE)),
        ("cluster", "cluster", Doc(&CLUSTER)),
        ("mirror", "mirror", Doc(&SOURCE_INFO)),
        ("sources", "sources", Docs(&SOURCE_INFO)),
        ("timestamp", "ts", Plain),
    ],
    dropped: &["type", "did_create", "total", "offset", "limit"],
};
static STREAM_STATE: Table = Table {
    fields: &[
        ("messages", "messages", Plain),
        ("bytes", "bytes", Plain),
        ("first_sequence", "first_seq", Plain),
        ("first_timestamp", "first_ts", Plain),
        ("last_sequence", "last_seq", Plain),
        ("last_timestamp", "last_ts", Plain),
        ("consumer_count", "consumer_count", Plain),
        ("num_subjects", "num_subjects", Plain),
        ("num_deleted", "num_deleted", Plain),
        ("deleted", "deleted", Plain),
        ("subjects", "subjects", Plain),
    ],
    dropped: &[],
};
pub(crate) static CLUSTER: Table = Table {
    fields: &[("name", "name", Plain), ("leader", "leader", Plain), ("replicas", "replicas", Docs(&PEER))],
    dropped: &[],
};
static PEER: Table = Table {
    fields: &[
        ("name", "name", Plain),
        ("current", "current", Plain),
        ("offline", "offline", Plain),
        ("active", "active", Nanos),
        ("lag", "lag", Plain),
    ],
    dropped: &[],
};
static SOURCE_INFO: Table = Table {
    fields: &[
        ("name", "name", Plain),
        ("lag", "lag", Plain),
        ("active", "active", Nanos),
        ("filter_subject", "filter_subject", Plain),
        ("subject_transforms", "subject_transforms", Docs(&TRANSFORM)),
    ],
    dropped: &[],
};
