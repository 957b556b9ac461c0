//! A consumer at work: its state machine, its waiting requests or its push side, and its clocks.

use serde_json::json;

use super::super::clock::{SECOND, Timestamp};
use super::super::consumer::{Consumer, Event};
use super::super::consumer_config::{ConsumerConfig, ReplayPolicy};
use super::super::host::Host;
use super::super::info::{ConsumerDoc, GroupDoc, SequenceDoc};
use super::super::pull::{Load, PinChange, Waiting};
use super::push::Push;

/// One consumer of a stream.
#[derive(Debug)]
pub struct Active {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: ConsumerConfig,
    /// When it was made.
    pub created: Timestamp,
    /// The state machine.
    pub state: Consumer,
    /// Pull requests.
    pub waiting: Waiting,
    /// The push side, of push consumers.
    pub push: Option<Push>,
    /// Where acknowledgements go, up to the numbers.
    pub ack_prefix: Vec<u8>,
    /// Kept in the store.
    pub persistent: bool,
    /// Bytes of the last snapshot and of the notes since.
    pub snapshot_bytes: usize,
    /// See `snapshot_bytes`.
    pub note_bytes: usize,
    /// Wants attention in this turn.
    pub touched: bool,
    /// When it is on the agenda.
    pub due: Option<i64>,
    /// Deliver nothing before this time: replay at the original pace, or a rate limit.
    pub not_before: i64,
    /// Time of the last message and when it went out, for the original pace.
    pub last_ts: Option<i64>,
    /// See `last_ts`.
    pub paced_at: i64,
    /// Sequences up to this one are delivered at their original pace.
    pub replay_until: u64,
    /// When somebody last used it.
    pub last_active: i64,
    /// Randomness of the inactivity limit, so that many consumers do not end at once.
    pub jitter: i64,
}

impl Active {
    /// A consumer at work.
    pub fn new(
        stream: &str,
        config: ConsumerConfig,
        created: Timestamp,
        state: Consumer,
        last: u64,
        now: i64,
    ) -> Active {
        let mut ack_prefix = b"$JS.ACK.".to_vec();
        ack_prefix.extend_from_slice(stream.as_bytes());
        ack_prefix.push(b'.');
        ack_prefix.extend_from_slice(config.name.as_bytes());
        ack_prefix.push(b'.');
        Active {
            name: config.name.clone(),
            created,
            state,
            waiting: Waiting::new(&config, now),
            push: config.is_push().then(|| Push::new(now)),
            ack_prefix,
            persistent: !config.mem_storage && !config.direct,
            snapshot_bytes: 0,
            note_bytes: 0,
            touched: false,
            due: None,
            not_before: 0,
            last_ts: None,
            paced_at: now,
            replay_until: if config.replay_policy == ReplayPolicy::Original { last } else { 0 },
            last_active: now,
            jitter: if config.is_push() { 0 } else { SECOND / 10 + i64::from(rand::random::<u16>()) * 13_000 },
            config,
        }
    }

    /// Whether it delivers nothing for now.
    pub fn is_paused(&self, now: i64) -> bool {
        self.config.pause_until.is_some_and(|until| until.0 > now)
    }

    /// What the choice of a request depends on.
    pub fn load(&self) -> Load {
        Load {
            pending: self.state.num_pending(),
            ack_pending: self.state.num_ack_pending(),
            queued: self.state.num_queued(),
        }
    }

    /// Since when nobody used it; none while somebody does.
    fn unused_since(&self) -> Option<i64> {
        match &self.push {
            Some(push) => (!push.active).then_some(push.inactive_since),
            None if !self.waiting.is_empty() => None,
            None => Some(self.waiting.last.max(self.last_active).max(self.state.last_due().unwrap_or(0))),
        }
    }

    /// When to see whether it ends for want of use.
    fn ends_at(&self, now: i64) -> Option<i64> {
        let threshold = self.config.inactive_threshold;
        let since = self.unused_since().unwrap_or(now);
        (threshold > 0).then(|| since.saturating_add(threshold).saturating_add(self.jitter))
    }

    /// Whether it ends for want of use.
    pub fn is_unused(&self, now: i64) -> bool {
        self.unused_since().is_some() && self.ends_at(now).is_some_and(|at| at <= now)
    }

