//! Publishes that are committed together, and what is known of them before the store has answered.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::puback::Extra;
use crate::store::Op;

/// What a publish came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A message to store.
    Stored,
    /// A sequence was used, but nobody is interested in the message.
    Unwanted,
    /// The message is there already, under this sequence.
    Duplicate,
}

/// What a message does to others when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollup {
    /// Nothing.
    None,
    /// Replaces all before it on its subject.
    Subject,
    /// Replaces all before it.
    All,
}

/// One publish of a batch.
#[derive(Debug)]
pub struct Entry {
    /// What it came to.
    pub outcome: Outcome,
    /// Its sequence.
    pub seq: u64,
    /// Its time.
    pub ts: i64,
    /// Its subject, after any transform.
    pub subject: Bytes,
    /// Headers and payload, kept only when they are wanted after the commit.
    pub body: Option<(Bytes, Bytes)>,
    /// The bytes it counts for.
    pub size: u32,
    /// Where the acknowledgement goes; empty: nowhere.
    pub reply: Bytes,
    /// Its id.
    pub msg_id: Bytes,
    /// What it does to others.
    pub rollup: Rollup,
    /// What its acknowledgement says besides.
    pub extra: Extra,
}

/// A batch: at most one is with the store at a time.
#[derive(Debug, Default)]
pub struct Batch {
    /// The publishes, in order.
    pub entries: Vec<Entry>,
    /// What to commit.
    pub ops: Vec<Op>,
    /// The last sequence before the batch.
    pub before: u64,
    /// The last sequence of the batch so far.
    pub last: u64,
    /// Messages to store, and the bytes they count for.
    pub messages: u64,
    /// See `messages`.
    pub bytes: u64,
    /// Publishes and bytes taken from the mailbox.
    pub taken: (usize, usize),
    /// The id of the last message, when the batch has one.
    pub last_msg_id: Option<Bytes>,
    /// Take no more: what comes next depends on what this batch removes.
    pub closed: bool,
    /// Counters the batch has changed.
    pub counters: HashMap<Bytes, String>,
    /// Messages and last sequence per subject, once somebody asked.
    subjects: Option<HashMap<Bytes, (u64, u64)>>,
}

/// Bounds of a batch: a publish that just missed one waits for one more sync only.
const MAX_ENTRIES: usize = 8192;
const MAX_BYTES: usize = 2 << 20;

impl Batch {
    /// An empty batch after a sequence.
    pub fn new(before: u64) -> Batch {
        Batch { before, last: before, ..Batch::default() }
    }

    /// Whether to hand it in.
    pub fn is_full(&self) -> bool {
        self.closed || self.entries.len() >= MAX_ENTRIES || self.taken.1 >= MAX_BYTES
    }

    /// Adds a publish.
    pub fn push(&mut self, entry: Entry) {
        if entry.outcome != Outcome::Duplicate {
            self.last = entry.seq;
            self.last_msg_id = Some(entry.msg_id.clone());
        }
        if entry.outcome == Outcome::Stored {
            self.messages += 1;
            self.bytes += u64::from(entry.size);
            if let Some(subjects) = &mut self.subjects {
                let (count, last) = subjects.entry(entry.subject.clone()).or_default();
                *count += 1;
                *last = entry.seq;
            }
        }
        self.entries.push(entry);
    }

    /// How many messages of this subject the batch holds, and the last of them.
    pub fn of_subject(&mut self, subject: &[u8]) -> (u64, u64) {
        let entries = &self.entries;
        let subjects = self.subjects.get_or_insert_with(|| {
            let mut subjects: HashMap<Bytes, (u64, u64)> = HashMap::new();
            for entry in entries.iter().filter(|entry| entry.outcome == Outcome::Stored) {
                let (count, last) = subjects.entry(entry.subject.clone()).or_default();
                *count += 1;
                *last = entry.seq;
            }
            subjects
        });
        subjects.get(subject).copied().unwrap_or_default()
    }

    /// The last message of the batch that a pattern matches.
    pub fn last_for(&mut self, pattern: &str) -> Option<u64> {
        if natsune_protocol::subject::is_literal(pattern) {
            return Some(self.of_subject(pattern.as_bytes()).1).filter(|seq| *seq > 0);
        }
        let matches = |entry: &&Entry| {
            entry.outcome == Outcome::Stored
                && std::str::from_utf8(&entry.subject).is_ok_and(|s| natsune_protocol::subject::matches(pattern, s))
        };
        self.entries.iter().rev().find(matches).map(|entry| entry.seq)
    }
}
