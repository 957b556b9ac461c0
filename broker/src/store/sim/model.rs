//! What a store should hold: a plain list of commits and the state each prefix of it makes.
use crate::store::types::{Location, Op, Recovered, StoreError, Stored as Read};
use std::collections::BTreeMap;

/// A message of the model.
pub type Stored = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// A key's value and notes.
pub type Held = (Vec<u8>, Vec<Vec<u8>>);

/// Everything a store holds, without places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Values and notes by key.
    pub keys: BTreeMap<Vec<u8>, Held>,
    /// Last sequence and messages by stream.
    pub streams: BTreeMap<u64, (u64, BTreeMap<u64, Stored>)>,
}

impl State {
    /// Applies an op.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Append { stream, seq, ts, subject, headers, payload } => {
                let (last, messages) = self.streams.entry(*stream).or_default();
                *last = (*last).max(*seq);
                messages.insert(*seq, (*ts, subject.to_vec(), headers.to_vec(), payload.to_vec()));
            }
            Op::Remove { stream, seqs } => {
                if let Some((_, messages)) = self.streams.get_mut(stream) {
                    seqs.iter().for_each(|(seq, _)| drop(messages.remove(seq)));
                }
            }
            Op::Put { key, value } => drop(self.keys.insert(key.to_vec(), (value.to_vec(), Vec::new()))),
            Op::Note { key, bytes } => self.keys.entry(key.to_vec()).or_default().1.push(bytes.to_vec()),
            Op::Delete { key } => drop(self.keys.remove(key.as_ref())),
            Op::DropStream { stream } => drop(self.streams.remove(stream)),
            Op::HighWater { stream, seq } => {
                let (last, _) = self.streams.entry(*stream).or_default();
                *last = (*last).max(*seq);
            }
        }
    }
}

/// Reads everything a recovered store lists.
pub fn state_of(
    recovered: &Recovered,
    read: impl Fn(u64, u64, Location) -> Result<Read, StoreError>,
) -> Result<State, String> {
    let mut state = State::default();
    for (key, held) in &recovered.keys {
        let notes = held.notes.iter().map(|note| note.to_vec()).collect();
        state.keys.insert(key.clone(), (held.value.to_vec(), notes));
    }
    for (number, stream) in &recovered.streams {
        let mut messages = BTreeMap::new();
        let mut before = None;
        for entry in &stream.messages {
            if before.is_some_and(|before| before >= entry.seq) {
                return Err(format!("stream {number}: {} is listed out of order", entry.seq));
            }
            before = Some(entry.seq);
            let read = read(*number, entry.seq, entry.at).map_err(|error| format!("a listed message: {error}"))?;
            let bytes = read.subject.len() + read.headers.len() + read.payload.len();
            if (entry.seq, entry.ts, &entry.subject) != (read.seq, read.ts, &read.subject)
                || (entry.bytes as usize, entry.headers as usize) != (bytes, read.headers.len())
            {
                return Err(format!("stream {number}: the entry of {} does not match its record", entry.seq));
            }
            messages.insert(entry.seq, (read.ts, read.subject.to_vec(), read.headers.to_vec(), read.payload.to_vec()));
        }
        state.streams.insert(*number, (stream.last_seq, messages));
    }
    Ok(state)
}

/// Commits in order: those known to be safe, folded into a state, and those that may or may not be there.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The state after everything that is safe.
    pub safe: State,
    /// Commits after that, in order.
    pub open: Vec<Vec<Op>>,
}

impl Model {
    /// The first `count` open commits became safe.
    pub fn settle(&mut self, count: usize) {
        for commit in self.open.drain(..count.min(self.open.len())) {
            commit.iter().for_each(|op| self.safe.apply(op));
        }
    }

    /// The state after everything.
    pub fn latest(&self) -> State {
        let mut state = self.safe.clone();
        self.open.iter().flatten().for_each(|op| state.apply(op));
        state
    }

    /// Takes over what was recovered: everything safe, and the open commits up to some point.
    pub fn adopt(&mut self, found: &State) -> Result<(), String> {
        let mut state = self.safe.clone();
        for count in 0..=self.open.len() {
            if state == *found {
                self.safe = state;
                self.open.clear();
                return Ok(());
            }
            self.open.get(count).into_iter().flatten().for_each(|op| state.apply(op));
        }
        Err(difference(&self.safe, found, self.open.len()))
    }
}

fn difference(safe: &State, found: &State, open: usize) -> String {
    let mut lines = vec![format!("no prefix fits ({open} open commits); compared with what must be there:")];
    for (key, value) in &safe.keys {
        if found.keys.get(key) != Some(value) {
            let notes = found.keys.get(key).map(|(_, notes)| notes.len());
            lines.push(format!("key {key:?}: {} notes expected, found {notes:?}", value.1.len()));
        }
    }
    for key in found.keys.keys().filter(|key| !safe.keys.contains_key(*key)) {
        lines.push(format!("key {key:?} should not be there"));
    }
    for (stream, (last, messages)) in &safe.streams {
        let Some((found_last, found_messages)) = found.streams.get(stream) else {
            lines.push(format!("stream {stream} is missing"));
            continue;
        };
        let missing: Vec<_> =
            messages.iter().filter(|(seq, held)| found_messages.get(seq) != Some(held)).map(|(seq, _)| seq).collect();
        let extra: Vec<_> = found_messages.keys().filter(|seq| !messages.contains_key(seq)).collect();
        if !missing.is_empty() || !extra.is_empty() || last != found_last {
            lines
                .push(format!("stream {stream}: last {last} found {found_last}, missing {missing:?}, extra {extra:?}"));
        }
    }
    for stream in found.streams.keys().filter(|stream| !safe.streams.contains_key(stream)) {
        lines.push(format!("stream {stream} should not be there"));
    }
    lines.join("\n  ")
}
