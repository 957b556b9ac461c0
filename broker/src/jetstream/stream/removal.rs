//! How messages leave: limits, age, lifetimes, roll-ups, purges. The index forgets at once, the store with the next commit.

use bytes::Bytes;
use natsune_protocol::header_get;

use super::super::clock::{SECOND, format_duration};
use super::super::journal::{Reader, push};
use super::super::mailbox::{Item, Published};
use super::super::stream_config::Retention;
use super::Stream;
use super::batch::{Batch, Outcome, Rollup};
use crate::router::Delivery;
use crate::store::Op;

/// Stored roll-up notes are forgotten when there are this many; applying one again does no harm.
const ROLLUPS_KEPT: usize = 256;
/// Messages that may end in one turn; the rest follows in the next.
const EXPIRED_PER_TURN: usize = 10_000;

impl Stream {
    /// Takes a message out and tells the consumers.
    pub(super) fn remove(&mut self, seq: u64) -> bool {
        let Some(meta) = self.take_out(seq) else { return false };
        let mut events = Vec::new();
        for (id, active) in &mut self.consumers {
            let matched = active.state.wants(&self.index, meta);
            active.state.on_removed(seq, matched, &mut events);
            if active.state.is_dirty() && !active.touched {
                active.touched = true;
                self.touched.push(*id);
            }
            self.events.extend(events.drain(..).map(|event| (*id, event)));
        }
        true
    }

    /// Takes a message out; the number of its subject.
    fn take_out(&mut self, seq: u64) -> Option<u32> {
        let meta = self.index.remove(seq)?;
        self.changed = true;
        self.removed.push((seq, meta.at));
        self.expiry.remove(seq);
        self.host.usage.sub(self.config.storage, u64::from(meta.bytes));
        self.host.server.usage.sub(self.config.storage, u64::from(meta.bytes));
        Some(meta.subject)
    }

    /// Takes many messages out; the consumers count anew.
    pub(super) fn remove_many(&mut self, seqs: &[u64]) -> u64 {
        let removed = seqs.iter().filter(|seq| self.take_out(**seq).is_some()).count() as u64;
        if removed > 0 {
            let first = self.index.first_seq();
            for active in self.consumers.values_mut() {
                active.state.on_purged(first, &self.index);
            }
            self.attend_all();
        }
        removed
    }

    /// After a batch: the oldest go until the limits hold.
    pub(super) fn enforce_limits(&mut self, batch: &Batch) {
        let most = self.config.max_msgs_per_subject;
        if most > 0 {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            for entry in batch.entries.iter().filter(|entry| entry.outcome == Outcome::Stored) {
                let name = std::str::from_utf8(&entry.subject).unwrap_or_default();
                if let Some(id) = self.index.subjects.find(name) {
                    self.trim_subject(id, most);
                }
            }
        }
        self.trim();
    }

    /// After a change of the limits.
    pub(super) fn enforce_all_limits(&mut self) {
        let most = self.config.max_msgs_per_subject;
        if most > 0 {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let all: Vec<u32> = self.index.subjects.all().collect();
            all.into_iter().for_each(|id| self.trim_subject(id, most));
        }
        self.trim();
        self.expire_messages();
    }

    fn trim_subject(&mut self, id: u32, most: usize) {
        while self.index.subjects.count(id) > most {
            let Some(first) = self.index.subjects.first(id) else { return };
            if !self.remove(first) {
                return;
            }
        }
    }

    fn trim(&mut self) {
        let (messages, bytes) = (self.config.max_msgs, self.config.max_bytes);
        while messages > 0 && self.index.messages() > messages.unsigned_abs()
            || bytes > 0 && self.index.bytes() > bytes.unsigned_abs()
        {
            let Some(first) = self.index.first().map(|(seq, _)| seq) else { return };
            self.remove(first);
        }
    }

