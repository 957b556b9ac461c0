//! Reads the bytes of one segment: whole batches, and what can be saved of broken ones.
use super::batch::{self, Frame, Marker, Run};
use super::codec::{SECTOR, Salt, align, is_zero, slice};
use super::record::{self, HEAD, Head};
use std::ops::Range;

/// A stretch of a segment that holds one batch, or damage.
#[derive(Debug)]
pub(super) struct Found {
    pub start: u32,
    pub end: u32,
    pub frame: Option<Frame>,
    /// One for a whole batch; a stretch without a frame may hold several, or none.
    pub markers: Vec<Marker>,
    /// The good records, in `Scan::heads`.
    pub heads: Range<usize>,
    /// Headers whose body is damaged.
    pub broken: Vec<Head>,
    /// Frame, records and marker are all there and belong together.
    pub whole: bool,
    /// A sector of it was never written: a torn write looks like that, a flipped bit does not.
    pub unwritten: bool,
}

/// A segment, read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub found: Vec<Found>,
    pub heads: Vec<Head>,
    /// Behind the last byte that is not zero, rounded up to a sector.
    pub end: u32,
}

/// Reads everything from `from` on. `buf` is the whole segment file.
pub(super) fn scan(buf: &[u8], from: u32, salt: Salt) -> Scan {
    let len = u32::try_from(buf.len()).unwrap_or(u32::MAX);
    let mut out = Scan { end: from, ..Scan::default() };
    let mut at = from;
    // Where a stretch without a frame began.
    let mut lost: Option<u32> = None;
    while at < len {
        if let Some(frame) = batch::frame(buf, at, salt) {
            if let Some(start) = lost.take() {
                out.stretch(buf, start, at, None, salt);
            }
            let end = frame.next();
            if !out.whole(buf, &frame, salt) {
                out.stretch(buf, at, end.min(align(len, SECTOR)), Some(frame), salt);
            }
            out.end = end.min(align(len, SECTOR));
            at = end;
            continue;
        }
        let sector = slice(buf, at, SECTOR.min(len - at)).unwrap_or_default();
        let zero = is_zero(sector);
        if zero && lost.is_none() && is_zero(buf.get(at as usize..).unwrap_or_default()) {
            break; // The unused end, by far the most common case.
        }
        if !zero {
            out.end = at.saturating_add(SECTOR);
        }
        lost.get_or_insert(at);
        at = at.saturating_add(SECTOR);
    }
    if let Some(start) = lost {
        out.stretch(buf, start, out.end, None, salt);
    }
    out
}

impl Scan {
    /// The fast way: everything in its place.
    fn whole(&mut self, buf: &[u8], frame: &Frame, salt: Salt) -> bool {
        let first = self.heads.len();
        if !self.all_records(buf, frame, salt) {
            self.heads.truncate(first);
            return false;
        }
        let heads = first..self.heads.len();
        let chain = batch::chain_of(
            frame.meta.chain,
            self.heads.get(heads.clone()).unwrap_or_default().iter().map(|head| head.crc),
        );
        let marker = frame.at.checked_add(frame.marker).and_then(|at| batch::marker(buf, at, salt));
        match marker {
            Some(marker)
                if marker.batch == frame.meta.batch
                    && marker.count == frame.count
                    && marker.chain == chain
                    && frame.marker + marker.total == frame.total =>
            {
                self.found.push(Found {
                    start: frame.at,
                    end: frame.next(),
                    frame: Some(*frame),
                    markers: vec![marker],
                    heads,
                    broken: Vec::new(),
                    whole: true,
                    unwritten: false,
                });
                true
            }
            _ => {
                self.heads.truncate(first);
                false
            }
        }
    }

    fn all_records(&mut self, buf: &[u8], frame: &Frame, salt: Salt) -> bool {
        let end = frame.at + frame.marker;
        let (mut at, mut index, mut prev) = (frame.at + batch::FRAME, 0, 0);
        while at < end {
            let Some(head) = record::head(buf, 0, at, salt) else { return false };
            if head.index != index || head.prev != prev || record::body(buf, 0, &head, salt).is_none() {
                return false;
            }
            (at, index, prev) = (head.end(), index + 1, head.crc);
            self.heads.push(head);
        }
        at == end && index == frame.count
    }

