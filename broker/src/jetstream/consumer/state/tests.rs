//! The consumer against a naive model: random publishes, deliveries, acknowledgements, removals, time and restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::super::consumer_config::{AckPolicy, ConsumerConfig, DeliverPolicy};
use super::super::super::index::Index;
use super::super::{Consumer, Event, Next};

const NAMES: [&str; 4] = ["a.1", "a.2", "b.1", "c"];

#[derive(Debug, Clone)]
enum Step {
    Publish(usize),
    Deliver,
    Ack(usize),
    Nak(usize, Option<i64>),
    Progress(usize),
    Remove(u64),
    Pass(i64),
    Restart(bool),
    Purge(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..4).prop_map(Step::Publish),
        8 => Just(Step::Deliver),
        5 => (0usize..8).prop_map(Step::Ack),
        2 => (0usize..8, proptest::option::of(0i64..200)).prop_map(|(at, delay)| Step::Nak(at, delay)),
        1 => (0usize..8).prop_map(Step::Progress),
        2 => (0u64..40).prop_map(Step::Remove),
        3 => (1i64..150).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => (0u64..40).prop_map(Step::Purge),
    ];
    proptest::collection::vec(step, 1..120)
}

fn configs() -> impl Strategy<Value = ConsumerConfig> {
    (
        prop_oneof![Just(AckPolicy::Explicit), Just(AckPolicy::All), Just(AckPolicy::None)],
        prop_oneof![Just(DeliverPolicy::All), Just(DeliverPolicy::New), Just(DeliverPolicy::LastPerSubject)],
        prop_oneof![Just(vec![]), Just(vec!["a.*"]), Just(vec!["c", "b.1"])],
        prop_oneof![Just(-1i64), Just(1), Just(3)],
        prop_oneof![Just(-1i64), Just(3)],
        any::<bool>(),
    )
        .prop_map(|(ack_policy, deliver_policy, filters, max_deliver, max_ack_pending, backoff)| {
            let mut filters: Vec<String> = filters.into_iter().map(str::to_owned).collect();
            if deliver_policy == DeliverPolicy::LastPerSubject && filters.is_empty() {
                filters.push(">".into());
            }
            ConsumerConfig {
                ack_policy,
                deliver_policy,
                filter_subjects: filters,
                max_deliver,
                max_ack_pending,
                ack_wait: 100,
                backoff: if backoff && max_deliver != 1 { vec![100, 150] } else { vec![] },
                ..Default::default()
            }
        })
}

/// What an observer would expect, without any cleverness.
#[derive(Default)]
struct Model {
    /// Messages that are there.
    stored: BTreeMap<u64, usize>,
    last: u64,
    /// Never delivered and still to come.
    open: BTreeSet<u64>,
    /// Outstanding: deliveries so far, due time (none while queued).
    outstanding: BTreeMap<u64, (u64, Option<i64>)>,
    deliveries: BTreeMap<u64, u64>,
    done: BTreeSet<u64>,
}

struct World {
    config: ConsumerConfig,
    consumer: Consumer,
    index: Index<u64>,
    model: Model,
    now: i64,
    stored: (Vec<u8>, Vec<Vec<u8>>),
}

impl World {
    fn new(config: ConsumerConfig, before: &[usize]) -> World {
        let mut index = Index::new(0);
        let mut model = Model::default();
        for name in before {
            model.last += 1;
            index.insert(model.last, NAMES[*name], model.last as i64, 1, model.last);
            model.stored.insert(model.last, *name);
        }
        let mut consumer = Consumer::start(&config, &index, false);
        let wanted = |name: usize| {
            let filters = config.filters();
            filters.is_empty() || filters.iter().any(|f| natsune_protocol::subject::matches(f, NAMES[name]))
        };
        let mut last = BTreeMap::new();
        for (seq, name) in &model.stored {
            if wanted(*name) {
                match config.deliver_policy {
                    DeliverPolicy::All => drop(model.open.insert(*seq)),
                    DeliverPolicy::LastPerSubject => drop(last.insert(*name, *seq)),
                    _ => {}
                }
            }
        }
        model.open.extend(last.into_values());
        let stored = (consumer.snapshot(), Vec::new());
        World { config, consumer, index, model, now: 1000, stored }
    }

