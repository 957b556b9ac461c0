//! The subjects of the API: which verb, which stream, which consumer; and how answers look.

use std::fmt::Write;

use bytes::Bytes;
use natsune_protocol::header_get;
use serde::Serialize;

use super::errors::ApiError;
use super::json;
use super::stream_config::API_LEVEL;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // named like the API's subjects
pub enum Verb {
    Info,
    StreamCreate,
    StreamUpdate,
    StreamInfo,
    StreamNames,
    StreamList,
    StreamDelete,
    StreamPurge,
    MsgGet,
    MsgDelete,
    ConsumerCreate,
    ConsumerDurableCreate,
    ConsumerInfo,
    ConsumerNames,
    ConsumerList,
    ConsumerDelete,
    ConsumerPause,
    ConsumerReset,
    ConsumerUnpin,
    Next,
    DirectGet,
    /// Clusters, snapshots: known, but not served.
    Unserved(&'static str),
}

impl Verb {
    /// The type of the answer.
    pub fn response(self) -> &'static str {
        match self {
            Verb::Info => "account_info",
            Verb::StreamCreate => "stream_create",
            Verb::StreamUpdate => "stream_update",
            Verb::StreamInfo => "stream_info",
            Verb::StreamNames => "stream_names",
            Verb::StreamList => "stream_list",
            Verb::StreamDelete => "stream_delete",
            Verb::StreamPurge => "stream_purge",
            Verb::MsgGet => "stream_msg_get",
            Verb::MsgDelete => "stream_msg_delete",
            Verb::ConsumerCreate | Verb::ConsumerDurableCreate => "consumer_create",
            Verb::ConsumerInfo => "consumer_info",
            Verb::ConsumerNames => "consumer_names",
            Verb::ConsumerList => "consumer_list",
            Verb::ConsumerDelete => "consumer_delete",
            Verb::ConsumerPause => "consumer_pause",
            Verb::ConsumerReset => "consumer_reset",
            Verb::ConsumerUnpin => "consumer_unpin",
            Verb::Next | Verb::DirectGet => "",
            Verb::Unserved(response) => response,
        }
    }

    /// Members that error answers have as well, since the documents always carry them.
    fn error_tail(self) -> &'static str {
        match self {
            Verb::StreamInfo => r#","total":0,"offset":0,"limit":0"#,
            Verb::StreamNames | Verb::StreamList => r#","total":0,"offset":0,"limit":0,"streams":null"#,
            Verb::ConsumerNames | Verb::ConsumerList => r#","total":0,"offset":0,"limit":0,"consumers":[]"#,
            Verb::StreamPurge => r#","purged":0"#,
            Verb::ConsumerPause => r#","paused":false,"pause_until":"0001-01-01T00:00:00Z""#,
            Verb::ConsumerReset => r#","reset_seq":0"#,
            _ => "",
        }
    }
}

/// A parsed API subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// What.
    pub verb: Verb,
    /// On which stream; empty for the account.
    pub stream: &'a str,
    /// On which consumer; empty for none.
    pub consumer: &'a str,
    /// The filter of a create, the subject of a direct get; empty for none.
    pub rest: &'a str,
}

