//! From a publish to an entry of a batch: every check in the order clients know, and the refusals.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use natsune_protocol::subject;

use super::super::clock::SECOND;
use super::super::errors::{self, ApiError};
use super::super::expiry::parse_ttl;
use super::super::headers::{self, Marks};
use super::super::limits::message_size;
use super::super::mailbox::{Item, Published};
use super::super::puback::{self, Extra};
use super::super::stream_config::{Discard, PersistMode, Retention, Storage};
use super::Stream;
use super::batch::{Batch, Entry, Outcome, Rollup};
use super::commit::Flight;
use crate::store::{Op, Wait};

const MAX_HEADER: usize = u16::MAX as usize;

impl Stream {
    /// Takes the publishes at the front of the backlog and hands them to the store.
    pub(super) fn collect_batch(&mut self) {
        let mut batch = Batch::new(self.index.last_seq());
        while !batch.is_full() {
            match self.backlog.pop_front() {
                Some(Item::Publish(message)) => match self.atomic_place(&message) {
                    None => self.stage(&mut batch, &message),
                    // What is stored whole or not at all is a commit of its own.
                    Some(true) if !batch.entries.is_empty() => {
                        self.backlog.push_front(Item::Publish(message));
                        break;
                    }
                    Some(_) => self.stage_atomic(&mut batch, &message),
                },
                Some(other) => {
                    self.backlog.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.handle.mailbox.settled(batch.taken.0, batch.taken.1);
        self.submit(batch);
    }

    /// Hands a batch to the store; what only repeats older messages is answered at once.
    pub(super) fn submit(&mut self, mut batch: Batch) {
        if batch.last == batch.before {
            self.acknowledge(&batch);
            return;
        }
        if batch.entries.last().is_some_and(|entry| entry.outcome != Outcome::Stored) || batch.messages == 0 {
            batch.ops.push(Op::HighWater { stream: self.handle.id, seq: batch.last });
        }
        if let Some((start, note)) = self.dedupe.take_note()
            && self.is_durable()
        {
            batch.ops.push(Op::Note { key: self.dedupe_key(start), bytes: note.into() });
        }
        if let Some(op) = self.expiry_op() {
            batch.ops.push(op);
        }
        let wait = match self.config.persist_mode {
            PersistMode::Async => Wait::Soon,
            PersistMode::Default if self.config.no_ack => Wait::Soon,
            PersistMode::Default => Wait::Durable,
        };
        let ops = std::mem::take(&mut batch.ops);
        self.batch = Some(batch);
        self.commit(ops, wait, Flight { batch: true, ..Flight::default() });
    }

    fn stage(&mut self, batch: &mut Batch, message: &Published) {
        batch.taken.0 += 1;
        batch.taken.1 += message.weight();
        if let Err(error) = self.admit(batch, message, false) {
            self.refuse(&message.reply(), &error);
            self.end_without_marker(message);
        }
    }

    pub(super) fn refuse(&self, reply: &[u8], error: &ApiError) {
        if let (false, Ok(reply)) = (self.config.no_ack || reply.is_empty(), std::str::from_utf8(reply)) {
            self.host.send(reply, &puback::refusal(&self.handle.name, error));
        }
    }

    /// Checks a publish and adds it to the batch. `grouped`: it belongs to messages that are stored together.
    pub(super) fn admit(&mut self, batch: &mut Batch, message: &Published, grouped: bool) -> Result<(), ApiError> {
        let mut subject = message.subject();
        let (mut head, mut payload) = (message.headers(), message.payload());
        let Ok(name) = std::str::from_utf8(&subject) else { return Err(errors::BAD_REQUEST) };
        if let Some(renamed) = self.transform.as_ref().and_then(|transform| transform.apply(name)) {
            subject = Bytes::from(renamed);
        }
        let config = self.config.clone();
        if config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        let body = head.len() + payload.len();
        if config.max_msg_size >= 0 && body as i64 > config.max_msg_size {
            return Err(errors::MESSAGE_TOO_LARGE);
        }
        if head.len() > MAX_HEADER {
            return Err(errors::HEADER_TOO_LARGE);
        }
        let marked = head.clone();
        let marks = Marks::read(&marked);
        if marks.batch_id.is_some() && !grouped {
            return Err(errors::ATOMIC_DISABLED);
        }
        self.check_counter(&marks, &payload)?;
        self.check_marks(batch, &marks, &subject)?;
        if let Some(id) = marks.msg_id
            && let Some(seq) = self.dedupe.find(id.as_bytes())
        {
            let duplicate = entry(Outcome::Duplicate, seq, self.now, subject, message.reply());
            batch.push(Entry { extra: Extra::Duplicate, ..duplicate });
            return Ok(());
        }
        if let Some(expected) = marks.expected_last_msg_id {
            let last = batch.last_msg_id.as_ref().unwrap_or(&self.last_msg_id);
            if expected.as_bytes() != &last[..] {
                return Err(errors::wrong_last_msg_id(&String::from_utf8_lossy(last)));
            }
        }
        let rollup = self.rollup(&marks)?;
        let ts = self.now.max(self.index.last_ts().unwrap_or(0));
        let seq = batch.last + 1;
        let msg_id = marks.msg_id.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes()));
        if config.retention == Retention::Interest && !self.is_wanted(&subject) {
            self.remember_id(ts, seq, &msg_id);
            batch.push(Entry { msg_id, ..entry(Outcome::Unwanted, seq, ts, subject, message.reply()) });
            return Ok(());
        }
        let mut ttl = match marks.ttl {
            None => 0,
            Some(text) => parse_ttl(text).ok_or(errors::MESSAGE_TTL_INVALID)?,
        };
        let least = config.subject_delete_marker_ttl / SECOND;
        if ttl > 0 && ttl < least && config.max_msgs_per_subject != 1 {
            // A shorter life than the marker's would let the marker of an older message hide this one's.
            ttl = least;
            head = headers::replace(&head, "Nats-TTL", &ttl.to_string()).into();
        }
        let mut extra = Extra::None;
        if let Some(step) = marks.incr {
            let value = self.count(batch, &subject, step)?;
            payload = Bytes::from(format!("{{\"val\":\"{value}\"}}"));
            extra = Extra::Value(value);
        }
        let size = message_size(config.storage, subject.len(), head.len(), payload.len());
        self.check_room(batch, &subject, size)?;
        if ttl != 0 {
            let end = if ttl < 0 { i64::MAX } else { ts.saturating_add(ttl.saturating_mul(SECOND)).min(i64::MAX - 1) };
            self.expiry.insert(seq, end);
        }
        if rollup != Rollup::None {
            batch.ops.extend(self.rollup_op(seq, rollup, &subject));
            // What comes next may depend on the room this makes.
            batch.closed |= config.discard == Discard::New;
        }
        self.remember_id(ts, seq, &msg_id);
        batch.ops.push(Op::Append {
            stream: self.handle.id,
            seq,
            ts,
            subject: subject.clone(),
            headers: head.clone(),
            payload: payload.clone(),
        });
        let body = self.republish.is_some().then_some((head, payload));
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let stored = entry(Outcome::Stored, seq, ts, subject, message.reply());
        batch.push(Entry { msg_id, rollup, size, body, extra, ..stored });
        Ok(())
    }

    fn remember_id(&mut self, ts: i64, seq: u64, id: &Bytes) {
        if !id.is_empty() {
            self.dedupe.insert(ts, seq, id.clone());
        }
    }

    fn check_marks(&mut self, batch: &mut Batch, marks: &Marks<'_>, subject: &[u8]) -> Result<(), ApiError> {
        if marks.expected_stream.is_some_and(|name| name != self.handle.name) {
            return Err(errors::STREAM_NOT_MATCH);
        }
        if !self.config.allow_msg_ttl && marks.ttl.and_then(parse_ttl).is_some() {
            return Err(errors::MESSAGE_TTL_DISABLED);
        }
        if let Some(expected) = marks.expected_last_subject_sequence {
            let own = std::str::from_utf8(subject).unwrap_or_default();
            let of = marks.expected_last_subject_sequence_subject.unwrap_or(own);
            let last = batch.last_for(of).or_else(|| self.index.last_for(of)).unwrap_or(0);
            if expected.parse() != Ok(last) {
                return Err(errors::wrong_last_sequence(last));
            }
        } else if marks.expected_last_subject_sequence_subject.is_some() {
            return Err(errors::EXPECTED_SUBJECT_SEQ_INVALID);
        }
        if let Some(expected) = marks.expected_last_sequence
            && expected.parse() != Ok(batch.last)
        {
            return Err(errors::wrong_last_sequence(batch.last));
        }
        if marks.schedule.is_some() {
            return Err(errors::SCHEDULES_DISABLED);
        }
        if marks.stream_source.is_some() {
            return Err(errors::SOURCE_HEADER_NOT_ALLOWED);
        }
        Ok(())
    }

    fn rollup(&self, marks: &Marks<'_>) -> Result<Rollup, ApiError> {
        let Some(value) = marks.rollup else { return Ok(Rollup::None) };
        if !self.config.allow_rollup_hdrs || self.config.deny_purge {
            return Err(errors::rollup_failed("rollup not permitted"));
        }
        match value {
            "sub" => Ok(Rollup::Subject),
            "all" => Ok(Rollup::All),
            other => Err(errors::rollup_failed(format!("rollup value invalid: \"{other}\""))),
        }
    }

    /// Whether any consumer has a filter for this subject.
    fn is_wanted(&self, subject: &[u8]) -> bool {
        let subject = std::str::from_utf8(subject).unwrap_or_default();
        self.consumers.values().any(|active| active.state.filter().matches(subject))
    }

    /// The limits of the server, the account and, where new messages are refused, of the stream.
    fn check_room(&self, batch: &mut Batch, subject: &[u8], size: u64) -> Result<(), ApiError> {
        let config = &self.config;
        let server = &self.host.server;
        let coming = batch.bytes + size;
        if server.usage.get(config.storage).saturating_add(coming) > server.max(config.storage) {
            return Err(errors::INSUFFICIENT_RESOURCES);
        }
        let limits = self.host.account.jetstream();
        let limit = if config.storage == Storage::File { limits.max_file } else { limits.max_memory };
        if limit >= 0 && self.host.usage.get(config.storage).saturating_add(coming) > limit.unsigned_abs() {
            return Err(errors::ACCOUNT_RESOURCES_EXCEEDED);
        }
        if config.discard != Discard::New {
            return Ok(());
        }
        let mut replaces = false;
        if config.max_msgs_per_subject > 0 {
            let name = std::str::from_utf8(subject).unwrap_or_default();
            let stored = self.index.subjects.find(name).map_or(0, |id| self.index.subjects.count(id)) as u64;
            if stored + batch.of_subject(subject).0 >= config.max_msgs_per_subject.unsigned_abs() {
                if config.discard_new_per_subject {
                    return Err(errors::store_failed("maximum messages per subject exceeded"));
                }
                replaces = true;
            }
        }
        let messages = self.index.messages() + batch.messages;
        if config.max_msgs > 0 && messages >= config.max_msgs.unsigned_abs() && !replaces {
            return Err(errors::store_failed("maximum messages exceeded"));
        }
        let bytes = self.index.bytes() + coming;
        if config.max_bytes > 0 && bytes > config.max_bytes.unsigned_abs() && !replaces {
            return Err(errors::store_failed("maximum bytes exceeded"));
        }
        Ok(())
    }

    /// Sends the acknowledgements of a batch whose messages are all stored.
    pub(super) fn acknowledge(&mut self, batch: &Batch) {
        if self.config.no_ack {
            return;
        }
        let mut out = Vec::with_capacity(64);
        for entry in batch.entries.iter().filter(|entry| !entry.reply.is_empty()) {
            if let Ok(reply) = std::str::from_utf8(&entry.reply) {
                self.acks.write(&mut out, entry.seq, &entry.extra);
                self.host.send(reply, &out);
            }
        }
    }

    /// Publishes a stored message again under its other subject.
    pub(super) fn republish(&self, entry: &Entry, before: u64) {
        let (Some((transform, headers_only)), Some((head, payload))) = (&self.republish, &entry.body) else { return };
        let Ok(name) = std::str::from_utf8(&entry.subject) else { return };
        let Some(target) = transform.apply(name).filter(|target| subject::is_valid_publish(target)) else { return };
        let time = super::Timestamp(entry.ts).to_string();
        let (seq, last, size) = (entry.seq.to_string(), before.to_string(), payload.len().to_string());
        let mut lines = vec![
            ("Nats-Stream", self.handle.name.as_str()),
            ("Nats-Subject", name),
            ("Nats-Sequence", &seq),
            ("Nats-Time-Stamp", &time),
            ("Nats-Last-Sequence", &last),
        ];
        if *headers_only {
            lines.push(("Nats-Msg-Size", &size));
        }
        let head = headers::extend(head, lines);
        self.host.account.publish(&crate::router::Delivery {
            subject: &target,
            reply: None,
            headers: Some(&head),
            payload: if *headers_only { b"" } else { payload },
            origin: 0,
        });
    }

    /// How long until the store is tried again after it had no room.
    pub(super) fn retry_pause() -> i64 {
        Duration::from_secs(1).as_nanos() as i64
    }

    /// Whether everything is shutting down.
    pub(super) fn is_closing(&self) -> bool {
        self.host.server.closing.load(Ordering::Relaxed)
    }
}

fn entry(outcome: Outcome, seq: u64, ts: i64, subject: Bytes, reply: Bytes) -> Entry {
    Entry {
        outcome,
        seq,
        ts,
        subject,
        body: None,
        size: 0,
        reply,
        msg_id: Bytes::new(),
        rollup: Rollup::None,
        extra: Extra::None,
    }
}
