//! Ops and the store's own records as drafts, and how much room they need.
use super::batch;
use super::clean::Copy;
use super::codec::{PAGE, SECTOR};
use super::record::{Draft, Kind};
use super::segment::MOST;
use super::types::Op;

/// A record the store writes for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extra {
    /// How far a stream's sequences went, when nothing newer than a segment to be deleted tells.
    End { stream: u64, unless_after: u32 },
    /// Sequences that damage took.
    Lost { stream: u64, ranges: Vec<(u64, u64)> },
}

/// What goes into one batch, besides the commits.
#[derive(Default)]
pub(super) struct Company {
    pub copies: Vec<Copy>,
    pub extras: Vec<Extra>,
}

/// What an extra says in the end.
pub(super) struct ExtraBody {
    pub kind: Kind,
    pub stream: u64,
    pub seq: u64,
    pub body: Vec<u8>,
}

impl ExtraBody {
    pub(super) fn draft(&self, lsn: u64, flags: u16) -> Draft<'_> {
        Draft { flags, stream: self.stream, seq: self.seq, ..Draft::of(self.kind, lsn, &[], &self.body) }
    }
}

pub(super) fn too_long(op: &Op) -> bool {
    let name = match op {
        Op::Append { subject, .. } => subject,
        Op::Put { key, .. } | Op::Note { key, .. } | Op::Delete { key } => key,
        Op::Remove { .. } | Op::DropStream { .. } | Op::HighWater { .. } => return false,
    };
    name.len() > usize::from(u16::MAX) || op.weight() > MOST as usize / 2
}

pub(super) fn kind(op: &Op) -> Kind {
    match op {
        Op::Append { .. } => Kind::Append,
        Op::Remove { .. } => Kind::Remove,
        Op::Put { .. } => Kind::Put,
        Op::Note { .. } => Kind::Note,
        Op::Delete { .. } => Kind::Delete,
        Op::DropStream { .. } => Kind::DropStream,
        Op::HighWater { .. } => Kind::HighWater,
    }
}

pub(super) fn draft<'a>(op: &'a Op, lsn: u64, ranges: &'a [u8]) -> Draft<'a> {
    match op {
        Op::Append { stream, seq, ts, subject, headers, payload } => {
            let draft = Draft::of(Kind::Append, lsn, subject, payload);
            Draft { stream: *stream, seq: *seq, ts: *ts, headers, ..draft }
        }
        Op::Remove { stream, seqs } => {
            let seq = seqs.first().map_or(0, |(seq, _)| *seq);
            Draft { stream: *stream, seq, ..Draft::of(Kind::Remove, lsn, &[], ranges) }
        }
        Op::Put { key, value } => Draft::of(Kind::Put, lsn, key, value),
        Op::Note { key, bytes } => Draft::of(Kind::Note, lsn, key, bytes),
        Op::Delete { key } => Draft::of(Kind::Delete, lsn, key, &[]),
        Op::DropStream { stream } => Draft { stream: *stream, ..Draft::of(Kind::DropStream, lsn, &[], &[]) },
        Op::HighWater { stream, seq } => {
            Draft { stream: *stream, seq: *seq, ..Draft::of(Kind::HighWater, lsn, &[], &[]) }
        }
    }
}

/// The most room a batch and its second copies can take.
pub(super) fn size(ops: &[&Op], ranges: &[Vec<u8>], company: &Company) -> usize {
    let (mut bodies, mut twins, mut twin_bodies) = (ranges.iter().map(Vec::len).sum::<usize>(), 0, 0);
    for op in ops.iter().filter(|op| !matches!(op, Op::Remove { .. })) {
        let body = op.weight() - 128;
        bodies += body;
        if kind(op).has_twin() {
            twins += 1;
            twin_bodies += body;
        }
    }
    for copy in &company.copies {
        bodies += copy.body();
        if copy.kind().has_twin() {
            twins += 1;
            twin_bodies += copy.body();
        }
    }
    for extra in &company.extras {
        let body = if let Extra::Lost { ranges, .. } = extra { ranges.len() * 16 } else { 0 };
        bodies += body;
        twins += 1;
        twin_bodies += body;
    }
    let first = batch::room(ops.len() + company.copies.len() + company.extras.len(), bodies);
    let second = if twins == 0 { 0 } else { PAGE as usize + batch::room(twins, twin_bodies) };
    first.next_multiple_of(SECTOR as usize) + second.next_multiple_of(SECTOR as usize)
}
