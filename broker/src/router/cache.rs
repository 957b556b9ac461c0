//! A publisher's memory of where its last subjects went: subject -> match result, right as long as the account's generation stands.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::account::Account;
use super::hash::SubjectHash;
use super::trie::Matched;

/// Subjects remembered at a time. A publisher that uses more starts anew: the oldest cannot be told apart without a cost on each hit.
const MOST: usize = 1024;
/// Places for hashes of subjects seen once.
const SEEN: usize = 256;

/// What is remembered of one subject: where it goes and what its owner thinks of it (say, that publishing to it is allowed).
pub struct Cached<T> {
    subject: Box<str>,
    generation: u64,
    matched: Matched,
    /// The owner's own verdict on the subject.
    pub verdict: T,
}

impl<T> Cached<T> {
    /// Where messages on this subject go.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }
}

/// The cache of one publisher in one account.
pub struct MatchCache<T> {
    places: HashMap<Box<str>, usize, SubjectHash>,
    entries: Vec<Cached<T>>,
    last: usize,
    /// Hashes of subjects seen once. Only the second time a subject is remembered: replies go to subjects of their own, and
    /// would push out the ones that come again.
    seen: Vec<u64>,
    /// The entry of a subject that is not remembered.
    passing: Option<Cached<T>>,
}

impl<T> Default for MatchCache<T> {
    fn default() -> Self {
        MatchCache { places: HashMap::default(), entries: Vec::new(), last: 0, seen: Vec::new(), passing: None }
    }
}

impl<T> MatchCache<T> {
    /// The entry of this subject, matched anew when subscriptions have changed; `judge` is asked once per remembered subject.
    pub fn get(&mut self, account: &Account, subject: &str, judge: impl FnOnce(&str) -> T) -> &Cached<T> {
        // Publishers tend to repeat themselves: the last subject needs no hash.
        let hit = match self.entries.get(self.last) {
            Some(entry) if *entry.subject == *subject => Some(self.last),
            _ => self.places.get(subject).copied(),
        };
        let at = match hit {
            Some(at) => at,
            None if !self.seen_before(subject) => return self.pass(account, subject, judge(subject)),
            None => self.remember(subject, judge(subject)),
        };
        self.last = at;
        let entry = &mut self.entries[at];
        // Read before matching: a change in between makes the next use match again, never the other way round.
        let generation = account.generation();
        if entry.generation != generation {
            account.find(subject, &mut entry.matched);
            entry.generation = generation;
        }
        entry
    }

    fn seen_before(&mut self, subject: &str) -> bool {
        let hash = SubjectHash::default().hash_one(subject);
        if self.seen.is_empty() {
            self.seen.resize(SEEN, 0);
        }
        match self.seen.get_mut(hash as usize % SEEN) {
            Some(seen) => std::mem::replace(seen, hash) == hash,
            None => true,
        }
    }

    fn remember(&mut self, subject: &str, verdict: T) -> usize {
        if self.entries.len() >= MOST {
            self.places.clear();
            self.entries.clear();
        }
        let at = self.entries.len();
        self.places.insert(subject.into(), at);
        self.entries.push(Cached { subject: subject.into(), generation: 0, matched: Matched::default(), verdict });
        at
    }

    fn pass(&mut self, account: &Account, subject: &str, verdict: T) -> &Cached<T> {
        let matched = self.passing.take().map(|passed| passed.matched).unwrap_or_default();
        let passing = self.passing.insert(Cached { subject: Box::default(), generation: 0, matched, verdict });
        account.find(subject, &mut passing.matched);
        passing
    }

    /// Forgets everything, verdicts included, and gives the memory back.
    pub fn release(&mut self) {
        *self = MatchCache::default();
    }
}