/// Reads what comes after the API prefix. `None`: there is no such thing.
pub fn parse(tail: &str) -> Option<Address<'_>> {
    let address = |verb, stream, consumer, rest| Some(Address { verb, stream, consumer, rest });
    let (area, rest) = tail.split_once('.').unwrap_or((tail, ""));
    match area {
        "INFO" if rest.is_empty() => address(Verb::Info, "", "", ""),
        "STREAM" => {
            let (verb, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let verb = match (verb, rest) {
                ("NAMES", "") => return address(Verb::StreamNames, "", "", ""),
                ("LIST", "") => return address(Verb::StreamList, "", "", ""),
                ("CREATE", _) => Verb::StreamCreate,
                ("UPDATE", _) => Verb::StreamUpdate,
                ("INFO", _) => Verb::StreamInfo,
                ("DELETE", _) => Verb::StreamDelete,
                ("PURGE", _) => Verb::StreamPurge,
                ("SNAPSHOT", _) => Verb::Unserved("stream_snapshot"),
                ("RESTORE", _) => Verb::Unserved("stream_restore"),
                ("MSG", _) => {
                    let (verb, stream) = rest.split_once('.')?;
                    let verb = match verb {
                        "GET" => Verb::MsgGet,
                        "DELETE" => Verb::MsgDelete,
                        _ => return None,
                    };
                    return one(stream).and_then(|stream| address(verb, stream, "", ""));
                }
                ("LEADER", _) => {
                    let stream = rest.strip_prefix("STEPDOWN.").and_then(one)?;
                    return address(Verb::Unserved("stream_leader_stepdown"), stream, "", "");
                }
                ("PEER", _) => {
                    let stream = rest.strip_prefix("REMOVE.").and_then(one)?;
                    return address(Verb::Unserved("stream_remove_peer"), stream, "", "");
                }
                _ => return None,
            };
            address(verb, one(rest)?, "", "")
        }
        "CONSUMER" => consumer_address(rest),
        "DIRECT" => {
            let rest = rest.strip_prefix("GET.")?;
            let (stream, subject) = rest.split_once('.').unwrap_or((rest, ""));
            address(Verb::DirectGet, stream, "", subject)
        }
        _ => None,
    }
}

fn consumer_address(rest: &str) -> Option<Address<'_>> {
    let address = |verb, stream, consumer, rest| Some(Address { verb, stream, consumer, rest });
    let (verb, rest) = rest.split_once('.')?;
    let verb = match verb {
        "CREATE" => {
            let (stream, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let (consumer, filter) = rest.split_once('.').unwrap_or((rest, ""));
            return address(Verb::ConsumerCreate, stream, consumer, filter);
        }
        "NAMES" => return address(Verb::ConsumerNames, one(rest)?, "", ""),
        "LIST" => return address(Verb::ConsumerList, one(rest)?, "", ""),
        "MSG" => return two(rest.strip_prefix("NEXT.")?).and_then(|(s, c)| address(Verb::Next, s, c, "")),
        "DURABLE" => {
            let rest = rest.strip_prefix("CREATE.")?;
            let (stream, consumer) = rest.split_once('.').unwrap_or((rest, ""));
            return address(Verb::ConsumerDurableCreate, stream, consumer, "");
        }
        "LEADER" => {
            let (stream, consumer) = rest.strip_prefix("STEPDOWN.").and_then(two)?;
            return address(Verb::Unserved("consumer_leader_stepdown"), stream, consumer, "");
        }
        "INFO" => Verb::ConsumerInfo,
        "DELETE" => Verb::ConsumerDelete,
        "PAUSE" => Verb::ConsumerPause,
        "RESET" => Verb::ConsumerReset,
        "UNPIN" => Verb::ConsumerUnpin,
        _ => return None,
    };
    two(rest).and_then(|(stream, consumer)| address(verb, stream, consumer, ""))
}

fn one(rest: &str) -> Option<&str> {
    (!rest.is_empty() && !rest.contains('.')).then_some(rest)
}

fn two(rest: &str) -> Option<(&str, &str)> {
    let (stream, consumer) = rest.split_once('.')?;
    Some((one(stream)?, one(consumer)?))
}

/// One request, taken out of the publisher's buffer.
#[derive(Debug)]
pub struct Call {
    /// What.
    pub verb: Verb,
    /// On which stream.
    pub stream: String,
    /// On which consumer.
    pub consumer: String,
    /// Filter or subject.
    pub rest: String,
    /// Where the answer goes; empty: nowhere.
    pub reply: String,
    /// The document.
    pub body: Bytes,
    /// The request needs a higher API level than this server has.
    pub too_new: bool,
}

