//! What `consume`, `next` and `fetch` can be told.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::accounting::{Bound, Plan};
use crate::error::{Code, Error, Result};
pub(crate) use crate::options::bounded;

const MAX_MESSAGES: u64 = 500;
const EXPIRES: Duration = Duration::from_secs(30);
/// Float seconds, or nothing.
pub(crate) fn maybe_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Option::<f64>::deserialize(deserializer)?
        .map(|s| Duration::try_from_secs_f64(s).map_err(serde::de::Error::custom))
        .transpose()
}

/// How messages are pulled. The defaults are those of ADR-37. Durations are float seconds in the document.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumeOptions {
    /// Messages that are under way or not handled yet, at most (default 500). Not together with `max_bytes`.
    pub max_messages: Option<u64>,
    /// Bytes that are under way or not handled yet, at most.
    pub max_bytes: Option<u64>,
    /// Pull again when no more than this is under way or not handled yet (default: half), in messages or bytes.
    pub threshold: Option<u64>,
    /// How long one pull stays open (default 30 s, at least 1 s).
    #[serde(deserialize_with = "maybe_seconds")]
    pub expires: Option<Duration>,
    /// How often the server says that it is there (default: half of `expires`, 15 s at most).
    #[serde(deserialize_with = "maybe_seconds")]
    pub heartbeat: Option<Duration>,
    /// For consumers with priority groups.
    pub priority: Option<Priority>,
}

/// A place in a consumer's priority group (ADR-42).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Priority {
    /// The group.
    pub group: String,
    /// Only when at least so many messages are pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pending: Option<u64>,
    /// Only when at least so many messages wait for their acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ack_pending: Option<u64>,
    /// 0 (first) to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

impl Priority {
    /// As fields of a pull request.
    pub(crate) fn fields(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).map(|t| format!(",{t}")).unwrap_or_default()
    }
}

impl ConsumeOptions {
    pub(crate) fn plan(&self) -> Result<Plan> {
        let bad = |text: &str| Error::new(Code::InvalidArgument, text);
        let bound = match (self.max_messages, self.max_bytes) {
            (Some(_), Some(_)) => return Err(bad("consume by max_messages or by max_bytes, not by both")),
            (None, Some(bytes)) => Bound::Bytes(bytes),
            (messages, None) => Bound::Messages(messages.unwrap_or(MAX_MESSAGES)),
        };
        if matches!(bound, Bound::Messages(0) | Bound::Bytes(0)) {
            return Err(bad("max_messages and max_bytes must be at least 1"));
        }
        let expires = bounded(self.expires.unwrap_or(EXPIRES));
        if expires < Duration::from_secs(1) {
            return Err(bad("expires must be at least one second"));
        }
        let heartbeat = self.heartbeat.unwrap_or(EXPIRES.min(expires) / 2);
        if heartbeat > expires / 2 || (!heartbeat.is_zero() && heartbeat < Duration::from_millis(100)) {
            return Err(bad("heartbeat must be between 0.1 s and half of expires"));
        }
        let mut plan = Plan::new(bound, expires, heartbeat);
        if let Some(threshold) = self.threshold {
            plan.threshold = threshold;
        }
        Ok(plan)
    }
}

/// A `fetch`: how much, and how long to wait for it. Durations are float seconds in the document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchOptions {
    /// Messages, at most.
    pub max_messages: u64,
    /// Bytes, at most; one message is always given. `None`: not limited.
    pub max_bytes: Option<u64>,
    /// How long to wait until all of them are there (default: the client's request timeout).
    #[serde(deserialize_with = "maybe_seconds")]
    pub timeout: Option<Duration>,
    /// Take what is there now.
    pub no_wait: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions { max_messages: 1, max_bytes: None, timeout: None, no_wait: false }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_adr_37() {
        let plan = ConsumeOptions::default().plan().unwrap();
        assert_eq!((plan.bound, plan.threshold), (Bound::Messages(500), 250));
        assert_eq!((plan.expires.as_secs(), plan.heartbeat.as_secs()), (30, 15));
        let plan = ConsumeOptions { expires: Some(Duration::from_secs(4)), ..Default::default() }.plan().unwrap();
        assert_eq!(plan.heartbeat.as_secs(), 2);
        let options: ConsumeOptions = serde_json::from_value(json!({"max_bytes": 1000, "expires": 2.5})).unwrap();
        let plan = options.plan().unwrap();
        assert_eq!((plan.bound, plan.threshold, plan.expires.as_millis()), (Bound::Bytes(1000), 500, 2500));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for options in [
            json!({"max_messages": 1, "max_bytes": 1}),
            json!({"max_messages": 0}),
            json!({"max_bytes": 0}),
            json!({"expires": 0.5}),
            json!({"heartbeat": 20}),
            json!({"heartbeat": 0.01}),
        ] {
            let options: ConsumeOptions = serde_json::from_value(options).unwrap();
            assert_eq!(options.plan().unwrap_err().code(), Code::InvalidArgument, "{options:?}");
        }
        assert!(serde_json::from_value::<ConsumeOptions>(json!({"max": 1})).is_err());
    }

    #[test]
    fn a_place_in_a_group_is_part_of_the_request() {
        let priority = Priority { group: "a\"b".into(), min_pending: Some(5), ..Default::default() };
        assert_eq!(priority.fields(), ",\"group\":\"a\\\"b\",\"min_pending\":5");
    }
}
