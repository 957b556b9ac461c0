//! Batches that are stored whole or not at all (ADR-50): messages wait until the last one says so.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use natsune_protocol::header_get;
use serde_json::json;

use super::super::api::is_too_new;
use super::super::clock::SECOND;
use super::super::errors::{self, ApiError};
use super::super::headers;
use super::super::mailbox::Published;
use super::super::puback::Extra;
use super::Stream;
use super::batch::{Batch, Outcome};

/// Messages of one batch, batches of one stream and of the server, and how long one may pause.
const MESSAGES: u64 = 1000;
const PER_STREAM: usize = 50;
const PER_SERVER: usize = 1000;
const PATIENCE: i64 = 10 * SECOND;

/// A batch that is not committed yet.
#[derive(Debug, Default)]
pub struct Staged {
    messages: Vec<Published>,
    last: i64,
}

impl Stream {
    /// Whether a publish belongs to a batch and whether it is the last of it.
    pub(super) fn atomic_place(&self, message: &Published) -> Option<bool> {
        let headers = message.headers();
        if !self.config.allow_atomic || headers.is_empty() {
            return None;
        }
        header_get(&headers, "Nats-Batch-Id").map(|_| header_get(&headers, "Nats-Batch-Commit").is_some())
    }

    /// Takes a publish of a batch; the last one brings all of them into `batch`, which must be empty then.
    pub(super) fn stage_atomic(&mut self, batch: &mut Batch, message: &Published) {
        batch.taken.0 += 1;
        batch.taken.1 += message.weight();
        match self.try_stage(batch, message) {
            // Nothing to say but that it has arrived.
            Ok(false) => {
                if let (false, Ok(reply)) = (self.config.no_ack, std::str::from_utf8(&message.reply())) {
                    self.host.send(reply, b"");
                }
            }
            Ok(true) => {}
            Err(error) => self.refuse(&message.reply(), &error),
        }
    }

    fn try_stage(&mut self, batch: &mut Batch, message: &Published) -> Result<bool, ApiError> {
        let head = message.headers();
        if self.config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        let size = (head.len() + message.payload().len()) as i64;
        if self.config.max_msg_size >= 0 && size > self.config.max_msg_size {
            return Err(errors::MESSAGE_TOO_LARGE);
        }
        let id = header_get(&head, "Nats-Batch-Id").unwrap_or_default();
        if id.is_empty() || id.len() > 64 {
            return Err(errors::ATOMIC_INVALID_ID);
        }
        let id = Bytes::copy_from_slice(id.as_bytes());
        let number = header_get(&head, "Nats-Batch-Sequence").and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or(errors::ATOMIC_MISSING_SEQ)?;
        let commit = header_get(&head, "Nats-Batch-Commit");
        let empty_end = commit == Some("eob");
        let counted = number - u64::from(empty_end && number > 0);
        let there = match self.staged.get(&id) {
            Some(staged) => staged.messages.len() as u64,
            None if number == 1 => {
                self.begin_staging(&id)?;
                0
            }
            None if counted > MESSAGES => return Err(errors::atomic_too_large(MESSAGES as usize)),
            None => return Err(errors::ATOMIC_INCOMPLETE),
        };
        if commit.is_some_and(|commit| commit != "1" && commit != "eob") {
            self.drop_staged(&id);
            return Err(errors::ATOMIC_INVALID_COMMIT);
        }
        if is_too_new(Some(&head[..])) {
            self.abandon_staged(&id, "unsupported");
            return Err(errors::REQUIRED_API_LEVEL);
        }
        if number != there + 1 || empty_end && there == 0 {
            return Err(self.abandon_staged(&id, "incomplete"));
        }
        if counted > MESSAGES {
            self.abandon_staged(&id, "large");
            return Err(errors::atomic_too_large(MESSAGES as usize));
        }
        if let Some(staged) = self.staged.get_mut(&id) {
            staged.last = self.now;
            if !empty_end {
                staged.messages.push(message.clone());
            }
        }
        if commit.is_none() {
            return Ok(false);
        }
        let Some(staged) = self.drop_staged(&id) else { return Err(errors::ATOMIC_INCOMPLETE) };
        self.commit_staged(batch, staged, &id, &message.reply(), empty_end)?;
        Ok(true)
    }