    /// The slow way: whatever carries a right checksum.
    fn stretch(&mut self, buf: &[u8], start: u32, end: u32, frame: Option<Frame>, salt: Salt) {
        if frame.is_none() && is_zero(slice(buf, start, end.saturating_sub(start)).unwrap_or_default()) {
            return; // Padding in front of a second copy, or a page that never came: the batch numbers tell.
        }
        let first = self.heads.len();
        let mut found = Found {
            start,
            end,
            frame,
            markers: Vec::new(),
            heads: first..first,
            broken: Vec::new(),
            whole: false,
            unwritten: false,
        };
        let mut good: Vec<(u32, u32)> = frame.map(|frame| (frame.at, frame.at + batch::FRAME)).into_iter().collect();
        let mut at = good.first().map_or(start, |(_, end)| *end);
        while at < end {
            if let Some(head) = record::head(buf, 0, at, salt) {
                if record::body(buf, 0, &head, salt).is_some() {
                    good.push((at, head.end()));
                    self.heads.push(head);
                } else {
                    found.broken.push(head);
                }
                at = head.end().max(at + HEAD);
            } else if let Some(marker) = batch::marker(buf, at, salt) {
                let past = at.saturating_add(marker.total);
                good.push((at, past));
                found.markers.push(marker);
                at = past;
            } else {
                at += 8;
            }
        }
        found.heads = first..self.heads.len();
        found.unwritten = unwritten(buf, start, end, &good);
        self.found.push(found);
    }
}

/// Whether a sector was never written: it is all zeros, and no good part says that it should be.
fn unwritten(buf: &[u8], start: u32, end: u32, good: &[(u32, u32)]) -> bool {
    let mut parts = good.iter().peekable();
    let mut at = start;
    while at < end {
        let past = at.saturating_add(SECTOR);
        while parts.next_if(|(_, end)| *end < past).is_some() {}
        if parts.peek().is_none_or(|(from, _)| *from > at) {
            let missing = buf.get(at as usize..).unwrap_or_default();
            if is_zero(missing.get(..SECTOR as usize).unwrap_or(missing)) {
                return true;
            }
        }
        at = past;
    }
    false
}

impl Found {
    /// The number of the (first) batch in here, if anything tells.
    pub(super) fn batch(&self) -> Option<u64> {
        self.frame.map(|frame| frame.meta.batch).or_else(|| self.markers.first().map(|marker| marker.batch))
    }

    /// The number of the last batch in here, if anything tells.
    pub(super) fn last_batch(&self) -> Option<u64> {
        self.markers.last().map(|marker| marker.batch).max(self.frame.map(|frame| frame.meta.batch))
    }
}

/// Records of one batch that are gone: by name where marker or header tells, and how many others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub named: Vec<Run>,
    pub unnamed: u32,
}

/// Compares what is left of a broken stretch with what its markers list. `heads` are the stretch's good records.
pub(super) fn gone(found: &Found, heads: &[Head]) -> Gone {
    let mut gone = Gone::default();
    let (mut from, mut broken) = (heads, found.broken.as_slice());
    for marker in &found.markers {
        let (good, later) = from.split_at(from.partition_point(|head| head.at < marker.at));
        let mut here: Vec<u32> = good.iter().map(|head| head.index).collect();
        here.sort_unstable();
        let mut here = here.into_iter().peekable();
        for (index, (kind, stream, seq)) in marker.list().enumerate() {
            if here.next_if_eq(&(index as u32)).is_none() {
                gone.named.push(Run { kind, count: 1, stream, seq });
            }
        }
        from = later;
        broken = broken.get(broken.partition_point(|head| head.at < marker.at)..).unwrap_or_default();
    }
    // What follows the last marker names itself as far as it can.
    gone.named.extend(broken.iter().map(|head| Run { kind: head.kind, count: 1, stream: head.stream, seq: head.seq }));
    if let Some(frame) = found.frame.filter(|_| found.markers.is_empty()) {
        gone.unnamed = frame.count.saturating_sub((from.len() + broken.len()) as u32);
    }
    gone
}
