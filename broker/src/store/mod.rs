//! The store: one log of records per store, group commit, every byte under a checksum. Knows no NATS.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod ahead;
mod batch;
mod clean;
mod codec;
mod encode;
pub mod fs;
mod ledger;
mod load;
mod log;
mod memory;
mod ranges;
mod reader;
mod record;
mod recover;
mod replay;
mod scan;
mod segment;
#[doc(hidden)]
pub mod sim;
mod superblock;
mod types;
mod walk;
mod writer;

pub use fs::{Fs, FsFile, RealFs};
pub use types::{
    Done, Entry, KeyState, Location, Op, Options, Recovered, RecoveredStream, Report, Stats, StoreError, Stored, Wait,
};

use log::Log;
use memory::Memory;
use reader::{Reader, lock};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use writer::{Queue, Request};

/// A store. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

enum Source {
    Memory(Memory),
    Disk(Arc<Reader>),
}

struct Inner {
    queue: Arc<Queue>,
    source: Source,
    writer: Mutex<Option<JoinHandle<()>>>,
    process: u32,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("stats", &self.stats()).finish()
    }
}

impl Store {
    /// Opens or makes the store in a folder. Everything acknowledged is in the answer, and nothing is changed but the
    /// torn end of a commit that never was.
    pub fn open(options: Options) -> Result<(Store, Recovered), StoreError> {
        let (parts, recovered) = recover::open(&options, true)?;
        let reader = parts.reader.clone();
        let queue = Arc::new(Queue::default());
        let engine = Box::new(Log::new(parts)?);
        let writer = writer::spawn("natsune-store", queue.clone(), engine)?;
        Ok((Store::new(queue, Source::Disk(reader), Some(writer)), recovered))
    }

    /// A store that lives in memory only, with the same behaviour otherwise.
    pub fn memory() -> Store {
        let memory = Memory::default();
        let queue = Arc::new(Queue::default());
        // Without a thread nothing would ever be acknowledged; a closed queue says so to every caller.
        let writer = writer::spawn("natsune-memory", queue.clone(), Box::new(memory.clone()));
        if writer.is_err() {
            queue.close();
        }
        Store::new(queue, Source::Memory(memory), writer.ok())
    }

    fn new(queue: Arc<Queue>, source: Source, writer: Option<JoinHandle<()>>) -> Store {
        Store(Arc::new(Inner { queue, source, writer: Mutex::new(writer), process: std::process::id() }))
    }

    /// Queues a commit. `done` is called once, from the writer thread, in commit order; it must be short.
    pub fn commit(&self, ops: Vec<Op>, wait: Wait, done: Done) {
        if self.0.is_foreign() {
            return writer::finish(done, Err(StoreError::Closed));
        }
        let weight = ops.iter().map(Op::weight).sum();
        self.0.queue.push(Request { ops, weight, wait, done });
    }

    /// Reads a message. Recent ones come from memory, others are a small blocking file read; the checksum is verified.
    pub fn read(&self, stream: u64, seq: u64, at: Location) -> Result<Stored, StoreError> {
        match &self.0.source {
            Source::Memory(memory) => memory.read(stream, seq, at),
            Source::Disk(reader) => reader.read(stream, seq, at),
        }
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let stats = match &self.0.source {
            Source::Memory(memory) => memory.stats(),
            Source::Disk(reader) => reader.stats(),
        };
        Stats { queued_bytes: self.0.queue.weight(), ..stats }
    }

    /// Finishes what is queued, syncs and lets go of the folder. Commits after it fail with `Closed`.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    /// In a forked child there is no writer thread, and the folder belongs to the parent.
    fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    fn close(&self) {
        if self.is_foreign() {
            return;
        }
        self.queue.close();
        let writer = lock(&self.writer).take();
        // Called from a `done`: the thread cannot wait for itself, it ends right after.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id()) {
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
