//! A fast hash for subjects: folded multiplication with a seed of this process, since subjects are chosen by peers.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Builds hashers that share the process's random seed.
#[derive(Clone, Copy)]
pub(crate) struct SubjectHash {
    seed: u64,
    fold: u64,
}

impl Default for SubjectHash {
    fn default() -> Self {
        static SEEDS: OnceLock<(u64, u64)> = OnceLock::new();
        let (seed, fold) = *SEEDS.get_or_init(|| {
            let random = RandomState::new();
            (random.hash_one(1u8), random.hash_one(2u8) | 1)
        });
        SubjectHash { seed, fold }
    }
}

impl BuildHasher for SubjectHash {
    type Hasher = SubjectHasher;
    fn build_hasher(&self) -> SubjectHasher {
        SubjectHasher { state: self.seed, fold: self.fold }
    }
}

pub(crate) struct SubjectHasher {
    state: u64,
    fold: u64,
}

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The first and the last eight bytes, which overlap in texts that are shorter than sixteen.
fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
    }
    (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0)
}

impl Hasher for SubjectHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Spread out: a length must not undo what a changed letter does.
        let mut state = self.state ^ (bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut rest = bytes;
        while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
            if after.is_empty() {
                break;
            }
            let (low, high) = ends(chunk);
            state = folded(low ^ state, high ^ self.fold);
            rest = after;
        }
        let (low, high) = ends(rest);
        self.state = folded(low ^ state, high ^ self.fold);
    }

    fn write_u8(&mut self, byte: u8) {
        self.state = folded(self.state ^ u64::from(byte), self.fold);
    }

    fn finish(&self) -> u64 {
        folded(self.state, self.fold)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_of_all_lengths_differ() {
        let hash = SubjectHash::default();
        let mut seen = HashSet::new();
        let mut count = 0;
        for length in 0..70 {
            for change in 0..=length {
                let mut text = vec![b'a'; length];
                if let Some(byte) = text.get_mut(change) {
                    *byte = b'b';
                }
                seen.insert(hash.hash_one(String::from_utf8(text).unwrap().as_str()));
                count += 1;
            }
        }
        assert_eq!(seen.len(), count);
    }
}
