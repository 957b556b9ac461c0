//! What an account has of JetStream.

use std::collections::HashMap;

use crate::documents::wire::{Kind, Table};
use crate::documents::{fields, info};

info! {
    #[derive(Debug)]
    /// What an account has of JetStream, and uses of it.
    AccountInfo {
        /// Bytes in memory.
        memory: u64,
        /// Bytes on disk.
        storage: u64,
        /// Bytes in memory set aside for its streams.
        reserved_memory: u64,
        /// Bytes on disk set aside for its streams.
        reserved_storage: u64,
        /// Streams.
        streams: u64,
        /// Consumers.
        consumers: u64,
        /// The JetStream domain.
        domain: Option<String>,
        /// Its limits.
        limits: AccountLimits,
        /// Its API requests.
        api: ApiStats,
        /// Limits and usage by tier.
        tiers: HashMap<String, AccountTier>,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// Limits of JetStream; -1 for no limit.
    AccountLimits {
        /// Bytes in memory.
        max_memory: i64,
        /// Bytes on disk.
        max_storage: i64,
        /// Streams.
        max_streams: i64,
        /// Consumers.
        max_consumers: i64,
        /// Most `max_ack_pending` of a consumer.
        max_ack_pending: i64,
        /// Bytes of one stream in memory.
        memory_max_stream_bytes: i64,
        /// Bytes of one stream on disk.
        storage_max_stream_bytes: i64,
        /// Streams must say `max_bytes`.
        max_bytes_required: bool,
        /// Fields that this version does not know.
        #[serde(with = "fields::extra")]
        extra: HashMap<String, String>,
    }
}

info! {
    #[derive(Debug)]
    /// What an account asked of the JetStream API.
    ApiStats {
        /// Requests.
        total: u64,
        /// Requests that failed.
        errors: u64,
        /// The server's level of the API.
        level: u64,
        /// Requests in flight.
        inflight: u64,
    }
}

info! {
    #[derive(Debug)]
    /// Usage and limits of one tier (replication).
    AccountTier {
        /// Bytes in memory.
        memory: u64,
        /// Bytes on disk.
        storage: u64,
        /// Bytes in memory set aside for its streams.
        reserved_memory: u64,
        /// Bytes on disk set aside for its streams.
        reserved_storage: u64,
        /// Streams.
        streams: u64,
        /// Consumers.
        consumers: u64,
        /// Its limits.
        limits: AccountLimits,
    }
}

use Kind::{Doc, DocMap, Plain};

pub(crate) static ACCOUNT_INFO: Table = Table {
    fields: &[
        ("memory", "memory", Plain),
        ("storage", "storage", Plain),
        ("reserved_memory", "reserved_memory", Plain),
        ("reserved_storage", "reserved_storage", Plain),
        ("streams", "streams", Plain),
        ("consumers", "consumers", Plain),
        ("domain", "domain", Plain),
        ("limits", "limits", Doc(&LIMITS)),
        ("api", "api", Plain),
        ("tiers", "tiers", DocMap(&TIER)),
    ],
    dropped: &["type"],
};
static LIMITS: Table = Table {
    fields: &[
        ("max_memory", "max_memory", Plain),
        ("max_storage", "max_storage", Plain),
        ("max_streams", "max_streams", Plain),
        ("max_consumers", "max_consumers", Plain),
        ("max_ack_pending", "max_ack_pending", Plain),
        ("memory_max_stream_bytes", "memory_max_stream_bytes", Plain),
        ("storage_max_stream_bytes", "storage_max_stream_bytes", Plain),
        ("max_bytes_required", "max_bytes_required", Plain),
    ],
    dropped: &[],
};
static TIER: Table = Table {
    fields: &[
        ("memory", "memory", Plain),
        ("storage", "storage", Plain),
        ("reserved_memory", "reserved_memory", Plain),
        ("reserved_storage", "reserved_storage", Plain),
        ("streams", "streams", Plain),
        ("consumers", "consumers", Plain),
        ("limits", "limits", Doc(&LIMITS)),
    ],
    dropped: &[],
};
