//! The duplicate window: message ids of the last while, kept across restarts in keys that are dropped whole when they are old.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::clock::SECOND;
use super::journal::{Reader, push, push_signed};

/// The ids of one stream.
#[derive(Debug, Default)]
pub struct Dedupe {
    window: i64,
    by_id: HashMap<Bytes, u64>,
    order: VecDeque<(i64, u64, Bytes)>,
    /// Start and last time of each key that is stored.
    buckets: VecDeque<(i64, i64)>,
    note: Vec<u8>,
    note_start: i64,
}

impl Dedupe {
    /// An empty window.
    pub fn new(window: i64) -> Dedupe {
        Dedupe { window, ..Dedupe::default() }
    }

    /// Changes the length of the window.
    pub fn set_window(&mut self, window: i64) {
        self.window = window;
    }

    /// The sequence an id was stored with.
    pub fn find(&self, id: &[u8]) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// Remembers an id; it is part of the next note.
    pub fn insert(&mut self, ts: i64, seq: u64, id: Bytes) {
        if self.window <= 0 {
            return;
        }
        if self.note.is_empty() {
            self.note_start = ts;
        }
        push_signed(&mut self.note, ts);
        push(&mut self.note, seq);
        push(&mut self.note, id.len() as u64);
        self.note.extend_from_slice(&id);
        self.remember(ts, seq, id);
    }

    fn remember(&mut self, ts: i64, seq: u64, id: Bytes) {
        self.by_id.insert(id.clone(), seq);
        self.order.push_back((ts, seq, id));
    }

    /// Forgets ids from a sequence on: their messages were not stored.
    pub fn forget_from(&mut self, seq: u64) {
        while self.order.back().is_some_and(|(_, last, _)| *last >= seq) {
            if let Some((_, seq, id)) = self.order.pop_back()
                && self.by_id.get(&id) == Some(&seq)
            {
                self.by_id.remove(&id);
            }
        }
        self.note.clear();
    }

    /// The ids since the last call and the start of the key they belong to.
    pub fn take_note(&mut self) -> Option<(i64, Vec<u8>)> {
        if self.note.is_empty() {
            return None;
        }
        let length = (self.window / 8).max(SECOND);
        let last = self.order.back().map_or(self.note_start, |(ts, _, _)| *ts);
        let start = match self.buckets.back_mut() {
            Some((start, end)) if self.note_start < *start + length => {
                *end = last.max(*end);
                *start
            }
            _ => {
                self.buckets.push_back((self.note_start, last));
                self.note_start
            }
        };
        Some((start, std::mem::take(&mut self.note)))
    }

    /// Drops what is older than the window; says which keys are no longer needed.
    pub fn expire(&mut self, now: i64) -> Vec<i64> {
        while let Some((ts, _, _)) = self.order.front()
            && ts.saturating_add(self.window) <= now
        {
            if let Some((_, seq, id)) = self.order.pop_front()
                && self.by_id.get(&id) == Some(&seq)
            {
                self.by_id.remove(&id);
            }
        }
        let mut old = Vec::new();
        while let Some((start, end)) = self.buckets.front()
            && end.saturating_add(self.window) <= now
        {
            old.push(*start);
            self.buckets.pop_front();
        }
        old
    }

    /// When [`Dedupe::expire`] has something to do.
    pub fn next_due(&self) -> Option<i64> {
        self.order.front().map(|(ts, _, _)| ts.saturating_add(self.window))
    }

    /// The starts of all stored keys.
    pub fn keys(&self) -> Vec<i64> {
        self.buckets.iter().map(|(start, _)| *start).collect()
    }

    /// Takes over one stored key; keys come in order of their starts.
    pub fn restore(&mut self, start: i64, notes: &[Bytes]) {
        let mut end = start;
        for note in notes {
            let mut reader = Reader(note);
            while let (Some(ts), Some(seq)) = (reader.signed(), reader.number()) {
                let Some(id) = reader.bytes() else { break };
                let id = Bytes::copy_from_slice(id);
                end = end.max(ts);
                self.remember(ts, seq, id);
            }
        }
        self.buckets.push_back((start, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn remembers_for_the_window_and_across_restarts() {
        let window = 80 * SECOND;
        let mut dedupe = Dedupe::new(window);
        let mut stored: Vec<(i64, Vec<Bytes>)> = Vec::new();
        for i in 0..40i64 {
            dedupe.insert(i * SECOND, i as u64 + 1, id(&format!("id-{i}")));
            let (start, note) = dedupe.take_note().unwrap();
            match stored.iter_mut().find(|(key, _)| *key == start) {
                Some((_, notes)) => notes.push(note.into()),
                None => stored.push((start, vec![note.into()])),
            }
        }
        assert!((4..=5).contains(&stored.len()), "{}", stored.len());
        let mut again = Dedupe::new(window);
        for (start, notes) in &stored {
            again.restore(*start, notes);
        }
        for dedupe in [&mut dedupe, &mut again] {
            assert_eq!((dedupe.find(b"id-0"), dedupe.find(b"id-39"), dedupe.find(b"x")), (Some(1), Some(40), None));
            let old = dedupe.expire(95 * SECOND);
            assert_eq!(old, [0]);
            assert_eq!((dedupe.find(b"id-15"), dedupe.find(b"id-16")), (None, Some(17)));
            assert_eq!((dedupe.order.len(), dedupe.next_due()), (24, Some(96 * SECOND)));
        }
    }

    #[test]
    fn failed_messages_leave_no_id() {
        let mut dedupe = Dedupe::new(SECOND * 10);
        dedupe.insert(1, 1, id("a"));
        dedupe.take_note();
        dedupe.insert(2, 2, id("b"));
        dedupe.forget_from(2);
        assert_eq!((dedupe.find(b"a"), dedupe.find(b"b")), (Some(1), None));
        assert!(dedupe.take_note().is_none());
    }
}
