//! The ids in flight of one queue, found by their number without hashing.

use crate::failure::Failure;
use crate::hub::SEQUENCE_MASK;
use crate::outcome::Done;
use crate::queue::Cancel;

/// One id in flight.
pub(crate) struct Op {
    pub(crate) sequence: u64,
    /// The failure is boxed: the table should be small.
    pub(crate) result: Option<Result<Done, Box<Failure>>>,
    pub(crate) cancel: Option<Cancel>,
}

/// The ids in flight: a table whose place is the sequence itself. A place that is still taken is skipped, so a number is
/// given out again only after 2^36 others.
pub(crate) struct Ring {
    slots: Vec<Option<Op>>,
    len: usize,
    next: u64,
}

const SMALLEST_RING: usize = 64;

impl Ring {
    pub(crate) fn starting_at(next: u64) -> Ring {
        Ring { slots: Vec::new(), len: 0, next }
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sequence that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Everything that was in flight.
    pub(crate) fn into_ops(self) -> impl Iterator<Item = Op> {
        self.slots.into_iter().flatten()
    }

    fn place(&self, sequence: u64) -> usize {
        (sequence as usize) & (self.slots.len().wrapping_sub(1))
    }

    pub(crate) fn insert(&mut self) -> u64 {
        if self.len * 2 >= self.slots.len() {
            self.resize((self.slots.len() * 2).max(SMALLEST_RING));
        }
        loop {
            let sequence = self.next & SEQUENCE_MASK;
            self.next = self.next.wrapping_add(1) & SEQUENCE_MASK;
            let place = self.place(sequence);
            if sequence == 0 {
                continue;
            }
            if let Some(slot) = self.slots.get_mut(place)
                && slot.is_none()
            {
                *slot = Some(Op { sequence, result: None, cancel: None });
                self.len += 1;
                return sequence;
            }
        }
    }

    pub(crate) fn get(&mut self, sequence: u64) -> Option<&mut Op> {
        let place = self.place(sequence);
        self.slots.get_mut(place)?.as_mut().filter(|op| op.sequence == sequence)
    }

    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Op> {
        let place = self.place(sequence);
        let slot = self.slots.get_mut(place)?;
        let op = slot.take_if(|op| op.sequence == sequence)?;
        self.len -= 1;
        if self.len == 0 && self.slots.len() > 1 << 14 {
            self.slots = Vec::new();
        }
        Some(op)
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(size, || None);
        for op in old.into_iter().flatten() {
            let place = self.place(op.sequence);
            if let Some(slot) = self.slots.get_mut(place) {
                *slot = Some(op);
            }
        }
    }
}
