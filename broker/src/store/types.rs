//! What goes into the store and what comes out of it.
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// One change. A commit is a list of them; it is recovered whole or (when it was never acknowledged) not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A message. Sequences of a stream go up; one that was used is never used again.
    Append {
        /// The stream's number, chosen by the caller.
        stream: u64,
        /// The message's sequence.
        seq: u64,
        /// Nanoseconds since 1970.
        ts: i64,
        /// The subject, as bytes.
        subject: Bytes,
        /// The raw header block, empty when there is none.
        headers: Bytes,
        /// The payload.
        payload: Bytes,
    },
    /// Messages that are gone.
    Remove {
        /// The stream's number.
        stream: u64,
        /// Sequence and place of each message.
        seqs: Vec<(u64, Location)>,
    },
    /// Sets a key and forgets its notes.
    Put {
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
    },
    /// A delta kept next to the key's value until the next `Put`.
    Note {
        /// The key.
        key: Bytes,
        /// The delta.
        bytes: Bytes,
    },
    /// Removes a key with its notes.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes a stream with all its messages. Its number may be used again afterwards.
    DropStream {
        /// The stream's number.
        stream: u64,
    },
    /// Sequences up to this one count as used.
    HighWater {
        /// The stream's number.
        stream: u64,
        /// The highest used sequence.
        seq: u64,
    },
}

impl Op {
    /// About how many bytes the op holds, for batching and back-pressure.
    pub(super) fn weight(&self) -> usize {
        128 + match self {
            Op::Append { subject, headers, payload, .. } => subject.len() + headers.len() + payload.len(),
            Op::Remove { seqs, .. } => seqs.len() * 24,
            Op::Put { key, value } => key.len() + value.len(),
            Op::Note { key, bytes } => key.len() + bytes.len(),
            Op::Delete { key } => key.len(),
            Op::DropStream { .. } | Op::HighWater { .. } => 0,
        }
    }
}

/// Where a message lies. It stays good until the message is removed or the store is opened again: when cleaning moves
/// a record, `read` and `Remove` still accept the place that was handed out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// When `done` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// After the sync: it survives a power loss.
    Durable,
    /// After the write: it survives the death of the process and is synced with the next group.
    Soon,
}

/// Told once per commit, on the store's writer thread, in commit order. One `Location` per `Append`, in order.
pub type Done = Box<dyn FnOnce(Result<Vec<Location>, StoreError>) + Send>;

/// A message read back; its checksum was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub ts: i64,
    /// The subject.
    pub subject: Bytes,
    /// The raw header block, empty when there is none.
    pub headers: Bytes,
    /// The payload.
    pub payload: Bytes,
}

/// How to open a store on disk.
#[derive(Clone)]
pub struct Options {
    /// The folder; made when it is missing.
    pub dir: PathBuf,
    /// The largest size of a segment file. Young stores use smaller ones.
    pub segment_bytes: u64,
    /// Whether `Durable` waits for the disk. `false` is the explicit way out.
    pub sync: bool,
    /// The disk.
    pub fs: Arc<dyn super::fs::Fs>,
}

impl Options {
    /// The usual settings on the real disk.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options { dir: dir.into(), segment_bytes: 16 << 20, sync: true, fs: Arc::new(super::fs::RealFs) }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

/// What a store held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Keys with their values and the notes since.
    pub keys: BTreeMap<Vec<u8>, KeyState>,
    /// Streams by number.
    pub streams: HashMap<u64, RecoveredStream>,
    /// What was found on the way.
    pub report: Report,
}

/// A key's value and the notes since it was put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyState {
    /// The value, empty when only notes were written.
    pub value: Bytes,
    /// The notes in commit order.
    pub notes: Vec<Bytes>,
}

/// A stream as it was found.
#[derive(Debug, Clone, Default)]
pub struct RecoveredStream {
    /// The highest sequence that may have been used: continue with the one after it.
    pub last_seq: u64,
    /// The messages, by sequence.
    pub messages: Vec<Entry>,
    /// Sequences lost to damage, as inclusive ranges.
    pub lost: Vec<(u64, u64)>,
}

/// A message's entry in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub ts: i64,
    /// The subject.
    pub subject: Bytes,
    /// Subject, headers and payload together.
    pub bytes: u32,
    /// The header block alone; 0 means there is nothing to read headers for.
    pub headers: u32,
    /// Where it lies.
    pub at: Location,
}

/// What recovery saw. `is_clean` is what a health check asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of a commit that was cut off by a crash; it was never acknowledged.
    pub torn_bytes: u64,
    /// Records that were damaged and are lost.
    pub corrupt_records: u64,
    /// Damaged places that cost nothing (a second copy or a checksum of a checksum).
    pub harmless: u64,
    /// Segment files that are missing.
    pub missing_segments: u64,
    /// Acknowledged commits that are missing at the end of the log.
    pub missing_batches: u64,
    /// Segment files read.
    pub segments: u64,
    /// Good records read.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Where copies of damaged files were put.
    pub quarantined: Vec<PathBuf>,
    /// Told to a person, one line each; at most a few dozen.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing but an unacknowledged tail was lost.
    pub fn is_clean(&self) -> bool {
        self.corrupt_records == 0 && self.harmless == 0 && self.missing_segments == 0 && self.missing_batches == 0
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < 32 {
            self.notes.push(text());
        }
    }
}

/// Counters of a running store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all segment files.
    pub disk_bytes: u64,
    /// Bytes of records that are still needed.
    pub live_bytes: u64,
    /// Live messages.
    pub messages: u64,
    /// Segment files.
    pub segments: u64,
    /// Commits done, including failed ones.
    pub commits: u64,
    /// Groups written.
    pub batches: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Records moved by cleaning.
    pub moved: u64,
    /// Segment files deleted by cleaning.
    pub cleaned: u64,
    /// Bytes of commits that wait for the writer: what back-pressure looks at.
    pub queued_bytes: u64,
    /// No room for new messages; removes, keys and reads still work.
    pub full: bool,
    /// Why the store is read-only, if it is.
    pub failed: Option<String>,
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk has no room, or the process has no file descriptor left for the next file. Nothing was written; it works
    /// again by itself once there is room.
    #[error("no room: the disk is full, or the process has no file descriptor left")]
    Full,
    /// A write or sync failed, so the store is read-only until it is opened again.
    #[error("the store is read-only after a failed write")]
    Failed,
    /// The record's checksum does not match: nothing is served.
    #[error("message {seq} of stream {stream} is damaged on disk")]
    Corrupt {
        /// The stream's number.
        stream: u64,
        /// The sequence.
        seq: u64,
    },
    /// There is no such message (any more).
    #[error("no message {seq} in stream {stream}")]
    NotFound {
        /// The stream's number.
        stream: u64,
        /// The sequence.
        seq: u64,
    },
    /// The commit is larger than the store can write at once.
    #[error("the commit is too large")]
    TooLarge,
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    Locked,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The folder holds something that is not this store, or nothing readable is left of it. Nothing was changed.
    #[error("the store cannot be opened: {0}")]
    Unreadable(String),
    /// Another error of the operating system.
    #[error("{0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Io(Arc::new(error)),
        }
    }
}
