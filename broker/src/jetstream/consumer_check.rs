//! The rules a consumer configuration must keep: defaults, limits, and what an update may change.

use natsune_protocol::subject;

use super::clock::{MILLISECOND, SECOND, format_duration};
use super::consumer_config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy};
use super::errors::{self, ApiError};
use super::limits::AccountLimits;
use super::stream_check::{MAX_DESCRIPTION, MAX_METADATA, is_asset_name};
use super::stream_config::{Retention, StreamConfig};

const DEFAULT_ACK_WAIT: i64 = 30 * SECOND;
const DEFAULT_MAX_ACK_PENDING: i64 = 1000;
const DEFAULT_MAX_WAITING: i64 = 512;
const DEFAULT_PINNED_TTL: i64 = 120 * SECOND;

/// Limits set for the whole server; 0 is none.
#[derive(Debug, Clone, Default)]
pub struct ServerLimits {
    /// Outstanding acknowledgements of one consumer.
    pub max_ack_pending: i64,
    /// Messages of one pull request.
    pub max_request_batch: i64,
    /// Longest duplicate window, nanoseconds.
    pub duplicates: i64,
}

/// Fills in the defaults.
pub fn set_defaults(
    config: &mut ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
    account: &AccountLimits,
    pedantic: bool,
) -> Result<(), ApiError> {
    if config.max_deliver == 0 || config.max_deliver < -1 {
        if pedantic && config.max_deliver < -1 {
            return Err(errors::pedantic("max_deliver must be set to -1"));
        }
        config.max_deliver = -1;
    }
    if config.max_ack_pending < -1 {
        if pedantic {
            return Err(errors::pedantic("max_ack_pending must be set to -1"));
        }
        config.max_ack_pending = -1;
    }
    for (value, name) in [
        (&mut config.max_waiting, "max_waiting"),
        (&mut config.max_batch, "max_batch"),
        (&mut config.max_expires, "max_expires"),
        (&mut config.max_bytes, "max_bytes"),
        (&mut config.idle_heartbeat, "idle_heartbeat"),
        (&mut config.inactive_threshold, "inactive_threshold"),
        (&mut config.priority_timeout, "priority_timeout"),
    ] {
        if *value < 0 {
            if pedantic {
                return Err(errors::pedantic(&format!("{name} must not be negative")));
            }
            *value = 0;
        }
    }
    if !config.is_push() && config.max_waiting == 0 {
        config.max_waiting = DEFAULT_MAX_WAITING;
    }
    if config.ack_wait == 0 && matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::All) {
        config.ack_wait = DEFAULT_ACK_WAIT;
    }
    if let Some(first) = config.backoff.first() {
        if pedantic && config.ack_wait != *first {
            return Err(errors::pedantic("first backoff value has to equal batch AckWait"));
        }
        config.ack_wait = *first;
    }
    let limits = &stream.consumer_limits;
    if config.max_ack_pending == 0 {
        if pedantic && limits.max_ack_pending > 0 {
            return Err(errors::pedantic("max_ack_pending must be set if it's configured in stream limits"));
        }
        config.max_ack_pending = limits.max_ack_pending;
    }
    if config.inactive_threshold == 0 {
        if pedantic && limits.inactive_threshold > 0 {
            return Err(errors::pedantic("inactive_threshold must be set if it's configured in stream limits"));
        }
        config.inactive_threshold = limits.inactive_threshold;
    }
    if config.max_ack_pending == 0 && config.wants_acks() {
        config.max_ack_pending = [server.max_ack_pending, account.max_ack_pending]
            .into_iter()
            .filter(|limit| *limit > 0)
            .fold(DEFAULT_MAX_ACK_PENDING, i64::min);
    }
    if !config.is_push() && config.max_batch == 0 && server.max_request_batch > 0 {
        config.max_batch = server.max_request_batch;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.priority_timeout == 0 {
        config.priority_timeout = DEFAULT_PINNED_TTL;
    }
    Ok(())
}

