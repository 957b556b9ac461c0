//! A batch: what is written and synced together. A frame in front, the records, and the commit marker behind them.
//!
//! Frame (80 bytes): `u32 magic, u8 version, 3 zero, u64 batch number, u64 batch known to be synced, u64 chain before,
//! u64 highest log sequence number, u64 advance before, u32 length, u32 records, u32 oldest needed segment, u32 place of
//! the marker, 12 zero, u32 checksum`.
//!
//! Marker: `u32 magic, u32 records, u64 batch number, u64 chain, u64 advance after, u32 runs, u32 length, u32 checksum so
//! far, 4 zero`, one run of 24 bytes per row of like records (`u8 kind, 3 zero, u32 count, u64 stream, u64 first
//! sequence`), `u32 checksum, 4 zero`.
//!
//! The marker lists what the batch holds: when a record's own header is damaged, it still tells which one it was.
//! "Advance" sums up how far sequences ever went, over all streams: it bounds how many can be missing in a hole.
use super::codec::{Put, SECTOR, Salt, align, le32, le64, slice};
use super::record::{self, Draft, Kind};
use super::types::Location;
use crc32c::crc32c_append;

pub(super) const FRAME: u32 = 80;
const FRAME_MAGIC: u32 = 0x5442_4E2E;
const MARK_MAGIC: u32 = 0x4B4D_4E2E;
const VERSION: u8 = 1;
const MARK: u32 = 48;
const RUN: u32 = 24;

/// What the writer knows when it starts a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub batch: u64,
    pub synced: u64,
    /// The chain of the batch before; 0 when it is not known.
    pub chain: u64,
    pub lsn: u64,
    pub advance: u64,
    pub floor: u32,
}

/// A frame, as read: its checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub at: u32,
    pub meta: Meta,
    pub total: u32,
    pub count: u32,
    pub marker: u32,
}

/// Like records in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub kind: Kind,
    pub count: u32,
    pub stream: u64,
    pub seq: u64,
}

/// A commit marker, as read: its checksum was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub at: u32,
    pub total: u32,
    pub count: u32,
    pub batch: u64,
    pub chain: u64,
    pub advance: u64,
    pub runs: Vec<Run>,
}

/// The most a batch of records with these bodies can take.
pub(super) fn room(records: usize, bodies: usize) -> usize {
    (FRAME + MARK + 8) as usize + records * (RUN as usize + record::HEAD as usize + 8) + bodies
}

fn link(chain: u64, crc: u32) -> u64 {
    (chain.rotate_left(7) ^ u64::from(crc)).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1)
}

