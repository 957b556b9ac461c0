//! The answers to publishes, written by hand: they are the most frequent documents of all.

use bytes::Bytes;
use natsune_protocol::encode::number;

use super::errors::ApiError;
use super::json;

/// What an acknowledgement says besides the sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// The message was there already.
    Duplicate,
    /// The batch of this id is stored, with so many messages.
    Batch(Bytes, u64),
    /// The new value of a counter.
    Value(String),
}

/// Writes the acknowledgements of one stream.
#[derive(Debug, Clone)]
pub struct PubAcks {
    prefix: Vec<u8>,
}

impl PubAcks {
    /// For a stream, in a domain or none.
    pub fn new(stream: &str, domain: Option<&str>) -> PubAcks {
        let mut prefix = b"{\"stream\":".to_vec();
        json::push_string(&mut prefix, stream);
        if let Some(domain) = domain {
            prefix.extend_from_slice(b",\"domain\":");
            json::push_string(&mut prefix, domain);
        }
        prefix.extend_from_slice(b",\"seq\":");
        PubAcks { prefix }
    }

    /// Writes one into an empty or used buffer.
    pub fn write(&self, out: &mut Vec<u8>, seq: u64, extra: &Extra) {
        out.clear();
        out.extend_from_slice(&self.prefix);
        number(out, seq);
        match extra {
            Extra::None => {}
            Extra::Duplicate => out.extend_from_slice(b",\"duplicate\":true"),
            Extra::Batch(id, count) => {
                out.extend_from_slice(b",\"batch\":");
                json::push_string(out, &String::from_utf8_lossy(id));
                out.extend_from_slice(b",\"count\":");
                number(out, *count);
            }
            Extra::Value(value) => {
                out.extend_from_slice(b",\"val\":");
                json::push_string(out, value);
            }
        }
        out.push(b'}');
    }
}

/// A refusal.
pub fn refusal(stream: &str, error: &ApiError) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    out.extend_from_slice(&json::encode(error));
    out.extend_from_slice(b",\"stream\":");
    json::push_string(&mut out, stream);
    out.extend_from_slice(b",\"seq\":0}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_json() {
        let mut out = Vec::new();
        PubAcks::new("A", None).write(&mut out, 12, &Extra::None);
        assert_eq!(out, br#"{"stream":"A","seq":12}"#);
        PubAcks::new("A", Some("hub")).write(&mut out, 7, &Extra::Duplicate);
        assert_eq!(out, br#"{"stream":"A","domain":"hub","seq":7,"duplicate":true}"#);
        PubAcks::new("A", None).write(&mut out, 9, &Extra::Batch("b".into(), 3));
        assert_eq!(out, br#"{"stream":"A","seq":9,"batch":"b","count":3}"#);
        PubAcks::new("A", None).write(&mut out, 9, &Extra::Value("-5".into()));
        assert_eq!(out, br#"{"stream":"A","seq":9,"val":"-5"}"#);
        assert_eq!(
            refusal("A", &super::super::errors::STREAM_SEALED),
            br#"{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"},"stream":"A","seq":0}"#
        );
    }
}
