//! The stream configuration document: every field round-trips, in the order and with the defaults clients know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// When messages leave a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Only through the limits.
    #[default]
    Limits,
    /// When every interested consumer has acknowledged.
    Interest,
    /// When the one consumer has acknowledged.
    WorkQueue,
}

/// What happens when a limit is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest messages go.
    #[default]
    Old,
    /// New messages are refused.
    New,
}

/// Where the messages live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory; gone at the end of the process.
    Memory,
}

/// Compression asked for; the field round-trips, the records are not compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// None.
    #[default]
    None,
    /// S2.
    S2,
}

/// Whether an acknowledged message is already synced to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistMode {
    /// Acknowledged means durable.
    #[default]
    #[serde(alias = "")]
    Default,
    /// Acknowledged means written, the sync follows.
    Async,
}

/// Placement hints; kept for clusters this server does not form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Cluster name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Server tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Preferred leader.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preferred: String,
}

/// A subject mapping from one pattern to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectTransform {
    /// Which subjects.
    pub src: String,
    /// What they become.
    pub dest: String,
}

/// Republish every stored message under another subject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Republish {
    /// Which subjects; empty is all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// Where they go.
    pub dest: String,
    /// Without payload.
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
}

/// Another stream that feeds this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSource {
    /// The other stream.
    pub name: String,
    /// First sequence to take.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub opt_start_seq: u64,
    /// First time to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Timestamp>,
    /// Only these subjects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Only these subjects, renamed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// In another account or domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// Through this durable consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<SourceConsumer>,
}

/// How to reach a stream in another account or domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExternalStream {
    /// Prefix of its API subjects.
    pub api: String,
    /// Prefix of its deliveries.
    pub deliver: String,
}

/// A named consumer that feeds another stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConsumer {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it delivers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
}

/// Defaults and upper limits for the stream's consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerLimits {
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub inactive_threshold: i64,
    /// Outstanding acknowledgements.
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_ack_pending: i64,
}

/// A stream's configuration. Durations are nanoseconds; -1 is "unlimited".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // the field names are the API's and documented there
pub struct StreamConfig {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    pub retention: Retention,
    pub max_consumers: i64,
    pub max_msgs: i64,
    pub max_bytes: i64,
    pub max_age: i64,
    pub max_msgs_per_subject: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_msg_size: i64,
    pub discard: Discard,
    pub storage: Storage,
    pub num_replicas: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub no_ack: bool,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub duplicate_window: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSource>,
    pub compression: Compression,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub first_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_transform: Option<SubjectTransform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<Republish>,
    pub allow_direct: bool,
    pub mirror_direct: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub discard_new_per_subject: bool,
    pub sealed: bool,
    pub deny_delete: bool,
    pub deny_purge: bool,
    pub allow_rollup_hdrs: bool,
    pub consumer_limits: ConsumerLimits,
    pub allow_msg_ttl: bool,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub subject_delete_marker_ttl: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_counter: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub allow_atomic: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_schedules: bool,
    #[serde(skip_serializing_if = "is_default_mode")]
    pub persist_mode: PersistMode,
    #[serde(skip_serializing_if = "is_false")]
    pub allow_batched: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Written by the server into stored metadata: the API level the asset needs.
pub const REQUIRED_LEVEL_KEY: &str = "_nats.req.level";
/// Added to metadata in answers only: the version of the server.
pub const VERSION_KEY: &str = "_nats.ver";
/// Added to metadata in answers only: the API level of the server.
pub const LEVEL_KEY: &str = "_nats.level";
/// The highest sequence a client can move a stream to.
pub const MAX_SEQUENCE: u64 = 1 << 62;
/// The API level served.
pub const API_LEVEL: i64 = 5;

impl StreamConfig {
    /// Puts the required API level into the metadata and drops what answers add.
    pub fn set_static_metadata(&mut self) {
        let mut level = 0;
        if self.allow_msg_ttl || self.subject_delete_marker_ttl > 0 {
            level = 1;
        }
        if self.allow_msg_counter
            || self.allow_atomic
            || self.allow_msg_schedules
            || self.persist_mode == PersistMode::Async
        {
            level = 2;
        }
        if self.allow_batched {
            level = 4;
        }
        set_required_level(&mut self.metadata, level);
    }

