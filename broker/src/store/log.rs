//! The writing side of the log: groups of commits become batches, batches are synced, the ledger is kept.
use super::ahead::Ahead;
use super::batch::{Builder, Meta};
use super::clean::Cleaner;
use super::codec::{PAGE, Salt, align};
use super::encode::{Company, Extra, ExtraBody, draft, kind, size, too_long};
use super::fs::{Folder, Fs, FsFile, is_full};
use super::ledger::{Ledger, Segment};
use super::ranges::compress;
use super::reader::{Reader, lock};
use super::record::{Draft, Kind, TWIN, encode_ranges};
use super::segment::{self, Header, MOST, START};
use super::superblock::{Marks, Superblock};
use super::types::{Done, Location, Op, Stats, StoreError, Wait};
use super::writer::{Engine, GROUP_BYTES, Idle, Request, finish};
use bytes::Bytes;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The longest that acknowledged `Soon` commits stay unsynced while nothing else happens.
const SOON: Duration = Duration::from_millis(100);

pub(super) struct Active {
    pub number: u32,
    pub file: Arc<dyn FsFile>,
    pub end: u32,
    pub len: u32,
}

/// Where the log ends; everything the next batch says about the ones before.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail {
    pub batch: u64,
    pub synced: u64,
    pub chain: u64,
    pub lsn: u64,
    pub advance: u64,
    pub floor: u32,
    /// The newest segment number in use.
    pub segment: u32,
}

/// What a store is made of when it starts to write.
pub(super) struct Parts {
    pub fs: Arc<dyn Fs>,
    pub dir: PathBuf,
    pub folder: Arc<dyn Folder>,
    pub store: u64,
    pub segment_bytes: u64,
    pub sync: bool,
    /// Held for as long as the store is open.
    pub _lock: Box<dyn Any + Send + Sync>,
    pub marks: Arc<Superblock>,
    pub reader: Arc<Reader>,
    pub ledger: Ledger,
    pub active: Option<Active>,
    pub tail: Tail,
    pub extras: VecDeque<Extra>,
    pub threaded: bool,
}

pub(super) struct Log {
    parts: Parts,
    ahead: Ahead,
    cleaner: Cleaner,
    unsynced: Option<Instant>,
    failed: bool,
    counts: Stats,
}

enum Slot {
    Write(Request),
    Refused(Done, StoreError),
}

impl Log {
    pub(super) fn new(parts: Parts) -> io::Result<Log> {
        let (ahead, cleaner) = (Ahead::new(&parts)?, Cleaner::default());
        let mut log = Log { parts, ahead, cleaner, unsynced: None, failed: false, counts: Stats::default() };
        log.want_next();
        log.publish();
        Ok(log)
    }

    fn want_next(&self) {
        self.ahead.want(segment::next_len(self.parts.ledger.disk, self.parts.segment_bytes), self.marks());
    }

    fn publish(&mut self) {
        let ledger = &self.parts.ledger;
        self.counts.disk_bytes = ledger.disk;
        self.counts.live_bytes = ledger.live;
        self.counts.messages = ledger.messages;
        self.counts.segments = ledger.segments.len() as u64;
        let mut stats = lock(&self.parts.reader.stats);
        self.counts.failed.clone_from(&stats.failed);
        stats.clone_from(&self.counts);
    }

    fn marks(&self) -> Marks {
        let tail = &self.parts.tail;
        Marks {
            // Without syncs the process can still die and leave a shorter log than it acknowledged.
            batch: if self.parts.sync { tail.synced } else { tail.batch },
            synced: tail.synced,
            lsn: tail.lsn,
            advance: tail.advance,
            floor: tail.floor,
            segment: tail.segment,
        }
    }

