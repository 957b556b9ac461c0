//! Consumers: their configuration and what the server says of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::documents::stream::{CLUSTER, ClusterInfo};
use crate::documents::wire::{Kind, Table};
use crate::documents::{fields, info, options, words};

words! {
    /// Where a consumer begins.
    DeliverPolicy {
        /// With the first message.
        All = "all",
        /// With the last message.
        Last = "last",
        /// With what comes from now on.
        New = "new",
        /// At `start_sequence`.
        ByStartSequence = "by_start_sequence",
        /// At `start_time`.
        ByStartTime = "by_start_time",
        /// With the last message of every subject.
        LastPerSubject = "last_per_subject",
    }
}
words! {
    /// How messages are acknowledged.
    AckPolicy {
        /// Each by itself.
        Explicit = "explicit",
        /// One acknowledges all before it.
        All = "all",
        /// Not at all.
        Never = "none",
        /// By the flow control of the delivery.
        FlowControl = "flow_control",
    }
}
words! {
    /// How fast stored messages are delivered.
    ReplayPolicy {
        /// As fast as possible.
        Instant = "instant",
        /// As they were published.
        Original = "original",
    }
}
words! {
    /// Which of several clients of a consumer is served.
    PriorityPolicy {
        /// All alike.
        Never = "none",
        /// Those who ask only above a backlog.
        Overflow = "overflow",
        /// One at a time.
        PinnedClient = "pinned_client",
        /// Those with the better priority first.
        Prioritized = "prioritized",
    }
}