/// Whether a request asks for an API level this server does not have.
pub fn is_too_new(headers: Option<&[u8]>) -> bool {
    match headers.and_then(|headers| header_get(headers, "Nats-Required-Api-Level")) {
        None | Some("") => false,
        Some(level) => level.parse::<i64>().map_or(true, |level| level > API_LEVEL),
    }
}

/// A successful answer: its type, then the members of `body`.
pub fn success<T: Serialize>(verb: Verb, body: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a, T> {
        #[serde(rename = "type")]
        kind: String,
        #[serde(flatten)]
        body: &'a T,
    }
    json::encode(&Answer { kind: kind(verb), body })
}

/// An error answer.
pub fn failure(verb: Verb, error: &ApiError) -> Vec<u8> {
    let mut out = String::new();
    let description = serde_json::to_string(&error.description).unwrap_or_default();
    // Writing to a String can not fail.
    let _ = write!(
        out,
        r#"{{"type":"{}","error":{{"code":{},"err_code":{},"description":{description}}}{}}}"#,
        kind(verb),
        error.code,
        error.err_code,
        verb.error_tail()
    );
    out.into_bytes()
}

fn kind(verb: Verb) -> String {
    format!("io.nats.jetstream.api.v1.{}_response", verb.response())
}

/// `{"success":true}` with its type.
pub fn done(verb: Verb) -> Vec<u8> {
    success(verb, &serde_json::json!({"success": true}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(verb: Verb, stream: &'a str, consumer: &'a str, rest: &'a str) -> Option<Address<'a>> {
        Some(Address { verb, stream, consumer, rest })
    }

    #[test]
    fn subjects_are_read() {
        assert_eq!(parse("INFO"), at(Verb::Info, "", "", ""));
        assert_eq!(parse("STREAM.CREATE.S"), at(Verb::StreamCreate, "S", "", ""));
        assert_eq!(parse("STREAM.MSG.GET.S"), at(Verb::MsgGet, "S", "", ""));
        assert_eq!(parse("STREAM.NAMES"), at(Verb::StreamNames, "", "", ""));
        assert_eq!(parse("CONSUMER.CREATE.S"), at(Verb::ConsumerCreate, "S", "", ""));
        assert_eq!(parse("CONSUMER.CREATE.S.C.a.>"), at(Verb::ConsumerCreate, "S", "C", "a.>"));
        assert_eq!(parse("CONSUMER.DURABLE.CREATE.S.C"), at(Verb::ConsumerDurableCreate, "S", "C", ""));
        assert_eq!(parse("CONSUMER.MSG.NEXT.S.C"), at(Verb::Next, "S", "C", ""));
        assert_eq!(parse("DIRECT.GET.S.$KV.b.k"), at(Verb::DirectGet, "S", "", "$KV.b.k"));
        for bad in ["", "FOO", "STREAM", "STREAM.INFO", "STREAM.INFO.a.b", "CONSUMER.INFO.S", "CONSUMER.MSG.NEXT.S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_carry_their_type() {
        let text = String::from_utf8(failure(Verb::StreamPurge, &super::super::errors::STREAM_NOT_FOUND)).unwrap();
        assert_eq!(
            text,
            r#"{"type":"io.nats.jetstream.api.v1.stream_purge_response","error":{"code":404,"err_code":10059,"description":"stream not found"},"purged":0}"#
        );
        assert_eq!(
            String::from_utf8(done(Verb::StreamDelete)).unwrap(),
            r#"{"type":"io.nats.jetstream.api.v1.stream_delete_response","success":true}"#
        );
        assert!(is_too_new(Some(b"NATS/1.0\r\nNats-Required-Api-Level: 6\r\n\r\n")));
        assert!(!is_too_new(Some(b"NATS/1.0\r\nNats-Required-Api-Level: 5\r\n\r\n")) && !is_too_new(None));
    }
}