    /// Removes what is too old, or leaves a marker where one is wanted.
    pub(super) fn expire_messages(&mut self) {
        let mut left = EXPIRED_PER_TURN;
        while left > 0
            && let Some(seq) = self.expiry.due(self.now)
        {
            left -= 1;
            self.expiry.remove(seq);
            if !self.leave_marker(seq) {
                self.remove(seq);
            }
        }
        let age = self.config.max_age;
        if age <= 0 {
            return;
        }
        let mut from = 0;
        while left > 0
            && let Some((seq, meta)) = self.index.next(from)
            && meta.ts.saturating_add(age) <= self.now
        {
            from = seq + 1;
            left -= 1;
            // A message that never ends stays in front of those that do.
            if !self.expiry.is_never(seq) && !self.marked.contains(&seq) && !self.leave_marker(seq) {
                self.remove(seq);
            }
        }
    }

    /// When the next message is too old.
    pub(super) fn next_expiry(&self) -> Option<i64> {
        let age = self.config.max_age;
        let mut first = self.index.first();
        while let Some((seq, _)) = first
            && age > 0
            && (self.expiry.is_never(seq) || self.marked.contains(&seq))
        {
            first = self.index.next(seq + 1);
        }
        let oldest = first.filter(|_| age > 0).map(|(_, meta)| meta.ts.saturating_add(age));
        [oldest, self.expiry.next_due()].into_iter().flatten().min()
    }

    /// Publishes a marker in the place of the last message of a subject; it removes what it stands for.
    fn leave_marker(&mut self, seq: u64) -> bool {
        let ttl = self.config.subject_delete_marker_ttl / SECOND * SECOND;
        if ttl <= 0 || self.is_closing() {
            return false;
        }
        let Some(meta) = self.index.get(seq).copied() else { return false };
        if self.index.subjects.last(meta.subject) != Some(seq) {
            return false;
        }
        let Ok(stored) = self.store.read(self.handle.id, seq, meta.at) else { return false };
        if is_marker(&stored.headers) {
            return false;
        }
        let name = self.index.subjects.name(meta.subject).clone();
        let head = format!(
            "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {}\r\nNats-Rollup: sub\r\n\r\n",
            format_duration(ttl)
        );
        self.marked.insert(seq);
        let headers = Some(head.as_bytes());
        let marker = Delivery { subject: &name, reply: None, headers, payload: b"", origin: 0 };
        self.backlog.push_back(Item::Publish(Published::of(&marker)));
        true
    }

    /// A marker was refused: what it should have replaced ends all the same.
    pub(super) fn end_without_marker(&mut self, marker: &Published) {
        if self.marked.is_empty() || !marker.reply().is_empty() {
            return;
        }
        let subject = marker.subject();
        let last = self.index.subjects.find(std::str::from_utf8(&subject).unwrap_or_default());
        if let Some(seq) = last.and_then(|id| self.index.subjects.last(id)).filter(|seq| self.marked.remove(seq)) {
            self.remove(seq);
        }
    }

    /// The note that makes a roll-up whole even when the server ends before the removals are stored.
    pub(super) fn rollup_op(&mut self, seq: u64, rollup: Rollup, subject: &[u8]) -> Option<Op> {
        if !self.is_durable() {
            return None;
        }
        self.rollups += 1;
        Some(Op::Note { key: self.rollup_key(), bytes: rollup_note(seq, rollup, subject).into() })
    }

    /// The message replaces all before it.
    pub(super) fn apply_rollup(&mut self, seq: u64, rollup: Rollup, subject: u32) {
        let gone: Vec<u64> = match rollup {
            Rollup::None => return,
            Rollup::Subject => self.index.subjects.before(subject, seq),
            Rollup::All => self.index.iter(0).map(|(seq, _)| seq).take_while(|before| *before < seq).collect(),
        };
        for seq in gone {
            self.marked.remove(&seq);
            self.remove(seq);
        }
    }

    /// Forgets the notes of roll-ups whose removals are stored with this commit or before.
    pub(super) fn forget_rollups(&mut self) -> Option<Op> {
        let quiet = self.batch.is_none() && self.flights.is_empty() && self.held_back.is_empty();
        if self.rollups < ROLLUPS_KEPT || !quiet {
            return None;
        }
        self.rollups = 0;
        Some(Op::Delete { key: self.rollup_key() })
    }

