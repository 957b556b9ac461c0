//! From stored messages to clients: as much as is wanted, a bounded part per turn.

use natsune_protocol::encode::number;

use super::super::clock::SECOND;
use super::super::consumer::{Delivered, Next};
use super::super::consumer_config::AckPolicy;
use super::super::headers;
use super::Stream;
use super::active::Active;
use crate::router::Delivery;
use crate::store::{StoreError, Stored};

/// What one consumer gets per turn; then the others and the sessions' writers have theirs.
const MESSAGES: usize = 1024;
const BYTES: usize = 1 << 20;

/// Why a consumer's turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is nothing (more) to deliver.
    Idle,
    /// Something has to happen first.
    Blocked,
    /// Its part of the turn is used up.
    Budget,
}

impl Stream {
    /// Delivers for all consumers that want attention; true when some could go on at once.
    pub(super) fn deliver_all(&mut self) -> bool {
        let mut more = false;
        let mut at = 0;
        // Deliveries may touch further consumers, in streams that remove what is done.
        while let Some(id) = self.touched.get(at).copied() {
            at += 1;
            let Some(active) = self.consumers.get(&id) else { continue };
            let stop = match &active.push {
                _ if active.is_paused(self.now) => Stop::Blocked,
                Some(push) if !push.active => Stop::Blocked,
                None if active.waiting.is_empty() => continue,
                _ => self.deliver(id),
            };
            match stop {
                Stop::Budget => {
                    more = true;
                    self.unfinished.push(id);
                }
                Stop::Idle => self.tidy_idle(id),
                Stop::Blocked => {}
            }
        }
        more
    }

    /// One-shot requests end when there is nothing to deliver.
    fn tidy_idle(&mut self, id: u64) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        if active.waiting.has_one_shot() {
            let account = &self.host.account;
            active.waiting.tidy(true, self.now, |reply| account.has_interest(reply), &mut self.answers);
        }
    }

    fn deliver(&mut self, id: u64) -> Stop {
        let (mut messages, mut bytes) = (0, 0);
        let mut done = Vec::new();
        let mut scratch = Scratch::default();
        let stop = loop {
            if messages >= MESSAGES || bytes >= BYTES {
                break Stop::Budget;
            }
            match self.deliver_one(id, &mut scratch, &mut done) {
                Ok(size) => {
                    messages += 1;
                    bytes += size;
                }
                Err(stop) => break stop,
            }
        };
        self.done_on_delivery(done);
        stop
    }

    fn deliver_one(&mut self, id: u64, scratch: &mut Scratch, done: &mut Vec<u64>) -> Result<usize, Stop> {
        let Some(active) = self.consumers.get_mut(&id) else { return Err(Stop::Blocked) };
        match &active.push {
            None if active.waiting.is_empty() => return Err(Stop::Blocked),
            Some(push) if !push.active || push.is_stalled(&active.config) => return Err(Stop::Blocked),
            _ if active.not_before > self.now => return Err(Stop::Blocked),
            _ => {}
        }
        let mut events = Vec::new();
        let next = active.state.next(&self.index, &mut events);
        self.events.extend(events.into_iter().map(|event| (id, event)));
        let seq = match next {
            Next::Message(seq) => seq,
            Next::Nothing => return Err(Stop::Idle),
            Next::Full => return Err(Stop::Blocked),
        };
        let Some(meta) = self.index.get(seq) else { return Err(Stop::Blocked) };
        let stored = match self.store.read(self.handle.id, seq, meta.at) {
            Ok(stored) => stored,
            Err(error) => return self.unreadable(seq, &error),
        };
        if active.must_pace(&stored, self.now) {
            return Err(Stop::Blocked);
        }
        let delivered = active.state.peek(seq);
        scratch.prepare(active, &stored, delivered);
        let Ok(subject) = std::str::from_utf8(&stored.subject) else { return Err(Stop::Blocked) };
        let size = subject.len() + scratch.ack.len() + scratch.head_len(&stored) + scratch.payload(&stored).len();
        let account = &self.host.account;
        if active.push.is_some() {
            let target = active.config.deliver_subject.as_str();
            let taken =
                self.routes.get(account, target, |_| ()).matched().deliver(&scratch.message(subject, &stored, None));
            if taken == 0 {
                if let Some(push) = &mut active.push {
                    push.heard(false, self.now);
                }
                return Err(Stop::Blocked);
            }
        } else {
            let load = active.load();
            let Some(taken) = active.waiting.take(size, load, self.now, &mut self.answers) else {
                return Err(Stop::Blocked);
            };
            let message = scratch.message(subject, &stored, taken.pin.as_deref());
            let took = self.routes.get(account, &taken.reply, |_| ()).matched().deliver(&message);
            active.advise_pins(&self.host, &self.handle.name);
            if took == 0 {
                // The requester is gone; the message is for the next one.
                active.waiting.remove(&taken.reply);
                return Ok(0);
            }
            if let Some(completed) = taken.completed {
                self.host.send_head(&completed.reply, &completed.head);
            }
            active.last_active = self.now;
        }
        active.state.deliver(seq, self.now);
        active.paced(&stored, size, self.now);
        if active.config.ack_policy == AckPolicy::None {
            done.push(seq);
        }
        if active.push.is_some() {
            self.sent_push(id, size);
        }
        Ok(size)
    }

    /// A message that can not be read: a damaged one is lost and said to be, any other trouble is waited for.
    fn unreadable(&mut self, seq: u64, error: &StoreError) -> Result<usize, Stop> {
        match error {
            StoreError::Corrupt { .. } | StoreError::NotFound { .. } => {
                if matches!(error, StoreError::Corrupt { .. }) {
                    self.lost.push((seq, seq));
                }
                self.remove(seq);
                Ok(0)
            }
            _ => {
                self.retry_at = Some(self.now + SECOND);
                Err(Stop::Blocked)
            }
        }
    }

    /// A consumer's time has come: redeliveries, ends of requests, heartbeats, the end of a pause or of its life.
    pub(super) fn on_due(&mut self, id: u64) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        active.due = None;
        let mut events = Vec::new();
        active.state.expire(self.now, &self.index, &mut events);
        self.events.extend(events.into_iter().map(|event| (id, event)));
        let account = &self.host.account;
        active.waiting.tidy(false, self.now, |reply| account.has_interest(reply), &mut self.answers);
        let delivered = active.state.delivered();
        let head = || super::push::heartbeat(delivered.consumer, active.state.last_looked_at(), None);
        active.waiting.heartbeats(self.now, head, &mut self.answers);
        active.advise_pins(&self.host, &self.handle.name);
        if active.is_unused(self.now) {
            self.delete_consumer(id);
            return;
        }
        self.attend_push(id);
        self.touch(id);
    }
}

