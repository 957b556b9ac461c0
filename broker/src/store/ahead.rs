//! The helper beside the writer: makes the next segment before it is needed, deletes old ones, reads those to be cleaned.
use super::codec::Salt;
use super::fs::{Folder, Fs, FsFile, is_full};
use super::load::read_all;
use super::log::Parts;
use super::reader::lock;
use super::scan::{Scan, scan};
use super::segment::{self, AHEAD};
use super::superblock::{Marks, Superblock};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a full disk is tried again, or a process without file descriptors.
const RETRY: Duration = Duration::from_millis(250);

/// A segment read for cleaning.
pub(super) struct Loaded {
    pub segment: u32,
    pub bytes: Vec<u8>,
    pub scan: Scan,
}

#[derive(Default)]
struct Work {
    want: Option<(u32, Marks)>,
    ready: Option<(Box<dyn FsFile>, u32)>,
    /// Why nothing is ready.
    error: Option<io::Error>,
    deletes: VecDeque<(u32, Marks)>,
    load: Option<u32>,
    loaded: Option<io::Result<Loaded>>,
    stop: bool,
}

pub(super) struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    folder: Arc<dyn Folder>,
    store: u64,
    marks: Arc<Superblock>,
    work: Mutex<Work>,
    asked: Condvar,
    answered: Condvar,
}

/// With a thread in a running store; without one, everything is done when it is asked for (tests that must repeat).
pub(super) struct Ahead {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Prepare(u32, Marks),
    Delete(u32, Marks),
    Load(u32),
}

impl Work {
    fn next(&mut self, retry: bool) -> Option<Job> {
        if let Some((segment, marks)) = self.deletes.pop_front() {
            return Some(Job::Delete(segment, marks));
        }
        if let Some(segment) = self.load.take() {
            return Some(Job::Load(segment));
        }
        self.want
            .filter(|_| self.ready.is_none() && (retry || self.error.is_none()))
            .map(|(len, marks)| Job::Prepare(len, marks))
    }
}

impl Shared {
    fn run(&self, job: Job) {
        match job {
            Job::Prepare(len, marks) => {
                let _ = self.marks.keep(&marks);
                let path = self.dir.join(AHEAD);
                // Left over when the store was not closed.
                let _ = self.fs.remove(&path);
                let made = segment::prepare(self.fs.as_ref(), &path, len);
                let mut work = lock(&self.work);
                match made {
                    Ok(file) => (work.ready, work.error) = (Some((file, len)), None),
                    Err(error) => work.error = Some(error),
                }
            }
            Job::Delete(segment, marks) => {
                // First the note that it is not needed, then the file: a crash in between is no missing segment.
                if self.marks.keep(&marks).is_ok() {
                    let _ = self.fs.remove(&self.dir.join(segment::name(segment)));
                    let _ = self.folder.sync();
                }
            }
            Job::Load(segment) => {
                let loaded = self.load(segment);
                lock(&self.work).loaded = Some(loaded);
            }
        }
        self.answered.notify_all();
    }

    fn load(&self, segment: u32) -> io::Result<Loaded> {
        let file = self.fs.open(&self.dir.join(segment::name(segment)))?;
        let mut bytes = Vec::new();
        read_all(file.as_ref(), &mut bytes)?;
        let scan = scan(&bytes, segment::START, Salt::new(self.store, segment));
        Ok(Loaded { segment, bytes, scan })
    }

    fn serve(&self) {
        let mut retry = false;
        loop {
            let mut work = lock(&self.work);
            if work.stop && work.deletes.is_empty() {
                return;
            }
            let again = retry && !work.stop;
            if let Some(job) = work.next(again) {
                drop(work);
                self.run(job);
                retry = false;
                continue;
            }
            let pause = if work.error.is_some() { RETRY } else { Duration::from_secs(3600) };
            let (work, timeout) = self.asked.wait_timeout(work, pause).unwrap_or_else(PoisonError::into_inner);
            drop(work);
            retry = timeout.timed_out();
        }
    }
}