    fn wanted(&self, name: usize) -> bool {
        let filters = self.config.filters();
        filters.is_empty() || filters.iter().any(|f| natsune_protocol::subject::matches(f, NAMES[name]))
    }

    fn wait(&self, deliveries: u64) -> i64 {
        match self.config.backoff.as_slice() {
            [] => 100,
            steps => steps[(deliveries as usize - 1).min(steps.len() - 1)],
        }
    }

    fn limit(&self) -> u64 {
        u64::try_from(self.config.max_deliver).unwrap_or(u64::MAX)
    }

    /// Whether a message may be delivered once more; if not it is given up.
    fn give_up(&mut self, seq: u64) -> bool {
        let exhausted = self.model.deliveries[&seq] >= self.limit();
        if exhausted {
            self.model.outstanding.remove(&seq);
        }
        exhausted
    }

    fn remove(&mut self, seq: u64) {
        self.model.stored.remove(&seq);
        self.model.open.remove(&seq);
        self.model.outstanding.remove(&seq);
        self.model.deliveries.remove(&seq);
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let mut events = Vec::new();
        match step {
            Step::Publish(name) => {
                self.model.last += 1;
                let seq = self.model.last;
                let id = self.index.insert(seq, NAMES[name], self.now, 1, seq);
                if self.consumer.wants(&self.index, id) {
                    self.consumer.on_stored(seq);
                }
                self.model.stored.insert(seq, name);
                if self.wanted(name) {
                    self.model.open.insert(seq);
                }
            }
            Step::Deliver => self.deliver(&mut events)?,
            Step::Ack(at) => self.ack(at)?,
            Step::Nak(at, delay) => {
                if let Some(seq) = self.model.outstanding.keys().nth(at).copied() {
                    prop_assert!(self.consumer.nak(seq, delay, self.now));
                    let due = delay.map(|delay| self.now + delay);
                    if let Some(entry) = self.model.outstanding.get_mut(&seq) {
                        entry.1 = due;
                    }
                }
            }
            Step::Progress(at) => {
                if let Some((seq, (count, due))) = self.model.outstanding.iter().nth(at).map(|(s, e)| (*s, *e)) {
                    prop_assert!(self.consumer.progress(seq, self.now));
                    if due.is_some() {
                        let due = Some(self.now + self.wait(count));
                        self.model.outstanding.insert(seq, (count, due));
                    }
                }
            }
            Step::Remove(seq) => {
                if let Some(meta) = self.index.remove(seq) {
                    let matched = self.consumer.wants(&self.index, meta.subject);
                    self.consumer.on_removed(seq, matched, &mut events);
                    self.remove(seq);
                }
            }
            Step::Pass(time) => {
                self.now += time;
                self.consumer.expire(self.now, &self.index, &mut events);
                let due: Vec<u64> = self
                    .model
                    .outstanding
                    .iter()
                    .filter(|(_, (_, due))| due.is_some_and(|due| due <= self.now))
                    .map(|(seq, _)| *seq)
                    .collect();
                for seq in due {
                    if !self.give_up(seq)
                        && let Some(entry) = self.model.outstanding.get_mut(&seq)
                    {
                        entry.1 = None;
                    }
                }
            }
            Step::Restart(rewrite) => self.restart(rewrite)?,
            Step::Purge(until) => {
                let gone: Vec<u64> = self.model.stored.range(..until).map(|(seq, _)| *seq).collect();
                for seq in gone {
                    self.index.remove(seq);
                    self.remove(seq);
                }
                self.consumer.on_purged(self.index.first_seq(), &self.index);
            }
        }
        self.check()
    }

