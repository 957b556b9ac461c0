//! What was handed out and is not handled yet, so that the room it takes is known in bytes as well.

use std::collections::VecDeque;

/// Sizes of messages in the order in which they were handed out.
#[derive(Debug, Default)]
pub(crate) struct Handed(VecDeque<u32>);

impl Handed {
    pub fn add(&mut self, bytes: usize) {
        self.0.push_back(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// How many are not handled.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// So many of the oldest are handled: how many that were, and their bytes.
    pub fn done(&mut self, count: usize) -> (u64, u64) {
        let count = count.min(self.0.len());
        let bytes = self.0.drain(..count).map(u64::from).sum();
        (count as u64, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_handled_than_was_handed_out() {
        let mut handed = Handed::default();
        [10, 20, 30].into_iter().for_each(|n| handed.add(n));
        assert_eq!(handed.done(2), (2, 30));
        assert_eq!(handed.done(9), (1, 30));
        assert_eq!(handed.done(1), (0, 0));
    }
}
