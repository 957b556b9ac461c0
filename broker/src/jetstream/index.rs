//! What a stream holds: sequence to place, subject to sequences, sums and gaps. Only messages that are committed.

use std::collections::BTreeMap;

use super::chunk::{Chunk, Meta, SPAN};
use super::filter::Filter;
use super::subjects::Subjects;
use crate::store::Location;

/// The index of one stream. `L` is the store's place of a message; tests use plain numbers.
#[derive(Debug, Clone)]
pub struct Index<L = Location> {
    chunks: BTreeMap<u64, Chunk<L>>,
    /// The subjects.
    pub subjects: Subjects,
    last_seq: u64,
    last_ts: Option<i64>,
    messages: u64,
    bytes: u64,
}

/// Sequences looked at one by one before the subjects are asked.
const SCAN: usize = 4096;

impl<L: Copy> Index<L> {
    /// An empty index whose next sequence is the one after `last_seq`.
    pub fn new(last_seq: u64) -> Index<L> {
        Index { chunks: BTreeMap::new(), subjects: Subjects::default(), last_seq, last_ts: None, messages: 0, bytes: 0 }
    }

    /// The last sequence used, stored or not.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// When the last message came; none before the first.
    pub fn last_ts(&self) -> Option<i64> {
        self.last_ts
    }

    /// The first sequence that is there, the one after the last in an empty stream.
    pub fn first_seq(&self) -> u64 {
        self.first().map_or(self.last_seq + 1, |(seq, _)| seq)
    }

    /// How many messages are there.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// The bytes they count for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sequences between the first and the last that are not there.
    pub fn num_deleted(&self) -> u64 {
        match self.first() {
            Some((first, _)) => self.last_seq - first + 1 - self.messages,
            None => 0,
        }
    }

    /// At most `limit` of the sequences that are not there.
    pub fn deleted(&self, limit: usize) -> Vec<u64> {
        let mut gone = Vec::new();
        let Some((first, _)) = self.first() else { return gone };
        let mut expected = first;
        for (seq, _) in self.iter(first) {
            while expected < seq && gone.len() < limit {
                gone.push(expected);
                expected += 1;
            }
            expected = seq + 1;
        }
        while expected <= self.last_seq && gone.len() < limit {
            gone.push(expected);
            expected += 1;
        }
        gone
    }

    /// Counts a sequence as used without a message.
    pub fn skip_to(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }

    /// Adds a message.
    pub fn insert(&mut self, seq: u64, subject: &str, ts: i64, bytes: u32, at: L) -> u32 {
        let id = self.subjects.add(subject, seq);
        self.chunks.entry(seq / SPAN).or_default().insert((seq % SPAN) as u8, Meta { at, ts, subject: id, bytes });
        self.messages += 1;
        self.bytes += u64::from(bytes);
        if seq >= self.last_seq {
            self.last_seq = seq;
            self.last_ts = Some(ts);
        } else if self.last_ts.is_none_or(|last| last < ts) {
            self.last_ts = Some(ts);
        }
        id
    }

    /// Takes a message out.
    pub fn remove(&mut self, seq: u64) -> Option<Meta<L>> {
        let key = seq / SPAN;
        let chunk = self.chunks.get_mut(&key)?;
        let meta = chunk.remove((seq % SPAN) as u8)?;
        if chunk.is_empty() {
            self.chunks.remove(&key);
        }
        self.messages -= 1;
        self.bytes -= u64::from(meta.bytes);
        self.subjects.remove(meta.subject, seq);
        Some(meta)
    }

    /// What is known of a message.
    pub fn get(&self, seq: u64) -> Option<&Meta<L>> {
        self.chunks.get(&(seq / SPAN))?.get((seq % SPAN) as u8)
    }

    /// Whether the message is there.
    pub fn contains(&self, seq: u64) -> bool {
        self.get(seq).is_some()
    }

    /// The first message.
    pub fn first(&self) -> Option<(u64, &Meta<L>)> {
        let (key, chunk) = self.chunks.first_key_value()?;
        chunk.next(0).map(|(offset, meta)| (key * SPAN + u64::from(offset), meta))
    }

