//! A consumer's state machine, pure: what to deliver next, what is outstanding, what is done. The clock is passed in.

mod deliver;
mod follow;
mod settle;
mod state;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::consumer_config::{AckPolicy, ConsumerConfig, DeliverPolicy};
use super::filter::Filter;
use super::index::Index;
use super::journal::Journal;

/// A consumer sequence and the stream sequence it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pair {
    /// Counts deliveries.
    pub consumer: u64,
    /// Names the message.
    pub stream: u64,
}

/// A message that waits for its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The consumer sequence of its first delivery.
    pub dseq: u64,
    /// When it was delivered last.
    pub ts: i64,
    /// When it is due again; `i64::MAX` while it waits in the redelivery queue.
    pub due: i64,
}

const QUEUED: i64 = i64::MAX;

/// What to deliver next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This message.
    Message(u64),
    /// Nothing until something changes.
    Nothing,
    /// Nothing until an acknowledgement comes.
    Full,
}

/// What applications are told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A message was delivered as often as allowed and not acknowledged.
    MaxDeliveries {
        /// Stream sequence.
        seq: u64,
        /// How often it was delivered.
        deliveries: u64,
    },
    /// A message that waited for its acknowledgement left the stream.
    Gone {
        /// Stream sequence.
        seq: u64,
        /// Consumer sequence.
        dseq: u64,
        /// How often it was delivered.
        deliveries: u64,
    },
}

/// One delivery, as the acknowledgement subject tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The consumer sequence.
    pub dseq: u64,
    /// The how-manieth delivery of this message.
    pub count: u64,
    /// Matching messages not yet delivered.
    pub pending: u64,
}

/// The part of the configuration the state machine looks at.
#[derive(Debug, Clone)]
struct Rules {
    ack: AckPolicy,
    ack_wait: i64,
    backoff: Vec<i64>,
    /// 0 is unlimited.
    max_deliver: u64,
    /// 0 is unlimited.
    max_ack_pending: usize,
}

impl Rules {
    fn of(config: &ConsumerConfig) -> Rules {
        Rules {
            ack: config.ack_policy,
            ack_wait: config.ack_wait,
            backoff: config.backoff.clone(),
            max_deliver: u64::try_from(config.max_deliver).unwrap_or(0),
            max_ack_pending: usize::try_from(config.max_ack_pending).unwrap_or(0),
        }
    }

    /// How long to wait for the acknowledgement of a message that was redelivered that often.
    fn wait(&self, redelivered: u64) -> i64 {
        let step = usize::try_from(redelivered).unwrap_or(usize::MAX).min(self.backoff.len().saturating_sub(1));
        self.backoff.get(step).copied().unwrap_or(self.ack_wait)
    }
}

/// The state of one consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    rules: Rules,
    filter: Filter,
    delivered: Pair,
    floor: Pair,
    pending: BTreeMap<u64, Pending>,
    /// How often a message was delivered again; stays when the deliveries are exhausted, until the message leaves.
    redelivered: BTreeMap<u64, u64>,
    queue: VecDeque<u64>,
    timers: BinaryHeap<Reverse<(i64, u64)>>,
    /// The next sequence to look at.
    cursor: u64,
    /// Deliver these first, then go on after `resume`.
    skip: VecDeque<u64>,
    resume: u64,
    num_pending: u64,
    last_delivered: Option<i64>,
    last_ack: Option<i64>,
    journal: Journal,
    rewrite: bool,
}

