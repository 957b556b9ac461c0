//! The documents that tell how things stand: streams, consumers, the account.

use serde::Serialize;
use std::collections::BTreeMap;

use super::clock::Timestamp;
use super::consumer_config::ConsumerConfig;
use super::limits::AccountLimits;
use super::stream_config::StreamConfig;

fn zero(value: &u64) -> bool {
    *value == 0
}

/// What a stream holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct StateDoc {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: u64,
    pub first_ts: Timestamp,
    pub last_seq: u64,
    pub last_ts: Timestamp,
    #[serde(skip_serializing_if = "zero")]
    pub num_subjects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects: Option<BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "zero")]
    pub num_deleted: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostDoc>,
    pub consumer_count: u64,
}

/// Messages that the disk lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct LostDoc {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub msgs: Vec<u64>,
    pub bytes: u64,
}

impl Default for StateDoc {
    fn default() -> Self {
        StateDoc {
            messages: 0,
            bytes: 0,
            first_seq: 0,
            first_ts: Timestamp::ZERO,
            last_seq: 0,
            last_ts: Timestamp::ZERO,
            num_subjects: 0,
            subjects: None,
            num_deleted: 0,
            deleted: Vec::new(),
            lost: None,
            consumer_count: 0,
        }
    }
}

/// Who answers for a stream: this server.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct ClusterDoc {
    pub leader: String,
}

/// A stream.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct StreamDoc {
    pub config: StreamConfig,
    pub created: Timestamp,
    pub state: StateDoc,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterDoc>,
    pub ts: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub did_create: bool,
}

/// Part of a longer list.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct Page {
    pub total: usize,
    pub offset: usize,
    pub limit: usize,
}

/// A stream, with the page of its subjects.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInfoDoc {
    /// The page.
    #[serde(flatten)]
    pub page: Page,
    /// The stream.
    #[serde(flatten)]
    pub stream: StreamDoc,
}

/// A consumer sequence, the stream sequence, and when.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct SequenceDoc {
    pub consumer_seq: u64,
    pub stream_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active: Option<Timestamp>,
}

/// A group of clients of a pull consumer.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct GroupDoc {
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_client_id: Option<String>,
    pub pinned_ts: Timestamp,
}

/// A consumer.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct ConsumerDoc {
    pub stream_name: String,
    pub name: String,
    pub created: Timestamp,
    pub config: ConsumerConfig,
    pub delivered: SequenceDoc,
    pub ack_floor: SequenceDoc,
    pub num_ack_pending: usize,
    pub num_redelivered: usize,
    pub num_waiting: usize,
    pub num_pending: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub push_bound: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub pause_remaining: i64,
    pub ts: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<GroupDoc>,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// API use of an account.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct ApiDoc {
    pub level: i64,
    pub total: u64,
    pub errors: u64,
}

/// An account's use and limits.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct AccountDoc {
    pub memory: u64,
    pub storage: u64,
    pub reserved_memory: i64,
    pub reserved_storage: i64,
    pub streams: usize,
    pub consumers: u64,
    pub limits: AccountLimits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    pub api: ApiDoc,
}