    fn deliver(&mut self, events: &mut Vec<Event>) -> Result<(), TestCaseError> {
        let full = self.config.max_ack_pending > 0 && self.config.ack_policy != AckPolicy::None;
        let next = self.consumer.next(&self.index, events);
        for event in events.iter() {
            if let Event::MaxDeliveries { seq, deliveries } = event {
                prop_assert_eq!(self.model.deliveries.get(seq), Some(deliveries));
                prop_assert!(self.give_up(*seq));
            }
        }
        match next {
            Next::Message(seq) => {
                let again = self.model.outstanding.get(&seq).copied();
                let outstanding = self.model.outstanding.len() as i64;
                match again {
                    Some((_, due)) => prop_assert!(due.is_none(), "{} came before it was due", seq),
                    None => {
                        let anew = self.config.deliver_policy != DeliverPolicy::LastPerSubject;
                        prop_assert_eq!(self.model.open.first().copied().filter(|_| anew), Some(seq).filter(|_| anew));
                        prop_assert!(self.model.open.remove(&seq), "{} is not to come", seq);
                        prop_assert!(!full || outstanding < self.config.max_ack_pending);
                    }
                }
                prop_assert!(self.model.stored.contains_key(&seq) && !self.model.done.contains(&seq));
                let delivered = self.consumer.deliver(seq, self.now);
                let count = self.model.deliveries.entry(seq).or_default();
                *count += 1;
                prop_assert_eq!(delivered.count, *count);
                prop_assert_eq!(delivered.pending, self.model.open.len() as u64);
                if self.config.ack_policy != AckPolicy::None {
                    let count = *count;
                    let due = Some(self.now + self.wait(count));
                    self.model.outstanding.insert(seq, (count, due));
                } else {
                    self.model.deliveries.remove(&seq);
                }
            }
            Next::Nothing => {
                prop_assert!(self.model.open.is_empty());
                prop_assert!(self.model.outstanding.values().all(|(_, due)| due.is_some()));
            }
            Next::Full => prop_assert!(self.model.outstanding.len() as i64 >= self.config.max_ack_pending),
        }
        Ok(())
    }

    fn ack(&mut self, at: usize) -> Result<(), TestCaseError> {
        let Some(seq) = self.model.outstanding.keys().nth(at).copied() else { return Ok(()) };
        let dseq = self.consumer.pending[&seq].dseq;
        let mut done = Vec::new();
        let floor = self.consumer.ack_floor();
        let changed = self.consumer.ack(seq, dseq, self.now, &mut done);
        match self.config.ack_policy {
            AckPolicy::Explicit => {
                prop_assert!(changed);
                prop_assert_eq!(&done, &vec![seq]);
            }
            _ => prop_assert_eq!(changed, dseq > floor.consumer && seq > floor.stream),
        }
        if changed {
            let covered: Vec<u64> = match self.config.ack_policy {
                AckPolicy::Explicit => vec![seq],
                _ => self.model.outstanding.range(..=seq).map(|(seq, _)| *seq).collect(),
            };
            prop_assert_eq!(&done, &covered);
            for seq in covered {
                self.model.outstanding.remove(&seq);
                self.model.deliveries.remove(&seq);
                self.model.done.insert(seq);
            }
            if self.config.ack_policy != AckPolicy::Explicit {
                // What was given up below the floor is forgotten with it.
                self.model.deliveries.retain(|other, _| *other > seq);
            }
        }
        prop_assert!(!self.consumer.ack(self.model.last + 1, 1, self.now, &mut done));
        Ok(())
    }

