//! Little-endian fields and salted checksums, without a way to panic on bytes from a disk.
use crc32c::crc32c_append;

/// Everything that is written starts at a multiple of this, so that no sector with acknowledged bytes is written twice.
pub(super) const SECTOR: u32 = 512;
/// Second copies start at another multiple of this: one lost page does not take both.
pub(super) const PAGE: u32 = 4096;

pub(super) fn align(value: u32, to: u32) -> u32 {
    value.checked_next_multiple_of(to).unwrap_or(u32::MAX)
}

/// A checksum's starting point: the same bytes in another store, another segment or at another offset do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn new(store: u64, segment: u32) -> Salt {
        Salt(crc32c_append(crc32c_append(0x6e61_7473, &store.to_le_bytes()), &segment.to_le_bytes()))
    }

    pub(super) fn at(self, offset: u32) -> u32 {
        crc32c_append(self.0, &offset.to_le_bytes())
    }
}

/// Reads a field; a caller with constant offsets inside the array never sees the fallback.
#[inline]
pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| u16::from_le_bytes(*field))
}

#[inline]
pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| u32::from_le_bytes(*field))
}

#[inline]
pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |field| u64::from_le_bytes(*field))
}

/// `len` bytes at `at`, if they are there.
#[inline]
pub(super) fn slice(bytes: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    bytes.get(at as usize..)?.get(..len as usize)
}

/// Appends fields to a buffer.
pub(super) trait Put {
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    /// Zeros up to a multiple of eight.
    fn pad8(&mut self);
}

impl Put for Vec<u8> {
    #[inline]
    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn pad8(&mut self) {
        self.resize(self.len().next_multiple_of(8), 0);
    }
}

/// Whether there is nothing but zeros.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    // Whole blocks at once: this runs over the unused end of a segment at every start.
    blocks.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_outside_are_zero_and_salts_differ() {
        assert_eq!(le32(&[1, 0, 0, 0], 0), 1);
        assert_eq!(le64(&[1; 7], 0), 0);
        assert_eq!(slice(&[1, 2, 3], 1, 2), Some(&[2u8, 3][..]));
        assert_eq!(slice(&[1, 2, 3], 2, 2), None);
        assert_ne!(Salt::new(1, 2).at(0), Salt::new(2, 1).at(0));
        assert_ne!(Salt::new(1, 2).at(0), Salt::new(1, 2).at(8));
        assert!(is_zero(&[0; 1000]) && is_zero(&[]));
        let mut bytes = [0; 1000];
        for at in [0, 63, 64, 960, 999] {
            bytes[at] = 1;
            assert!(!is_zero(&bytes));
            bytes[at] = 0;
        }
        assert_eq!(align(u32::MAX - 3, 512), u32::MAX);
    }
}
