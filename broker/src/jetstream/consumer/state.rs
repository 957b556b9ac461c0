//! A consumer's state as bytes: the snapshot that notes add to, and the way back.

use std::cmp::Reverse;

use super::super::consumer_config::{AckPolicy, ConsumerConfig};
use super::super::index::Index;
use super::super::journal::{Delta, Reader, deltas, push, push_signed};
use super::{Consumer, Pair, Pending, QUEUED};

const VERSION: u8 = 1;

impl Consumer {
    /// The whole state; what was to be noted is in it.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for pair in [self.delivered, self.floor] {
            push(&mut out, pair.consumer);
            push(&mut out, pair.stream);
        }
        for time in [self.last_delivered, self.last_ack] {
            push_signed(&mut out, time.unwrap_or_default());
        }
        push(&mut out, self.pending.len() as u64);
        let mut before = 0;
        for (seq, pending) in &self.pending {
            push(&mut out, seq - before);
            push(&mut out, pending.dseq);
            push_signed(&mut out, pending.ts);
            push_signed(&mut out, pending.due);
            before = *seq;
        }
        push(&mut out, self.redelivered.len() as u64);
        let mut before = 0;
        for (seq, count) in &self.redelivered {
            push(&mut out, seq - before);
            push(&mut out, *count);
            before = *seq;
        }
        push(&mut out, self.resume);
        push(&mut out, self.skip.len() as u64);
        let mut before = 0;
        for seq in &self.skip {
            push(&mut out, seq - before);
            before = *seq;
        }
        self.rewritten();
        out
    }

    /// The state of a snapshot and its notes. What can not be read is left out: then messages come again, never less.
    pub fn restore<L: Copy>(
        config: &ConsumerConfig,
        index: &Index<L>,
        snapshot: &[u8],
        notes: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Consumer {
        let mut consumer = Consumer::bare(config, Pair::default());
        let complete = read(&mut consumer, &mut Reader(snapshot)).is_some();
        let (mut gap, mut doubted) = (false, false);
        for delta in notes.into_iter().flat_map(|note| deltas(note.as_ref()).collect::<Vec<_>>()) {
            if let Delta::Delivered { dseq, seq, .. } = delta {
                gap |= dseq > consumer.delivered.consumer.saturating_add(1);
                // What is delivered for the first time goes up with the sequences: this is where the gap ends.
                if gap && seq > consumer.delivered.stream {
                    consumer.doubt(dseq, seq, index);
                    (gap, doubted) = (false, true);
                }
            }
            consumer.replay(delta);
        }
        // The stream's sequences are never used again, so nothing beyond it was delivered. A start that was asked for may
        // well lie there.
        if consumer.delivered.consumer > 0 {
            consumer.delivered.stream = consumer.delivered.stream.min(index.last_seq());
        }
        consumer.floor.stream = consumer.floor.stream.min(consumer.delivered.stream);
        consumer.settle(index);
        if !complete || doubted {
            consumer.mark_rewrite();
        }
        consumer
    }

    /// A note about deliveries is lost. Whatever they may have been is outstanding, so that it comes again.
    fn doubt<L: Copy>(&mut self, dseq: u64, seq: u64, index: &Index<L>) {
        if self.rules.ack == AckPolicy::None {
            return;
        }
        let from = self.delivered.stream.saturating_add(1);
        let skip: Vec<u64> = self.skip.iter().copied().filter(|at| (from..seq).contains(at)).collect();
        let from = if self.skip.is_empty() { from } else { from.max(self.resume.saturating_add(1)) };
        let later = index.iter(from).take_while(|(at, _)| *at < seq).map(|(at, meta)| (at, meta.subject));
        let (filter, mut seqs) = (&mut self.filter, skip);
        seqs.extend(later.filter(|(_, subject)| filter.matches_id(&index.subjects, *subject)).map(|(at, _)| at));
        for (at, first) in seqs.into_iter().zip(self.delivered.consumer.saturating_add(1)..dseq) {
            self.pending.entry(at).or_insert(Pending { dseq: first, ts: 0, due: 0 });
        }
    }

    /// Takes over one stored change.
    pub(super) fn replay(&mut self, delta: Delta) {
        match delta {
            Delta::Delivered { dseq, seq, run, count, ts } => {
                // A run never spans more than was delivered at one time; the bound keeps damaged notes from looping.
                for i in 0..run.min(1 << 24) {
                    self.apply_delivered(dseq + i, seq + i, count.max(1), ts);
                }
            }
            Delta::Done { seq, run } => {
                for i in 0..run.min(1 << 24) {
                    self.apply_done(seq + i);
                }
            }
            Delta::DoneUpTo { seq, dseq } => self.apply_done_up_to(seq, dseq, &mut Vec::new()),
            Delta::Due { seq, at } => {
                if let Some(pending) = self.pending.get_mut(&seq) {
                    pending.due = at;
                    self.timer(at, seq);
                }
            }
            Delta::Exhausted { seq } => self.apply_exhausted(seq),
        }
    }

    /// After all stored changes: drops what the stream no longer has and counts.
    pub(super) fn settle<L: Copy>(&mut self, index: &Index<L>) {
        let gone: Vec<u64> = self.pending.keys().copied().filter(|seq| !index.contains(*seq)).collect();
        for seq in gone {
            self.apply_done(seq);
        }
        self.redelivered.retain(|seq, _| index.contains(*seq));
        // What waited in the redelivery queue is due at once.
        self.pending.values_mut().filter(|pending| pending.due == QUEUED).for_each(|pending| pending.due = 0);
        self.timers = self.pending.iter().map(|(seq, pending)| Reverse((pending.due, *seq))).collect();
        self.cursor = self.delivered.stream + 1;
        self.recount(index);
        if let Some(first) = self.skip.front() {
            self.cursor = *first;
        }
        self.journal.clear();
        self.rewrite = false;
    }

    /// What changed since the last call, to be noted; empty when nothing did.
    pub fn take_note(&mut self) -> Vec<u8> {
        self.journal.take()
    }

    /// Whether something changed that a note can not tell: write a snapshot instead.
    pub fn wants_rewrite(&self) -> bool {
        self.rewrite
    }

    /// Whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        self.rewrite || !self.journal.is_empty()
    }

    /// The next note failed to be written: the next write is a snapshot.
    pub fn mark_rewrite(&mut self) {
        self.rewrite = true;
    }

    /// What changed is written, or is not to be kept.
    pub fn rewritten(&mut self) {
        self.journal.clear();
        self.rewrite = false;
    }
}