    /// A write or sync failed. What the kernel then thinks is on the disk is not known, so nothing is tried again.
    fn fail(&mut self, what: &str, error: &io::Error) -> StoreError {
        if !self.failed {
            self.failed = true;
            lock(&self.parts.reader.stats).failed = Some(format!("{what}: {error}"));
        }
        StoreError::Failed
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if let Some(active) = self.parts.active.as_ref().filter(|_| self.unsynced.is_some()) {
            if let Err(error) = active.file.sync_data() {
                return Err(self.fail("sync", &error));
            }
            self.parts.reader.syncs.fetch_add(1, Ordering::Relaxed);
            self.unsynced = None;
            self.parts.tail.synced = self.parts.tail.batch;
        }
        Ok(())
    }

    /// Makes sure the active segment has room for a batch of this size; begins a new one if need be.
    fn make_room(&mut self, need: u32) -> Result<(), StoreError> {
        if self.parts.active.as_ref().is_some_and(|active| active.len.saturating_sub(active.end) >= need) {
            return Ok(());
        }
        let least = need.checked_add(START).filter(|least| *least <= MOST).ok_or(StoreError::TooLarge)?;
        // A newer segment means that everything in the older ones was synced: recovery relies on it.
        self.sync()?;
        let dir = self.parts.dir.clone();
        let ahead = dir.join(segment::AHEAD);
        let usual = segment::next_len(self.parts.ledger.disk, self.parts.segment_bytes);
        self.ahead.retry();
        let (file, len, from) = match self.ahead.take(least) {
            Ok(Some((file, len))) => (file, len, ahead),
            // A commit larger than a segment gets one of its own size.
            Ok(None) => {
                let (path, len) = (dir.join("large.tmp"), align(least.max(usual), PAGE));
                let _ = self.parts.fs.remove(&path);
                match segment::prepare(self.parts.fs.as_ref(), &path, len) {
                    Ok(file) => (file, len, path),
                    Err(error) if is_full(&error) => return Err(StoreError::Full),
                    Err(error) => return Err(self.fail("new segment", &error)),
                }
            }
            Err(error) if is_full(&error) => return Err(StoreError::Full),
            Err(error) => return Err(self.fail("new segment", &error)),
        };
        let tail = self.parts.tail;
        let number = tail.segment.checked_add(1).ok_or(StoreError::TooLarge)?;
        let header = Header {
            store: self.parts.store,
            segment: number,
            floor: tail.floor,
            base: tail.batch,
            advance: tail.advance,
        };
        if let Err(error) = file.write_at(&header.encode(), 0) {
            if is_full(&error) && from.ends_with(segment::AHEAD) {
                self.ahead.give_back(file, len);
                return Err(StoreError::Full);
            }
            return Err(self.fail("new segment", &error));
        }
        let path = dir.join(segment::name(number));
        if let Err(error) = self.parts.fs.rename(&from, &path).and_then(|()| self.parts.folder.sync()) {
            return Err(self.fail("new segment", &error));
        }
        let file: Arc<dyn FsFile> = Arc::from(file);
        self.parts.reader.keep(number, file.clone());
        self.parts.ledger.open(number, Segment::new(len, START));
        self.parts.active = Some(Active { number, file, end: START, len });
        self.parts.tail.segment = number;
        if self.parts.tail.floor == 0 {
            self.parts.tail.floor = number;
        }
        self.want_next();
        Ok(())
    }

    /// Leaves the active segment, cut off behind its last good batch, after a write that did not fit on the disk.
    fn abandon(&mut self) -> Result<(), StoreError> {
        if let Some(active) = &mut self.parts.active {
            let cut = active.file.set_len(u64::from(active.end)).and_then(|()| active.file.sync_data());
            (active.len, self.unsynced) = (active.end, None);
            self.parts.ledger.cut(active.number, active.end);
            if let Err(error) = cut {
                return Err(self.fail("write", &error));
            }
            self.parts.tail.synced = self.parts.tail.batch;
        }
        Ok(())
    }

    /// Whether there is no room for a next segment; `wait` until that is known.
    fn is_full(&self, wait: bool) -> bool {
        let full = self.ahead.trouble(wait) == Some(true);
        self.parts.reader.full.store(full, Ordering::Relaxed);
        full
    }

