//! The table of JetStream error answers: HTTP-like code, error code and the words clients match on.

use std::borrow::Cow;

use serde::Serialize;

/// An error as the JetStream API reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// HTTP-like class: 400, 404, 412, 429, 500 or 503.
    pub code: u16,
    /// The stable number clients switch on.
    pub err_code: u32,
    /// The human-readable part; some clients match on it.
    pub description: Cow<'static, str>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.description, self.err_code)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    const fn fixed(code: u16, err_code: u32, text: &'static str) -> ApiError {
        ApiError { code, err_code, description: Cow::Borrowed(text) }
    }

    fn with(code: u16, err_code: u32, text: impl Into<String>) -> ApiError {
        ApiError { code, err_code, description: Cow::Owned(text.into()) }
    }
}

macro_rules! fixed {
    ($($name:ident = $code:literal, $err:literal, $text:literal;)*) => {
        $(#[doc = concat!("Error ", stringify!($err), ": ", $text, ".")]
        pub const $name: ApiError = ApiError::fixed($code, $err, $text);)*
        #[cfg(test)]
        const ALL: &[ApiError] = &[$($name),*];
    };
}

fixed! {
    ACCOUNT_RESOURCES_EXCEEDED = 400, 10002, "resource limits exceeded for account";
    BAD_REQUEST = 400, 10003, "bad request";
    CLUSTER_REQUIRED = 503, 10010, "JetStream clustering support required";
    CONSUMER_NAME_EXISTS = 400, 10013, "consumer name already in use";
    CONSUMER_NOT_FOUND = 404, 10014, "consumer not found";
    CONSUMER_DURABLE_NOT_IN_SUBJECT = 400, 10016, "consumer expected to be durable but no durable name set in subject";
    CONSUMER_DURABLE_MISMATCH = 400, 10017, "consumer name in subject does not match durable name in request";
    CONSUMER_DURABLE_NOT_SET = 400, 10018, "consumer expected to be durable but a durable name was not set";
    CONSUMER_EPHEMERAL_WITH_DURABLE = 400, 10020, "consumer expected to be ephemeral but a durable name was set in request";
    INSUFFICIENT_RESOURCES = 503, 10023, "insufficient resources";
    MAX_CONSUMERS = 400, 10026, "maximum consumers limit reached";
    MAX_STREAMS = 400, 10027, "maximum number of streams reached";
    MEMORY_EXCEEDED = 500, 10028, "insufficient memory resources available";
    MIRROR_WITH_SOURCES = 400, 10031, "stream mirrors can not also contain other sources";
    MIRROR_WITH_SUBJECTS = 400, 10034, "stream mirrors can not contain subjects";
    NO_MESSAGE_FOUND = 404, 10037, "no message found";
    NOT_EMPTY_REQUEST = 400, 10038, "expected an empty request payload";
    NOT_ENABLED_FOR_ACCOUNT = 503, 10039, "JetStream not enabled for account";
    STORAGE_EXCEEDED = 500, 10047, "insufficient storage resources available";
    MESSAGE_TOO_LARGE = 400, 10054, "message size exceeds maximum allowed";
    MIRROR_NOT_UPDATABLE = 400, 10055, "stream mirror configuration can not be updated";
    STREAM_MISMATCH = 400, 10056, "stream name in subject does not match request";
    STREAM_NAME_EXISTS = 400, 10058, "stream name already in use with a different configuration";
    STREAM_NOT_FOUND = 404, 10059, "stream not found";
    STREAM_NOT_MATCH = 400, 10060, "expected stream does not match";
    SUBJECT_OVERLAP = 400, 10065, "subjects overlap with an existing stream";
    REPLICAS_NOT_SUPPORTED = 500, 10074, "replicas > 1 not supported in non-clustered mode";
    CONSUMER_DELIVER_WILDCARD = 400, 10079, "consumer deliver subject has wildcards";
    CONSUMER_PUSH_MAX_WAITING = 400, 10080, "consumer in push mode can not set max waiting";
    CONSUMER_DELIVER_CYCLE = 400, 10081, "consumer deliver subject forms a cycle";
    CONSUMER_MAX_PENDING_ACK_POLICY = 400, 10082, "consumer requires ack policy for max ack pending";
    CONSUMER_SMALL_HEARTBEAT = 400, 10083, "consumer idle heartbeat needs to be >= 100ms";
    CONSUMER_PULL_REQUIRES_ACK = 400, 10084, "consumer in pull mode requires explicit ack policy on workqueue stream";
    CONSUMER_PULL_RATE_LIMIT = 400, 10086, "consumer in pull mode can not have rate limit set";
    CONSUMER_HEARTBEAT_REQUIRES_PUSH = 400, 10088, "consumer idle heartbeat requires a push based consumer";
    CONSUMER_FC_REQUIRES_PUSH = 400, 10089, "consumer flow control requires a push based consumer";
    CONSUMER_DIRECT_REQUIRES_PUSH = 400, 10090, "consumer direct requires a push based consumer";
    CONSUMER_DIRECT_REQUIRES_EPHEMERAL = 400, 10091, "consumer direct requires an ephemeral consumer";
    HEADER_TOO_LARGE = 400, 10097, "header size exceeds maximum allowed of 64k";
    CONSUMER_WQ_REQUIRES_EXPLICIT_ACK = 400, 10098, "workqueue stream requires explicit ack";
    CONSUMER_WQ_MULTIPLE_UNFILTERED = 400, 10099, "multiple non-filtered consumers not allowed on workqueue stream";
    CONSUMER_WQ_NOT_UNIQUE = 400, 10100, "filtered consumer not unique on workqueue stream";
    CONSUMER_WQ_NOT_DELIVER_ALL = 400, 10101, "consumer must be deliver all on workqueue stream";
    CONSUMER_FC_NEEDS_HEARTBEAT = 400, 10108, "consumer with flow control also needs heartbeats";
    STREAM_SEALED = 400, 10109, "invalid operation on sealed stream";
    CONSUMER_INVALID_DELIVER_SUBJECT = 400, 10112, "invalid push consumer deliver subject";
    STREAM_MAX_BYTES_REQUIRED = 400, 10113, "account requires a stream config to have max bytes set";
    CONSUMER_EXPIRES_TOO_SMALL = 400, 10115, "consumer max request expires needs to be >= 1ms";
    CONSUMER_MAX_DELIVER_BACKOFF = 400, 10116, "max deliver is required to be > length of backoff values";
    STREAM_MAX_BYTES_EXCEEDED = 400, 10122, "stream max bytes exceeds account limit max stream bytes";
    CONSUMER_REPLICAS_EXCEED = 400, 10126, "consumer config replica count exceeds parent stream";
    CONSUMER_NAME_PATH = 400, 10127, "Consumer name can not contain path separators";
    STREAM_NAME_PATH = 400, 10128, "Stream name can not contain path separators";
    CONSUMER_FILTER_MISMATCH = 400, 10131, "Consumer create request did not match filtered subject from create subject";
    CONSUMER_DURABLE_AND_NAME = 400, 10132, "Consumer Durable and Name have to be equal if both are provided";
    REPLICAS_NEGATIVE = 400, 10133, "replicas count cannot be negative";
    CONSUMER_DUPLICATE_FILTERS = 400, 10136, "consumer cannot have both FilterSubject and FilterSubjects specified";
    CONSUMER_MULTIPLE_FILTERS = 400, 10137, "consumer with multiple subject filters cannot use subject based API";
    CONSUMER_OVERLAPPING_FILTERS = 400, 10138, "consumer subject filters cannot overlap";
    CONSUMER_EMPTY_FILTER = 400, 10139, "consumer filter in FilterSubjects cannot be empty";
    SOURCE_DUPLICATE = 400, 10140, "duplicate source configuration detected";
    SOURCE_INVALID_NAME = 400, 10141, "sourced stream name is invalid";
    MIRROR_INVALID_NAME = 400, 10142, "mirrored stream name is invalid";
    MIRROR_WITH_FIRST_SEQ = 400, 10143, "stream mirrors can not have first sequence configured";
    CONSUMER_ALREADY_EXISTS = 400, 10148, "consumer already exists";
    CONSUMER_DOES_NOT_EXIST = 400, 10149, "consumer does not exist";
    CONSUMER_PRIORITY_WITHOUT_GROUP = 400, 10159, "Setting PriorityPolicy requires at least one PriorityGroup to be set";
    CONSUMER_INVALID_PRIORITY_GROUP = 400, 10160, "Provided priority group does not exist for this consumer";
    CONSUMER_EMPTY_GROUP = 400, 10161, "Group name cannot be an empty string";
    CONSUMER_INVALID_GROUP = 400, 10162, "Valid priority group name must match A-Z, a-z, 0-9, -_/=)+ and may not exceed 16 characters";
    MESSAGE_TTL_INVALID = 400, 10165, "invalid per-message TTL";
    MESSAGE_TTL_DISABLED = 400, 10166, "per-message TTL is disabled";
    TOO_MANY_REQUESTS = 429, 10167, "too many requests";
    INCR_DISABLED = 400, 10168, "message counters is disabled";
    INCR_MISSING = 400, 10169, "message counter increment is missing";
    INCR_PAYLOAD = 400, 10170, "message counter has payload";
    INCR_INVALID = 400, 10171, "message counter increment is invalid";
    COUNTER_BROKEN = 400, 10172, "message counter is broken";
    ATOMIC_DISABLED = 400, 10174, "atomic publish is disabled";
    ATOMIC_MISSING_SEQ = 400, 10175, "atomic publish sequence is missing";
    ATOMIC_INCOMPLETE = 400, 10176, "atomic publish batch is incomplete";
    CONSUMER_PUSH_PRIORITY = 400, 10178, "priority groups can not be used with push consumers";
    ATOMIC_INVALID_ID = 400, 10179, "atomic publish batch ID is invalid";
    CONSUMER_ACK_POLICY_INVALID = 400, 10181, "consumer ack policy invalid";
    CONSUMER_ACK_WAIT_NEGATIVE = 400, 10183, "consumer ack wait needs to be positive";
    CONSUMER_BACKOFF_NEGATIVE = 400, 10184, "consumer backoff needs to be positive";
    REQUIRED_API_LEVEL = 412, 10185, "JetStream minimum api level required";
    SCHEDULES_DISABLED = 400, 10188, "message schedules is disabled";
    EXPECTED_SUBJECT_SEQ_INVALID = 400, 10193, "missing sequence for expected last sequence per subject";
    CONSUMER_GROUPS_WITH_POLICY_NONE = 400, 10196, "consumer can not have priority groups when policy is none";
    CONSUMER_PINNED_TTL_WITHOUT_POLICY = 400, 10197, "PinnedTTL cannot be set when PriorityPolicy is none";
    ATOMIC_INVALID_COMMIT = 400, 10200, "atomic publish batch commit is invalid";
    ATOMIC_DUPLICATE = 400, 10201, "atomic publish batch contains duplicate message id";
    ATOMIC_TOO_MANY = 429, 10210, "atomic publish too many inflight";
    SOURCE_HEADER_NOT_ALLOWED = 400, 10227, "message stream source header is not allowed";
}