/// Checks a configuration whose defaults are filled in.
pub fn check(
    config: &ConsumerConfig,
    stream: &StreamConfig,
    server: &ServerLimits,
    account: &AccountLimits,
) -> Result<(), ApiError> {
    if !config.name.is_empty() && !is_asset_name(&config.name) {
        return Err(errors::stream_invalid("consumer name can not contain '.', '*', '>', '\\', '/'"));
    }
    if config.is_durable() && !is_asset_name(&config.durable_name) {
        return Err(errors::stream_invalid("consumer durable name can not contain '.', '*', '>', '\\', '/'"));
    }
    if config.num_replicas > stream.num_replicas.max(1) {
        return Err(errors::CONSUMER_REPLICAS_EXCEED);
    }
    if config.num_replicas < 0 {
        return Err(errors::REPLICAS_NEGATIVE);
    }
    if config.backoff.iter().any(|wait| *wait < 0) {
        return Err(errors::CONSUMER_BACKOFF_NEGATIVE);
    }
    if config.ack_wait < 0 {
        return Err(errors::CONSUMER_ACK_WAIT_NEGATIVE);
    }
    if config.ack_policy == AckPolicy::FlowControl {
        return Err(errors::CONSUMER_ACK_POLICY_INVALID);
    }
    if !config.backoff.is_empty() && config.max_deliver != -1 && config.backoff.len() as i64 > config.max_deliver {
        return Err(errors::CONSUMER_MAX_DELIVER_BACKOFF);
    }
    if config.description.len() > MAX_DESCRIPTION {
        return Err(errors::consumer_description_too_long(MAX_DESCRIPTION));
    }
    if config.is_push() {
        check_push(config, stream)?;
    } else {
        check_pull(config, stream, server)?;
    }
    for limit in [server.max_ack_pending, account.max_ack_pending, stream.consumer_limits.max_ack_pending] {
        if limit > 0 && config.max_ack_pending > limit {
            return Err(errors::max_ack_pending_excess(limit));
        }
    }
    let threshold = stream.consumer_limits.inactive_threshold;
    if threshold > 0 && config.inactive_threshold > threshold {
        return Err(errors::inactive_threshold_excess(&format_duration(threshold)));
    }
    if config.direct {
        if !config.is_push() {
            return Err(errors::CONSUMER_DIRECT_REQUIRES_PUSH);
        }
        if config.is_durable() {
            return Err(errors::CONSUMER_DIRECT_REQUIRES_EPHEMERAL);
        }
    }
    check_filters(config)?;
    check_start(config)?;
    if !config.sample_freq.is_empty() {
        let number = config.sample_freq.trim_end_matches('%');
        match number.parse::<i64>() {
            Ok(percent) if percent >= 0 => {}
            _ => {
                return Err(errors::consumer_invalid_sampling(format_args!(
                    "strconv.Atoi: parsing \"{number}\": invalid syntax"
                )));
            }
        }
    }
    if config.flow_control && config.idle_heartbeat == 0 {
        return Err(errors::CONSUMER_FC_NEEDS_HEARTBEAT);
    }
    if config.is_durable() && !config.name.is_empty() && config.name != config.durable_name {
        return Err(errors::CONSUMER_DURABLE_AND_NAME);
    }
    if config.metadata.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > MAX_METADATA {
        return Err(errors::consumer_metadata_too_large("128KB"));
    }
    check_priority(config)
}

fn check_push(config: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let deliver = config.deliver_subject.as_str();
    if !subject::is_literal(deliver) {
        return Err(errors::CONSUMER_DELIVER_WILDCARD);
    }
    if !subject::is_valid_publish(deliver) {
        return Err(errors::CONSUMER_INVALID_DELIVER_SUBJECT);
    }
    if stream.subjects.iter().any(|s| subject::matches(s, deliver)) {
        return Err(errors::CONSUMER_DELIVER_CYCLE);
    }
    if config.max_waiting != 0 {
        return Err(errors::CONSUMER_PUSH_MAX_WAITING);
    }
    if config.max_ack_pending > 0 && !config.wants_acks() {
        return Err(errors::CONSUMER_MAX_PENDING_ACK_POLICY);
    }
    if config.idle_heartbeat > 0 && config.idle_heartbeat < 100 * MILLISECOND {
        return Err(errors::CONSUMER_SMALL_HEARTBEAT);
    }
    Ok(())
}

fn check_pull(config: &ConsumerConfig, stream: &StreamConfig, server: &ServerLimits) -> Result<(), ApiError> {
    if !config.wants_acks() && stream.retention == Retention::WorkQueue {
        return Err(errors::CONSUMER_PULL_REQUIRES_ACK);
    }
    if config.rate_limit_bps > 0 {
        return Err(errors::CONSUMER_PULL_RATE_LIMIT);
    }
    if config.idle_heartbeat > 0 {
        return Err(errors::CONSUMER_HEARTBEAT_REQUIRES_PUSH);
    }
    if config.flow_control {
        return Err(errors::CONSUMER_FC_REQUIRES_PUSH);
    }
    if config.max_expires != 0 && config.max_expires < MILLISECOND {
        return Err(errors::CONSUMER_EXPIRES_TOO_SMALL);
    }
    if server.max_request_batch > 0 && config.max_batch > server.max_request_batch {
        return Err(errors::max_request_batch_exceeded(server.max_request_batch));
    }
    Ok(())
}