    /// Whether a batch of about this size leaves less than a quarter of the active segment.
    fn runs_low(&self, size: usize) -> bool {
        let low = |at: &Active| (at.len.saturating_sub(at.end) as usize) < size + at.len as usize / 4;
        self.parts.active.as_ref().is_none_or(low)
    }

    /// Splits what came into batches and writes them.
    fn write_all(&mut self, requests: Vec<Request>) {
        let room = self.parts.segment_bytes.min(GROUP_BYTES as u64) as usize / 2;
        let mut full = self.is_full(false);
        let (mut slots, mut weight) = (Vec::with_capacity(requests.len()), 0);
        for request in requests {
            // The prepared segment is the reserve: once there is no room for another one, what is left is for ops that
            // free room or keep the books. Whether there is one must be known while something is left.
            if request.ops.iter().any(|op| matches!(op, Op::Append { .. })) {
                full = full || (self.runs_low(weight + request.weight) && self.is_full(true));
                if full {
                    slots.push(Slot::Refused(request.done, StoreError::Full));
                    continue;
                }
            }
            if request.ops.iter().any(too_long) {
                slots.push(Slot::Refused(request.done, StoreError::TooLarge));
                continue;
            }
            if weight > 0 && weight + request.weight > room {
                self.write_batch(std::mem::take(&mut slots));
                weight = 0;
            }
            weight += request.weight;
            slots.push(Slot::Write(request));
        }
        self.write_batch(slots);
    }

    /// Writes one batch and calls everybody back, in order.
    fn write_batch(&mut self, slots: Vec<Slot>) {
        self.counts.commits += slots.len() as u64;
        let writes =
            || slots.iter().filter_map(|slot| if let Slot::Write(request) = slot { Some(request) } else { None });
        let result = match writes().next() {
            Some(_) => self.put_batch(&mut writes()),
            None => Ok(Vec::new()),
        };
        let durable = self.parts.sync && writes().any(|request| request.wait == Wait::Durable);
        let (first_lsn, places) = match result {
            Ok(places) => (self.parts.tail.lsn + 1 - places.len() as u64, places),
            Err(error) => {
                self.publish();
                for slot in slots {
                    match slot {
                        Slot::Write(request) => finish(request.done, Err(error.clone())),
                        Slot::Refused(done, why) => finish(done, Err(why)),
                    }
                }
                return;
            }
        };
        let mut places = places.into_iter();
        let mut lsn = first_lsn;
        let (mut early, mut later) = (Vec::new(), Vec::new());
        for slot in slots {
            match slot {
                Slot::Write(request) => {
                    let mut mine = Vec::new();
                    for op in request.ops {
                        let Some(at) = places.next() else { break };
                        if matches!(op, Op::Append { .. }) {
                            mine.push(at);
                        }
                        self.parts.ledger.book(op, lsn, at);
                        lsn += 1;
                    }
                    // Written is enough for these, unless somebody in front of them has to wait for the sync.
                    let soon = later.is_empty() && request.wait == Wait::Soon;
                    if soon { &mut early } else { &mut later }.push((request.done, Ok(mine)));
                }
                Slot::Refused(done, error) => later.push((done, Err(error))),
            }
        }
        self.publish();
        for (done, result) in early {
            finish(done, result);
        }
        let synced = if durable { self.sync() } else { Ok(()) };
        if durable || !self.parts.sync {
            self.parts.marks.hint(&self.marks());
        }
        for (done, result) in later {
            finish(done, synced.clone().and(result));
        }
    }