/// 10012, the catch-all of consumer creation.
pub fn consumer_create(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10012, text)
}

/// 10025: the request is not the JSON document it should be.
pub fn invalid_json(text: impl std::fmt::Display) -> ApiError {
    ApiError::with(400, 10025, format!("invalid JSON: {text}"))
}

/// 10043: a delete names a sequence that is not there.
pub fn sequence_not_found(seq: u64) -> ApiError {
    ApiError::with(400, 10043, format!("sequence {seq} not found"))
}

/// 10051, the catch-all of stream operations.
pub fn stream_general(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10051, text)
}

/// 10052: the stream configuration breaks a rule, named in the text.
pub fn stream_invalid(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10052, text)
}

/// 10057: a message could not be deleted.
pub fn message_delete_failed(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10057, text)
}

/// 10069, the catch-all of stream updates.
pub fn stream_update(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10069, text)
}

/// 10070: the expected last message id is another.
pub fn wrong_last_msg_id(id: &str) -> ApiError {
    ApiError::with(400, 10070, format!("wrong last msg ID: {id}"))
}

/// 10071: the expected last sequence (of the stream or the subject) is another.
pub fn wrong_last_sequence(seq: u64) -> ApiError {
    ApiError::with(400, 10071, format!("wrong last sequence: {seq}"))
}

