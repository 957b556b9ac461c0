//! Hashing of our own small numbers: subscription and request ids, which no peer chooses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map keyed by our own ids.
pub(crate) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// One multiplication; enough for numbers that we count up ourselves.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// A 64-bit digest of a subject, to find requests by subject without keeping it (FNV-1a over 8-byte words).
pub(crate) fn digest(subject: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ subject.len() as u64;
    for word in subject.as_bytes().chunks(8) {
        let mut bytes = [0u8; 8];
        bytes.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
        hash = (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    hash
}