    /// The first message at or after a sequence.
    pub fn next(&self, from: u64) -> Option<(u64, &Meta<L>)> {
        let key = from / SPAN;
        if let Some(chunk) = self.chunks.get(&key)
            && let Some((offset, meta)) = chunk.next((from % SPAN) as u8)
        {
            return Some((key * SPAN + u64::from(offset), meta));
        }
        let (key, chunk) = self.chunks.range(key + 1..).next()?;
        chunk.next(0).map(|(offset, meta)| (key * SPAN + u64::from(offset), meta))
    }

    /// The messages from a sequence on.
    pub fn iter(&self, from: u64) -> impl Iterator<Item = (u64, &Meta<L>)> {
        let start = from / SPAN;
        self.chunks.range(start..).flat_map(move |(key, chunk)| {
            let mut offset = if *key == start { Some((from % SPAN) as u8) } else { Some(0) };
            std::iter::from_fn(move || {
                let (found, meta) = chunk.next(offset?)?;
                offset = found.checked_add(1);
                Some((key * SPAN + u64::from(found), meta))
            })
        })
    }

    /// The first matching message at or after a sequence.
    pub fn next_matching(&self, filter: &mut Filter, from: u64) -> Option<u64> {
        if filter.is_all() {
            return self.next(from).map(|(seq, _)| seq);
        }
        if let Some(literals) = filter.literals() {
            let found = literals.filter_map(|name| self.subjects.next(self.subjects.find(name)?, from));
            return found.min();
        }
        self.iter(from).find(|(_, meta)| filter.matches_id(&self.subjects, meta.subject)).map(|(seq, _)| seq)
    }

    /// The first message at or after a sequence that a pattern matches, for one question only.
    pub fn next_for(&self, pattern: &str, from: u64) -> Option<u64> {
        let mut filter = Filter::new([pattern]);
        if filter.literals().is_some() {
            return self.next_matching(&mut filter, from);
        }
        let mut last = from;
        for (seq, meta) in self.iter(from).take(SCAN) {
            if filter.matches_id(&self.subjects, meta.subject) {
                return Some(seq);
            }
            last = seq + 1;
        }
        self.subjects.matching(pattern).into_iter().filter_map(|id| self.subjects.next(id, last)).min()
    }

    /// The last message that a pattern matches.
    pub fn last_for(&self, pattern: &str) -> Option<u64> {
        self.subjects.matching(pattern).into_iter().filter_map(|id| self.subjects.last(id)).max()
    }

    /// How many matching messages there are at or after a sequence.
    pub fn count_matching(&self, filter: &Filter, from: u64) -> u64 {
        if filter.is_all() {
            return self.count(from);
        }
        let mut ids: Vec<u32> = filter.patterns().flat_map(|pattern| self.subjects.matching(pattern)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| self.subjects.count_from(id, from) as u64).sum()
    }

    /// How many messages there are at or after a sequence.
    pub fn count(&self, from: u64) -> u64 {
        match self.first() {
            Some((first, _)) if from > first => {}
            _ => return self.messages,
        }
        let key = from / SPAN;
        let whole: usize = self.chunks.range(key + 1..).map(|(_, chunk)| chunk.len()).sum();
        let part =
            self.chunks.get(&key).map_or(0, |_| self.iter(from).take_while(|(seq, _)| seq / SPAN == key).count());
        (whole + part) as u64
    }

    /// The last sequence of each matching subject, ascending.
    pub fn last_per_subject(&self, filter: &Filter) -> Vec<u64> {
        let mut seqs: Vec<u64> = if filter.is_all() {
            self.subjects.all().filter_map(|id| self.subjects.last(id)).collect()
        } else {
            let ids = filter.patterns().flat_map(|pattern| self.subjects.matching(pattern));
            ids.filter_map(|id| self.subjects.last(id)).collect()
        };
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }

