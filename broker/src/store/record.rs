//! One record: a fixed header with a checksum of its own, then the body under a checksum over everything.
//!
//! ```text
//!  0 u16 magic   2 u8 version   3 u8 kind   4 u32 total length   8 u32 place in the batch   12 u32 length of the headers
//! 16 u16 length of the subject or key      18 u16 flags         20 u32 header checksum of the record before
//! 24 u64 stream 32 u64 sequence           40 i64 timestamp     48 u64 log sequence number
//! 56 u32 checksum of header[..56] and body                      60 u32 checksum of header[..60]
//! ```
//! Both checksums start from the store, the segment and the offset. No length is used before the header's own is right.
use super::codec::{Put, Salt, le16, le32, le64, slice};
use super::types::Location;
use crc32c::crc32c_append;

pub(super) const HEAD: u32 = 64;
const MAGIC: u16 = 0xC3A7;
const VERSION: u8 = 1;

/// Copied by cleaning: an older message than its neighbours, in order by its log sequence number.
pub(super) const MOVED: u16 = 1;
/// A second copy of a record in the batch before.
pub(super) const TWIN: u16 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Kind {
    Append = 1,
    Remove = 2,
    Put = 3,
    Note = 4,
    Delete = 5,
    DropStream = 6,
    HighWater = 7,
    /// Sequences that damage took: kept so that they stay known after the damaged segment is gone.
    Lost = 8,
}

impl Kind {
    pub(super) fn from_u8(value: u8) -> Option<Kind> {
        Some(match value {
            1 => Kind::Append,
            2 => Kind::Remove,
            3 => Kind::Put,
            4 => Kind::Note,
            5 => Kind::Delete,
            6 => Kind::DropStream,
            7 => Kind::HighWater,
            8 => Kind::Lost,
            _ => return None,
        })
    }

    /// Rare records whose loss would cost more than themselves are written twice.
    pub(super) fn has_twin(self) -> bool {
        matches!(self, Kind::Put | Kind::Delete | Kind::DropStream | Kind::HighWater | Kind::Lost)
    }
}

/// A record to be written.
pub(super) struct Draft<'a> {
    pub kind: Kind,
    pub flags: u16,
    pub stream: u64,
    pub seq: u64,
    pub ts: i64,
    pub lsn: u64,
    pub name: &'a [u8],
    pub headers: &'a [u8],
    pub rest: &'a [u8],
}

impl Draft<'_> {
    /// A record with a name (or nothing) and a body.
    pub(super) fn of<'a>(kind: Kind, lsn: u64, name: &'a [u8], rest: &'a [u8]) -> Draft<'a> {
        Draft { kind, flags: 0, stream: 0, seq: 0, ts: 0, lsn, name, headers: &[], rest }
    }
}

/// A record's header, as read: its checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub at: u32,
    pub kind: Kind,
    pub flags: u16,
    pub total: u32,
    pub index: u32,
    pub headers_len: u32,
    pub name_len: u16,
    pub prev: u32,
    pub stream: u64,
    pub seq: u64,
    pub ts: i64,
    pub lsn: u64,
    pub body_crc: u32,
    pub crc: u32,
}

/// A record's body, cut where its (checked) header says.
pub(super) struct Body<'a> {
    pub name: &'a [u8],
    pub headers: &'a [u8],
    pub rest: &'a [u8],
}

/// Appends the record, which will lie at `offset` of the segment. Returns its length without padding and its header's checksum.
pub(super) fn encode(
    out: &mut Vec<u8>,
    salt: Salt,
    offset: u32,
    index: u32,
    prev: u32,
    draft: &Draft<'_>,
) -> (u32, u32) {
    let start = out.len();
    let total = HEAD + (draft.name.len() + draft.headers.len() + draft.rest.len()) as u32;
    out.u16(MAGIC);
    out.extend_from_slice(&[VERSION, draft.kind as u8]);
    out.u32(total);
    out.u32(index);
    out.u32(draft.headers.len() as u32);
    out.u16(draft.name.len() as u16);
    out.u16(draft.flags);
    out.u32(prev);
    out.u64(draft.stream);
    out.u64(draft.seq);
    out.u64(draft.ts as u64);
    out.u64(draft.lsn);
    let salted = salt.at(offset);
    let mut body = crc32c_append(salted, out.get(start..).unwrap_or_default());
    for part in [draft.name, draft.headers, draft.rest] {
        body = crc32c_append(body, part);
    }
    out.u32(body);
    let crc = crc32c_append(salted, out.get(start..).unwrap_or_default());
    out.u32(crc);
    out.extend_from_slice(draft.name);
    out.extend_from_slice(draft.headers);
    out.extend_from_slice(draft.rest);
    out.pad8();
    (total, crc)
}