impl Active {
    /// Whether a message comes too early: replayed at its original pace.
    fn must_pace(&mut self, stored: &Stored, now: i64) -> bool {
        if stored.seq > self.replay_until {
            return false;
        }
        let Some(last) = self.last_ts else { return false };
        let due = self.paced_at.saturating_add(stored.ts.saturating_sub(last).max(0));
        if due > now {
            self.not_before = due;
            return true;
        }
        false
    }

    /// A message went out: the next one's time depends on it.
    fn paced(&mut self, stored: &Stored, size: usize, now: i64) {
        if self.replay_until > 0 {
            self.last_ts = Some(stored.ts);
            self.paced_at = now;
        }
        let bits = (size as u64).saturating_mul(8 * SECOND as u64);
        if let Some(pause) = bits.checked_div(self.config.rate_limit_bps) {
            self.not_before = self.not_before.max(now).saturating_add(i64::try_from(pause).unwrap_or(SECOND));
        }
    }
}

/// Buffers of one consumer's turn.
#[derive(Default)]
struct Scratch {
    ack: Vec<u8>,
    head: Option<Vec<u8>>,
    pinned: Vec<u8>,
    bodyless: bool,
}

impl Scratch {
    fn prepare(&mut self, active: &Active, stored: &Stored, delivered: Delivered) {
        self.ack.clear();
        self.ack.extend_from_slice(&active.ack_prefix);
        let ts = u64::try_from(stored.ts).unwrap_or(0);
        for (i, value) in [delivered.count, stored.seq, delivered.dseq, ts, delivered.pending].into_iter().enumerate() {
            if i > 0 {
                self.ack.push(b'.');
            }
            number(&mut self.ack, value);
        }
        self.bodyless = active.config.headers_only;
        self.head = self.bodyless.then(|| {
            let size = stored.payload.len().to_string();
            headers::extend(&stored.headers, [("Nats-Msg-Size", size.as_str())])
        });
    }

    fn head_len(&self, stored: &Stored) -> usize {
        self.head.as_ref().map_or(stored.headers.len(), Vec::len)
    }

    fn payload<'a>(&self, stored: &'a Stored) -> &'a [u8] {
        if self.bodyless { b"" } else { &stored.payload }
    }

    fn message<'a>(&'a mut self, subject: &'a str, stored: &'a Stored, pin: Option<&str>) -> Delivery<'a> {
        let payload = self.payload(stored);
        if let Some(pin) = pin {
            self.pinned = headers::extend(self.head.as_deref().unwrap_or(&stored.headers), [("Nats-Pin-Id", pin)]);
        }
        let head = match (&self.head, pin) {
            (_, Some(_)) => &self.pinned[..],
            (Some(head), None) => head,
            (None, None) => &stored.headers,
        };
        Delivery {
            subject,
            reply: std::str::from_utf8(&self.ack).ok(),
            headers: (!head.is_empty()).then_some(head),
            payload,
            origin: 0,
        }
    }
}