fn check_filters(config: &ConsumerConfig) -> Result<(), ApiError> {
    if !config.filter_subject.is_empty() && !config.filter_subjects.is_empty() {
        return Err(errors::CONSUMER_DUPLICATE_FILTERS);
    }
    if config.filter_subjects.iter().any(String::is_empty) {
        return Err(errors::CONSUMER_EMPTY_FILTER);
    }
    let filters = config.filters();
    for (i, filter) in filters.iter().enumerate() {
        if !subject::is_valid_filter(filter) {
            return Err(errors::stream_invalid("malformed subject"));
        }
        if filters.iter().enumerate().any(|(j, other)| i != j && subject::is_subset(filter, other)) {
            return Err(errors::CONSUMER_OVERLAPPING_FILTERS);
        }
    }
    Ok(())
}

fn check_start(config: &ConsumerConfig) -> Result<(), ApiError> {
    let also = |policy: &str, what: &str| {
        Err(errors::consumer_invalid_policy(format!(
            "consumer delivery policy is deliver {policy}, but optional start {what} is also set"
        )))
    };
    let missing = |policy: &str, what: &str| {
        Err(errors::consumer_invalid_policy(format!(
            "consumer delivery policy is deliver {policy}, but optional {what} is not set"
        )))
    };
    let name = match config.deliver_policy {
        DeliverPolicy::All => "all",
        DeliverPolicy::Last => "last",
        DeliverPolicy::New => "new",
        DeliverPolicy::LastPerSubject => "last per subject",
        DeliverPolicy::ByStartSequence => {
            if config.opt_start_seq == 0 {
                return missing("by start sequence", "start sequence");
            }
            if config.opt_start_time.is_some() {
                return also("by start sequence", "time");
            }
            return Ok(());
        }
        DeliverPolicy::ByStartTime => {
            if config.opt_start_time.is_none() {
                return missing("by start time", "start time");
            }
            if config.opt_start_seq != 0 {
                return also("by start time", "start sequence");
            }
            return Ok(());
        }
    };
    if config.opt_start_seq > 0 {
        return also(name, "sequence");
    }
    if config.opt_start_time.is_some() {
        return also(name, "time");
    }
    if config.deliver_policy == DeliverPolicy::LastPerSubject && config.filters().is_empty() {
        return missing("last per subject", "filter subject");
    }
    Ok(())
}

fn check_priority(config: &ConsumerConfig) -> Result<(), ApiError> {
    if config.priority_policy == PriorityPolicy::None {
        if !config.priority_groups.is_empty() {
            return Err(errors::CONSUMER_GROUPS_WITH_POLICY_NONE);
        }
        if config.priority_timeout > 0 {
            return Err(errors::CONSUMER_PINNED_TTL_WITHOUT_POLICY);
        }
        return Ok(());
    }
    if config.is_push() {
        return Err(errors::CONSUMER_PUSH_PRIORITY);
    }
    if config.priority_groups.is_empty() {
        return Err(errors::CONSUMER_PRIORITY_WITHOUT_GROUP);
    }
    for group in &config.priority_groups {
        if group.is_empty() {
            return Err(errors::CONSUMER_EMPTY_GROUP);
        }
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'=' | b'-');
        if group.len() > 16 || !group.bytes().all(valid) {
            return Err(errors::CONSUMER_INVALID_GROUP);
        }
    }
    Ok(())
}

