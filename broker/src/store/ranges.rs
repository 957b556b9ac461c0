//! A set of sequences as inclusive ranges.

/// Sorted, apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<(u64, u64)> {
        self.0
    }

    pub(super) fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(super) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        // Everything that touches the new range becomes one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let (mut low, mut high) = (first, last);
        for (start, end) in self.0.get(from..to).unwrap_or_default() {
            low = low.min(*start);
            high = high.max(*end);
        }
        self.0.splice(from..to.max(from), [(low, high)]);
    }

    pub(super) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|(_, end)| *end < first);
        let to = self.0.partition_point(|(start, _)| *start <= last);
        let mut left = Vec::new();
        for (start, end) in self.0.get(from..to).unwrap_or_default() {
            if *start < first {
                left.push((*start, first - 1));
            }
            if *end > last {
                left.push((last + 1, *end));
            }
        }
        if from < to {
            self.0.splice(from..to, left);
        }
    }
}

/// Single sequences (in any order) as ranges.
pub(super) fn compress(mut seqs: Vec<u64>) -> Vec<(u64, u64)> {
    seqs.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match out.last_mut() {
            Some((_, last)) if seq <= last.saturating_add(1) => *last = seq.max(*last),
            _ => out.push((seq, seq)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_like_a_set() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = random(60);
                let last = first + random(6);
                if random(2) == 0 {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    set.retain(|seq| *seq < first || *seq > last);
                }
                assert_eq!(ranges.clone().into_vec(), compress(set.iter().copied().collect()));
            }
        }
        let mut all = Ranges::default();
        all.insert(0, u64::MAX);
        all.remove(5, u64::MAX);
        all.insert(u64::MAX, u64::MAX);
        assert_eq!(all.as_slice(), [(0, 4), (u64::MAX, u64::MAX)]);
        assert_eq!(compress(vec![3, 1, 2, 9]), [(1, 3), (9, 9)]);
    }
}