    fn begin_staging(&mut self, id: &Bytes) -> Result<(), ApiError> {
        if self.staged.len() >= PER_STREAM {
            return Err(errors::ATOMIC_TOO_MANY);
        }
        let before = self.host.server.batches.fetch_add(1, Ordering::Relaxed);
        if before >= PER_SERVER {
            self.host.server.batches.fetch_sub(1, Ordering::Relaxed);
            return Err(errors::ATOMIC_TOO_MANY);
        }
        self.staged.insert(id.clone(), Staged { messages: Vec::new(), last: self.now });
        Ok(())
    }

    /// All messages are checked one after the other; the first that is refused undoes the ones before.
    fn commit_staged(
        &mut self,
        batch: &mut Batch,
        staged: Staged,
        id: &Bytes,
        reply: &Bytes,
        empty_end: bool,
    ) -> Result<(), ApiError> {
        let count = staged.messages.len();
        for (at, message) in staged.messages.into_iter().enumerate() {
            let last = at + 1 == count;
            let head = message.headers();
            if header_get(&head, "Nats-Expected-Last-Msg-Id").is_some() {
                self.undo(batch);
                return Err(errors::atomic_unsupported_header("Nats-Expected-Last-Msg-Id"));
            }
            if at > 0 && header_get(&head, "Nats-Expected-Last-Sequence").is_some() {
                self.undo(batch);
                return Err(errors::atomic_unsupported_header("Nats-Expected-Last-Sequence"));
            }
            let message = if last && empty_end {
                // The stored end of a batch always says so.
                message.with_headers(&headers::extend(&head, [("Nats-Batch-Commit", "1")]))
            } else {
                message
            };
            let admitted = self.admit(batch, &message, true);
            let duplicate = batch.entries.last().is_some_and(|entry| entry.outcome == Outcome::Duplicate);
            let refused = admitted.err().or_else(|| duplicate.then_some(errors::ATOMIC_DUPLICATE));
            if let Some(error) = refused {
                self.undo(batch);
                return Err(error);
            }
            if let Some(entry) = batch.entries.last_mut() {
                entry.reply = if last { reply.clone() } else { Bytes::new() };
                entry.extra = if last { Extra::Batch(id.clone(), count as u64) } else { Extra::None };
            }
        }
        batch.closed = true;
        Ok(())
    }

    /// Nothing of a batch happened.
    fn undo(&mut self, batch: &mut Batch) {
        self.dedupe.forget_from(batch.before + 1);
        for seq in batch.before + 1..=batch.last {
            self.expiry.remove(seq);
        }
        let taken = batch.taken;
        *batch = Batch::new(batch.before);
        batch.taken = taken;
    }

    fn drop_staged(&mut self, id: &Bytes) -> Option<Staged> {
        let staged = self.staged.remove(id)?;
        self.host.server.batches.fetch_sub(1, Ordering::Relaxed);
        Some(staged)
    }

    fn abandon_staged(&mut self, id: &Bytes, reason: &str) -> ApiError {
        if self.drop_staged(id).is_some() {
            let (stream, batch) = (self.handle.name.as_str(), String::from_utf8_lossy(id));
            let subject = format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{stream}");
            self.host.advise(
                &subject,
                "stream_batch_abandoned",
                || json!({"account": self.host.account.name, "stream": stream, "batch": batch, "reason": reason}),
            );
        }
        errors::ATOMIC_INCOMPLETE
    }

    /// Gives up batches nobody goes on with; all of them when batches are no longer allowed.
    pub(super) fn expire_staged(&mut self, all: bool) {
        let late = self.staged.iter().filter(|(_, staged)| all || staged.last.saturating_add(PATIENCE) <= self.now);
        let late: Vec<Bytes> = late.map(|(id, _)| id.clone()).collect();
        for id in late {
            self.abandon_staged(&id, "timeout");
        }
    }

    /// When the next batch is given up.
    pub(super) fn next_staged_end(&self) -> Option<i64> {
        self.staged.values().map(|staged| staged.last.saturating_add(PATIENCE)).min()
    }
}