/// 10077: the message was not stored, the text says why.
pub fn store_failed(text: impl Into<String>) -> ApiError {
    ApiError::with(503, 10077, text)
}

/// 10094: the delivery policy and the start position do not fit.
pub fn consumer_invalid_policy(text: impl Into<String>) -> ApiError {
    ApiError::with(400, 10094, text)
}

/// 10095: the sampling frequency is not a percentage.
pub fn consumer_invalid_sampling(text: impl std::fmt::Display) -> ApiError {
    ApiError::with(400, 10095, format!("failed to parse consumer sampling configuration: {text}"))
}

/// 10102: the consumer's name is longer than `max` bytes.
pub fn consumer_name_too_long(max: usize) -> ApiError {
    ApiError::with(400, 10102, format!("consumer name is too long, maximum allowed is {max}"))
}

/// 10107: the consumer's description is longer than `max` bytes.
pub fn consumer_description_too_long(max: usize) -> ApiError {
    ApiError::with(400, 10107, format!("consumer description is too long, maximum allowed is {max}"))
}

/// 10110: the purge is not allowed.
pub fn purge_failed(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10110, text)
}

/// 10111: the roll-up is not allowed.
pub fn rollup_failed(text: impl Into<String>) -> ApiError {
    ApiError::with(500, 10111, text)
}

