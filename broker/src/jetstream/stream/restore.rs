//! How a stream comes back: from what the store held when it was opened, or new.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use natsune_protocol::header_get;
use serde::{Deserialize, Serialize};

use super::super::clock::Timestamp;
use super::super::consumer::Consumer;
use super::super::dedupe::Dedupe;
use super::super::expiry::Expiry;
use super::super::host::{Handle, Host};
use super::super::index::Index;
use super::super::limits::message_size;
use super::super::puback::PubAcks;
use super::super::stream_config::StreamConfig;
use super::super::transform::Transform;
use super::Stream;
use super::active::Active;
use super::persist::{consumer_key, ids_prefix, lifetimes_key, read_consumer, rollups_key, stream_key};
use super::removal::read_rollups;
use crate::store::{KeyState, Op, RecoveredStream};

/// The stored part of a stream's identity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the store.
    pub id: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Its configuration.
    pub config: StreamConfig,
}

impl Record {
    /// Writes it.
    pub fn op(&self, account: &str) -> Op {
        Op::Put { key: stream_key(account, &self.config.name), value: super::super::json::encode(self).into() }
    }
}

/// What the store held of one stream.
#[derive(Debug, Default)]
pub struct Remains {
    /// Its messages.
    pub messages: RecoveredStream,
    /// Its keys.
    pub keys: BTreeMap<Vec<u8>, KeyState>,
}

impl Stream {
    /// The task of a new stream, or of one that was found in the store.
    pub fn new(host: Arc<Host>, handle: Arc<Handle>, remains: Option<Remains>, now: i64) -> Stream {
        let config = handle.config();
        let store = host.server.store(config.storage).clone();
        let mut stream = Stream {
            acks: PubAcks::new(&handle.name, host.server.domain.as_deref()),
            transform: None,
            republish: None,
            index: Index::new(config.first_seq.saturating_sub(1)),
            dedupe: Dedupe::new(config.duplicate_window),
            expiry: Expiry::default(),
            lost: Vec::new(),
            last_msg_id: Bytes::new(),
            consumers: BTreeMap::new(),
            next_consumer: 1,
            backlog: Default::default(),
            batch: None,
            staged: Default::default(),
            flights: Default::default(),
            ops: Vec::new(),
            replies: Vec::new(),
            removed: Vec::new(),
            held_back: Vec::new(),
            marked: Default::default(),
            rollups: 0,
            routes: Default::default(),
            agenda: Default::default(),
            touched: Vec::new(),
            unfinished: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            now,
            deadline: None,
            retry_at: None,
            burst: None,
            stopping: None,
            deleted: false,
            changed: true,
            store,
            config,
            host,
            handle,
        };
        stream.set_transforms();
        if let Some(remains) = remains {
            stream.restore(remains);
        }
        stream
    }

    /// Takes over the transforms of the configuration.
    pub(super) fn set_transforms(&mut self) {
        self.transform = self
            .config
            .subject_transform
            .as_ref()
            .and_then(|transform| Transform::new(&transform.src, &transform.dest));
        self.republish = self
            .config
            .republish
            .as_ref()
            .and_then(|target| Some((Transform::new(&target.src, &target.dest)?, target.headers_only)));
    }

    fn restore(&mut self, mut remains: Remains) {
        let id = self.handle.id;
        self.restore_messages(remains.messages);
        let rollups = remains.keys.remove(&rollups_key(id)[..]).unwrap_or_default();
        self.rollups = rollups.notes.len();
        for (seq, subject) in read_rollups(&rollups.notes) {
            self.redo_rollup(seq, subject.as_deref());
        }
        let lifetimes = remains.keys.remove(&lifetimes_key(id)[..]).unwrap_or_default();
        let index = &self.index;
        self.expiry = Expiry::restore(&lifetimes.value, &lifetimes.notes, |seq| index.contains(seq));
        let (ids, consumers) = (ids_prefix(id), consumer_key(id, ""));
        for (key, state) in remains.keys {
            if let Some(start) = key.strip_prefix(&ids[..]).and_then(|start| start.try_into().ok()) {
                self.dedupe.restore(i64::from_be_bytes(start), &state.notes);
            } else if let Some(name) = key.strip_prefix(&consumers[..]) {
                self.restore_consumer(&String::from_utf8_lossy(name), &state);
            }
        }
        // Only now it is known which of them are too old; nobody would ever name those keys again.
        self.forget_old_ids();
        self.enforce_all_limits();
    }

    fn restore_messages(&mut self, found: RecoveredStream) {
        let storage = self.config.storage;
        let mut bytes = 0;
        for entry in found.messages {
            let Ok(subject) = std::str::from_utf8(&entry.subject) else { continue };
            let (subjects, headers) = (subject.len(), entry.headers as usize);
            let payload = (entry.bytes as usize).saturating_sub(subjects + headers);
            let size = u32::try_from(message_size(storage, subjects, headers, payload)).unwrap_or(u32::MAX);
            self.index.insert(entry.seq, subject, entry.ts, size, entry.at);
            bytes += u64::from(size);
        }
        self.index.skip_to(found.last_seq);
        // Publishers may go on with "expected last message id".
        if let Some(last) = self.read(self.index.last_seq()) {
            self.last_msg_id = header_get(&last.headers, "Nats-Msg-Id").unwrap_or_default().to_owned().into();
        }
        self.lost = found.lost;
        self.host.usage.add(storage, bytes);
        self.host.server.usage.add(storage, bytes);
    }

    /// A roll-up counts only when its message is there; then what it replaced is not.
    fn redo_rollup(&mut self, seq: u64, subject: Option<&str>) {
        if seq > self.index.last_seq() {
            return;
        }
        let gone: Vec<u64> = match subject {
            Some(subject) => {
                self.index.subjects.find(subject).map(|id| self.index.subjects.before(id, seq)).unwrap_or_default()
            }
            None => self.index.iter(0).map(|(seq, _)| seq).take_while(|before| *before < seq).collect(),
        };
        for seq in gone {
            self.remove(seq);
        }
    }

    fn restore_consumer(&mut self, name: &str, state: &KeyState) {
        let Some((record, snapshot)) = read_consumer(&state.value) else { return };
        if record.config.name != name {
            return;
        }
        let consumer = Consumer::restore(&record.config, &self.index, snapshot, &state.notes);
        let mut active = Active::new(&self.handle.name, record.config, record.created, consumer, 0, self.now);
        active.replay_until = record.replay_until;
        active.snapshot_bytes = state.value.len();
        active.note_bytes = state.notes.iter().map(Bytes::len).sum();
        self.add_consumer(active);
    }
}
