//! Test support: a disk that forgets, a store that is stepped by hand, and a model to compare it with.
mod campaign;
mod damage;
mod disk;
mod model;
mod rng;

pub use campaign::{Crashes, Outcome, crashes};
pub use damage::{End, Sample, Verdict, flip, mutate};
pub use disk::{Fault, SimDisk};
pub use model::{Model, State, Stored as ModelMessage, state_of};
pub use rng::Rng;

use super::log::Log;
use super::reader::{Reader, lock};
use super::types::{Location, Options, Recovered, StoreError, Stored};
use super::writer::{Engine, Queue};
use super::{Source, Store, recover};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Options for a small store on a simulated disk.
pub fn options(disk: &SimDisk, segment_bytes: u64) -> Options {
    Options { dir: PathBuf::from("/store"), segment_bytes, sync: true, fs: Arc::new(disk.clone()) }
}

/// A store without threads: commits wait until `step`, and the same seed gives the same run.
pub struct Stepped {
    /// The store; `commit` and `read` as usual.
    pub store: Store,
    engine: Mutex<Option<Log>>,
}

impl Stepped {
    /// Opens a store.
    pub fn open(options: Options) -> Result<(Stepped, Recovered), StoreError> {
        let (parts, recovered) = recover::open(&options, false)?;
        let reader = parts.reader.clone();
        let engine = Log::new(parts)?;
        let store = Store::new(Arc::new(Queue::default()), Source::Disk(reader), None);
        Ok((Stepped { store, engine: Mutex::new(Some(engine)) }, recovered))
    }

    /// Writes everything that was committed since the last step as one group and calls back.
    pub fn step(&self) {
        let group = self.store.0.queue.take();
        self.turn(group);
    }

    /// One step of background work.
    pub fn idle(&self) {
        self.turn(Vec::new());
    }

    fn turn(&self, group: Vec<super::writer::Request>) {
        if let Some(engine) = lock(&self.engine).as_mut() {
            engine.turn(group);
        }
    }

    /// Closes the store in order.
    pub fn close(self) {
        self.step();
        if let Some(mut engine) = lock(&self.engine).take() {
            engine.close();
        }
    }
}

/// A recovered store that is only looked at.
pub struct Inspected(Arc<Reader>);

impl Inspected {
    /// Recovers what is on the disk.
    pub fn open(options: &Options) -> Result<(Inspected, Recovered), StoreError> {
        let (parts, recovered) = recover::open(options, false)?;
        Ok((Inspected(parts.reader), recovered))
    }

    /// Reads a message.
    pub fn read(&self, stream: u64, seq: u64, at: Location) -> Result<Stored, StoreError> {
        self.0.read(stream, seq, at)
    }
}
