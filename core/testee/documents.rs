//! The documents' names: the crate speaks the server's own, the inventory the ones that all languages share.

use serde_json::{Map, Value};

/// Shared name, server's name, and whether it is a duration (seconds here, nanoseconds there).
const NAMES: &[(&str, &str, bool)] = &[
    ("max_messages", "max_msgs", false),
    ("max_messages_per_subject", "max_msgs_per_subject", false),
    ("max_message_size", "max_msg_size", false),
    ("first_sequence", "first_seq", false),
    ("last_sequence", "last_seq", false),
    ("allow_rollup", "allow_rollup_hdrs", false),
    ("max_age", "max_age", true),
    ("duplicate_window", "duplicate_window", true),
    ("durable", "durable_name", false),
    ("start_sequence", "opt_start_seq", false),
    ("ack_wait", "ack_wait", true),
    ("max_expires", "max_expires", true),
    ("inactive_threshold", "inactive_threshold", true),
    ("idle_heartbeat", "idle_heartbeat", true),
    ("consumer_sequence", "consumer_seq", false),
    ("stream_sequence", "stream_seq", false),
    ("stream", "stream_name", false),
];

/// A shared document as the server names it.
pub fn to_server(document: &Value) -> Value {
    rename(
        document,
        |name| NAMES.iter().find(|(ours, _, _)| *ours == name).map(|(_, theirs, span)| (*theirs, *span)),
        1e9,
    )
}

/// A server's document with the shared names.
pub fn to_shared(document: &Value) -> Value {
    let mut shared = rename(
        document,
        |name| NAMES.iter().find(|(_, theirs, _)| *theirs == name).map(|(ours, _, span)| (*ours, *span)),
        1e-9,
    );
    // In a stream's state the server calls it `messages`, in its configuration `max_msgs`: only the latter is renamed.
    if let Some(config) = shared.get_mut("config").and_then(Value::as_object_mut)
        && config.get("durable").and_then(Value::as_str) == Some("")
    {
        config.remove("durable");
    }
    shared
}

fn rename<'a>(document: &Value, find: impl Fn(&str) -> Option<(&'a str, bool)> + Copy, factor: f64) -> Value {
    match document {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields {
                let (name, span) = find(name).unwrap_or((name, false));
                let value = match value.as_f64() {
                    Some(number) if span => scaled(number * factor),
                    _ => rename(value, find, factor),
                };
                out.insert(name.to_owned(), value);
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| rename(item, find, factor)).collect()),
        other => other.clone(),
    }
}

fn scaled(number: f64) -> Value {
    // Nanoseconds are whole numbers.
    if number > 1e6 { Value::from(number.round() as i64) } else { Value::from(number) }
}