/// 10121: more outstanding acknowledgements asked for than the server allows.
pub fn max_ack_pending_excess(limit: i64) -> ApiError {
    ApiError::with(400, 10121, format!("consumer max ack pending exceeds system limit of {limit}"))
}

/// 10125: larger pull requests asked for than the server allows.
pub fn max_request_batch_exceeded(limit: i64) -> ApiError {
    ApiError::with(400, 10125, format!("consumer max request batch exceeds server limit of {limit}"))
}

/// 10135: the consumer's metadata is too large.
pub fn consumer_metadata_too_large(limit: &str) -> ApiError {
    ApiError::with(400, 10135, format!("consumer metadata exceeds maximum size of {limit}"))
}

/// 10153: the inactivity threshold is above the stream's limit.
pub fn inactive_threshold_excess(limit: &str) -> ApiError {
    ApiError::with(400, 10153, format!("consumer inactive threshold exceeds system limit of {limit}"))
}

/// 10155 and 10156: the subject transform's source or destination is wrong.
pub fn transform_invalid(destination: bool, text: impl std::fmt::Display) -> ApiError {
    if destination {
        ApiError::with(400, 10156, format!("stream transform: {text}"))
    } else {
        ApiError::with(400, 10155, format!("stream transform source: {text}"))
    }
}

/// 10157: a default the pedantic mode does not fill in.
pub fn pedantic(text: &str) -> ApiError {
    ApiError::with(400, 10157, format!("pedantic mode: {text}"))
}

/// 10177: a header that a batch must not carry.
pub fn atomic_unsupported_header(header: &str) -> ApiError {
    ApiError::with(400, 10177, format!("atomic publish unsupported header used: {header}"))
}

/// 10199: the batch has more than `size` messages.
pub fn atomic_too_large(size: usize) -> ApiError {
    ApiError::with(400, 10199, format!("atomic publish batch is too large: {size}"))
}

/// 10204: the consumer can not be reset to that place.
pub fn invalid_reset(text: &str) -> ApiError {
    ApiError::with(400, 10204, format!("invalid reset: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_encode_as_clients_expect() {
        let mut seen = std::collections::BTreeSet::new();
        for error in ALL {
            assert!(seen.insert(error.err_code), "{} twice", error.err_code);
            assert!(matches!(error.code, 400 | 404 | 409 | 412 | 429 | 500 | 503));
        }
        assert_eq!(
            serde_json::to_string(&STREAM_NOT_FOUND).unwrap(),
            r#"{"code":404,"err_code":10059,"description":"stream not found"}"#
        );
        assert_eq!(wrong_last_sequence(7).to_string(), "wrong last sequence: 7 (10071)");
    }
}