options! {
    #[derive(Debug)]
    /// The configuration of a consumer. Absent fields get the server's defaults.
    ConsumerConfig {
        ;
        /// Name of a consumer that stays.
        durable: Option<String>,
        /// Name of a consumer that goes when it is not used.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// Where it begins.
        deliver_policy: Option<DeliverPolicy>,
        /// Sequence to begin with.
        start_sequence: Option<u64>,
        /// Time to begin with.
        #[serde(with = "fields::instant_option")]
        start_time: Option<SystemTime>,
        /// How messages are acknowledged.
        ack_policy: Option<AckPolicy>,
        /// How long it waits for an ack before it delivers again.
        #[serde(with = "fields::seconds_option")]
        ack_wait: Option<Duration>,
        /// Most deliveries of one message; -1 for no limit.
        max_deliver: Option<i64>,
        /// Waits before each further delivery.
        #[serde(with = "fields::seconds_list")]
        backoff: Vec<Duration>,
        /// Only this subject.
        filter_subject: Option<String>,
        /// Only these subjects.
        filter_subjects: Vec<String>,
        /// How fast stored messages are delivered.
        replay_policy: Option<ReplayPolicy>,
        /// Bits per second for a push consumer.
        rate_limit: Option<u64>,
        /// Share of acks that are sampled, in percent.
        sample_frequency: Option<u32>,
        /// Most pull requests that may wait.
        max_waiting: Option<i64>,
        /// Most messages that may wait for their ack; -1 for no limit.
        max_ack_pending: Option<i64>,
        /// Only headers are delivered.
        headers_only: bool,
        /// Most messages of one pull request.
        max_batch: Option<i64>,
        /// Longest time of one pull request.
        #[serde(with = "fields::seconds_option")]
        max_expires: Option<Duration>,
        /// Most bytes of one pull request.
        max_bytes: Option<i64>,
        /// How long it stays unused.
        #[serde(with = "fields::seconds_option")]
        inactive_threshold: Option<Duration>,
        /// Copies in a cluster; 0 as the stream.
        num_replicas: Option<u32>,
        /// Its state is kept in memory.
        memory_storage: bool,
        /// Nothing is delivered until then.
        #[serde(with = "fields::instant_option")]
        pause_until: Option<SystemTime>,
        /// Groups of clients.
        priority_groups: Vec<String>,
        /// Which client of a group is served.
        priority_policy: Option<PriorityPolicy>,
        /// How long a pinned client may be silent.
        #[serde(with = "fields::seconds_option")]
        priority_timeout: Option<Duration>,
        /// Subject that a push consumer delivers to.
        deliver_subject: Option<String>,
        /// Queue group of a push consumer.
        deliver_group: Option<String>,
        /// A push consumer waits for the client.
        flow_control: bool,
        /// How often a quiet push consumer says that it lives.
        #[serde(with = "fields::seconds_option")]
        idle_heartbeat: Option<Duration>,
        /// Notes of the user.
        metadata: HashMap<String, String>,
        /// Fields that this version does not know; they are sent back.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// A consumer as the server sees it.
    ConsumerInfo {
        /// Its stream.
        stream: String,
        /// Its name.
        name: String,
        /// When it was made.
        #[serde(with = "fields::instant_option")]
        created: Option<SystemTime>,
        /// Its configuration, with the server's defaults.
        config: ConsumerConfig,
        /// The last delivery.
        delivered: SequenceInfo,
        /// Up to where everything is acknowledged.
        ack_floor: SequenceInfo,
        /// Delivered messages that wait for their ack.
        num_ack_pending: u64,
        /// Messages that were delivered more than once.
        num_redelivered: u64,
        /// Pull requests that wait.
        num_waiting: u64,
        /// Messages not delivered yet.
        num_pending: u64,
        /// Its place in the cluster.
        cluster: Option<ClusterInfo>,
        /// A client listens to this push consumer.
        push_bound: bool,
        /// It is paused.
        paused: bool,
        /// How long it stays paused.
        #[serde(with = "fields::seconds_option")]
        pause_remaining: Option<Duration>,
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
    /// A position of a consumer.
    SequenceInfo {
        /// Sequence of the delivery.
        consumer_sequence: u64,
        /// Sequence in the stream.
        stream_sequence: u64,
        /// When it last moved.
        #[serde(with = "fields::instant_option")]
        last_active: Option<SystemTime>,
    }
}

use Kind::{Doc, Nanos, NanosList, Percent, Plain};

pub(crate) static CONSUMER_CONFIG: Table = Table {
    fields: &[
        ("durable", "durable_name", Plain),
        ("name", "name", Plain),
        ("description", "description", Plain),
        ("deliver_policy", "deliver_policy", Plain),
        ("start_sequence", "opt_start_seq", Plain),
        ("start_time", "opt_start_time", Plain),
        ("ack_policy", "ack_policy", Plain),
        ("ack_wait", "ack_wait", Nanos),
        ("max_deliver", "max_deliver", Plain),
        ("backoff", "backoff", NanosList),
        ("filter_subject", "filter_subject", Plain),
        ("filter_subjects", "filter_subjects", Plain),
        ("replay_policy", "replay_policy", Plain),
        ("rate_limit", "rate_limit_bps", Plain),
        ("sample_frequency", "sample_freq", Percent),
        ("max_waiting", "max_waiting", Plain),
        ("max_ack_pending", "max_ack_pending", Plain),
        ("headers_only", "headers_only", Plain),
        ("max_batch", "max_batch", Plain),
        ("max_expires", "max_expires", Nanos),
        ("max_bytes", "max_bytes", Plain),
        ("inactive_threshold", "inactive_threshold", Nanos),
        ("num_replicas", "num_replicas", Plain),
        ("memory_storage", "mem_storage", Plain),
        ("pause_until", "pause_until", Plain),
        ("priority_groups", "priority_groups", Plain),
        ("priority_policy", "priority_policy", Plain),
        ("priority_timeout", "priority_timeout", Nanos),
        ("deliver_subject", "deliver_subject", Plain),
        ("deliver_group", "deliver_group", Plain),
        ("flow_control", "flow_control", Plain),
        ("idle_heartbeat", "idle_heartbeat", Nanos),
        ("metadata", "metadata", Plain),
    ],
    dropped: &[],
};
pub(crate) static CONSUMER_INFO: Table = Table {
    fields: &[
        ("stream", "stream_name", Plain),
        ("name", "name", Plain),
        ("created", "created", Plain),
        ("config", "config", Doc(&CONSUMER_CONFIG)),
        ("delivered", "delivered", Doc(&SEQUENCE)),
        ("ack_floor", "ack_floor", Doc(&SEQUENCE)),
        ("num_ack_pending", "num_ack_pending", Plain),
        ("num_redelivered", "num_redelivered", Plain),
        ("num_waiting", "num_waiting", Plain),
        ("num_pending", "num_pending", Plain),
        ("cluster", "cluster", Doc(&CLUSTER)),
        ("push_bound", "push_bound", Plain),
        ("paused", "paused", Plain),
        ("pause_remaining", "pause_remaining", Nanos),
        ("timestamp", "ts", Plain),
    ],
    dropped: &["type"],
};
static SEQUENCE: Table = Table {
    fields: &[
        ("consumer_sequence", "consumer_seq", Plain),
        ("stream_sequence", "stream_seq", Plain),
        ("last_active", "last_active", Plain),
    ],
    dropped: &[],
};
