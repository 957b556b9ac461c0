//! Reading messages back: recent groups from memory, others from their file; always through the checksum.
use super::codec::Salt;
use super::fs::{Fs, FsFile};
use super::record::{self, Kind};
use super::segment;
use super::types::{Location, Stats, StoreError, Stored};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// How many files are kept open for reading.
const HANDLES: usize = 64;
/// How much of what was written last is kept in memory.
const RECENT_BYTES: usize = 32 << 20;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is left half done by a panic, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where moved messages lie now, by the place that was handed out for them.
#[derive(Debug, Default)]
pub(super) struct Moved {
    places: RwLock<HashMap<(u32, u32), (Location, u64)>>,
    any: AtomicBool,
}

impl Moved {
    fn resolve(&self, at: Location) -> Location {
        if !self.any.load(Ordering::Acquire) {
            return at;
        }
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(&(at.segment, at.offset)).map_or(at, |(now, _)| *now)
    }

    pub(super) fn put(&self, first: Location, now: Location, stream: u64) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        places.insert((first.segment, first.offset), (now, stream));
        self.any.store(true, Ordering::Release);
    }

    pub(super) fn take(&self, first: Location) -> Option<Location> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let taken = places.remove(&(first.segment, first.offset)).map(|(now, _)| now);
        self.any.store(!places.is_empty(), Ordering::Release);
        taken
    }

    pub(super) fn drop_stream(&self, stream: u64, mut each: impl FnMut(Location)) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, (now, of)| {
            if *of == stream {
                each(*now);
            }
            *of != stream
        });
        self.any.store(!places.is_empty(), Ordering::Release);
    }
}

/// Groups as they were written, newest last.
#[derive(Default)]
struct Recent {
    groups: VecDeque<(u32, u32, Bytes)>,
    bytes: usize,
}

impl Recent {
    fn get(&self, at: Location) -> Option<(u32, Bytes)> {
        let place = self.groups.partition_point(|(segment, start, _)| (*segment, *start) <= (at.segment, at.offset));
        let (segment, start, bytes) = self.groups.get(place.checked_sub(1)?)?;
        let from = (*segment == at.segment).then(|| at.offset.checked_sub(*start)).flatten()? as usize;
        let to = from.checked_add(at.len as usize)?;
        (to <= bytes.len()).then(|| (at.offset, bytes.slice(from..to)))
    }
}

#[derive(Default)]
struct Handles {
    open: HashMap<u32, (Arc<dyn FsFile>, u64)>,
    clock: u64,
}

/// What readers share with the writer.
pub(super) struct Reader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    store: u64,
    pub moved: Arc<Moved>,
    recent: Mutex<Recent>,
    handles: Mutex<Handles>,
    pub stats: Mutex<Stats>,
    pub full: AtomicBool,
    pub syncs: AtomicU64,
}

impl Reader {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf, store: u64) -> Reader {
        Reader {
            fs,
            dir,
            store,
            moved: Arc::default(),
            recent: Mutex::default(),
            handles: Mutex::default(),
            stats: Mutex::default(),
            full: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
        }
    }

    pub(super) fn read(&self, stream: u64, seq: u64, at: Location) -> Result<Stored, StoreError> {
        // Cleaning may move the record between the look-up and the read: look again. It moves a record once per round of
        // the whole log, so a few tries are plenty.
        for _ in 0..8 {
            let now = self.moved.resolve(at);
            let missing = match self.bytes(now) {
                Ok(bytes) => match self.decode(&bytes, now, stream, seq) {
                    Some(stored) => return Ok(stored),
                    None => StoreError::Corrupt { stream, seq },
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => StoreError::NotFound { stream, seq },
                Err(error) => StoreError::from(error),
            };
            if self.moved.resolve(at) == now {
                return Err(missing);
            }
        }
        Err(StoreError::NotFound { stream, seq })
    }

    fn bytes(&self, at: Location) -> io::Result<Bytes> {
        if let Some((_, bytes)) = lock(&self.recent).get(at) {
            return Ok(bytes);
        }
        let file = self.handle(at.segment)?;
        let mut bytes = vec![0; at.len as usize];
        let read = file.read_at(&mut bytes, u64::from(at.offset))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    fn decode(&self, bytes: &Bytes, at: Location, stream: u64, seq: u64) -> Option<Stored> {
        let salt = Salt::new(self.store, at.segment);
        let head = record::head(bytes, at.offset, 0, salt)?;
        if head.kind != Kind::Append || head.stream != stream || head.seq != seq {
            return None;
        }
        let body = record::body(bytes, at.offset, &head, salt)?;
        Some(Stored {
            seq,
            ts: head.ts,
            subject: bytes.slice_ref(body.name),
            headers: bytes.slice_ref(body.headers),
            payload: bytes.slice_ref(body.rest),
        })
    }

    fn handle(&self, number: u32) -> io::Result<Arc<dyn FsFile>> {
        let mut handles = lock(&self.handles);
        handles.clock += 1;
        let clock = handles.clock;
        if let Some((file, used)) = handles.open.get_mut(&number) {
            *used = clock;
            return Ok(file.clone());
        }
        drop(handles);
        let file: Arc<dyn FsFile> = Arc::from(self.fs.open(&self.dir.join(segment::name(number)))?);
        self.keep(number, file.clone());
        Ok(file)
    }

    /// Remembers an open file.
    pub(super) fn keep(&self, number: u32, file: Arc<dyn FsFile>) {
        let mut handles = lock(&self.handles);
        handles.clock += 1;
        let clock = handles.clock;
        handles.open.insert(number, (file, clock));
        if handles.open.len() > HANDLES {
            let oldest = handles.open.iter().min_by_key(|(_, (_, used))| *used).map(|(number, _)| *number);
            oldest.and_then(|number| handles.open.remove(&number));
        }
    }

    /// The segment is about to be deleted.
    pub(super) fn forget(&self, number: u32) {
        lock(&self.handles).open.remove(&number);
        let mut recent = lock(&self.recent);
        while recent.groups.front().is_some_and(|(segment, _, _)| *segment <= number) {
            let gone = recent.groups.pop_front().map_or(0, |(_, _, bytes)| bytes.len());
            recent.bytes = recent.bytes.saturating_sub(gone);
        }
    }

    /// A group was written.
    pub(super) fn wrote(&self, segment: u32, start: u32, bytes: Bytes) {
        let mut recent = lock(&self.recent);
        recent.bytes += bytes.len();
        recent.groups.push_back((segment, start, bytes));
        while recent.bytes > RECENT_BYTES && recent.groups.len() > 1 {
            let gone = recent.groups.pop_front().map_or(0, |(_, _, bytes)| bytes.len());
            recent.bytes = recent.bytes.saturating_sub(gone);
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            full: self.full.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            ..lock(&self.stats).clone()
        }
    }
}