fn read(consumer: &mut Consumer, reader: &mut Reader<'_>) -> Option<()> {
    if reader.byte()? != VERSION {
        return None;
    }
    let pair = |reader: &mut Reader<'_>| Some(Pair { consumer: reader.number()?, stream: reader.number()? });
    consumer.delivered = pair(reader)?;
    consumer.floor = pair(reader)?;
    consumer.last_delivered = Some(reader.signed()?).filter(|ts| *ts != 0);
    consumer.last_ack = Some(reader.signed()?).filter(|ts| *ts != 0);
    let mut seq = 0u64;
    for _ in 0..reader.number()? {
        seq = seq.checked_add(reader.number()?)?;
        let pending = Pending { dseq: reader.number()?, ts: reader.signed()?, due: reader.signed()? };
        consumer.pending.insert(seq, pending);
    }
    let mut seq = 0u64;
    for _ in 0..reader.number()? {
        seq = seq.checked_add(reader.number()?)?;
        let count = reader.number()?;
        consumer.redelivered.insert(seq, count);
    }
    consumer.resume = reader.number()?;
    let mut seq = 0u64;
    for _ in 0..reader.number()? {
        seq = seq.checked_add(reader.number()?)?;
        consumer.skip.push_back(seq);
    }
    Some(())
}

#[cfg(test)]
mod tests;