    /// The first message at or after a time; the one after the last when all are older.
    pub fn seq_at(&self, ts: i64) -> u64 {
        // Times go up with sequences (but for a clock that was set back), so whole chunks that end earlier are skipped.
        let chunk =
            self.chunks.iter().find(|(_, chunk)| chunk.previous(u8::MAX).is_some_and(|(_, meta)| meta.ts >= ts));
        let Some((key, _)) = chunk else { return self.last_seq + 1 };
        self.iter(key * SPAN).find(|(_, meta)| meta.ts >= ts).map_or(self.last_seq + 1, |(seq, _)| seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use natsune_protocol::subject;

    #[derive(Default)]
    struct Model {
        messages: BTreeMap<u64, (String, u32)>,
        last: u64,
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
        #[test]
        fn behaves_like_a_map_of_messages(
            steps in proptest::collection::vec((0usize..5, 0u8..6, 0u64..400), 1..150),
        ) {
            let names = ["a", "a.b", "a.c", "b.c", "b.c.d"];
            let mut index: Index<u64> = Index::new(0);
            let mut model = Model::default();
            for (name, verb, number) in steps {
                match verb {
                    0..=3 => {
                        let seq = model.last + 1 + if verb == 3 { number } else { 0 };
                        index.insert(seq, names[name], seq as i64, 10, seq);
                        model.messages.insert(seq, (names[name].to_owned(), 10));
                        model.last = seq;
                    }
                    _ => {
                        let seq = number % (model.last + 1);
                        let removed = index.remove(seq).map(|meta| meta.at);
                        proptest::prop_assert_eq!(removed, model.messages.remove(&seq).map(|_| seq));
                    }
                }
                let from = number % (model.last + 2);
                proptest::prop_assert_eq!(index.messages(), model.messages.len() as u64);
                proptest::prop_assert_eq!(index.bytes(), model.messages.len() as u64 * 10);
                proptest::prop_assert_eq!(index.last_seq(), model.last);
                let first = model.messages.keys().next().copied();
                proptest::prop_assert_eq!(index.first_seq(), first.unwrap_or(model.last + 1));
                let gone: Vec<u64> = first
                    .map(|first| (first..=model.last).filter(|seq| !model.messages.contains_key(seq)).collect())
                    .unwrap_or_default();
                proptest::prop_assert_eq!(index.num_deleted(), gone.len() as u64);
                proptest::prop_assert_eq!(index.deleted(100_000), gone);
                proptest::prop_assert_eq!(index.count(from), model.messages.range(from..).count() as u64);
                let seen: Vec<u64> = index.iter(from).map(|(seq, _)| seq).collect();
                proptest::prop_assert_eq!(seen, model.messages.range(from..).map(|(seq, _)| *seq).collect::<Vec<_>>());
                proptest::prop_assert_eq!(index.seq_at(from as i64),
                    model.messages.range(from..).next().map_or(model.last + 1, |(seq, _)| *seq));
                for patterns in [&["a"][..], &["a.*"], &["b.c", "a"], &["b.>", "a"], &[]] {
                    let mut filter = Filter::new(patterns.iter().copied());
                    let matches = |name: &str| patterns.is_empty() || patterns.iter().any(|p| subject::matches(p, name));
                    let expected: Vec<u64> = model.messages.range(from..)
                        .filter(|(_, (name, _))| matches(name)).map(|(seq, _)| *seq).collect();
                    proptest::prop_assert_eq!(index.next_matching(&mut filter, from), expected.first().copied());
                    proptest::prop_assert_eq!(index.count_matching(&filter, from), expected.len() as u64);
                    if let [pattern] = patterns {
                        proptest::prop_assert_eq!(index.next_for(pattern, from), expected.first().copied());
                        let last = model.messages.iter().filter(|(_, (name, _))| matches(name)).map(|(seq, _)| *seq).next_back();
                        proptest::prop_assert_eq!(index.last_for(pattern), last);
                    }
                    let mut last = BTreeMap::new();
                    for (seq, (name, _)) in &model.messages {
                        if matches(name) {
                            last.insert(name.clone(), *seq);
                        }
                    }
                    let mut last: Vec<u64> = last.into_values().collect();
                    last.sort_unstable();
                    proptest::prop_assert_eq!(index.last_per_subject(&filter), last);
                }
            }
        }
    }
}