impl Ahead {
    pub(super) fn new(parts: &Parts) -> io::Result<Ahead> {
        let shared = Arc::new(Shared {
            fs: parts.fs.clone(),
            dir: parts.dir.clone(),
            folder: parts.folder.clone(),
            store: parts.store,
            marks: parts.marks.clone(),
            work: Mutex::default(),
            asked: Condvar::new(),
            answered: Condvar::new(),
        });
        let thread = match parts.threaded {
            true => {
                let shared = shared.clone();
                Some(thread::Builder::new().name("natsune-ahead".into()).spawn(move || shared.serve())?)
            }
            false => None,
        };
        Ok(Ahead { shared, thread })
    }

    fn ask(&self, change: impl FnOnce(&mut Work)) {
        change(&mut lock(&self.shared.work));
        if self.thread.is_some() {
            self.shared.asked.notify_all();
        } else {
            self.drain(false);
        }
    }

    fn drain(&self, retry: bool) {
        let mut retry = retry;
        loop {
            let job = lock(&self.shared.work).next(retry);
            let Some(job) = job else { return };
            self.shared.run(job);
            retry = false;
        }
    }

    /// Wants a segment of this length.
    pub(super) fn want(&self, len: u32, marks: Marks) {
        self.ask(|work| work.want = Some((len, marks)));
    }

    /// Without a thread, a full disk is tried again when somebody asks.
    pub(super) fn retry(&self) {
        if self.thread.is_none() {
            self.drain(true);
        }
    }

    /// Whether there is no room for another segment (`Some(true)`), or making one failed otherwise (`Some(false)`). `wait`
    /// until that is known.
    pub(super) fn trouble(&self, wait: bool) -> Option<bool> {
        let mut work = lock(&self.shared.work);
        while wait && self.thread.is_some() && work.want.is_some() && work.ready.is_none() && work.error.is_none() {
            work = self.shared.answered.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        work.error.as_ref().map(is_full)
    }

    /// The prepared segment. Waits while it is being made.
    pub(super) fn take(&self, least: u32) -> io::Result<Option<(Box<dyn FsFile>, u32)>> {
        let mut work = lock(&self.shared.work);
        loop {
            if work.ready.as_ref().is_some_and(|(_, len)| *len < least) {
                return Ok(None);
            }
            if let Some(ready) = work.ready.take() {
                work.want = None;
                return Ok(Some(ready));
            }
            if let Some(error) = &work.error {
                let again = || io::Error::new(error.kind(), error.to_string());
                return Err(error.raw_os_error().map_or_else(again, io::Error::from_raw_os_error));
            }
            if work.want.is_none_or(|(len, _)| len < least) || self.thread.is_none() {
                return Ok(None);
            }
            work = self.shared.answered.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives a prepared segment back that could not be used.
    pub(super) fn give_back(&self, file: Box<dyn FsFile>, len: u32) {
        let mut work = lock(&self.shared.work);
        work.ready = Some((file, len));
    }

    pub(super) fn delete(&self, segment: u32, marks: Marks) {
        self.ask(|work| work.deletes.push_back((segment, marks)));
    }

    pub(super) fn load(&self, segment: u32) {
        self.ask(|work| work.load = Some(segment));
    }

    pub(super) fn loaded(&self) -> Option<io::Result<Loaded>> {
        lock(&self.shared.work).loaded.take()
    }

    /// Finishes deletions, stops the thread and throws the prepared segment away.
    pub(super) fn stop(&mut self) {
        self.ask(|work| work.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if lock(&self.shared.work).ready.take().is_some() {
            let _ = self.shared.fs.remove(&self.shared.dir.join(AHEAD));
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without a thread (a store stepped by hand) being dropped stands for the death of the process.
        if self.thread.is_some() {
            self.stop();
        }
    }
}
