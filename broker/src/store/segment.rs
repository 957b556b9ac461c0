//! Segment files and their first sector.
use super::codec::{Put, SECTOR, le32, le64};
use super::fs::{Fs, FsFile};
use crc32c::crc32c;
use std::io;
use std::path::{Path, PathBuf};

/// Where the first batch starts.
pub(super) const START: u32 = SECTOR;
/// No segment grows beyond this, so that offsets fit in 32 bits with room to spare.
pub(super) const MOST: u32 = 1 << 30;
const MAGIC: &[u8; 8] = b"nats.seg";
const VERSION: u32 = 1;
/// The prepared next segment. It gets its own name when it is taken into use.
pub(super) const AHEAD: &str = "ahead.tmp";
pub(super) const LOCK: &str = "lock";
pub(super) const SUPER: &str = "super";
pub(super) const QUARANTINE: &str = "quarantine";

/// The first sector of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub store: u64,
    pub segment: u32,
    pub floor: u32,
    /// The last batch of the segment before; it was synced before this one was made.
    pub base: u64,
    pub advance: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SECTOR as usize);
        out.extend_from_slice(MAGIC);
        out.u32(VERSION);
        out.u32(self.segment);
        out.u64(self.store);
        out.u64(self.base);
        out.u64(self.advance);
        out.u32(self.floor);
        let crc = crc32c(&out);
        out.u32(crc);
        out.resize(SECTOR as usize, 0);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..48)?;
        if !bytes.starts_with(MAGIC) || crc32c(bytes.get(..44)?) != le32(bytes, 44) || le32(bytes, 8) != VERSION {
            return None;
        }
        Some(Header {
            segment: le32(bytes, 12),
            store: le64(bytes, 16),
            base: le64(bytes, 24),
            advance: le64(bytes, 32),
            floor: le32(bytes, 40),
        })
    }
}

pub(super) fn name(segment: u32) -> String {
    format!("{segment:08x}.log")
}

pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 8)?;
    // Only the spelling we write: a copy somebody made by hand is not a second segment of the same number.
    u32::from_str_radix(digits, 16).ok().filter(|number| self::name(*number) == name)
}

/// Makes a file full of zeros and syncs it, so that later syncs carry no metadata. On an error nothing is left.
pub(super) fn prepare(fs: &dyn Fs, path: &Path, len: u32) -> io::Result<Box<dyn FsFile>> {
    let file = fs.create(path)?;
    let filled = fill(file.as_ref(), len).and_then(|()| file.sync_data());
    if let Err(error) = filled {
        // A half-filled file on a full disk would keep the little room there is.
        drop(file);
        let _ = fs.remove(path);
        return Err(error);
    }
    Ok(file)
}

fn fill(file: &dyn FsFile, len: u32) -> io::Result<()> {
    let zeros = vec![0; (len as usize).min(1 << 20)];
    let mut at = 0u64;
    while at < u64::from(len) {
        let step = zeros.len().min((u64::from(len) - at) as usize);
        file.write_at(zeros.get(..step).unwrap_or_default(), at)?;
        at += step as u64;
    }
    Ok(())
}

/// Young stores have small segments: the largest power of two within a quarter of what is there already.
pub(super) fn next_len(disk_bytes: u64, most: u64) -> u32 {
    let most = most.clamp(4096, u64::from(MOST));
    let least = most.min(1 << 20);
    let quarter = (disk_bytes / 4).max(1);
    (1u64 << quarter.ilog2()).clamp(least, most) as u32
}

/// How many copies of damaged files are kept; the first ones tell most.
const COPIES: usize = 64;

/// Copies bytes away as evidence, once: the name tells the content.
pub(super) fn quarantine(fs: &dyn Fs, dir: &Path, what: &str, bytes: &[u8]) -> io::Result<Option<PathBuf>> {
    let folder = dir.join(QUARANTINE);
    fs.create_dir(&folder)?;
    let path = folder.join(format!("{what}-{:08x}", crc32c(bytes)));
    if fs.list(&folder)?.len() >= COPIES {
        return Ok(None);
    }
    let file = match fs.create(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Some(path)),
        Err(error) => return Err(error),
    };
    if let Err(error) = file.write_at(bytes, 0).and_then(|()| file.sync_data()) {
        let _ = fs.remove(&path);
        return Err(error);
    }
    fs.folder(&folder)?.sync()?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_names_and_sizes() {
        let header = Header { store: 1, segment: 2, floor: 1, base: 77, advance: 9 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..48 * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), None);
        }
        assert_eq!(
            (name(255).as_str(), number("000000ff.log"), number("000000FF.log")),
            ("000000ff.log", Some(255), None)
        );
        assert_eq!(number("../000000ff.log"), None);
        let mib = 1 << 20;
        assert_eq!([0, 5 * mib, 40 * mib, 1 << 40].map(|at| next_len(at, 16 * mib) >> 20), [1, 1, 8, 16]);
        assert_eq!(next_len(0, 16384), 16384);
    }
}
