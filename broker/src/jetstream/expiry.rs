//! Messages with a lifetime of their own: when each ends, kept across restarts in one key.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::clock::{SECOND, parse_duration};
use super::journal::{Reader, push, push_signed};

/// The lifetimes of one stream's messages.
#[derive(Debug, Default)]
pub struct Expiry {
    order: BTreeSet<(i64, u64)>,
    by_seq: HashMap<u64, i64>,
    note: Vec<u8>,
    noted: usize,
}

/// Reads a `Nats-TTL` value: whole seconds, at least one, or -1 for never.
pub fn parse_ttl(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("never") {
        return Some(-1);
    }
    if let Some(nanos) = parse_duration(text).filter(|_| text != "0") {
        return (nanos >= SECOND).then_some(nanos / SECOND);
    }
    text.parse().ok().filter(|seconds: &i64| *seconds > 0)
}

impl Expiry {
    /// A message ends at a time; part of the next note.
    pub fn insert(&mut self, seq: u64, at: i64) {
        push(&mut self.note, seq);
        push_signed(&mut self.note, at);
        self.remember(seq, at);
    }

    /// A message that should have ended is tried again; nothing of it is noted.
    pub fn again(&mut self, seq: u64, at: i64) {
        self.remember(seq, at);
    }

    fn remember(&mut self, seq: u64, at: i64) {
        if let Some(before) = self.by_seq.insert(seq, at) {
            self.order.remove(&(before, seq));
        }
        self.order.insert((at, seq));
    }

    /// A message is gone.
    pub fn remove(&mut self, seq: u64) {
        if let Some(at) = self.by_seq.remove(&seq) {
            self.order.remove(&(at, seq));
        }
    }

    /// Whether a message never ends by age.
    pub fn is_never(&self, seq: u64) -> bool {
        self.by_seq.get(&seq) == Some(&i64::MAX)
    }

    /// The next message to end, when it is time.
    pub fn due(&self, now: i64) -> Option<u64> {
        self.order.first().filter(|(at, _)| *at <= now).map(|(_, seq)| *seq)
    }

    /// When the next message ends.
    pub fn next_due(&self) -> Option<i64> {
        self.order.first().map(|(at, _)| *at).filter(|at| *at != i64::MAX)
    }

    /// What was added since the last call. `true`: it is everything and replaces what is stored.
    pub fn take_note(&mut self) -> Option<(bool, Vec<u8>)> {
        if self.note.is_empty() {
            return None;
        }
        let note = std::mem::take(&mut self.note);
        self.noted += note.len();
        if self.noted < 4096 || self.noted < self.by_seq.len() * 32 {
            return Some((false, note));
        }
        let all = self.snapshot();
        self.noted = all.len();
        Some((true, all))
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (at, seq) in &self.order {
            push(&mut all, *seq);
            push_signed(&mut all, *at);
        }
        all
    }

    /// Takes over what is stored; `exists` says which messages are still there.
    pub fn restore(value: &[u8], notes: &[Bytes], exists: impl Fn(u64) -> bool) -> Expiry {
        let mut expiry = Expiry::default();
        for bytes in std::iter::once(value).chain(notes.iter().map(|note| &note[..])) {
            expiry.noted += bytes.len();
            let mut reader = Reader(bytes);
            while let (Some(seq), Some(at)) = (reader.number(), reader.signed()) {
                if exists(seq) {
                    expiry.remember(seq, at);
                }
            }
        }
        expiry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_clients_write_them() {
        for (text, seconds) in
            [("5", Some(5)), ("5s", Some(5)), ("1m30s", Some(90)), ("never", Some(-1)), ("0", None), ("", None)]
        {
            assert_eq!(parse_ttl(text), seconds, "{text}");
        }
        assert_eq!((parse_ttl("100ms"), parse_ttl("-3"), parse_ttl("x")), (None, None, None));
    }

    #[test]
    fn ends_in_order_and_survives() {
        let mut expiry = Expiry::default();
        expiry.insert(1, 50);
        expiry.insert(2, 20);
        expiry.insert(3, 90);
        let (all, note) = expiry.take_note().unwrap();
        assert!(!all);
        assert_eq!((expiry.due(10), expiry.due(20), expiry.next_due()), (None, Some(2), Some(20)));
        expiry.remove(2);
        assert_eq!(expiry.next_due(), Some(50));
        let again = Expiry::restore(b"", &[note.into()], |seq| seq != 1);
        assert_eq!((again.by_seq.len(), again.next_due()), (2, Some(20)));
    }

    #[test]
    fn the_key_does_not_grow_for_ever() {
        let mut expiry = Expiry::default();
        let (mut stored, mut notes) = (Vec::new(), Vec::new());
        for seq in 0..5000u64 {
            expiry.insert(seq, seq as i64);
            expiry.remove(seq.saturating_sub(10));
            let (all, note) = expiry.take_note().unwrap();
            if all {
                (stored, notes) = (note, Vec::new());
            } else {
                notes.push(Bytes::from(note));
            }
        }
        let size = stored.len() + notes.iter().map(Bytes::len).sum::<usize>();
        assert!(size < 8192, "{size}");
        assert_eq!(Expiry::restore(&stored, &notes, |seq| seq >= 4990).by_seq.len(), 10);
    }
}
