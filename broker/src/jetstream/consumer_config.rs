//! The consumer configuration document: every field round-trips, in the order and with the defaults clients know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::stream_config::{
    add_dynamic_metadata, align_metadata, is_false, is_zero_i64, is_zero_u64, set_required_level,
};

/// Where a new consumer begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverPolicy {
    /// At the first message.
    #[default]
    All,
    /// At the last message.
    Last,
    /// With the next message published.
    New,
    /// At a sequence.
    ByStartSequence,
    /// At a time.
    ByStartTime,
    /// With the last message of each subject.
    #[serde(alias = "last_per_subject")]
    LastPerSubject,
}

/// What counts as handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// Delivered is handled.
    #[default]
    None,
    /// An acknowledgement covers all before it.
    All,
    /// Each message on its own.
    Explicit,
    /// Through answers to flow control.
    FlowControl,
}

/// How fast old messages are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPolicy {
    /// As fast as they are taken.
    #[default]
    Instant,
    /// With the pauses they were published with.
    Original,
}

/// How waiting pull requests of a group are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityPolicy {
    /// In turn.
    #[default]
    #[serde(alias = "")]
    None,
    /// Only above a threshold.
    Overflow,
    /// One client until it stops asking.
    PinnedClient,
    /// Lowest priority number first.
    Prioritized,
}

/// A consumer's configuration. Durations are nanoseconds; -1 is "unlimited".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // the field names are the API's and documented there
pub struct ConsumerConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durable_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub deliver_policy: DeliverPolicy,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub opt_start_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Timestamp>,
    pub ack_policy: AckPolicy,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub ack_wait: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_deliver: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backoff: Vec<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter_subjects: Vec<String>,
    pub replay_policy: ReplayPolicy,
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub rate_limit_bps: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample_freq: String,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_waiting: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_ack_pending: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub flow_control: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_batch: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_expires: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub max_bytes: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_group: String,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub idle_heartbeat: i64,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub inactive_threshold: i64,
    pub num_replicas: i64,
    #[serde(skip_serializing_if = "is_false")]
    pub mem_storage: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub direct: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub sourcing: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<String>,
    #[serde(skip_serializing_if = "is_policy_none")]
    pub priority_policy: PriorityPolicy,
    #[serde(skip_serializing_if = "is_zero_i64")]
    pub priority_timeout: i64,
}

impl ConsumerConfig {
    /// Whether messages are pushed to a subject.
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// Whether the consumer outlives its clients by default.
    pub fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }

    /// The filters, none for everything.
    pub fn filters(&self) -> Vec<&str> {
        if self.filter_subject.is_empty() {
            self.filter_subjects.iter().map(String::as_str).collect()
        } else {
            vec![self.filter_subject.as_str()]
        }
    }

    /// Whether deliveries wait for an acknowledgement.
    pub fn wants_acks(&self) -> bool {
        self.ack_policy != AckPolicy::None
    }

    /// Puts the required API level into the metadata and drops what answers add.
    pub fn set_static_metadata(&mut self) {
        let mut level = 0;
        if self.pause_until.is_some_and(|until| !until.is_zero())
            || self.priority_policy != PriorityPolicy::None
            || self.priority_timeout != 0
            || !self.priority_groups.is_empty()
        {
            level = 1;
        }
        if self.ack_policy == AckPolicy::FlowControl {
            level = 4;
        }
        set_required_level(&mut self.metadata, level);
    }

    /// The configuration as answers show it.
    pub fn for_answer(&self) -> ConsumerConfig {
        let mut config = self.clone();
        add_dynamic_metadata(&mut config.metadata);
        config
    }

    /// Whether this configuration, as asked for, is what `existing` already is.
    pub fn same_as(&self, existing: &ConsumerConfig) -> bool {
        let mut mine = self.clone();
        align_metadata(&mut mine.metadata, &existing.metadata);
        mine == *existing
    }
}

fn is_policy_none(policy: &PriorityPolicy) -> bool {
    *policy == PriorityPolicy::None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_round_trips() {
        let text = r#"{"durable_name":"D","name":"D","description":"d","deliver_policy":"last_per_subject","opt_start_seq":1,"opt_start_time":"2024-01-01T00:00:00Z","ack_policy":"explicit","ack_wait":2,"max_deliver":3,"backoff":[1,2],"filter_subject":"a","filter_subjects":["b"],"replay_policy":"original","rate_limit_bps":4,"sample_freq":"50%","max_waiting":5,"max_ack_pending":6,"flow_control":true,"headers_only":true,"max_batch":7,"max_expires":8,"max_bytes":9,"deliver_subject":"x","deliver_group":"g","idle_heartbeat":10,"inactive_threshold":11,"num_replicas":1,"mem_storage":true,"direct":true,"sourcing":true,"metadata":{"k":"v"},"pause_until":"2030-01-01T00:00:00Z","priority_groups":["a"],"priority_policy":"pinned_client","priority_timeout":12}"#;
        let config: ConsumerConfig = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
        assert_eq!(
            serde_json::to_string(&ConsumerConfig::default()).unwrap(),
            r#"{"deliver_policy":"all","ack_policy":"none","replay_policy":"instant","num_replicas":0}"#
        );
    }
}
