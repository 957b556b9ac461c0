//! The subjects of a stream: each with the sequences it has, found by name, by number or by pattern.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use natsune_protocol::subject;

/// Ascending sequences of one subject; most subjects of a key-value bucket have exactly one.
#[derive(Debug, Clone, Default)]
enum Seqs {
    #[default]
    None,
    One(u64),
    Many(VecDeque<u64>),
}

/// One subject.
#[derive(Debug, Clone)]
struct Slot {
    name: Arc<str>,
    generation: u32,
    seqs: Seqs,
}

/// All subjects of a stream. Numbers of subjects that are gone are used again, with another generation.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    by_name: HashMap<Arc<str>, u32>,
    sorted: BTreeMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Subjects without messages that were not given up yet: in a queue the same subject empties all the time.
    idle: usize,
}

const IDLE_KEPT: usize = 1024;

impl Subjects {
    /// How many subjects have messages.
    #[allow(clippy::len_without_is_empty)] // nobody asks
    pub fn len(&self) -> usize {
        self.by_name.len() - self.idle
    }

    /// The number of a subject.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of a subject.
    pub fn name(&self, id: u32) -> &Arc<str> {
        static NOBODY: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| Arc::from(""));
        self.slots.get(id as usize).map_or(&NOBODY, |slot| &slot.name)
    }

    /// Changes when the number begins to stand for another subject.
    pub fn generation(&self, id: u32) -> u32 {
        self.slots.get(id as usize).map_or(0, |slot| slot.generation)
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let name: Arc<str> = Arc::from(name);
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.slots.get_mut(id as usize) {
                    slot.generation = slot.generation.wrapping_add(1);
                    slot.name = name.clone();
                }
                id
            }
            None => {
                self.slots.push(Slot { name: name.clone(), generation: 1, seqs: Seqs::None });
                (self.slots.len() - 1) as u32
            }
        };
        self.by_name.insert(name.clone(), id);
        self.sorted.insert(name, id);
        self.idle += 1;
        id
    }

    /// Adds a sequence to a subject and says the subject's number. Sequences usually come in order.
    pub fn add(&mut self, name: &str, seq: u64) -> u32 {
        let id = self.intern(name);
        let Some(slot) = self.slots.get_mut(id as usize) else { return id };
        match &mut slot.seqs {
            Seqs::None => {
                slot.seqs = Seqs::One(seq);
                self.idle -= 1;
            }
            Seqs::One(one) => {
                let one = *one;
                if one != seq {
                    slot.seqs = Seqs::Many(VecDeque::from([one.min(seq), one.max(seq)]));
                }
            }
            Seqs::Many(many) => match many.back() {
                Some(last) if *last >= seq => {
                    if let Err(place) = many.binary_search(&seq) {
                        many.insert(place, seq);
                    }
                }
                _ => many.push_back(seq),
            },
        }
        id
    }

    /// Takes a sequence from a subject.
    pub fn remove(&mut self, id: u32, seq: u64) {
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        match &mut slot.seqs {
            Seqs::One(one) if *one == seq => {
                slot.seqs = Seqs::None;
                self.idle += 1;
            }
            Seqs::Many(many) => {
                if many.front() == Some(&seq) {
                    many.pop_front();
                } else if let Ok(place) = many.binary_search(&seq) {
                    many.remove(place);
                }
                if let (1, Some(one)) = (many.len(), many.front()) {
                    slot.seqs = Seqs::One(*one);
                } else if many.capacity() > 1024 && many.len() < many.capacity() / 8 {
                    many.shrink_to(many.len() * 2);
                }
            }
            _ => {}
        }
        if self.idle > IDLE_KEPT && self.idle * 2 > self.by_name.len() {
            self.forget_idle();
        }
    }

    fn forget_idle(&mut self) {
        let (slots, free) = (&self.slots, &mut self.free);
        self.by_name.retain(|_, id| {
            let used = slots.get(*id as usize).is_some_and(|slot| !matches!(slot.seqs, Seqs::None));
            if !used {
                free.push(*id);
            }
            used
        });
        self.sorted.retain(|_, id| slots.get(*id as usize).is_some_and(|slot| !matches!(slot.seqs, Seqs::None)));
        self.idle = 0;
    }

    fn seqs(&self, id: u32) -> &Seqs {
        self.slots.get(id as usize).map_or(&Seqs::None, |slot| &slot.seqs)
    }

    /// How many messages a subject has.
    pub fn count(&self, id: u32) -> usize {
        match self.seqs(id) {
            Seqs::None => 0,
            Seqs::One(_) => 1,
            Seqs::Many(many) => many.len(),
        }
    }

    /// How many messages a subject has at or after a sequence.
    pub fn count_from(&self, id: u32, from: u64) -> usize {
        match self.seqs(id) {
            Seqs::None => 0,
            Seqs::One(one) => usize::from(*one >= from),
            Seqs::Many(many) => many.len() - many.partition_point(|seq| *seq < from),
        }
    }

    /// A subject's first sequence at or after one.
    pub fn next(&self, id: u32, from: u64) -> Option<u64> {
        match self.seqs(id) {
            Seqs::None => None,
            Seqs::One(one) => (*one >= from).then_some(*one),
            Seqs::Many(many) => match many.front() {
                Some(first) if *first >= from => Some(*first),
                _ => many.get(many.partition_point(|seq| *seq < from)).copied(),
            },
        }
    }

    /// A subject's first sequence.
    pub fn first(&self, id: u32) -> Option<u64> {
        self.next(id, 0)
    }

    /// A subject's last sequence.
    pub fn last(&self, id: u32) -> Option<u64> {
        match self.seqs(id) {
            Seqs::None => None,
            Seqs::One(one) => Some(*one),
            Seqs::Many(many) => many.back().copied(),
        }
    }

    /// A subject's last sequence at or before one.
    pub fn last_until(&self, id: u32, until: u64) -> Option<u64> {
        match self.seqs(id) {
            Seqs::None => None,
            Seqs::One(one) => (*one <= until).then_some(*one),
            Seqs::Many(many) => many.get(many.partition_point(|seq| *seq <= until).checked_sub(1)?).copied(),
        }
    }

    /// All sequences of a subject before one, ascending.
    pub fn before(&self, id: u32, seq: u64) -> Vec<u64> {
        match self.seqs(id) {
            Seqs::None => Vec::new(),
            Seqs::One(one) => Some(*one).into_iter().filter(|one| *one < seq).collect(),
            Seqs::Many(many) => many.iter().copied().take_while(|one| *one < seq).collect(),
        }
    }

    /// The subjects with messages that a pattern matches, in order of their names.
    pub fn matching(&self, pattern: &str) -> Vec<u32> {
        let used = |id: &u32| !matches!(self.seqs(*id), Seqs::None);
        if subject::is_literal(pattern) {
            return self.find(pattern).filter(used).into_iter().collect();
        }
        let wildcard = pattern.split('.').take_while(|token| !matches!(*token, "*" | ">"));
        let mut prefix = String::new();
        for token in wildcard {
            prefix.push_str(token);
            prefix.push('.');
        }
        self.sorted
            .range::<str, _>((std::ops::Bound::Included(prefix.as_str()), std::ops::Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix.as_str()))
            .filter(|(name, id)| used(id) && subject::matches(pattern, name))
            .map(|(_, id)| *id)
            .collect()
    }

    /// All subjects with messages, in order of their names.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.sorted.values().copied().filter(|id| !matches!(self.seqs(*id), Seqs::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    proptest::proptest! {
        #[test]
        fn behaves_like_sets_of_sequences(steps in proptest::collection::vec((0u64..60, 0usize..5, proptest::bool::ANY), 0..300)) {
            let names = ["a", "a.b", "a.c", "b.c", "b.c.d"];
            let mut subjects = Subjects::default();
            let mut model: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
            for (seq, name, add) in steps {
                let name = names[name];
                if add {
                    subjects.add(name, seq);
                    model.entry(name).or_default().insert(seq);
                } else if let Some(id) = subjects.find(name) {
                    subjects.remove(id, seq);
                    model.entry(name).or_default().remove(&seq);
                }
                model.retain(|_, seqs| !seqs.is_empty());
                proptest::prop_assert_eq!(subjects.len(), model.len());
                for pattern in ["a", "a.*", ">", "b.>", "*.c"] {
                    let found: Vec<&str> = subjects.matching(pattern).into_iter().map(|id| &**subjects.name(id)).collect();
                    let expected: Vec<&str> =
                        model.keys().copied().filter(|name| subject::matches(pattern, name)).collect();
                    proptest::prop_assert_eq!(found, expected);
                }
                if let (Some(id), Some(seqs)) = (subjects.find(name), model.get(name)) {
                    proptest::prop_assert_eq!(subjects.count(id), seqs.len());
                    proptest::prop_assert_eq!(subjects.count_from(id, seq), seqs.range(seq..).count());
                    proptest::prop_assert_eq!(subjects.next(id, seq), seqs.range(seq..).next().copied());
                    proptest::prop_assert_eq!(subjects.last_until(id, seq), seqs.range(..=seq).next_back().copied());
                    proptest::prop_assert_eq!(subjects.last(id), seqs.last().copied());
                    proptest::prop_assert_eq!(subjects.before(id, seq), seqs.range(..seq).copied().collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn subjects_without_messages_are_given_up() {
        let mut subjects = Subjects::default();
        for i in 0..4000 {
            let id = subjects.add(&format!("s.{i}"), i);
            subjects.remove(id, i);
        }
        assert_eq!(subjects.len(), 0);
        assert!(subjects.by_name.len() <= 2 * IDLE_KEPT, "{}", subjects.by_name.len());
        let id = subjects.add("t", 1);
        assert_eq!(&**subjects.name(id), "t");
    }
}