    fn restart(&mut self, rewrite: bool) -> Result<(), TestCaseError> {
        if rewrite || self.consumer.wants_rewrite() {
            self.stored = (self.consumer.snapshot(), Vec::new());
        } else if self.consumer.is_dirty() {
            let note = self.consumer.take_note();
            self.stored.1.push(note);
        }
        let mut restored = Consumer::restore(&self.config, &self.index, &self.stored.0, &self.stored.1);
        let before = &mut self.consumer;
        prop_assert_eq!(restored.delivered(), before.delivered());
        prop_assert_eq!(restored.ack_floor(), before.ack_floor());
        prop_assert_eq!(&restored.redelivered, &before.redelivered);
        prop_assert_eq!(restored.pending.keys().collect::<Vec<_>>(), before.pending.keys().collect::<Vec<_>>());
        prop_assert_eq!(restored.num_pending(), before.num_pending());
        for (seq, pending) in &before.pending {
            prop_assert_eq!(restored.pending[seq].dseq, pending.dseq);
        }
        // What waited in the queue is due at once, or after its wait when only a note told of it.
        let mut events = Vec::new();
        restored.expire(self.now, &self.index, &mut events);
        for (seq, pending) in &restored.pending {
            if let Some(entry) = self.model.outstanding.get_mut(seq) {
                entry.1 = (pending.due != i64::MAX).then_some(pending.due);
            }
        }
        let left: Vec<u64> =
            self.model.outstanding.keys().copied().filter(|seq| !restored.pending.contains_key(seq)).collect();
        for seq in left {
            prop_assert!(self.give_up(seq));
        }
        self.consumer = restored;
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let consumer = &self.consumer;
        prop_assert_eq!(consumer.num_pending(), self.model.open.len() as u64);
        prop_assert_eq!(
            consumer.pending.keys().copied().collect::<Vec<_>>(),
            self.model.outstanding.keys().copied().collect::<Vec<_>>()
        );
        let (delivered, floor) = (consumer.delivered(), consumer.ack_floor());
        prop_assert!(floor.consumer <= delivered.consumer && floor.stream <= delivered.stream.max(self.model.last));
        if let Some((seq, pending)) = consumer.pending.first_key_value() {
            prop_assert!(*seq > floor.stream && pending.dseq > floor.consumer);
        }
        for seq in &self.model.open {
            prop_assert!(self.config.ack_policy == AckPolicy::None || consumer.needs(*seq), "{} is not kept", seq);
        }
        for seq in self.model.outstanding.keys() {
            prop_assert!(consumer.needs(*seq));
        }
        for seq in &self.model.done {
            prop_assert!(!consumer.needs(*seq), "{} is kept", seq);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_the_model(
        config in configs(),
        before in proptest::collection::vec(0usize..4, 0..12),
        steps in steps(),
    ) {
        let mut world = World::new(config, &before);
        world.check()?;
        for step in steps {
            world.step(step)?;
        }
    }
}

fn stream_of(subjects: &[&str]) -> Index<u64> {
    let mut index = Index::new(0);
    for (i, subject) in subjects.iter().enumerate() {
        index.insert(i as u64 + 1, subject, i as i64 * 10, 1, 0);
    }
    index
}

fn explicit() -> ConsumerConfig {
    ConsumerConfig { ack_policy: AckPolicy::Explicit, ack_wait: 100, max_deliver: -1, ..Default::default() }
}

#[test]
fn starts_where_the_policy_says() {
    let index = stream_of(&["a", "b", "a", "b", "c"]);
    let first = |config: ConsumerConfig| {
        let mut consumer = Consumer::start(&config, &index, false);
        match consumer.next(&index, &mut Vec::new()) {
            Next::Message(seq) => seq,
            _ => 0,
        }
    };
    use DeliverPolicy::*;
    assert_eq!(first(explicit()), 1);
    assert_eq!(first(ConsumerConfig { deliver_policy: Last, ..explicit() }), 5);
    assert_eq!(first(ConsumerConfig { deliver_policy: Last, filter_subject: "b".into(), ..explicit() }), 4);
    assert_eq!(first(ConsumerConfig { deliver_policy: New, ..explicit() }), 0);
    assert_eq!(first(ConsumerConfig { deliver_policy: ByStartSequence, opt_start_seq: 3, ..explicit() }), 3);
    let time = Some(super::super::super::clock::Timestamp(25));
    assert_eq!(first(ConsumerConfig { deliver_policy: ByStartTime, opt_start_time: time, ..explicit() }), 4);
    let last = ConsumerConfig { deliver_policy: LastPerSubject, filter_subject: ">".into(), ..explicit() };
    let mut consumer = Consumer::start(&last, &index, false);
    assert_eq!(consumer.num_pending(), 3);
    let mut seen = Vec::new();
    while let Next::Message(seq) = consumer.next(&index, &mut Vec::new()) {
        consumer.deliver(seq, 0);
        seen.push(seq);
    }
    assert_eq!(seen, [3, 4, 5]);
}

#[test]
fn gives_up_after_max_deliver_and_says_so_once() {
    let index = stream_of(&["a"]);
    let mut consumer = Consumer::start(&ConsumerConfig { max_deliver: 2, ..explicit() }, &index, false);
    let mut events = Vec::new();
    assert_eq!(consumer.next(&index, &mut events), Next::Message(1));
    assert_eq!(consumer.deliver(1, 0).count, 1);
    consumer.expire(100, &index, &mut events);
    assert_eq!(consumer.next(&index, &mut events), Next::Message(1));
    assert_eq!(consumer.deliver(1, 100).count, 2);
    assert!(events.is_empty());
    consumer.expire(200, &index, &mut events);
    assert_eq!(events, [Event::MaxDeliveries { seq: 1, deliveries: 2 }]);
    consumer.expire(1000, &index, &mut events);
    assert_eq!((events.len(), consumer.num_ack_pending(), consumer.num_redelivered()), (1, 0, 1));
    assert_eq!(consumer.next(&index, &mut events), Next::Nothing);
    assert!(consumer.needs(1), "a message that was given up stays");
    let mut done = Vec::new();
    assert!(consumer.ack(1, 1, 2000, &mut done));
    assert!(!consumer.needs(1) && done == [1]);
}

#[test]
fn floors_follow_the_acknowledgements() {
    let index = stream_of(&["a", "a", "a", "a"]);
    let mut consumer = Consumer::start(&explicit(), &index, false);
    for seq in 1..=4 {
        consumer.next(&index, &mut Vec::new());
        consumer.deliver(seq, 0);
    }
    let mut done = Vec::new();
    consumer.ack(2, 2, 1, &mut done);
    assert_eq!(consumer.ack_floor().stream, 0);
    consumer.ack(1, 1, 1, &mut done);
    assert_eq!((consumer.ack_floor().consumer, consumer.ack_floor().stream), (2, 2));
    consumer.ack(4, 4, 1, &mut done);
    consumer.ack(3, 3, 1, &mut done);
    assert_eq!((consumer.ack_floor().consumer, consumer.ack_floor().stream), (4, 4));
}

#[test]
fn a_lost_note_brings_messages_again() {
    let index = stream_of(&["a", "b", "a", "b", "a", "b"]);
    let config = ConsumerConfig { filter_subject: "a".into(), ..explicit() };
    let mut consumer = Consumer::start(&config, &index, false);
    let (snapshot, mut notes) = (consumer.snapshot(), Vec::new());
    for seq in [1, 3, 5] {
        assert_eq!(consumer.next(&index, &mut Vec::new()), Next::Message(seq));
        consumer.deliver(seq, 10);
        notes.push(consumer.take_note());
    }
    let mut done = Vec::new();
    consumer.ack(1, 1, 20, &mut done);
    consumer.ack(5, 3, 20, &mut done);
    notes.push(consumer.take_note());
    for lost in 0..notes.len() {
        let left: Vec<&Vec<u8>> =
            notes.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, note)| note).collect();
        let mut restored = Consumer::restore(&config, &index, &snapshot, left);
        let mut again = Vec::new();
        restored.expire(1000, &index, &mut Vec::new());
        while let Next::Message(seq) = restored.next(&index, &mut Vec::new()) {
            restored.deliver(seq, 1000);
            again.push(seq);
        }
        assert!(again.contains(&3), "note {lost} lost: only {again:?} come again");
        assert!(!again.contains(&2) && !again.contains(&4), "{again:?}");
    }
}
