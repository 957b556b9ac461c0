//! What happens to the stream, and what it means for the consumer.

use super::super::index::Index;
use super::{Consumer, Event, Pair};

impl Consumer {
    /// A matching message was stored.
    pub fn on_stored(&mut self, seq: u64) {
        if seq >= self.cursor {
            self.num_pending += 1;
        }
    }

    /// A message left the stream. `matched` says whether the filter knows its subject.
    pub fn on_removed(&mut self, seq: u64, matched: bool, events: &mut Vec<Event>) {
        if !self.skip.is_empty() && seq <= self.resume {
            if let Ok(at) = self.skip.binary_search(&seq) {
                self.skip.remove(at);
                self.num_pending = self.num_pending.saturating_sub(1);
                if self.skip.is_empty() {
                    self.cursor = self.cursor.max(self.resume + 1);
                }
            }
        } else if matched && seq >= self.cursor {
            self.num_pending = self.num_pending.saturating_sub(1);
        }
        self.gone(seq, events);
    }

    /// Much left the stream at once; nothing before `first` is there for this consumer.
    pub fn on_purged<L: Copy>(&mut self, first: u64, index: &Index<L>) {
        if self.cursor < first {
            self.cursor = first;
            self.delivered.stream = self.delivered.stream.max(first - 1);
        }
        let mut last = self.floor.consumer;
        self.pending.retain(|seq, pending| {
            let kept = *seq >= first && index.contains(*seq);
            if !kept {
                last = last.max(pending.dseq);
            }
            kept
        });
        self.redelivered.retain(|seq, _| index.contains(*seq));
        if self.floor.stream < first {
            self.floor = Pair { consumer: last, stream: first - 1 };
        }
        if self.pending.is_empty() {
            self.floor = Pair { consumer: self.delivered.consumer, stream: self.cursor - 1 };
            self.delivered.stream = self.delivered.stream.max(self.cursor - 1);
        }
        let pending = &self.pending;
        self.queue.retain(|seq| pending.contains_key(seq));
        self.recount(index);
        self.rewrite = true;
    }

    /// Starts again at a sequence.
    pub fn reset<L: Copy>(&mut self, seq: u64, index: &Index<L>) {
        let seq = seq.max(1);
        self.pending.clear();
        self.redelivered.clear();
        self.queue.clear();
        self.timers.clear();
        self.skip.clear();
        self.resume = 0;
        self.cursor = seq;
        self.delivered = Pair { consumer: 0, stream: seq - 1 };
        self.floor = self.delivered;
        self.last_delivered = None;
        self.last_ack = None;
        self.recount(index);
        self.rewrite = true;
    }
}