    /// When it wants attention next.
    pub fn next_due(&mut self, now: i64) -> Option<i64> {
        let paused = self.config.pause_until.map(|until| until.0).filter(|until| *until > now);
        let push = self.push.as_ref().and_then(|push| push.next_due(&self.config, now));
        let pace = Some(self.not_before).filter(|at| *at > now);
        [self.state.next_due(), self.waiting.next_due(), self.ends_at(now), paused, push, pace]
            .into_iter()
            .flatten()
            .min()
    }

    /// The document.
    pub fn info(&self, stream: &str, now: i64, bound: bool) -> ConsumerDoc {
        let (delivered, floor) = (self.state.delivered(), self.state.ack_floor());
        let paused = self.is_paused(now);
        let remaining = self.config.pause_until.map_or(0, |until| until.0.saturating_sub(now));
        ConsumerDoc {
            stream_name: stream.to_owned(),
            name: self.name.clone(),
            created: self.created,
            config: self.config.for_answer(),
            delivered: SequenceDoc {
                consumer_seq: delivered.consumer,
                stream_seq: delivered.stream,
                last_active: self.state.last_delivered().map(Timestamp),
            },
            ack_floor: SequenceDoc {
                consumer_seq: floor.consumer,
                stream_seq: floor.stream,
                last_active: self.state.last_ack().map(Timestamp),
            },
            num_ack_pending: self.state.num_ack_pending(),
            num_redelivered: self.state.num_redelivered(),
            num_waiting: self.waiting.len(),
            num_pending: self.state.num_pending(),
            push_bound: bound,
            paused,
            pause_remaining: if paused { remaining } else { 0 },
            ts: Timestamp(now),
            priority_groups: self.groups(),
        }
    }

    fn groups(&self) -> Vec<GroupDoc> {
        let pin = self.waiting.pin();
        let group = self.config.priority_groups.first();
        let document = |group: &String| GroupDoc {
            group: group.clone(),
            pinned_client_id: pin.map(|pin| pin.id.clone()),
            pinned_ts: pin.map_or(Timestamp::ZERO, |pin| Timestamp(pin.since)),
        };
        group.map(document).into_iter().collect()
    }

    /// Tells applications what happened to a message.
    pub fn advise(&self, host: &Host, stream: &str, event: Event) {
        let consumer = self.name.as_str();
        match event {
            Event::MaxDeliveries { seq, deliveries } => host.advise(
                &format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.{consumer}"),
                "max_deliver",
                || json!({"stream": stream, "consumer": consumer, "stream_seq": seq, "deliveries": deliveries}),
            ),
            Event::Gone { seq, dseq, deliveries } => {
                self.advise_terminated(host, stream, (seq, dseq, deliveries), "Unacknowledged message was deleted");
            }
        }
    }

    /// Tells applications that a message was terminated.
    pub fn advise_terminated(&self, host: &Host, stream: &str, (seq, dseq, deliveries): (u64, u64, u64), reason: &str) {
        let consumer = self.name.as_str();
        host.advise(&format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.{consumer}"), "terminated", || {
            let mut event = json!({"stream": stream, "consumer": consumer, "consumer_seq": dseq, "stream_seq": seq,
                "deliveries": deliveries});
            if let (Some(map), false) = (event.as_object_mut(), reason.is_empty()) {
                map.insert("reason".into(), reason.into());
            }
            event
        });
    }

    /// Tells applications about pinned clients.
    pub fn advise_pins(&mut self, host: &Host, stream: &str) {
        let consumer = self.name.as_str();
        let group = self.config.priority_groups.first().map_or("", String::as_str);
        for pin in self.waiting.pins.drain(..) {
            match pin {
                PinChange::Pinned(id) => host.advise(
                    &format!("$JS.EVENT.ADVISORY.CONSUMER.PINNED.{stream}.{consumer}"),
                    "consumer_group_pinned",
                    || json!({"account": host.account.name, "stream": stream, "consumer": consumer, "group": group, "pinned_id": id}),
                ),
                PinChange::Unpinned(reason) => host.advise(
                    &format!("$JS.EVENT.ADVISORY.CONSUMER.UNPINNED.{stream}.{consumer}"),
                    "consumer_group_unpinned",
                    || json!({"account": host.account.name, "stream": stream, "consumer": consumer, "group": group, "reason": reason}),
                ),
            }
        }
    }
}
