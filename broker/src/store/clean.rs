//! Oldest-first cleaning: what is still needed of the oldest segment is copied to the end, synced, and only then is the
//! file deleted. Copies ride along with commits, a little at a time.
//!
//! Nothing but messages, keys, notes and findings is ever copied: a remove or delete speaks about older records only, and
//! when its own segment is the oldest, those are gone.
use super::ahead::{Ahead, Loaded};
use super::encode::Extra;
use super::fs::is_full;
use super::ledger::Ledger;
use super::record::{self, Draft, HEAD, Head, Kind, MOVED};
use super::scan::gone;
use super::types::Location;
use std::collections::{HashSet, VecDeque};
use std::io;

/// The one segment being cleaned, if any.
#[derive(Default)]
pub(super) struct Cleaner {
    job: Option<Job>,
    /// A segment that could not be read.
    stuck: Option<u32>,
}

struct Job {
    segment: u32,
    /// Until the file is read, and again when it held nothing.
    loaded: Option<Loaded>,
    waiting: bool,
    next: usize,
    returned: VecDeque<Copy>,
    /// The batch that must be synced before the file may go: with the last copies, and with the last op that made
    /// something dead.
    last: u64,
    dirty: bool,
    /// Keys and findings have second copies in the same segment.
    taken: HashSet<u64>,
    /// Messages that should be here are not.
    damaged: bool,
}

/// A record to be copied.
pub(super) struct Copy {
    head: Head,
}

impl Copy {
    pub(super) fn kind(&self) -> Kind {
        self.head.kind
    }

    pub(super) fn body(&self) -> usize {
        self.head.total.saturating_sub(HEAD) as usize
    }

    /// The record, with its own log sequence number: order among keys and notes does not depend on the place.
    pub(super) fn draft<'a>(&self, cleaner: &'a Cleaner) -> Draft<'a> {
        let body = cleaner.body(&self.head);
        let (name, headers, rest) =
            body.map_or((&[][..], &[][..], &[][..]), |body| (body.name, body.headers, body.rest));
        let head = &self.head;
        Draft {
            kind: head.kind,
            flags: MOVED,
            stream: head.stream,
            seq: head.seq,
            ts: head.ts,
            lsn: head.lsn,
            name,
            headers,
            rest,
        }
    }

    pub(super) fn book(&self, ledger: &mut Ledger, cleaner: &Cleaner, to: Location) {
        let Some(job) = &cleaner.job else { return };
        let name = cleaner.body(&self.head).map_or(&[][..], |body| body.name);
        ledger.shift(&self.head, name, job.segment, to);
    }
}

