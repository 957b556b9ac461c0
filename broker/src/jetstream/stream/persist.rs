//! The keys of a stream in the store.
//!
//! `s NUL account NUL stream`: the stream's number, age and configuration. `c NUL number NUL consumer`: a consumer's
//! configuration and state. `d NUL number NUL start`: message ids of a while. `t NUL number`: lifetimes of messages.
//! `r NUL number`: roll-ups whose removals may not be stored yet.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::super::clock::Timestamp;
use super::super::consumer_config::ConsumerConfig;
use super::super::journal::{Reader, push};
use super::super::json;
use super::Stream;
use super::active::Active;
use crate::store::Op;

fn key(kind: u8, id: u64, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(11 + rest.len());
    key.put_u8(kind);
    key.put_u8(0);
    key.put_u64(id);
    if !rest.is_empty() {
        key.put_u8(0);
        key.put_slice(rest);
    }
    key.freeze()
}

/// What the keys of all streams of an account begin with.
pub fn stream_prefix(account: &str) -> Vec<u8> {
    [b"s\0", account.as_bytes(), b"\0"].concat()
}

/// The key of a stream.
pub fn stream_key(account: &str, stream: &str) -> Bytes {
    [stream_prefix(account).as_slice(), stream.as_bytes()].concat().into()
}

/// The key of a consumer; with an empty name what the keys of all consumers of the stream begin with.
pub fn consumer_key(stream: u64, consumer: &str) -> Bytes {
    if consumer.is_empty() {
        let mut prefix = key(b'c', stream, b"").to_vec();
        prefix.push(0);
        return prefix.into();
    }
    key(b'c', stream, consumer.as_bytes())
}

/// The key of message ids that begin at a time.
pub fn ids_key(stream: u64, start: i64) -> Bytes {
    key(b'd', stream, &start.to_be_bytes())
}

/// What the keys of all message ids of a stream begin with.
pub fn ids_prefix(stream: u64) -> Vec<u8> {
    let mut prefix = key(b'd', stream, b"").to_vec();
    prefix.push(0);
    prefix
}

/// The key of lifetimes.
pub fn lifetimes_key(stream: u64) -> Bytes {
    key(b't', stream, b"")
}

/// The key of roll-ups.
pub fn rollups_key(stream: u64) -> Bytes {
    key(b'r', stream, b"")
}

/// What the keys of a stream begin with, its own key aside.
pub fn streams_keys(stream: u64) -> [Vec<u8>; 4] {
    [b'c', b'd', b't', b'r'].map(|kind| key(kind, stream, b"").to_vec())
}

/// The fixed part of a stored consumer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConsumerRecord {
    /// Its configuration.
    pub config: ConsumerConfig,
    /// When it was made.
    pub created: Timestamp,
    /// See [`Active::replay_until`].
    #[serde(default)]
    pub replay_until: u64,
}

/// The value of a consumer's key: the record, then the snapshot.
fn consumer_value(active: &mut Active) -> Vec<u8> {
    let record = json::encode(&ConsumerRecord {
        config: active.config.clone(),
        created: active.created,
        replay_until: active.replay_until,
    });
    let mut value = Vec::with_capacity(record.len() + 64);
    push(&mut value, record.len() as u64);
    value.extend_from_slice(&record);
    value.extend_from_slice(&active.state.snapshot());
    value
}

/// Reads the value of a consumer's key.
pub fn read_consumer(value: &[u8]) -> Option<(ConsumerRecord, &[u8])> {
    let mut reader = Reader(value);
    let record = serde_json::from_slice(reader.bytes()?).ok()?;
    Some((record, reader.0))
}

/// What changed of a consumer: a note, or everything when notes have grown or can not tell it.
pub fn consumer_op(stream: u64, active: &mut Active) -> Op {
    let key = consumer_key(stream, &active.name);
    if !active.state.wants_rewrite() && active.note_bytes < (4 * active.snapshot_bytes).max(16 << 10) {
        let note = active.state.take_note();
        active.note_bytes += note.len() + 16;
        return Op::Note { key, bytes: note.into() };
    }
    let value = consumer_value(active);
    active.snapshot_bytes = value.len();
    active.note_bytes = 0;
    Op::Put { key, value: value.into() }
}

impl Stream {
    pub(super) fn dedupe_key(&self, start: i64) -> Bytes {
        ids_key(self.handle.id, start)
    }

    pub(super) fn rollup_key(&self) -> Bytes {
        rollups_key(self.handle.id)
    }

    /// What changed of the lifetimes.
    pub(super) fn expiry_op(&mut self) -> Option<Op> {
        let (all, note) = self.expiry.take_note()?;
        if !self.is_durable() {
            return None;
        }
        let key = lifetimes_key(self.handle.id);
        Some(if all { Op::Put { key, value: note.into() } } else { Op::Note { key, bytes: note.into() } })
    }

    /// The key and value of the stream itself.
    pub(super) fn stream_op(&self) -> Op {
        super::restore::Record {
            id: self.handle.id,
            created: self.handle.created,
            config: self.config.as_ref().clone(),
        }
        .op(&self.host.account.name)
    }

    /// Everything of the stream goes.
    pub(super) fn drop_ops(&self) -> Vec<Op> {
        let id = self.handle.id;
        let mut ops = vec![Op::DropStream { stream: id }];
        if !self.is_durable() {
            return ops;
        }
        ops.push(Op::Delete { key: stream_key(&self.host.account.name, &self.handle.name) });
        ops.push(Op::Delete { key: lifetimes_key(id) });
        ops.push(Op::Delete { key: rollups_key(id) });
        ops.extend(self.dedupe.keys().into_iter().map(|start| Op::Delete { key: ids_key(id, start) }));
        let persistent = self.consumers.values().filter(|active| active.persistent);
        ops.extend(persistent.map(|active| Op::Delete { key: consumer_key(id, &active.name) }));
        ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_stream_do_not_mix_with_others() {
        assert!(consumer_key(1, "a").starts_with(&consumer_key(1, "")));
        assert!(!consumer_key(2, "a").starts_with(&consumer_key(1, "")));
        assert!(stream_key("A", "S").starts_with(&stream_prefix("A")));
        assert!(!stream_key("AB", "S").starts_with(&stream_prefix("A")));
        assert!(ids_key(1, 5).starts_with(&ids_prefix(1)) && ids_key(1, 5) < ids_key(1, 6));
    }
}