impl Consumer {
    /// A new consumer at the start its configuration asks for.
    pub fn start<L: Copy>(config: &ConsumerConfig, index: &Index<L>, one_per_subject: bool) -> Consumer {
        let filter = Filter::new(config.filters());
        let (first, last) = (index.first_seq(), index.last_seq());
        let mut skip = VecDeque::new();
        let start = match config.deliver_policy {
            DeliverPolicy::All => first,
            DeliverPolicy::New => last + 1,
            DeliverPolicy::Last if filter.is_all() => last,
            DeliverPolicy::Last => filter.patterns().filter_map(|p| index.last_for(p)).max().unwrap_or(last + 1),
            DeliverPolicy::LastPerSubject if one_per_subject => first,
            DeliverPolicy::LastPerSubject => {
                skip = index.last_per_subject(&filter).into();
                skip.front().copied().unwrap_or(last + 1)
            }
            DeliverPolicy::ByStartSequence => config.opt_start_seq,
            DeliverPolicy::ByStartTime => index.seq_at(config.opt_start_time.map_or(i64::MIN, |time| time.0)),
        };
        let start = match config.deliver_policy {
            DeliverPolicy::ByStartSequence => start.max(first),
            _ => start.min(last + 1).max(first),
        };
        let before = Pair { consumer: 0, stream: start - 1 };
        let mut consumer = Consumer::bare(config, before);
        consumer.resume = if skip.is_empty() { 0 } else { last };
        consumer.skip = skip;
        consumer.recount(index);
        consumer
    }

    /// A consumer that has delivered nothing beyond `at`; the state is filled in by a restore.
    fn bare(config: &ConsumerConfig, at: Pair) -> Consumer {
        Consumer {
            rules: Rules::of(config),
            filter: Filter::new(config.filters()),
            delivered: at,
            floor: at,
            pending: BTreeMap::new(),
            redelivered: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BinaryHeap::new(),
            cursor: at.stream + 1,
            skip: VecDeque::new(),
            resume: 0,
            num_pending: 0,
            last_delivered: None,
            last_ack: None,
            journal: Journal::default(),
            rewrite: true,
        }
    }

    /// Takes over a changed configuration.
    pub fn update<L: Copy>(&mut self, config: &ConsumerConfig, index: &Index<L>) {
        self.rules = Rules::of(config);
        let filter = Filter::new(config.filters());
        if !filter.patterns().eq(self.filter.patterns()) {
            self.filter = filter;
            let filter = &mut self.filter;
            self.skip.retain(|seq| index.get(*seq).is_some_and(|m| filter.matches_id(&index.subjects, m.subject)));
            self.recount(index);
        }
        self.rewrite = true;
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether a message of this subject is for this consumer.
    pub fn wants<L: Copy>(&mut self, index: &Index<L>, subject: u32) -> bool {
        self.filter.matches_id(&index.subjects, subject)
    }

    /// The last delivery.
    pub fn delivered(&self) -> Pair {
        self.delivered
    }

    /// Everything up to here is done.
    pub fn ack_floor(&self) -> Pair {
        self.floor
    }

    /// The last sequence that was delivered or passed over.
    pub fn last_looked_at(&self) -> u64 {
        self.cursor - 1
    }

    /// Whether a sequence may have been delivered already.
    pub fn is_past(&self, seq: u64) -> bool {
        seq < self.cursor || self.pending.contains_key(&seq)
    }

    /// How many messages wait for their acknowledgement.
    pub fn num_ack_pending(&self) -> usize {
        self.pending.len()
    }

    /// How many messages were delivered more than once and are still there.
    pub fn num_redelivered(&self) -> usize {
        if self.rules.max_deliver == 1 { 0 } else { self.redelivered.len() }
    }

    /// How many matching messages were never delivered.
    pub fn num_pending(&self) -> u64 {
        self.num_pending
    }

    /// How many messages wait for their redelivery.
    pub fn num_queued(&self) -> usize {
        self.queue.len()
    }

    /// When something was delivered last.
    pub fn last_delivered(&self) -> Option<i64> {
        self.last_delivered
    }

    /// When something was acknowledged last.
    pub fn last_ack(&self) -> Option<i64> {
        self.last_ack
    }

    /// The latest time an outstanding message is due again.
    pub fn last_due(&self) -> Option<i64> {
        self.pending.values().map(|pending| if pending.due == QUEUED { pending.ts } else { pending.due }).max()
    }

    fn recount<L: Copy>(&mut self, index: &Index<L>) {
        self.skip.retain(|seq| *seq > self.delivered.stream && index.contains(*seq));
        self.num_pending = if self.skip.is_empty() {
            self.cursor = self.cursor.max(self.resume + 1);
            index.count_matching(&self.filter, self.cursor)
        } else {
            self.skip.len() as u64 + index.count_matching(&self.filter, self.resume + 1)
        };
    }
}
