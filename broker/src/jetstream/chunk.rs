//! Up to 256 neighbouring sequences of the index: a bitmap of what is there and the entries without holes.

/// Sequences per chunk.
pub const SPAN: u64 = 256;

/// What the index knows of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta<L> {
    /// Where the store keeps it.
    pub at: L,
    /// Nanoseconds since 1970.
    pub ts: i64,
    /// The subject's number in the index.
    pub subject: u32,
    /// The bytes it counts for.
    pub bytes: u32,
}

/// Entries are kept in order of their offsets. Removal only clears a bit of `live`; when half of the entries are dead the
/// chunk is packed, so that taking messages from the front (the usual order) does not move the rest each time.
#[derive(Debug, Clone)]
pub struct Chunk<L> {
    stored: [u64; 4],
    live: [u64; 4],
    entries: Vec<Meta<L>>,
    alive: u16,
}

fn bit(offset: u8) -> (usize, u64) {
    (usize::from(offset >> 6), 1 << (offset & 63))
}

fn at(words: &[u64; 4], word: usize) -> u64 {
    words.get(word).copied().unwrap_or_default()
}

impl<L: Copy> Default for Chunk<L> {
    fn default() -> Self {
        Chunk { stored: [0; 4], live: [0; 4], entries: Vec::new(), alive: 0 }
    }
}

impl<L: Copy> Chunk<L> {
    /// How many entries are there.
    pub fn len(&self) -> usize {
        usize::from(self.alive)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.alive == 0
    }

    fn contains(&self, offset: u8) -> bool {
        let (word, mask) = bit(offset);
        at(&self.live, word) & mask != 0
    }

    fn place(&self, offset: u8) -> usize {
        let (word, mask) = bit(offset);
        let before: u32 = (0..word).map(|w| at(&self.stored, w).count_ones()).sum();
        (before + (at(&self.stored, word) & (mask - 1)).count_ones()) as usize
    }

    /// The entry of an offset.
    pub fn get(&self, offset: u8) -> Option<&Meta<L>> {
        if !self.contains(offset) {
            return None;
        }
        self.entries.get(self.place(offset))
    }

    /// Adds an entry; offsets need not come in order, one that is there is replaced.
    pub fn insert(&mut self, offset: u8, meta: Meta<L>) {
        let place = self.place(offset);
        let (word, mask) = bit(offset);
        if at(&self.stored, word) & mask != 0 {
            if let Some(slot) = self.entries.get_mut(place) {
                *slot = meta;
            }
        } else {
            self.entries.insert(place.min(self.entries.len()), meta);
        }
        if !self.contains(offset) {
            self.alive += 1;
        }
        if let (Some(stored), Some(live)) = (self.stored.get_mut(word), self.live.get_mut(word)) {
            *stored |= mask;
            *live |= mask;
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, offset: u8) -> Option<Meta<L>> {
        let meta = *self.get(offset)?;
        let (word, mask) = bit(offset);
        if let Some(live) = self.live.get_mut(word) {
            *live &= !mask;
        }
        self.alive -= 1;
        if self.entries.len() > 16 && usize::from(self.alive) * 2 < self.entries.len() {
            self.pack();
        }
        Some(meta)
    }

    fn pack(&mut self) {
        let mut kept = Vec::with_capacity(usize::from(self.alive));
        let mut from = 0;
        for offset in 0..=u8::MAX {
            let (word, mask) = bit(offset);
            if at(&self.stored, word) & mask != 0 {
                if at(&self.live, word) & mask != 0 {
                    kept.extend(self.entries.get(from).copied());
                }
                from += 1;
            }
        }
        self.entries = kept;
        self.stored = self.live;
    }

    /// The first entry at or after an offset.
    pub fn next(&self, offset: u8) -> Option<(u8, &Meta<L>)> {
        let (word, mask) = bit(offset);
        let mut bits = at(&self.live, word) & !(mask - 1);
        for w in word..4 {
            if w > word {
                bits = at(&self.live, w);
            }
            if bits != 0 {
                let found = (w as u32 * 64 + bits.trailing_zeros()) as u8;
                return self.get(found).map(|meta| (found, meta));
            }
        }
        None
    }

    /// The last entry at or before an offset.
    pub fn previous(&self, offset: u8) -> Option<(u8, &Meta<L>)> {
        let (word, mask) = bit(offset);
        let mut bits = at(&self.live, word) & (mask | (mask - 1));
        for w in (0..=word).rev() {
            if w < word {
                bits = at(&self.live, w);
            }
            if bits != 0 {
                let found = (w as u32 * 64 + 63 - bits.leading_zeros()) as u8;
                return self.get(found).map(|meta| (found, meta));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn meta(value: u64) -> Meta<u64> {
        Meta { at: value, ts: 0, subject: 0, bytes: 1 }
    }

    proptest::proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0u8..=255, 0u8..3), 0..800)) {
            let mut chunk = Chunk::default();
            let mut model = BTreeMap::new();
            for (step, (offset, verb)) in steps.into_iter().enumerate() {
                if verb < 2 {
                    chunk.insert(offset, meta(step as u64));
                    model.insert(offset, step as u64);
                } else {
                    proptest::prop_assert_eq!(chunk.remove(offset).map(|m| m.at), model.remove(&offset));
                }
                proptest::prop_assert_eq!(chunk.len(), model.len());
                proptest::prop_assert_eq!(chunk.get(offset).map(|m| m.at), model.get(&offset).copied());
                let next = model.range(offset..).next().map(|(o, v)| (*o, *v));
                proptest::prop_assert_eq!(chunk.next(offset).map(|(o, m)| (o, m.at)), next);
                let previous = model.range(..=offset).next_back().map(|(o, v)| (*o, *v));
                proptest::prop_assert_eq!(chunk.previous(offset).map(|(o, m)| (o, m.at)), previous);
            }
        }
    }
}
