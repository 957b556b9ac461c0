//! The few numbers that must outlive damage at the end of the log: four checksummed slots, each on its own page.
//!
//! Two slots are written in turn and synced (open, new segment, deletion, close). The other two are written in turn after
//! every group without a sync of their own: after the death of the process they tell exactly how far acknowledgements
//! went, so that a log that was cut short is noticed and no sequence is used twice.
use super::codec::{PAGE, Put, le32, le64};
use super::fs::FsFile;
use crc32c::crc32c;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"nats.sup";
const LEN: usize = 64;
const SLOTS: u64 = 4;

/// Only ever grows, field by field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The last batch that was acknowledged.
    pub batch: u64,
    /// The last batch known to be synced.
    pub synced: u64,
    pub lsn: u64,
    pub advance: u64,
    /// The oldest segment that is needed.
    pub floor: u32,
    /// The newest segment.
    pub segment: u32,
}

fn encode(store: u64, marks: &Marks) -> Vec<u8> {
    let mut out = Vec::with_capacity(LEN);
    out.extend_from_slice(MAGIC);
    out.u64(store);
    out.u64(marks.batch);
    out.u64(marks.synced);
    out.u64(marks.lsn);
    out.u64(marks.advance);
    out.u32(marks.floor);
    out.u32(marks.segment);
    out.u32(1);
    let crc = crc32c(&out);
    out.u32(crc);
    out
}

fn decode(bytes: &[u8]) -> Option<(u64, Marks)> {
    let bytes = bytes.get(..LEN)?;
    if !bytes.starts_with(MAGIC) || crc32c(bytes.get(..LEN - 4)?) != le32(bytes, LEN - 4) || le32(bytes, 56) != 1 {
        return None;
    }
    let marks = Marks {
        batch: le64(bytes, 16),
        synced: le64(bytes, 24),
        lsn: le64(bytes, 32),
        advance: le64(bytes, 40),
        floor: le32(bytes, 48),
        segment: le32(bytes, 52),
    };
    Some((le64(bytes, 8), marks))
}

/// What the slots say: every good one with its store, newest marks merged by the caller.
pub(super) fn read(file: &dyn FsFile) -> io::Result<Vec<Option<(u64, Marks)>>> {
    (0..SLOTS)
        .map(|slot| {
            let mut bytes = [0; LEN];
            let read = file.read_at(&mut bytes, slot * u64::from(PAGE))?;
            Ok(bytes.get(..read).and_then(decode))
        })
        .collect()
}

impl Marks {
    pub(super) fn merge(&mut self, other: &Marks) {
        self.batch = self.batch.max(other.batch);
        self.synced = self.synced.max(other.synced);
        self.lsn = self.lsn.max(other.lsn);
        self.advance = self.advance.max(other.advance);
        self.floor = self.floor.max(other.floor);
        self.segment = self.segment.max(other.segment);
    }
}

/// The file, for writing.
pub(super) struct Superblock {
    file: Arc<dyn FsFile>,
    store: u64,
    firm: AtomicU64,
    loose: AtomicU64,
}

impl Superblock {
    /// `slots` are what was read: the first write spares the best firm slot there is.
    pub(super) fn new(file: Arc<dyn FsFile>, store: u64, slots: &[Option<(u64, Marks)>]) -> Superblock {
        let best = |slot: usize| {
            slots.get(slot).copied().flatten().filter(|(of, _)| *of == store).map(|(_, marks)| marks.batch)
        };
        let firm = u64::from(best(0) > best(1));
        Superblock { file, store, firm: AtomicU64::new(firm), loose: AtomicU64::new(0) }
    }

    /// Writes and syncs.
    pub(super) fn keep(&self, marks: &Marks) -> io::Result<()> {
        let slot = self.firm.fetch_add(1, Ordering::Relaxed) % 2;
        self.file.write_at(&encode(self.store, marks), slot * u64::from(PAGE))?;
        self.file.sync_data()
    }

    /// Writes only. An error is not worth failing a commit that is already safe.
    pub(super) fn hint(&self, marks: &Marks) {
        let slot = 2 + self.loose.fetch_add(1, Ordering::Relaxed) % 2;
        let _ = self.file.write_at(&encode(self.store, marks), slot * u64::from(PAGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let marks = Marks { batch: 1, synced: 2, lsn: 3, advance: 4, floor: 5, segment: 6 };
        let bytes = encode(9, &marks);
        assert_eq!(decode(&bytes), Some((9, marks)));
        for bit in 0..LEN * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None);
        }
    }
}
