//! Goes through the segments at start: applies what is whole, cuts off what is torn, saves what is left of damage.
//!
//! A batch that fails its checks is damage when something proves that it was synced: a later segment, a later batch or
//! the superblock. Otherwise it is the tail a crash left behind, and goes, if a sector of it was never written; if all
//! its sectors hold something, no crash looks like that, and it is damage as well.
use super::codec::is_zero;
use super::fs::Fs;
use super::ledger::Segment;
use super::load::{Loaded, Source, each, load};
use super::log::{Active, Tail};
use super::record::{Head, TWIN, cut};
use super::replay::Replay;
use super::scan::{Found, Scan, gone};
use super::segment::{self, Header, START};
use super::superblock::Marks;
use super::types::StoreError;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// More than any stream gets in one batch: the jump when nothing tells how many sequences a damaged end used.
const UNKNOWN: u64 = 1 << 20;

pub(super) struct Walk<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    store: u64,
    pub replay: Replay,
    pub tail: Tail,
    /// A batch was seen, so that the next number is known.
    started: bool,
    /// Where sequences stood before damage that nothing names.
    pending: Option<u64>,
    pending_records: u64,
    pub segments: BTreeMap<u32, Segment>,
    /// Segments that are not needed any more.
    pub leftover: Vec<u32>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(fs: &'a dyn Fs, dir: &'a Path, store: u64, segment: u32) -> Walk<'a> {
        Walk {
            fs,
            dir,
            store,
            replay: Replay::default(),
            tail: Tail { segment, ..Tail::default() },
            started: false,
            pending: None,
            pending_records: 0,
            segments: BTreeMap::new(),
            leftover: Vec::new(),
        }
    }

    pub(super) fn superblock(&mut self, slots: &[Option<(u64, Marks)>]) {
        let good = slots.iter().take(2).flatten().filter(|(of, _)| *of == self.store).count();
        if good == 0 {
            self.replay.report.harmless += 1;
            self.replay.report.note(|| "the superblock is damaged; the log tells the rest".into());
        }
    }

    /// Leaves out what is not needed and tells what is missing.
    pub(super) fn select(&mut self, sources: Vec<Source>, known: &mut Marks) -> Vec<Source> {
        for header in sources.iter().filter_map(|source| source.header) {
            if header.store == self.store {
                known.floor = known.floor.max(header.floor);
            }
        }
        let mut kept: Vec<Source> = Vec::new();
        for source in sources {
            self.tail.segment = self.tail.segment.max(source.number);
            if source.header.is_some_and(|header| header.store != self.store) {
                self.replay.report.missing_segments += 1;
                self.replay.report.note(|| format!("{} belongs to another store", segment::name(source.number)));
                continue;
            }
            if source.number < known.floor {
                // Deleting it was interrupted; it can go once the floor itself is durable.
                self.leftover.push(source.number);
                continue;
            }
            kept.push(source);
        }
        kept
    }

    /// With the superblock gone, the newest batches know best which segments are needed.
    pub(super) fn floor(&self, sources: &[Source]) -> Result<u32, StoreError> {
        let Some(last) = sources.last() else { return Ok(0) };
        let loaded = load(last, self.store, Vec::new())?;
        Ok(loaded.scan.found.iter().filter_map(|found| found.frame).map(|frame| frame.meta.floor).max().unwrap_or(0))
    }

    fn missing(&mut self, from: u32, to: u32) {
        if from < to {
            self.replay.report.missing_segments += u64::from(to - from);
            self.replay.report.note(|| format!("segments {from:08x} up to {to:08x} are missing"));
            self.pending.get_or_insert(self.tail.advance);
            self.replay.unnamed(0);
        }
    }

    /// Reads the segments in order. Returns the one to go on writing in.
    pub(super) fn read(
        &mut self,
        mut sources: Vec<Source>,
        known: &Marks,
        threaded: bool,
    ) -> Result<Option<Active>, StoreError> {
        let mut expected = (known.floor > 0).then_some(known.floor);
        let newest = sources.last().map_or(0, |source| source.number);
        let mut room = (0, 0);
        each(&sources, self.store, threaded, |source, loaded| {
            if let Some(expected) = expected {
                self.missing(expected, source.number);
            }
            expected = source.number.checked_add(1);
            room = self.take(source, loaded, source.number == newest, known)?;
            Ok(())
        })?;
        if known.segment > 0 && expected.is_none_or(|next| next <= known.segment) {
            self.missing(expected.unwrap_or(known.segment), known.segment.saturating_add(1));
        }
        self.tail.synced = self.tail.batch;
        let (end, len) = room;
        Ok(sources.pop().map(|source| Active { number: source.number, file: Arc::from(source.file), end, len }))
    }

    /// One segment. Returns where its used part ends, and up to where it may be written.
    fn take(
        &mut self,
        source: &Source,
        loaded: &mut Loaded,
        last: bool,
        known: &Marks,
    ) -> Result<(u32, u32), StoreError> {
        let Loaded { bytes, scan, unreadable } = loaded;
        let number = source.number;
        if self.tail.floor == 0 {
            self.tail.floor = number;
        }
        self.replay.report.segments += 1;
        self.replay.report.bytes += bytes.len() as u64;
        if let Some(header) = source.header.filter(|_| !self.started) {
            (self.tail.batch, self.tail.advance, self.started) = (header.base, header.advance, true);
        }
        let unwritten = source.header.is_none() && is_zero(bytes.get(..START as usize).unwrap_or(bytes));
        let synced = self.proven(scan, known);
        let end = match last && !*unreadable {
            // The first sync of a segment covers its header: without one, nothing in it was ever acknowledged.
            true if unwritten && synced <= self.tail.batch => Some(START).filter(|start| scan.end > *start),
            true => self.tail_end(scan, synced),
            false => None,
        };
        let mut damaged = end.is_some() || *unreadable;
        // A process that died between the file's name and its first batch leaves zeros in the last segment.
        let fresh = last && !*unreadable && (end == Some(START) || is_zero(bytes));
        if source.header.is_none() && !fresh {
            self.replay.report.harmless += 1;
            self.replay.report.note(|| format!("the header of {} is damaged", segment::name(number)));
            if !self.started && scan.found.is_empty() {
                self.replay.unnamed(1);
            }
        }
        if let Some(end) = end {
            scan.found.retain(|found| found.start < end);
        }
        damaged |= self.segment(scan, bytes, number);
        if let Some(end) = end {
            self.cut(source, bytes, end, scan.end)?;
        } else if damaged {
            self.evidence(&segment::name(number), bytes);
        }
        let len = end.unwrap_or(u32::try_from(source.file.len()?).unwrap_or(u32::MAX));
        let used = end.unwrap_or(scan.end);
        self.segments.insert(number, Segment::new(len, used));
        if last && !*unreadable {
            firm(source, bytes, scan, synced, used)?;
            if fresh && source.header.is_none() {
                let Tail { batch: base, advance, floor, .. } = self.tail;
                let header = Header { store: self.store, segment: number, floor, base, advance };
                source.file.write_at(&header.encode(), 0)?;
                source.file.sync_data()?;
            }
        }
        // Nothing is ever written behind damage.
        let closed = damaged || source.header.is_none() && !fresh;
        Ok((used, if closed { used } else { len }))
    }

    /// The newest batch of which something says that it was synced.
    fn proven(&self, scan: &Scan, known: &Marks) -> u64 {
        let told = scan.found.iter().filter_map(|found| found.frame).map(|frame| frame.meta.synced).max();
        known.synced.max(told.unwrap_or(0)).max(self.tail.batch)
    }

    /// Where the last segment's unacknowledged, torn end begins, if it has one.
    fn tail_end(&self, scan: &Scan, synced: u64) -> Option<u32> {
        let mut next = self.started.then(|| self.tail.batch + 1);
        let mut end = START;
        for found in &scan.found {
            let expected = next.unwrap_or(found.batch().unwrap_or(0));
            let missing = found.batch().is_some_and(|batch| batch > expected);
            if (missing || !found.whole) && expected > synced && (missing || found.unwritten) {
                return Some(end);
            }
            next = Some(found.last_batch().map_or(expected, |batch| batch + 1).max(expected));
            end = found.end;
        }
        None
    }

    /// Applies a segment. Whether it was damaged.
    fn segment(&mut self, scan: &Scan, buf: &[u8], number: u32) -> bool {
        let mut damaged = false;
        let mut skip = false;
        for (place, found) in scan.found.iter().enumerate() {
            let heads = scan.heads.get(found.heads.clone()).unwrap_or_default();
            damaged |= self.continuity(found) | !found.whole;
            if std::mem::take(&mut skip) {
                self.track(found);
                continue;
            }
            if found.whole {
                self.replay.batch(second(heads));
                heads.iter().for_each(|head| self.apply(head, buf, number));
                self.track(found);
                continue;
            }
            let twin = scan.found.get(place + 1).filter(|next| next.whole && !second(heads));
            let twin_heads = twin.and_then(|next| scan.heads.get(next.heads.clone())).filter(|heads| second(heads));
            self.broken(found, heads, twin_heads.unwrap_or_default(), buf, number);
            skip = twin_heads.is_some();
            self.track(found);
        }
        damaged
    }

    fn apply(&mut self, head: &Head, buf: &[u8], number: u32) {
        let (from, to) = ((head.at + super::record::HEAD) as usize, head.at.saturating_add(head.total) as usize);
        if let Some(body) = buf.get(from..to).and_then(|body| cut(body, head)) {
            self.replay.apply(head, &body, number);
        }
    }

    /// Saves what is left of a damaged batch. Its second copies, if they follow, take their places by sequence number.
    fn broken(&mut self, found: &Found, heads: &[Head], twins: &[Head], buf: &[u8], number: u32) {
        let copies = second(heads) || found.broken.first().is_some_and(|head| head.is(TWIN));
        self.replay.batch(copies);
        let gone = gone(found, heads);
        self.replay.report.note(|| {
            let at = found.start;
            format!(
                "{} is damaged at {at}: {} records lost",
                segment::name(number),
                gone.named.len() as u64 + u64::from(gone.unnamed)
            )
        });
        if gone.named.is_empty() && gone.unnamed == 0 {
            self.replay.report.harmless += 1;
        }
        if gone.unnamed > 0 {
            let before = found.frame.map_or(self.tail.advance, |frame| frame.meta.advance);
            self.pending.get_or_insert(before);
            self.pending_records += u64::from(gone.unnamed);
            if copies {
                self.replay.report.harmless += u64::from(gone.unnamed);
            } else {
                self.replay.unnamed(u64::from(gone.unnamed));
            }
        }
        gone.named.iter().for_each(|run| self.replay.lost(run, copies, number));
        let mut all: Vec<&Head> = heads.iter().chain(twins).collect();
        if !twins.is_empty() {
            all.sort_by_key(|head| head.lsn);
        }
        all.into_iter().for_each(|head| self.apply(head, buf, number));
    }

    /// Batches that are missing in front of this one.
    fn continuity(&mut self, found: &Found) -> bool {
        let Some(batch) = found.batch() else { return false };
        let missing = if self.started { batch.saturating_sub(self.tail.batch.saturating_add(1)) } else { 0 };
        if missing > 0 {
            self.replay.report.note(|| format!("{missing} batches before number {batch} are missing"));
            self.pending.get_or_insert(self.tail.advance);
            // At least one record each; a gap in a stream tells which.
            self.replay.unnamed(missing);
        }
        if let Some((frame, before)) = found.frame.and_then(|frame| Some((frame, self.pending.take()?))) {
            self.replay.slacken(frame.meta.advance.saturating_sub(before));
            self.pending_records = 0;
        }
        missing > 0
    }

    fn track(&mut self, found: &Found) {
        self.started |= found.batch().is_some();
        self.tail.batch = self.tail.batch.max(found.last_batch().unwrap_or(0));
        if let Some(frame) = found.frame {
            self.tail.lsn = self.tail.lsn.max(frame.meta.lsn);
            self.tail.advance = self.tail.advance.max(frame.meta.advance);
            self.tail.floor = self.tail.floor.max(frame.meta.floor);
        }
        // A chain that is not known is 0.
        self.tail.chain = found.markers.last().map_or(0, |marker| marker.chain);
        if let Some(marker) = found.markers.last() {
            self.tail.advance = self.tail.advance.max(marker.advance);
        }
    }

    /// Copies the torn end away and cuts it off: what was never acknowledged must not come back later.
    fn cut(&mut self, source: &Source, buf: &[u8], end: u32, used: u32) -> Result<(), StoreError> {
        let torn = buf.get(end as usize..used as usize).unwrap_or_default();
        self.replay.report.torn_bytes += torn.len() as u64;
        self.evidence(&format!("{}-{end}", segment::name(source.number)), torn);
        source.file.set_len(u64::from(end))?;
        source.file.sync_data()?;
        Ok(())
    }

    /// Puts a copy aside. Without room for it the original still lies where it is.
    fn evidence(&mut self, what: &str, bytes: &[u8]) {
        if let Ok(path) = segment::quarantine(self.fs, self.dir, what, bytes) {
            self.replay.report.quarantined.extend(path);
        }
    }

    /// Compares the end of the log with what the superblock knows.
    pub(super) fn finish(&mut self, known: &Marks) {
        let missing = known.batch.saturating_sub(self.tail.batch);
        if missing > 0 {
            self.replay.report.missing_batches += missing;
            self.replay.report.note(|| format!("the last {missing} acknowledged batches are missing"));
            self.replay.unnamed(0);
            self.pending.get_or_insert(self.tail.advance);
        }
        if let Some(before) = self.pending.take() {
            // The superblock knows how far sequences went, unless it is older than the damage.
            let exact = known.advance.saturating_sub(before);
            let unknown = if self.pending_records > 0 { self.pending_records + UNKNOWN } else { 0 };
            self.replay.slacken(if known.batch >= self.tail.batch { exact } else { exact.max(unknown) });
        }
        self.tail.batch = self.tail.batch.max(known.batch);
        self.tail.synced = self.tail.batch;
        self.tail.lsn = self.tail.lsn.max(known.lsn);
        self.tail.advance = self.tail.advance.max(known.advance);
        self.tail.floor = self.tail.floor.max(known.floor);
    }
}

/// What is kept was perhaps never synced; before it is served it must be. A sync that failed before the process died
/// leaves pages that look fine and are never written: so it is written again, byte for byte, and then synced.
fn firm(source: &Source, buf: &[u8], scan: &Scan, synced: u64, used: u32) -> Result<(), StoreError> {
    let loose = scan.found.iter().find(|found| found.last_batch().is_none_or(|batch| batch > synced));
    if let Some(found) = loose {
        source
            .file
            .write_at(buf.get(found.start as usize..used as usize).unwrap_or_default(), u64::from(found.start))?;
        source.file.write_at(buf.get(..START as usize).unwrap_or_default(), 0)?;
    }
    Ok(source.file.sync_data()?)
}

fn second(heads: &[Head]) -> bool {
    heads.first().is_some_and(|head| head.is(TWIN))
}