    /// What a purge removes: by filter, up to a sequence, all but the newest.
    pub(super) fn purge(&mut self, filter: &str, until: u64, keep: u64) -> u64 {
        if until == 1 {
            return 0;
        }
        let everything = filter.is_empty() || filter == ">";
        let mut seqs: Vec<u64> = if everything {
            self.index.iter(0).map(|(seq, _)| seq).collect()
        } else {
            let mut seqs: Vec<u64> = self
                .index
                .subjects
                .matching(filter)
                .into_iter()
                .flat_map(|id| self.index.subjects.before(id, u64::MAX))
                .collect();
            seqs.sort_unstable();
            seqs
        };
        if until > 0 {
            seqs.truncate(seqs.partition_point(|seq| *seq < until));
        }
        if keep > 0 {
            seqs.truncate(seqs.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX)));
        }
        let removed = self.remove_many(&seqs);
        if everything && until > self.index.last_seq() + 1 {
            // A purge up to a sequence that was not used yet moves the stream there.
            self.index.skip_to(until - 1);
            self.changed = true;
            self.ops.push(Op::HighWater { stream: self.handle.id, seq: until - 1 });
            let first = self.index.first_seq();
            for active in self.consumers.values_mut() {
                active.state.on_purged(first, &self.index);
            }
            self.attend_all();
        }
        removed
    }

    /// Messages that are done for one consumer leave when the retention says so.
    pub(super) fn release(&mut self, done: Vec<u64>) {
        for seq in done {
            self.release_if_unneeded(seq);
        }
    }

    /// Removes a message that no consumer needs.
    pub(super) fn release_if_unneeded(&mut self, seq: u64) {
        let Some(subject) = self.index.get(seq).map(|meta| meta.subject) else { return };
        let index = &self.index;
        let needed =
            self.consumers.values_mut().any(|active| active.state.wants(index, subject) && active.state.needs(seq));
        if !needed {
            self.remove(seq);
        }
    }

    /// After consumers came, changed or went, in streams that keep only what somebody wants.
    pub(super) fn release_all_unneeded(&mut self) {
        if self.config.retention != Retention::Interest {
            return;
        }
        let all: Vec<u64> = self.index.iter(0).map(|(seq, _)| seq).collect();
        if self.consumers.is_empty() {
            self.remove_many(&all);
            return;
        }
        self.release(all);
    }
}

/// Whether a message only says that another one ended: it needs no marker of its own.
fn is_marker(headers: &[u8]) -> bool {
    header_get(headers, "Nats-Marker-Reason").is_some() || header_get(headers, "KV-Operation") == Some("PURGE")
}

/// The bytes of a roll-up note.
fn rollup_note(seq: u64, rollup: Rollup, subject: &[u8]) -> Vec<u8> {
    let mut note = Vec::with_capacity(subject.len() + 12);
    push(&mut note, seq);
    note.push(u8::from(rollup == Rollup::All));
    push(&mut note, subject.len() as u64);
    note.extend_from_slice(subject);
    note
}

/// Reads roll-up notes: sequence, and the subject unless it was all of them.
pub(super) fn read_rollups(notes: &[Bytes]) -> Vec<(u64, Option<String>)> {
    let mut found = Vec::new();
    for note in notes {
        let mut reader = Reader(note);
        let read = (
            reader.number(),
            reader.byte(),
            reader.bytes().map(|subject| String::from_utf8_lossy(subject).into_owned()),
        );
        if let (Some(seq), Some(all), Some(subject)) = read {
            found.push((seq, (all == 0).then_some(subject)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollup_notes_round_trip() {
        let notes = [rollup_note(7, Rollup::Subject, b"a.b").into(), rollup_note(900, Rollup::All, b"x").into()];
        assert_eq!(read_rollups(&notes), [(7, Some("a.b".to_owned())), (900, None)]);
        assert!(read_rollups(&[Bytes::from_static(&[0x80])]).is_empty());
    }
}