/// A batch being built at the end of a buffer whose first byte is byte `base` of the segment.
pub(super) struct Builder<'a> {
    out: &'a mut Vec<u8>,
    base: u32,
    start: usize,
    salt: Salt,
    segment: u32,
    meta: Meta,
    prev: u32,
    chain: u64,
    count: u32,
    runs: Vec<Run>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, base: u32, segment: u32, salt: Salt, meta: Meta) -> Builder<'a> {
        let start = out.len();
        out.resize(start + FRAME as usize, 0);
        Builder { base, start, salt, segment, meta, prev: 0, chain: meta.chain, count: 0, runs: Vec::new(), out }
    }

    pub(super) fn push(&mut self, draft: &Draft<'_>) -> Location {
        let offset = self.base + self.out.len() as u32;
        let (len, crc) = record::encode(self.out, self.salt, offset, self.count, self.prev, draft);
        self.prev = crc;
        self.chain = link(self.chain, crc);
        self.count += 1;
        match self.runs.last_mut() {
            Some(run) if run.continues(draft) => run.count += 1,
            _ => self.runs.push(Run { kind: draft.kind, count: 1, stream: draft.stream, seq: draft.seq }),
        }
        Location { segment: self.segment, offset, len }
    }

    /// Writes frame and marker; returns the chain.
    pub(super) fn finish(self, lsn: u64, advance: u64) -> u64 {
        let marker = (self.out.len() - self.start) as u32;
        let place = self.base + self.out.len() as u32;
        let total = MARK + self.runs.len() as u32 * RUN + 8;
        self.out.u32(MARK_MAGIC);
        self.out.u32(self.count);
        self.out.u64(self.meta.batch);
        self.out.u64(self.chain);
        self.out.u64(advance);
        self.out.u32(self.runs.len() as u32);
        self.out.u32(total);
        let front = self.out.get(self.start + marker as usize..).unwrap_or_default();
        let crc = crc32c_append(self.salt.at(place), front);
        self.out.u32(crc);
        self.out.u32(0);
        for run in &self.runs {
            self.out.u32(u32::from(run.kind as u8));
            self.out.u32(run.count);
            self.out.u64(run.stream);
            self.out.u64(run.seq);
        }
        let crc = crc32c_append(self.salt.at(place), self.out.get(self.start + marker as usize..).unwrap_or_default());
        self.out.u32(crc);
        self.out.u32(0);

        let mut frame = Vec::with_capacity(FRAME as usize);
        frame.u32(FRAME_MAGIC);
        frame.u32(u32::from(VERSION));
        frame.u64(self.meta.batch);
        frame.u64(self.meta.synced);
        frame.u64(self.meta.chain);
        frame.u64(lsn);
        frame.u64(self.meta.advance);
        frame.u32(marker + total);
        frame.u32(self.count);
        frame.u32(self.meta.floor);
        frame.u32(marker);
        frame.resize(FRAME as usize - 4, 0);
        let crc = crc32c_append(self.salt.at(self.base + self.start as u32), &frame);
        frame.u32(crc);
        if let Some(front) = self.out.get_mut(self.start..self.start + frame.len()) {
            front.copy_from_slice(&frame);
        }
        self.out.resize(self.out.len().next_multiple_of(SECTOR as usize), 0);
        self.chain
    }
}

impl Run {
    fn continues(&self, draft: &Draft<'_>) -> bool {
        self.kind == draft.kind
            && self.stream == draft.stream
            && (self.kind != Kind::Append || self.seq.checked_add(u64::from(self.count)) == Some(draft.seq))
    }
}

/// The frame at `at`, if there is one and the segment can hold what it says.
pub(super) fn frame(buf: &[u8], at: u32, salt: Salt) -> Option<Frame> {
    let bytes = slice(buf, at, FRAME)?;
    if le32(bytes, 0) != FRAME_MAGIC || le32(bytes, 4) != u32::from(VERSION) {
        return None;
    }
    if crc32c_append(salt.at(at), bytes.get(..76)?) != le32(bytes, 76) {
        return None;
    }
    let frame = Frame {
        at,
        meta: Meta {
            batch: le64(bytes, 8),
            synced: le64(bytes, 16),
            chain: le64(bytes, 24),
            lsn: le64(bytes, 32),
            advance: le64(bytes, 40),
            floor: le32(bytes, 56),
        },
        total: le32(bytes, 48),
        count: le32(bytes, 52),
        marker: le32(bytes, 60),
    };
    let fits = frame.marker >= FRAME
        && frame.count <= frame.marker / record::HEAD
        && frame.total >= frame.marker.checked_add(MARK + 8)?;
    (fits && at.checked_add(frame.total)? < 1 << 31).then_some(frame)
}