    /// The configuration as answers show it.
    pub fn for_answer(&self) -> StreamConfig {
        let mut config = self.clone();
        add_dynamic_metadata(&mut config.metadata);
        config
    }

    /// Whether this configuration, as asked for, is what `existing` already is.
    pub fn same_as(&self, existing: &StreamConfig) -> bool {
        let mut mine = self.clone();
        align_metadata(&mut mine.metadata, &existing.metadata);
        mine == *existing
    }
}

/// Stores the level an asset needs and removes the fields only answers carry.
pub(super) fn set_required_level(metadata: &mut BTreeMap<String, String>, level: i64) {
    metadata.remove(VERSION_KEY);
    metadata.remove(LEVEL_KEY);
    metadata.insert(REQUIRED_LEVEL_KEY.into(), level.to_string());
}

/// Adds the fields only answers carry.
pub(super) fn add_dynamic_metadata(metadata: &mut BTreeMap<String, String>) {
    metadata.insert(VERSION_KEY.into(), super::SERVER_VERSION.into());
    metadata.insert(LEVEL_KEY.into(), API_LEVEL.to_string());
}

/// Makes versioning metadata no reason to call two configurations different.
pub(super) fn align_metadata(mine: &mut BTreeMap<String, String>, existing: &BTreeMap<String, String>) {
    mine.remove(VERSION_KEY);
    mine.remove(LEVEL_KEY);
    match existing.get(REQUIRED_LEVEL_KEY) {
        Some(level) => {
            mine.insert(REQUIRED_LEVEL_KEY.into(), level.clone());
        }
        None => {
            mine.remove(REQUIRED_LEVEL_KEY);
        }
    }
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}
pub(super) fn is_zero_i64(value: &i64) -> bool {
    *value == 0
}
pub(super) fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}
fn is_default_mode(mode: &PersistMode) -> bool {
    *mode == PersistMode::Default
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_round_trips() {
        let text = r#"{"name":"A","description":"d","subjects":["a.>"],"retention":"workqueue","max_consumers":3,"max_msgs":4,"max_bytes":5,"max_age":600000000000,"max_msgs_per_subject":7,"max_msg_size":8,"discard":"new","storage":"memory","num_replicas":1,"no_ack":true,"duplicate_window":9,"placement":{"cluster":"c","tags":["t"]},"mirror":{"name":"M","opt_start_seq":2,"external":{"api":"$JS.x.API","deliver":"d"}},"sources":[{"name":"S","opt_start_time":"2024-01-01T00:00:00Z","filter_subject":"x","consumer":{"name":"c","deliver_subject":"d"}},{"name":"T","subject_transforms":[{"src":"a","dest":"b"}]}],"compression":"s2","first_seq":10,"subject_transform":{"src":"a.>","dest":"b.>"},"republish":{"src":"a","dest":"b","headers_only":true},"allow_direct":true,"mirror_direct":true,"discard_new_per_subject":true,"sealed":true,"deny_delete":true,"deny_purge":true,"allow_rollup_hdrs":true,"consumer_limits":{"inactive_threshold":11,"max_ack_pending":12},"allow_msg_ttl":true,"subject_delete_marker_ttl":13,"allow_msg_counter":true,"allow_atomic":true,"allow_msg_schedules":true,"persist_mode":"async","allow_batched":true,"metadata":{"k":"v"}}"#;
        let config: StreamConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }

    #[test]
    fn versioning_metadata_is_no_difference() {
        let mut stored = StreamConfig { name: "A".into(), ..Default::default() };
        stored.set_static_metadata();
        let mut asked = stored.for_answer();
        assert!(asked.same_as(&stored));
        asked.metadata.insert("mine".into(), "1".into());
        assert!(!asked.same_as(&stored));
    }
}