impl Cleaner {
    fn body(&self, head: &Head) -> Option<record::Body<'_>> {
        let bytes = &self.job.as_ref()?.loaded.as_ref()?.bytes;
        record::cut(bytes.get((head.at + HEAD) as usize..(head.at + head.total) as usize)?, head)
    }

    /// The segment to clean now, if any. `tight` is the room left on a full disk.
    pub(super) fn due(&self, ledger: &Ledger, active: u32, limit: u64, tight: Option<u32>) -> Option<u32> {
        if self.job.is_some() {
            return None;
        }
        let (number, oldest) = ledger.segments.first_key_value()?;
        if *number >= active || self.stuck == Some(*number) {
            return None;
        }
        let (live, used) = (oldest.live, ledger.used);
        let dead = used.saturating_sub(ledger.live);
        let due = live == 0
            || dead > limit.max(used / 2)
            // On a full disk any gain counts, as long as the copies fit into what is left.
            || tight.is_some_and(|room| live * 2 < u64::from(oldest.len) && live * 3 / 2 < u64::from(room));
        due.then_some(*number)
    }

    pub(super) fn start(&mut self, segment: u32, live: bool, batch: u64) {
        self.job = Some(Job {
            segment,
            loaded: None,
            waiting: live,
            next: 0,
            returned: VecDeque::new(),
            last: batch,
            dirty: live,
            taken: HashSet::new(),
            damaged: false,
        });
    }

    pub(super) fn loaded(&mut self, loaded: Loaded, ledger: &Ledger) {
        if let Some(job) = self.job.as_mut().filter(|job| job.segment == loaded.segment) {
            if loaded.scan.found.iter().any(|found| !found.whole) {
                let needed = |head: &&Head| head.kind == Kind::Append && ledger.needs(head, &[], loaded.segment);
                let there = loaded.scan.heads.iter().filter(needed).count() as u64;
                job.damaged = ledger.segments.get(&loaded.segment).is_some_and(|held| held.messages > there);
            }
            job.loaded = Some(loaded);
            job.waiting = false;
        }
    }

    /// What cannot be read cannot be cleaned, until the next start: the disk fills up more, but everything goes on. A
    /// trouble that passes is waited for.
    pub(super) fn not_loaded(&mut self, error: &io::Error, ahead: &Ahead) {
        match &self.job {
            Some(job) if is_full(error) => ahead.load(job.segment),
            _ => self.stuck = self.job.take().map(|job| job.segment),
        }
    }

    pub(super) fn has_copies(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.waiting && job.dirty)
    }

    pub(super) fn waits_for_disk(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.waiting)
    }

    pub(super) fn waits_for_sync(&self, synced: u64) -> bool {
        self.job.as_ref().is_some_and(|job| !job.waiting && !job.dirty && job.last > synced)
    }

    /// The next records to copy, up to a budget of bytes. `batch` is the newest one the ledger knows of.
    pub(super) fn take(
        &mut self,
        ledger: &Ledger,
        budget: usize,
        batch: u64,
        extras: &mut VecDeque<Extra>,
    ) -> Vec<Copy> {
        let Some(job) = self.job.as_mut().filter(|job| !job.waiting) else { return Vec::new() };
        if job.dirty {
            job.last = batch;
        }
        // Since they were taken, some may have been removed.
        let (segment, loaded) = (job.segment, job.loaded.as_ref());
        let needed = |copy: &Copy| {
            let head = &copy.head;
            let body = loaded.and_then(|loaded| loaded.bytes.get((head.at + HEAD) as usize..)?.get(..copy.body()));
            let name = body.and_then(|body| record::cut(body, head)).map_or(&[][..], |body| body.name);
            ledger.needs(head, name, segment)
        };
        let mut copies: Vec<Copy> = job.returned.drain(..).filter(needed).collect();
        let mut weight: usize = copies.iter().map(|copy| copy.body() + 128).sum();
        let Some(loaded) = &job.loaded else {
            job.dirty = false;
            return copies;
        };
        while weight < budget {
            let Some(head) = loaded.scan.heads.get(job.next) else {
                job.dirty = false;
                break;
            };
            job.next += 1;
            let bytes = loaded.bytes.get((head.at + HEAD) as usize..(head.at + head.total) as usize);
            let Some(body) = bytes.and_then(|bytes| record::cut(bytes, head)) else { continue };
            if head.kind.has_twin() && job.taken.contains(&head.lsn) {
                continue;
            }
            if ledger.needs(head, body.name, job.segment) {
                weight += body.name.len() + body.headers.len() + body.rest.len() + 128;
                if head.kind.has_twin() {
                    job.taken.insert(head.lsn);
                }
                copies.push(Copy { head: *head });
            }
        }
        if !job.dirty && job.damaged {
            lost(loaded, ledger, extras);
        }
        copies
    }

    /// The batch with these copies could not be written.
    pub(super) fn put_back(&mut self, copies: Vec<Copy>) {
        if let Some(job) = &mut self.job {
            job.returned.extend(copies);
            job.dirty = true;
        }
    }

    /// A batch was written; whatever was taken is in it.
    pub(super) fn wrote(&mut self, batch: u64) {
        if let Some(job) = &mut self.job {
            job.last = batch;
        }
    }

    /// The segment whose copies are all safe.
    pub(super) fn finished(&mut self, synced: u64) -> Option<u32> {
        let job = self.job.as_ref().filter(|job| !job.waiting && !job.dirty && job.last <= synced)?;
        let segment = job.segment;
        self.job = None;
        Some(segment)
    }
}

/// Damage found while cleaning takes messages that were thought to be there: that must stay known without the segment.
fn lost(loaded: &Loaded, ledger: &Ledger, extras: &mut VecDeque<Extra>) {
    for found in loaded.scan.found.iter().filter(|found| !found.whole) {
        let heads = loaded.scan.heads.get(found.heads.clone()).unwrap_or_default();
        for run in gone(found, heads).named {
            if run.kind == Kind::Append && ledger.knows(run.stream) {
                extras.push_back(Extra::Lost { stream: run.stream, ranges: vec![(run.seq, run.seq)] });
            }
        }
    }
}