/// Checks what an update may change; `bound` says that somebody listens on the old deliver subject.
pub fn check_update(old: &ConsumerConfig, new: &ConsumerConfig, bound: bool) -> Result<(), ApiError> {
    let fixed = [
        (old.deliver_policy != new.deliver_policy, "deliver policy can not be updated"),
        (old.mem_storage != new.mem_storage, "storage type can not be updated"),
        (old.direct != new.direct, "direct can not be updated"),
        (old.sourcing != new.sourcing, "sourcing can not be updated"),
        (old.opt_start_seq != new.opt_start_seq, "start sequence can not be updated"),
        (old.opt_start_time != new.opt_start_time, "start time can not be updated"),
        (old.ack_policy != new.ack_policy, "ack policy can not be updated"),
        (old.replay_policy != new.replay_policy, "replay policy can not be updated"),
        (old.idle_heartbeat != new.idle_heartbeat, "heart beats can not be updated"),
        (old.flow_control != new.flow_control, "flow control can not be updated"),
    ];
    if let Some((_, text)) = fixed.iter().find(|(changed, _)| *changed) {
        return Err(errors::consumer_create(*text));
    }
    if old.deliver_subject != new.deliver_subject {
        if !old.is_push() {
            return Err(errors::consumer_create("can not update pull consumer to push based"));
        }
        if !new.is_push() {
            return Err(errors::consumer_create("can not update push consumer to pull based"));
        }
        if bound {
            return Err(errors::CONSUMER_NAME_EXISTS);
        }
    }
    if old.max_waiting != new.max_waiting {
        return Err(errors::consumer_create("max waiting can not be updated"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(mut config: ConsumerConfig, stream: &StreamConfig) -> Result<ConsumerConfig, ApiError> {
        let (server, account) = (ServerLimits::default(), AccountLimits::default());
        set_defaults(&mut config, stream, &server, &account, false)?;
        check(&config, stream, &server, &account).map(|()| config)
    }

    fn explicit() -> ConsumerConfig {
        ConsumerConfig { ack_policy: AckPolicy::Explicit, ..Default::default() }
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = prepared(explicit(), &StreamConfig::default()).unwrap();
        assert_eq!((config.ack_wait, config.max_deliver), (30 * SECOND, -1));
        assert_eq!((config.max_ack_pending, config.max_waiting), (1000, 512));
        let push = ConsumerConfig { deliver_subject: "d".into(), ..Default::default() };
        let config = prepared(push, &StreamConfig::default()).unwrap();
        assert_eq!((config.ack_wait, config.max_ack_pending, config.max_waiting), (0, 0, 0));
        let backoff = ConsumerConfig { backoff: vec![SECOND, 2 * SECOND], max_deliver: 2, ..explicit() };
        assert_eq!(prepared(backoff, &StreamConfig::default()).unwrap().ack_wait, SECOND);
    }

    #[test]
    fn broken_rules_have_their_codes() {
        let stream = StreamConfig { subjects: vec!["a.>".into()], ..Default::default() };
        let code = |config: ConsumerConfig| prepared(config, &stream).unwrap_err().err_code;
        assert_eq!(code(ConsumerConfig { deliver_subject: "a.*".into(), ..explicit() }), 10079);
        assert_eq!(code(ConsumerConfig { deliver_subject: "a.b".into(), ..explicit() }), 10081);
        assert_eq!(code(ConsumerConfig { deliver_subject: "x".into(), max_waiting: 1, ..explicit() }), 10080);
        assert_eq!(code(ConsumerConfig { idle_heartbeat: SECOND, ..explicit() }), 10088);
        assert_eq!(code(ConsumerConfig { flow_control: true, ..explicit() }), 10089);
        assert_eq!(code(ConsumerConfig { rate_limit_bps: 1, ..explicit() }), 10086);
        assert_eq!(code(ConsumerConfig { max_expires: 1, ..explicit() }), 10115);
        assert_eq!(code(ConsumerConfig { opt_start_seq: 1, ..explicit() }), 10094);
        assert_eq!(code(ConsumerConfig { sample_freq: "x".into(), ..explicit() }), 10095);
        assert_eq!(code(ConsumerConfig { filter_subjects: vec!["a.*".into(), "a.b".into()], ..explicit() }), 10138);
        assert_eq!(code(ConsumerConfig { filter_subjects: vec![String::new()], ..explicit() }), 10139);
        assert_eq!(
            code(ConsumerConfig { filter_subject: "a".into(), filter_subjects: vec!["b".into()], ..explicit() }),
            10136
        );
        assert_eq!(code(ConsumerConfig { name: "a".into(), durable_name: "b".into(), ..explicit() }), 10132);
        assert_eq!(code(ConsumerConfig { backoff: vec![1, 2, 3], max_deliver: 2, ..explicit() }), 10116);
        assert_eq!(code(ConsumerConfig { priority_groups: vec!["g".into()], ..explicit() }), 10196);
        let queue = StreamConfig { retention: Retention::WorkQueue, ..stream.clone() };
        assert_eq!(prepared(ConsumerConfig::default(), &queue).unwrap_err().err_code, 10084);
    }

    #[test]
    fn updates_keep_what_can_not_change() {
        let old = prepared(explicit(), &StreamConfig::default()).unwrap();
        let new = ConsumerConfig { max_deliver: 5, description: "x".into(), ..old.clone() };
        assert!(check_update(&old, &new, false).is_ok());
        let new = ConsumerConfig { ack_policy: AckPolicy::None, ..old.clone() };
        assert_eq!(check_update(&old, &new, false).unwrap_err().description, "ack policy can not be updated");
        let push = ConsumerConfig { deliver_subject: "a".into(), ..old.clone() };
        let moved = ConsumerConfig { deliver_subject: "b".into(), ..old };
        assert!(check_update(&push, &moved, false).is_ok());
        assert_eq!(check_update(&push, &moved, true).unwrap_err(), errors::CONSUMER_NAME_EXISTS);
    }
}