/// The commit marker at `at`, if there is one.
pub(super) fn marker(buf: &[u8], at: u32, salt: Salt) -> Option<Marker> {
    let front = slice(buf, at, MARK)?;
    if le32(front, 0) != MARK_MAGIC {
        return None;
    }
    let (runs, total) = (le32(front, 32), le32(front, 36));
    if crc32c_append(salt.at(at), front.get(..40)?) != le32(front, 40) {
        return None;
    }
    if total != runs.checked_mul(RUN)?.checked_add(MARK + 8)? {
        return None;
    }
    let all = slice(buf, at, total)?;
    let (checked, crc) = all.split_at_checked(all.len().checked_sub(8)?)?;
    if crc32c_append(salt.at(at), checked) != le32(crc, 0) {
        return None;
    }
    let mut list = Vec::with_capacity(runs as usize);
    let (mut listed, count) = (0u64, le32(front, 4));
    for run in checked.get(MARK as usize..)?.chunks_exact(RUN as usize) {
        let kind = Kind::from_u8(u8::try_from(le32(run, 0)).ok()?)?;
        listed += u64::from(le32(run, 4));
        list.push(Run { kind, count: le32(run, 4), stream: le64(run, 8), seq: le64(run, 16) });
    }
    // Whoever goes through the list does so for no longer than the records in front of it could be many.
    if listed != u64::from(count) || count > at / record::HEAD {
        return None;
    }
    Some(Marker {
        at,
        total,
        count,
        batch: le64(front, 8),
        chain: le64(front, 16),
        advance: le64(front, 24),
        runs: list,
    })
}

impl Frame {
    /// Where the next batch may start.
    pub(super) fn next(&self) -> u32 {
        align(self.at.saturating_add(self.total), SECTOR)
    }
}

impl Marker {
    /// Kind, stream and sequence of every record, in order.
    pub(super) fn list(&self) -> impl Iterator<Item = (Kind, u64, u64)> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..u64::from(run.count)).map(move |step| {
                let seq = if run.kind == Kind::Append { run.seq.saturating_add(step) } else { run.seq };
                (run.kind, run.stream, seq)
            })
        })
    }
}

/// The chain over records read back, to compare with the marker.
pub(super) fn chain_of(before: u64, crcs: impl Iterator<Item = u32>) -> u64 {
    crcs.fold(before, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_and_its_marker_knows_every_record() {
        let (salt, mut out) = (Salt::new(1, 1), Vec::new());
        let meta = Meta { batch: 9, synced: 8, chain: 5, lsn: 0, advance: 100, floor: 1 };
        let mut batch = Builder::new(&mut out, 512, 1, salt, meta);
        for seq in 10..13 {
            batch.push(&Draft { stream: 4, seq, ..Draft::of(Kind::Append, seq, b"a.b", b"x") });
        }
        batch.push(&Draft::of(Kind::Note, 14, b"key", b"delta"));
        let last = batch.push(&Draft { stream: 4, seq: 50, ..Draft::of(Kind::Append, 15, b"a.b", b"x") });
        let chain = batch.finish(15, 103);
        assert_eq!(out.len() % 512, 0);
        let mut whole = vec![0; 512];
        whole.append(&mut out);
        let frame = frame(&whole, 512, salt).unwrap();
        assert_eq!((frame.count, frame.meta.lsn, frame.meta.batch, frame.meta.floor), (5, 15, 9, 1));
        let marker = marker(&whole, 512 + frame.marker, salt).unwrap();
        assert_eq!((marker.chain, marker.count, marker.advance, marker.runs.len()), (chain, 5, 103, 3));
        let listed: Vec<_> = marker.list().collect();
        let append = |seq| (Kind::Append, 4, seq);
        assert_eq!(listed, [append(10), append(11), append(12), (Kind::Note, 0, 0), append(50)]);
        let head = record::head(&whole, 0, last.offset, salt).unwrap();
        assert_eq!((head.seq, head.total), (50, last.len));
        let mut at = 512 + FRAME;
        let mut crcs = Vec::new();
        for _ in 0..5 {
            let head = record::head(&whole, 0, at, salt).unwrap();
            crcs.push(head.crc);
            at = head.end();
        }
        assert_eq!(at, 512 + frame.marker);
        assert_eq!(chain_of(5, crcs.into_iter()), chain);
    }
}
