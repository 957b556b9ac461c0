//! What is still needed of each segment: cleaning asks here before it copies or deletes anything.
use super::reader::Moved;
use super::record::{Head, Kind};
use super::replay::{Replay, Spot};
use super::types::{Location, Op};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// One bit per place where a record can start. Records are at least this long, so no two share a bit.
const UNIT: u32 = super::record::HEAD;

/// How many misplaced removes are remembered.
const STRAYS: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Segment {
    /// The file's length.
    pub len: u32,
    /// Bytes in use, dead ones included.
    used: u32,
    /// Bytes that are still needed, and messages among them.
    pub live: u64,
    pub messages: u64,
    /// Bytes and messages of each stream.
    by_stream: HashMap<u64, (u64, u64)>,
    bits: Vec<u64>,
}

impl Segment {
    pub(super) fn new(len: u32, used: u32) -> Segment {
        Segment { len, used, ..Segment::default() }
    }

    fn bit(offset: u32) -> (usize, u64) {
        let unit = offset / UNIT;
        ((unit / 64) as usize, 1 << (unit % 64))
    }

    fn set(&mut self, offset: u32) {
        let (word, bit) = Segment::bit(offset);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            *bits |= bit;
        }
    }

    /// Whether it was set.
    fn clear(&mut self, offset: u32) -> bool {
        let (word, bit) = Segment::bit(offset);
        match self.bits.get_mut(word) {
            Some(bits) if *bits & bit != 0 => {
                *bits &= !bit;
                true
            }
            _ => false,
        }
    }

    fn is_set(&self, offset: u32) -> bool {
        let (word, bit) = Segment::bit(offset);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

#[derive(Debug, Default)]
struct Key {
    put: Option<Spot>,
    notes: Vec<Spot>,
}

#[derive(Debug, Default)]
struct Stream {
    high: u64,
    high_at: u32,
    told: Vec<Spot>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub segments: BTreeMap<u32, Segment>,
    keys: HashMap<Bytes, Key>,
    streams: HashMap<u64, Stream>,
    dropped: HashMap<u64, (u64, u32)>,
    /// Where moved records went, by the place that was handed out; shared with the readers.
    moved: Arc<Moved>,
    /// The way back.
    origin: HashMap<(u32, u32), Location>,
    /// Removed at a place where they were not: whatever the caller meant, they must not be copied behind the remove.
    strays: HashSet<(u64, u64)>,
    /// Sums over all segments.
    pub live: u64,
    pub used: u64,
    pub disk: u64,
    pub messages: u64,
}

impl Ledger {
    pub(super) fn new(moved: Arc<Moved>) -> Ledger {
        Ledger { moved, ..Ledger::default() }
    }

    /// A segment was made or found.
    pub(super) fn open(&mut self, number: u32, segment: Segment) {
        self.used += u64::from(segment.used);
        self.disk += u64::from(segment.len);
        self.segments.insert(number, segment);
    }

    /// A segment's used part grew.
    pub(super) fn extend(&mut self, number: u32, end: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            self.used += u64::from(end.saturating_sub(segment.used));
            segment.used = segment.used.max(end);
        }
    }

    /// A segment's file was cut off.
    pub(super) fn cut(&mut self, number: u32, len: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            self.disk = self.disk.saturating_sub(u64::from(segment.len.saturating_sub(len)));
            segment.len = len;
        }
    }

    /// Takes over what recovery found; the segments are open already.
    pub(super) fn load(&mut self, replay: &Replay) {
        for (stream, at) in replay.messages() {
            self.enter(stream, at);
        }
        for (name, key) in &replay.keys {
            let put = key.put.as_ref().map(|(spot, _)| *spot);
            let notes: Vec<Spot> = key.notes.iter().map(|(spot, _)| *spot).collect();
            put.iter().chain(&notes).for_each(|spot| self.hold(spot));
            self.keys.insert(name.clone(), Key { put, notes });
        }
        for (number, stream) in &replay.streams {
            stream.told_at.iter().for_each(|spot| self.hold(spot));
            let held = Stream { high: stream.last_seq, high_at: stream.high_at, told: stream.told_at.clone() };
            self.streams.insert(*number, held);
        }
        self.dropped.clone_from(&replay.dropped);
    }

    fn hold(&mut self, spot: &Spot) {
        self.live += u64::from(spot.len);
        if let Some(segment) = self.segments.get_mut(&spot.segment) {
            segment.live += u64::from(spot.len);
        }
    }

    fn release(&mut self, spot: &Spot) {
        self.live = self.live.saturating_sub(u64::from(spot.len));
        if let Some(segment) = self.segments.get_mut(&spot.segment) {
            segment.live = segment.live.saturating_sub(u64::from(spot.len));
        }
    }

    fn enter(&mut self, stream: u64, at: Location) {
        self.live += u64::from(at.len);
        self.messages += 1;
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            let (bytes, count) = segment.by_stream.entry(stream).or_default();
            *bytes += u64::from(at.len);
            *count += 1;
            segment.live += u64::from(at.len);
            segment.messages += 1;
            segment.set(at.offset);
        }
    }

    /// Takes a message out of the segment it lies in now.
    fn leave(&mut self, stream: u64, at: Location) -> bool {
        let Some(segment) = self.segments.get_mut(&at.segment) else { return false };
        // A place given twice, or after its stream was dropped, counts once.
        if !segment.by_stream.contains_key(&stream) || !segment.clear(at.offset) {
            return false;
        }
        if let Some((bytes, count)) = segment.by_stream.get_mut(&stream) {
            *bytes = bytes.saturating_sub(u64::from(at.len));
            *count = count.saturating_sub(1);
            if *count == 0 {
                segment.by_stream.remove(&stream);
            }
        }
        segment.live = segment.live.saturating_sub(u64::from(at.len));
        segment.messages = segment.messages.saturating_sub(1);
        self.live = self.live.saturating_sub(u64::from(at.len));
        self.messages = self.messages.saturating_sub(1);
        true
    }

    /// Books an op that was written as the record at `at`.
    pub(super) fn book(&mut self, op: Op, lsn: u64, at: Location) {
        let spot = Spot { lsn, segment: at.segment, len: at.len };
        match op {
            Op::Append { stream, seq, .. } => {
                self.raise(stream, seq, at.segment);
                self.enter(stream, at);
            }
            Op::Remove { stream, seqs } => {
                let moved = self.moved.clone();
                for (seq, place) in seqs {
                    let now = moved.take(place);
                    if let Some(now) = now {
                        self.origin.remove(&(now.segment, now.offset));
                    }
                    if !self.leave(stream, now.unwrap_or(place)) && self.strays.len() < STRAYS {
                        self.strays.insert((stream, seq));
                    }
                }
            }
            Op::Put { key, .. } => {
                let held = self.keys.remove(&key);
                self.let_go(held);
                self.hold(&spot);
                self.keys.insert(own(&key), Key { put: Some(spot), notes: Vec::new() });
            }
            Op::Note { key, .. } => {
                self.hold(&spot);
                match self.keys.get_mut(&key) {
                    Some(held) => held.notes.push(spot),
                    None => drop(self.keys.insert(own(&key), Key { put: None, notes: vec![spot] })),
                }
            }
            Op::Delete { key } => {
                let held = self.keys.remove(&key);
                self.let_go(held);
            }
            Op::DropStream { stream } => {
                for spot in self.streams.remove(&stream).map(|held| held.told).unwrap_or_default() {
                    self.release(&spot);
                }
                for segment in self.segments.values_mut() {
                    let (bytes, count) = segment.by_stream.remove(&stream).unwrap_or_default();
                    segment.live = segment.live.saturating_sub(bytes);
                    segment.messages = segment.messages.saturating_sub(count);
                    self.live = self.live.saturating_sub(bytes);
                    self.messages = self.messages.saturating_sub(count);
                }
                self.dropped.insert(stream, (lsn, at.segment));
                self.strays.retain(|(of, _)| *of != stream);
                let origin = &mut self.origin;
                self.moved.drop_stream(stream, |now| {
                    origin.remove(&(now.segment, now.offset));
                });
            }
            Op::HighWater { stream, seq } => self.raise(stream, seq, at.segment),
        }
    }

    fn let_go(&mut self, key: Option<Key>) {
        for spot in key.into_iter().flat_map(|key| key.put.into_iter().chain(key.notes)) {
            self.release(&spot);
        }
    }

    fn raise(&mut self, stream: u64, seq: u64, segment: u32) {
        let held = self.streams.entry(stream).or_default();
        if seq >= held.high {
            (held.high, held.high_at) = (seq, segment);
        }
    }

    /// A finding about lost sequences was written.
    pub(super) fn told(&mut self, stream: u64, lsn: u64, at: Location) {
        let spot = Spot { lsn, segment: at.segment, len: at.len };
        self.hold(&spot);
        self.streams.entry(stream).or_default().told.push(spot);
    }

    pub(super) fn high(&self, stream: u64) -> u64 {
        self.streams.get(&stream).map_or(0, |held| held.high)
    }

    pub(super) fn knows(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Whether a record found in a segment is still needed there.
    pub(super) fn needs(&self, head: &Head, name: &[u8], segment: u32) -> bool {
        let (stream, lsn, at) = (head.stream, head.lsn, head.location(segment));
        let here = |spot: &Spot| spot.lsn == lsn && spot.segment == at.segment;
        match head.kind {
            Kind::Append => {
                (self.strays.is_empty() || !self.strays.contains(&(stream, head.seq)))
                    && self.dropped.get(&stream).is_none_or(|(dropped, _)| lsn > *dropped)
                    && self
                        .segments
                        .get(&at.segment)
                        .is_some_and(|held| held.by_stream.contains_key(&stream) && held.is_set(at.offset))
            }
            Kind::Put => self.keys.get(name).is_some_and(|key| key.put.as_ref().is_some_and(here)),
            Kind::Note => self.keys.get(name).is_some_and(|key| has(&key.notes, lsn, at.segment)),
            Kind::Lost => self.streams.get(&stream).is_some_and(|held| held.told.iter().any(here)),
            Kind::Remove | Kind::Delete | Kind::DropStream | Kind::HighWater => false,
        }
    }

    /// A record was copied.
    pub(super) fn shift(&mut self, head: &Head, name: &[u8], segment: u32, to: Location) -> Option<()> {
        let (stream, lsn, from) = (head.stream, head.lsn, head.location(segment));
        let after = Spot { lsn, segment: to.segment, len: to.len };
        let before = Spot { lsn, segment: from.segment, len: from.len };
        match head.kind {
            Kind::Append => {
                if !self.leave(stream, from) {
                    return None;
                }
                self.enter(stream, to);
                let first = self.origin.remove(&(from.segment, from.offset)).unwrap_or(from);
                self.origin.insert((to.segment, to.offset), first);
                self.moved.put(first, to, stream);
                return Some(());
            }
            Kind::Put | Kind::Note => {
                let key = self.keys.get_mut(name)?;
                let note = key.notes.binary_search_by_key(&lsn, |spot| spot.lsn).ok();
                let spot =
                    key.put.as_mut().filter(|spot| spot.lsn == lsn).or(note.and_then(|at| key.notes.get_mut(at)))?;
                if *spot != before {
                    return None;
                }
                *spot = after;
            }
            Kind::Lost => {
                let held = self.streams.get_mut(&stream)?;
                *held.told.iter_mut().find(|spot| **spot == before)? = after;
            }
            Kind::Remove | Kind::Delete | Kind::DropStream | Kind::HighWater => return None,
        }
        self.release(&before);
        self.hold(&after);
        Some(())
    }

    /// Streams whose end is told by nothing newer than this segment.
    pub(super) fn ends_in(&self, segment: u32) -> Vec<u64> {
        let mut streams: Vec<u64> =
            self.streams.iter().filter(|(_, held)| held.high_at <= segment).map(|(stream, _)| *stream).collect();
        streams.sort_unstable();
        streams
    }

    pub(super) fn end(&self, stream: u64) -> Option<(u64, u32)> {
        self.streams.get(&stream).map(|held| (held.high, held.high_at))
    }

    /// The segment is gone.
    pub(super) fn forget(&mut self, segment: u32) {
        if let Some(gone) = self.segments.remove(&segment) {
            // Nothing, unless damage took what should have been copied.
            self.live = self.live.saturating_sub(gone.live);
            self.messages = self.messages.saturating_sub(gone.messages);
            self.used = self.used.saturating_sub(u64::from(gone.used));
            self.disk = self.disk.saturating_sub(u64::from(gone.len));
        }
        self.dropped.retain(|_, (_, at)| *at > segment);
    }
}

fn has(notes: &[Spot], lsn: u64, segment: u32) -> bool {
    // In the order they were written, so by log sequence number.
    let at = notes.binary_search_by_key(&lsn, |spot| spot.lsn).ok();
    at.and_then(|at| notes.get(at)).is_some_and(|spot| spot.segment == segment)
}

/// A key may be a slice of a much larger buffer; this map lives as long as the store.
fn own(key: &Bytes) -> Bytes {
    Bytes::copy_from_slice(key)
}