/// The header at `at` in a buffer whose first byte is byte `base` of the segment.
#[inline]
pub(super) fn head(buf: &[u8], base: u32, at: u32, salt: Salt) -> Option<Head> {
    let head = slice(buf, at, HEAD)?;
    if le16(head, 0) != MAGIC {
        return None;
    }
    let crc = le32(head, 60);
    let offset = base.checked_add(at)?;
    if crc32c_append(salt.at(offset), head.get(..60)?) != crc || head.get(2) != Some(&VERSION) {
        return None;
    }
    let parsed = Head {
        at: offset,
        kind: Kind::from_u8(*head.get(3)?)?,
        total: le32(head, 4),
        index: le32(head, 8),
        headers_len: le32(head, 12),
        name_len: le16(head, 16),
        flags: le16(head, 18),
        prev: le32(head, 20),
        stream: le64(head, 24),
        seq: le64(head, 32),
        ts: le64(head, 40) as i64,
        lsn: le64(head, 48),
        body_crc: le32(head, 56),
        crc,
    };
    let needed = u64::from(HEAD) + u64::from(parsed.name_len) + u64::from(parsed.headers_len);
    (u64::from(parsed.total) >= needed).then_some(parsed)
}

/// The record's body, if all of it is there and right.
#[inline]
pub(super) fn body<'a>(buf: &'a [u8], base: u32, head: &Head, salt: Salt) -> Option<Body<'a>> {
    let record = slice(buf, head.at.checked_sub(base)?, head.total)?;
    let (front, body) = record.split_at_checked(HEAD as usize)?;
    let checked = crc32c_append(salt.at(head.at), front.get(..56)?);
    if crc32c_append(checked, body) != head.body_crc {
        return None;
    }
    cut(body, head)
}

/// Cuts a body that was checked before.
pub(super) fn cut<'a>(body: &'a [u8], head: &Head) -> Option<Body<'a>> {
    let (name, rest) = body.split_at_checked(usize::from(head.name_len))?;
    let (headers, rest) = rest.split_at_checked(head.headers_len as usize)?;
    Some(Body { name, headers, rest })
}

impl Head {
    pub(super) fn location(&self, segment: u32) -> Location {
        Location { segment, offset: self.at, len: self.total }
    }

    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Where the next record of the batch starts.
    pub(super) fn end(&self) -> u32 {
        super::codec::align(self.at.saturating_add(self.total), 8)
    }
}

/// Inclusive ranges as a body.
pub(super) fn encode_ranges(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ranges.len() * 16);
    for (first, last) in ranges {
        out.u64(*first);
        out.u64(*last);
    }
    out
}

pub(super) fn decode_ranges(body: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    body.chunks_exact(16).map(|pair| (le64(pair, 0), le64(pair, 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_every_flipped_bit_is_seen() {
        let salt = Salt::new(7, 3);
        let mut out = Vec::new();
        let draft = Draft {
            kind: Kind::Append,
            flags: MOVED,
            stream: 9,
            seq: 42,
            ts: -5,
            lsn: 77,
            name: b"orders.new",
            headers: b"NATS/1.0\r\n\r\n",
            rest: b"hello",
        };
        let (total, crc) = encode(&mut out, salt, 512, 4, 99, &draft);
        assert_eq!(out.len(), (64 + 10 + 12 + 5usize).next_multiple_of(8));
        let found = head(&out, 512, 0, salt).unwrap();
        assert_eq!((found.total, found.crc, found.at, found.index, found.prev), (total, crc, 512, 4, 99));
        assert_eq!((found.stream, found.seq, found.ts, found.lsn, found.flags), (9, 42, -5, 77, MOVED));
        let read = body(&out, 512, &found, salt).unwrap();
        assert_eq!((read.name, read.headers, read.rest), (&b"orders.new"[..], &b"NATS/1.0\r\n\r\n"[..], &b"hello"[..]));
        // The same bytes elsewhere do not pass.
        assert!(head(&out, 1024, 0, salt).is_none());
        assert!(head(&out, 512, 0, Salt::new(7, 4)).is_none());
        for bit in 0..total as usize * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let seen = head(&bad, 512, 0, salt).and_then(|head| body(&bad, 512, &head, salt).map(|_| ()));
            assert!(seen.is_none(), "bit {bit} went unnoticed");
        }
        for len in 0..out.len() - 8 {
            let seen = head(&out[..len], 512, 0, salt).and_then(|head| body(&out[..len], 512, &head, salt).map(|_| ()));
            assert!(seen.is_none());
        }
    }

    #[test]
    fn ranges_come_back() {
        let ranges = [(1, 5), (9, 9), (u64::MAX, u64::MAX)];
        assert!(decode_ranges(&encode_ranges(&ranges)).eq(ranges));
    }
}