    /// Writes one batch, with whatever cleaning wants to have written. Returns where each op's record lies.
    fn put_batch(&mut self, requests: &mut dyn Iterator<Item = &Request>) -> Result<Vec<Location>, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        let ops: Vec<&Op> = requests.flat_map(|request| &request.ops).collect();
        let ranges: Vec<Vec<u8>> = ops
            .iter()
            .filter_map(|op| match op {
                Op::Remove { seqs, .. } => Some(encode_ranges(&compress(seqs.iter().map(|(seq, _)| *seq).collect()))),
                _ => None,
            })
            .collect();
        let company = self.company(size(&ops, &ranges, &Company::default()));
        if ops.is_empty() && company.copies.is_empty() && company.extras.is_empty() {
            return Ok(Vec::new());
        }
        match self.encode(&ops, &ranges, &company) {
            Ok(places) => Ok(places),
            Err(error) => {
                let alone = company.copies.is_empty() && company.extras.is_empty();
                self.cleaner.put_back(company.copies);
                self.parts.extras.extend(company.extras);
                // Cleaning is no reason to refuse a commit: alone it may have room.
                match error {
                    StoreError::Full | StoreError::TooLarge if !alone && !ops.is_empty() => {
                        self.encode(&ops, &ranges, &Company::default())
                    }
                    error => Err(error),
                }
            }
        }
    }

    /// Encodes and writes a batch and the second copies behind it.
    fn encode(&mut self, ops: &[&Op], ranges: &[Vec<u8>], company: &Company) -> Result<Vec<Location>, StoreError> {
        let need = size(ops, ranges, company);
        let need = u32::try_from(need).ok().filter(|need| *need < MOST).ok_or(StoreError::TooLarge)?;
        self.make_room(need)?;
        let Some(active) = &self.parts.active else { return Err(StoreError::Failed) };
        let (number, start) = (active.number, active.end);
        let salt = Salt::new(self.parts.store, number);
        let tail = self.parts.tail;

        let mut out = Vec::with_capacity(need as usize);
        let meta = |batch, chain, advance| Meta {
            batch,
            synced: tail.synced,
            chain,
            lsn: tail.lsn,
            advance,
            floor: tail.floor,
        };
        let mut batch = Builder::new(&mut out, start, number, salt, meta(tail.batch + 1, tail.chain, tail.advance));
        let mut moves = Vec::with_capacity(company.copies.len());
        for copy in &company.copies {
            moves.push(batch.push(&copy.draft(&self.cleaner)));
        }
        let mut lsn = tail.lsn;
        let mut extras = Vec::with_capacity(company.extras.len());
        for extra in &company.extras {
            lsn += 1;
            if let Some(body) = self.extra_body(extra) {
                extras.push((extra, lsn, batch.push(&body.draft(lsn, 0))));
            }
        }
        let first = lsn + 1;
        let mut advance = tail.advance;
        let mut highs: HashMap<u64, u64> = HashMap::new();
        let mut places = Vec::with_capacity(ops.len());
        let mut bodies = ranges.iter();
        for op in ops {
            lsn += 1;
            if let Op::Append { stream, seq, .. } | Op::HighWater { stream, seq } = op {
                let high = highs.entry(*stream).or_insert_with(|| self.parts.ledger.high(*stream));
                advance = advance.saturating_add(seq.saturating_sub(*high));
                *high = (*seq).max(*high);
            }
            if let Op::DropStream { stream } = op {
                highs.insert(*stream, 0);
            }
            let body = if let Op::Remove { .. } = op { bodies.next().map_or(&[][..], Vec::as_slice) } else { &[] };
            places.push(batch.push(&draft(op, lsn, body)));
        }
        let mut chain = batch.finish(lsn, advance);
        let mut batches = 1;

        let twins = ops.iter().any(|op| kind(op).has_twin())
            || !extras.is_empty()
            || company.copies.iter().any(|copy| copy.kind().has_twin());
        if twins {
            out.resize(align(start + out.len() as u32, PAGE).saturating_sub(start) as usize, 0);
            let mut second = Builder::new(&mut out, start, number, salt, meta(tail.batch + 2, chain, advance));
            for copy in company.copies.iter().filter(|copy| copy.kind().has_twin()) {
                let draft = copy.draft(&self.cleaner);
                second.push(&Draft { flags: draft.flags | TWIN, ..draft });
            }
            for (extra, lsn, _) in &extras {
                if let Some(body) = self.extra_body(extra) {
                    second.push(&body.draft(*lsn, TWIN));
                }
            }
            for (step, op) in ops.iter().enumerate().filter(|(_, op)| kind(op).has_twin()) {
                second.push(&Draft { flags: TWIN, ..draft(op, first + step as u64, &[]) });
            }
            chain = second.finish(lsn, advance);
            batches = 2;
        }

        if let Err(error) = active.file.write_at(&out, u64::from(start)) {
            if !is_full(&error) {
                return Err(self.fail("write", &error));
            }
            self.abandon()?;
            return Err(StoreError::Full);
        }
        let end = start + out.len() as u32;
        if let Some(active) = &mut self.parts.active {
            active.end = end;
        }
        self.parts.ledger.extend(number, end);
        self.unsynced.get_or_insert_with(Instant::now);
        let tail = &mut self.parts.tail;
        (tail.batch, tail.chain, tail.lsn, tail.advance) = (tail.batch + batches, chain, lsn, advance);
        self.parts.reader.wrote(number, start, Bytes::from(out));
        self.counts.batches += 1;
        self.counts.moved += moves.len() as u64;
        // Copies lie in front of the ops, so a remove in the same batch finds the copy.
        for (copy, to) in company.copies.iter().zip(moves) {
            copy.book(&mut self.parts.ledger, &self.cleaner, to);
        }
        for (extra, lsn, at) in extras {
            match extra {
                Extra::End { stream, .. } => {
                    let seq = self.parts.ledger.high(*stream);
                    self.parts.ledger.book(Op::HighWater { stream: *stream, seq }, lsn, at);
                }
                Extra::Lost { stream, .. } => self.parts.ledger.told(*stream, lsn, at),
            }
        }
        if !company.copies.is_empty() || !company.extras.is_empty() {
            self.cleaner.wrote(self.parts.tail.batch);
        }
        Ok(places)
    }

    /// What cleaning wants to have written along.
    fn company(&mut self, need: usize) -> Company {
        let mut budget = (self.parts.segment_bytes as usize / 8).min(1 << 20);
        if self.parts.reader.full.load(Ordering::Relaxed) {
            // The last room is for the commits themselves; but without a part of it for copies, nothing would ever be freed.
            let room = self.parts.active.as_ref().map_or(0, |active| (active.len - active.end) as usize);
            budget = budget.min(room.saturating_sub(need) / 4);
            if budget < PAGE as usize {
                return Company::default();
            }
        }
        let copies = self.cleaner.take(&self.parts.ledger, budget, self.parts.tail.batch, &mut self.parts.extras);
        let mut extras = Vec::new();
        let mut room = budget;
        while let Some(extra) = self.parts.extras.pop_front() {
            let weight = 256 + if let Extra::Lost { ranges, .. } = &extra { ranges.len() * 32 } else { 0 };
            if self.extra_body(&extra).is_none() {
                continue;
            }
            extras.push(extra);
            room = room.saturating_sub(weight);
            if room == 0 {
                break;
            }
        }
        Company { copies, extras }
    }

    /// What to write for an extra, unless events overtook it.
    fn extra_body(&self, extra: &Extra) -> Option<ExtraBody> {
        match extra {
            Extra::End { stream, unless_after } => {
                let (seq, at) = self.parts.ledger.end(*stream)?;
                (at <= *unless_after).then_some(ExtraBody {
                    kind: Kind::HighWater,
                    stream: *stream,
                    seq,
                    body: Vec::new(),
                })
            }
            Extra::Lost { stream, ranges } => self.parts.ledger.end(*stream).map(|_| ExtraBody {
                kind: Kind::Lost,
                stream: *stream,
                seq: 0,
                body: encode_ranges(ranges),
            }),
        }
    }

    /// Work that waits for a quiet moment. One step of it.
    fn background(&mut self) -> Result<Idle, StoreError> {
        if self.failed {
            return Ok(Idle::Wait);
        }
        self.ahead.retry();
        let full = self.is_full(false);
        let busy = self.clean(full)?;
        let mut stuck = false;
        if busy || !self.parts.extras.is_empty() {
            let before = self.counts.batches;
            match self.put_batch(&mut std::iter::empty()) {
                Ok(_) => stuck = full && self.counts.batches == before,
                // Cleaning can wait for room; what it holds stays where it is.
                Err(StoreError::Full | StoreError::TooLarge) => stuck = true,
                Err(error) => return Err(error),
            }
        }
        self.catch_up()?;
        let more = self.clean(full)?;
        self.publish();
        Ok(match () {
            () if stuck && (more || !self.parts.extras.is_empty()) => Idle::After(SOON),
            () if more || !self.parts.extras.is_empty() => Idle::Again,
            () if self.cleaner.waits_for_disk() => Idle::After(Duration::from_millis(5)),
            () if self.unsynced.is_some() && self.parts.sync => Idle::After(SOON),
            () if full => Idle::After(Duration::from_millis(250)),
            () => Idle::Wait,
        })
    }

    /// Syncs what was acknowledged without a sync, and what cleaning waits for.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let overdue = self.unsynced.is_some_and(|since| since.elapsed() >= SOON) && self.parts.sync;
        if overdue || self.cleaner.waits_for_sync(self.parts.tail.synced) {
            self.sync()?;
            self.parts.marks.hint(&self.marks());
        }
        Ok(())
    }

    /// Moves cleaning on: starts it when it is due, ends it when all copies are safe. Whether there is more to do at once.
    fn clean(&mut self, full: bool) -> Result<bool, StoreError> {
        let Some(active) = &self.parts.active else { return Ok(false) };
        let (number, room) = (active.number, active.len - active.end);
        let limit = 4 * self.parts.segment_bytes;
        if let Some(segment) = self.cleaner.due(&self.parts.ledger, number, limit, full.then_some(room)) {
            let ends = self.parts.ledger.ends_in(segment);
            self.parts.extras.extend(ends.into_iter().map(|stream| Extra::End { stream, unless_after: segment }));
            let live = self.parts.ledger.segments.get(&segment).is_some_and(|held| held.live > 0);
            self.cleaner.start(segment, live, self.parts.tail.batch);
            if live {
                self.ahead.load(segment);
            }
        }
        if let Some(loaded) = self.ahead.loaded() {
            match loaded {
                Ok(loaded) => self.cleaner.loaded(loaded, &self.parts.ledger),
                Err(error) => self.cleaner.not_loaded(&error, &self.ahead),
            }
        }
        let told = !self.parts.extras.iter().any(|extra| matches!(extra, Extra::End { .. }));
        let finished = if told { self.cleaner.finished(self.parts.tail.synced) } else { None };
        if let Some(segment) = finished {
            self.parts.ledger.forget(segment);
            self.parts.tail.floor = segment + 1;
            self.counts.cleaned += 1;
            self.parts.reader.forget(segment);
            self.ahead.delete(segment, self.marks());
            return Ok(true);
        }
        Ok(self.cleaner.has_copies())
    }
}

impl Engine for Log {
    fn turn(&mut self, requests: Vec<Request>) -> Idle {
        if requests.is_empty() {
            return self.background().unwrap_or(Idle::Wait);
        }
        self.write_all(requests);
        // Under load, cleaning rides along with the groups: only its books are moved on here.
        let full = self.parts.reader.full.load(Ordering::Relaxed);
        if self.failed || self.catch_up().is_err() || self.clean(full).is_err() { Idle::Wait } else { Idle::Again }
    }

    fn close(&mut self) {
        if !self.failed && self.sync().is_ok() {
            let _ = self.parts.marks.keep(&self.marks());
        }
        self.ahead.stop();
    }
}
