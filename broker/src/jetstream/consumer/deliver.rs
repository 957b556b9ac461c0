//! What goes out: the next message, its delivery, and what is due again.

use std::cmp::Reverse;

use super::super::consumer_config::AckPolicy;
use super::super::index::Index;
use super::super::journal::Delta;
use super::{Consumer, Delivered, Event, Next, Pair, Pending, QUEUED};

impl Consumer {
    /// What to deliver next. Nothing changes but what can not be delivered at all.
    pub fn next<L: Copy>(&mut self, index: &Index<L>, events: &mut Vec<Event>) -> Next {
        while let Some(seq) = self.queue.front().copied() {
            let waits = self.pending.get(&seq).is_some_and(|pending| pending.due == QUEUED);
            if waits && !index.contains(seq) {
                self.gone(seq, events);
            } else if waits && !self.exhausted(seq, events) {
                return Next::Message(seq);
            }
            self.queue.pop_front();
        }
        if self.rules.max_ack_pending > 0 && self.pending.len() >= self.rules.max_ack_pending {
            return Next::Full;
        }
        while let Some(seq) = self.skip.front().copied() {
            if index.contains(seq) {
                return Next::Message(seq);
            }
            self.skip.pop_front();
            self.cursor = self.cursor.max(if self.skip.is_empty() { self.resume + 1 } else { seq + 1 });
        }
        match index.next_matching(&mut self.filter, self.cursor) {
            Some(seq) => {
                self.cursor = seq;
                Next::Message(seq)
            }
            None => {
                self.cursor = self.cursor.max(index.last_seq() + 1);
                Next::Nothing
            }
        }
    }

    /// What [`Consumer::deliver`] would say.
    pub fn peek(&self, seq: u64) -> Delivered {
        let dseq = self.delivered.consumer + 1;
        if self.pending.contains_key(&seq) {
            let count = self.redelivered.get(&seq).copied().unwrap_or_default() + 2;
            return Delivered { dseq, count, pending: self.num_pending };
        }
        Delivered { dseq, count: 1, pending: self.num_pending.saturating_sub(1) }
    }

    /// The message that [`Consumer::next`] named goes out.
    pub fn deliver(&mut self, seq: u64, now: i64) -> Delivered {
        let dseq = self.delivered.consumer + 1;
        let again = self.pending.contains_key(&seq);
        let count = if again {
            if self.queue.front() == Some(&seq) {
                self.queue.pop_front();
            }
            let redelivered = self.redelivered.entry(seq).or_default();
            *redelivered += 1;
            *redelivered + 1
        } else {
            if self.skip.front() == Some(&seq) {
                self.skip.pop_front();
                self.cursor = if self.skip.is_empty() { self.resume.max(seq) + 1 } else { seq + 1 };
            } else {
                self.cursor = seq + 1;
            }
            self.num_pending = self.num_pending.saturating_sub(1);
            1
        };
        self.apply_delivered(dseq, seq, count, now);
        self.journal.push(Delta::Delivered { dseq, seq, run: 1, count, ts: now });
        Delivered { dseq, count, pending: self.num_pending }
    }

    pub(super) fn apply_delivered(&mut self, dseq: u64, seq: u64, count: u64, now: i64) {
        self.delivered.consumer = self.delivered.consumer.max(dseq);
        self.delivered.stream = self.delivered.stream.max(seq);
        self.last_delivered = Some(now);
        if self.rules.ack == AckPolicy::None {
            self.floor = self.delivered;
            return;
        }
        let due = now.saturating_add(self.rules.wait(count - 1));
        let first = self.pending.get(&seq).map_or(dseq, |pending| pending.dseq);
        self.pending.insert(seq, Pending { dseq: first, ts: now, due });
        if count > 1 {
            self.redelivered.insert(seq, count - 1);
        }
        self.timer(due, seq);
    }

    pub(super) fn timer(&mut self, due: i64, seq: u64) {
        if self.timers.len() > 64 && self.timers.len() > 4 * self.pending.len() {
            let pending = &self.pending;
            self.timers.retain(|Reverse((due, seq))| pending.get(seq).is_some_and(|p| p.due == *due));
        }
        self.timers.push(Reverse((due, seq)));
    }

    /// When [`Consumer::expire`] has something to do.
    pub fn next_due(&mut self) -> Option<i64> {
        while let Some(Reverse((due, seq))) = self.timers.peek().copied() {
            if self.pending.get(&seq).is_some_and(|pending| pending.due == due) {
                return Some(due);
            }
            self.timers.pop();
        }
        None
    }

    /// Queues what is due again.
    pub fn expire<L: Copy>(&mut self, now: i64, index: &Index<L>, events: &mut Vec<Event>) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((_, seq))) = self.timers.pop() else { break };
            if !index.contains(seq) {
                self.gone(seq, events);
            } else if !self.exhausted(seq, events) {
                self.enqueue(seq);
            }
        }
    }

    /// Everything outstanding is due now.
    pub fn expire_all<L: Copy>(&mut self, index: &Index<L>, events: &mut Vec<Event>) {
        let outstanding: Vec<u64> = self.pending.iter().filter(|(_, p)| p.due != QUEUED).map(|(seq, _)| *seq).collect();
        for seq in outstanding {
            if !index.contains(seq) {
                self.gone(seq, events);
            } else if !self.exhausted(seq, events) {
                self.enqueue(seq);
            }
        }
    }

    pub(super) fn enqueue(&mut self, seq: u64) {
        if let Some(pending) = self.pending.get_mut(&seq)
            && pending.due != QUEUED
        {
            pending.due = QUEUED;
            self.queue.push_back(seq);
        }
    }

    /// Gives a message up when it was delivered as often as allowed.
    pub(super) fn exhausted(&mut self, seq: u64, events: &mut Vec<Event>) -> bool {
        let deliveries = self.redelivered.get(&seq).copied().unwrap_or_default() + 1;
        if self.rules.max_deliver == 0 || deliveries < self.rules.max_deliver {
            return false;
        }
        events.push(Event::MaxDeliveries { seq, deliveries });
        self.apply_exhausted(seq);
        self.journal.push(Delta::Exhausted { seq });
        true
    }

    pub(super) fn apply_exhausted(&mut self, seq: u64) {
        if let Some(pending) = self.pending.remove(&seq) {
            self.redelivered.entry(seq).or_insert(0);
            self.move_floor(pending.dseq, seq);
        }
    }

    pub(super) fn gone(&mut self, seq: u64, events: &mut Vec<Event>) {
        let deliveries = self.redelivered.get(&seq).copied().unwrap_or_default() + 1;
        if let Some(pending) = self.pending.get(&seq) {
            events.push(Event::Gone { seq, dseq: pending.dseq, deliveries });
        }
        if self.apply_done(seq) {
            self.journal.push(Delta::Done { seq, run: 1 });
        }
    }

    pub(super) fn apply_done(&mut self, seq: u64) -> bool {
        let known = self.redelivered.remove(&seq).is_some();
        match self.pending.remove(&seq) {
            Some(pending) => {
                self.move_floor(pending.dseq, seq);
                true
            }
            None => known,
        }
    }

    /// The floor rises when the message right above it is done.
    pub(super) fn move_floor(&mut self, dseq: u64, seq: u64) {
        if self.pending.is_empty() {
            self.floor = self.delivered;
        } else if dseq == self.floor.consumer + 1 {
            self.floor = match self.pending.range(seq + 1..).next() {
                Some((next, pending)) if pending.dseq > 0 => Pair { consumer: pending.dseq - 1, stream: next - 1 },
                _ => Pair { consumer: dseq, stream: seq },
            };
        }
    }
}
