//! What comes back: acknowledgements of every kind.

use super::super::consumer_config::AckPolicy;
use super::super::journal::Delta;
use super::{Consumer, Pair, QUEUED};

impl Consumer {
    /// A message is acknowledged or terminated; `done` gets what is no longer needed. False when it changes nothing.
    pub fn ack(&mut self, seq: u64, dseq: u64, now: i64, done: &mut Vec<u64>) -> bool {
        if seq == 0 || seq >= self.cursor && !self.pending.contains_key(&seq) {
            return false;
        }
        match self.rules.ack {
            AckPolicy::None => false,
            AckPolicy::Explicit => {
                if !self.apply_done(seq) {
                    return false;
                }
                self.last_ack = Some(now);
                self.journal.push(Delta::Done { seq, run: 1 });
                done.push(seq);
                true
            }
            AckPolicy::All | AckPolicy::FlowControl => {
                if dseq <= self.floor.consumer || seq <= self.floor.stream || dseq > self.delivered.consumer {
                    return false;
                }
                self.last_ack = Some(now);
                self.apply_done_up_to(seq, dseq, done);
                self.journal.push(Delta::DoneUpTo { seq, dseq });
                true
            }
        }
    }

    pub(super) fn apply_done_up_to(&mut self, seq: u64, dseq: u64, done: &mut Vec<u64>) {
        self.floor = Pair { consumer: dseq, stream: seq };
        let above = self.pending.split_off(&(seq + 1));
        done.extend(std::mem::replace(&mut self.pending, above).into_keys());
        self.redelivered = self.redelivered.split_off(&(seq + 1));
    }

    /// A message is wanted again, now or after a while. False when it does not wait for its acknowledgement.
    pub fn nak(&mut self, seq: u64, delay: Option<i64>, now: i64) -> bool {
        if !self.pending.contains_key(&seq) {
            return false;
        }
        match delay {
            None => self.enqueue(seq),
            Some(delay) => self.set_due(seq, now.saturating_add(delay.max(0)).min(QUEUED - 1)),
        }
        true
    }

    /// A message is still being worked on. False when it does not wait for its acknowledgement.
    pub fn progress(&mut self, seq: u64, now: i64) -> bool {
        let Some(pending) = self.pending.get_mut(&seq) else { return false };
        pending.ts = now;
        if pending.due != QUEUED {
            let again = self.redelivered.get(&seq).copied().unwrap_or_default();
            self.set_due(seq, now.saturating_add(self.rules.wait(again)).min(QUEUED - 1));
        }
        true
    }

    pub(super) fn set_due(&mut self, seq: u64, due: i64) {
        if let Some(pending) = self.pending.get_mut(&seq) {
            if pending.due == QUEUED {
                self.queue.retain(|queued| *queued != seq);
            }
            pending.due = due;
            self.timer(due, seq);
            self.journal.push(Delta::Due { seq, at: due });
        }
    }

    /// Whether a message must stay for this consumer, in streams that remove what is done.
    pub fn needs(&self, seq: u64) -> bool {
        let open = match self.rules.ack {
            AckPolicy::Explicit => self.pending.contains_key(&seq) || seq > self.floor.stream && seq >= self.cursor,
            _ => seq > self.floor.stream,
        };
        open || self.redelivered.contains_key(&seq)
    }
}
