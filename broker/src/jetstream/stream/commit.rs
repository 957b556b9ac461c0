//! What goes to the store and what its answers set off.

use bytes::Bytes;

use super::super::api::Verb;
use super::super::errors::{self, ApiError};
use super::super::mailbox::Committed;
use super::super::stream_config::Retention;
use super::Stream;
use super::batch::{Batch, Outcome, Rollup};
use crate::store::{Location, Op, StoreError, Wait};

/// Who waits for a commit.
#[derive(Debug)]
pub struct Reply {
    /// The inbox.
    pub to: String,
    /// The API verb; none for the confirmation of an acknowledgement.
    pub verb: Option<Verb>,
    /// What to say when it is stored.
    pub answer: Vec<u8>,
    /// A consumer that must not stay when it could not be stored.
    pub undo: Option<u64>,
}

/// A commit on its way.
#[derive(Debug, Default)]
pub struct Flight {
    /// It is the batch of publishes.
    pub batch: bool,
    /// Who waits for it.
    pub replies: Vec<Reply>,
    /// Consumers whose state is in it.
    pub consumers: Vec<u64>,
    /// Messages that are removed by it.
    pub removed: Vec<(u64, Location)>,
}

/// What a failed commit is called towards clients.
pub fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::Full => errors::STORAGE_EXCEEDED,
        StoreError::TooLarge => errors::store_failed("message size exceeds what can be stored"),
        StoreError::Failed => errors::store_failed("stream is read-only after a failed write"),
        other => errors::store_failed(other.to_string()),
    }
}

impl Stream {
    /// Hands a commit to the store.
    pub(super) fn commit(&mut self, ops: Vec<Op>, wait: Wait, flight: Flight) {
        self.flights.push_back(flight);
        let handle = self.handle.clone();
        self.store.commit(ops, wait, Box::new(move |result| handle.mailbox.committed(result)));
    }

    /// The store has answered the oldest commit.
    pub(super) fn on_committed(&mut self, result: Committed) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.take_note_of(result.as_ref().err());
        if flight.batch {
            if let Some(batch) = self.batch.take() {
                match result {
                    Ok(places) => self.finish(batch, places),
                    Err(error) => self.abandon(&batch, &store_error(&error)),
                }
            }
            return;
        }
        let Err(error) = result else {
            for reply in flight.replies {
                self.host.send(&reply.to, &reply.answer);
            }
            return;
        };
        // Nothing of it is on disk: a later commit carries it again, unless the store takes nothing more.
        for id in flight.consumers {
            if let Some(active) = self.consumers.get_mut(&id) {
                active.state.mark_rewrite();
            }
        }
        if matches!(error, StoreError::Full) {
            self.held_back.extend(flight.removed);
            self.retry_at = Some(self.now + Stream::retry_pause());
        }
        let error = store_error(&error);
        for reply in flight.replies {
            if let Some(id) = reply.undo {
                self.drop_consumer(id);
            }
            // An acknowledgement that is not stored is not confirmed.
            if let Some(verb) = reply.verb {
                self.host.answer(verb, &reply.to, Err(error.clone()));
            }
        }
    }

    /// Remembers whether the store takes messages, for the health check.
    fn take_note_of(&self, error: Option<&StoreError>) {
        let mut trouble = self.handle.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match error {
            None if trouble.is_some() => *trouble = None,
            None => {}
            Some(StoreError::TooLarge) => {}
            Some(error) => *trouble = Some(error.to_string()),
        }
    }

    /// The messages of a batch are stored: now they exist.
    fn finish(&mut self, batch: Batch, places: Vec<Location>) {
        self.changed = true;
        let mut places = places.into_iter();
        let mut rollups = Vec::new();
        let mut bytes = 0;
        let (storage, republishes) = (self.config.storage, self.republish.is_some());
        for entry in &batch.entries {
            match entry.outcome {
                Outcome::Stored => {}
                Outcome::Unwanted => {
                    self.index.skip_to(entry.seq);
                    continue;
                }
                Outcome::Duplicate => continue,
            }
            let (Some(at), Ok(subject)) = (places.next(), std::str::from_utf8(&entry.subject)) else { continue };
            if republishes {
                let before = self.index.last_for(subject).unwrap_or(0);
                self.republish(entry, before);
            }
            let id = self.index.insert(entry.seq, subject, entry.ts, entry.size, at);
            bytes += u64::from(entry.size);
            for (consumer, active) in &mut self.consumers {
                if active.state.wants(&self.index, id) {
                    active.state.on_stored(entry.seq);
                    let attentive = active.push.as_ref().map_or(!active.waiting.is_empty(), |push| push.active);
                    if attentive && !active.touched {
                        active.touched = true;
                        self.touched.push(*consumer);
                    }
                }
            }
            if entry.rollup != Rollup::None {
                rollups.push((entry.seq, entry.rollup, id));
            }
        }
        self.host.usage.add(storage, bytes);
        self.host.server.usage.add(storage, bytes);
        if let Some(id) = &batch.last_msg_id {
            self.last_msg_id.clone_from(id);
        }
        for (seq, rollup, subject) in rollups {
            self.apply_rollup(seq, rollup, subject);
        }
        self.enforce_limits(&batch);
        // What others ask next must already see what these are told.
        self.publish_state();
        self.acknowledge(&batch);
    }

    /// The messages of a batch are not stored, and say so. Their sequences were never seen by anybody.
    fn abandon(&mut self, batch: &Batch, error: &ApiError) {
        if !self.marked.is_empty() {
            // Their markers are tried again, but not at once: the store may refuse them for long.
            self.retry_at = Some(self.now + Stream::retry_pause());
        }
        self.dedupe.forget_from(batch.before + 1);
        for entry in &batch.entries {
            if entry.outcome == Outcome::Stored {
                self.expiry.remove(entry.seq);
            }
            if entry.outcome == Outcome::Duplicate && entry.seq <= batch.before {
                let mut out = Vec::new();
                self.acks.write(&mut out, entry.seq, &entry.extra);
                if let (false, Ok(reply)) = (self.config.no_ack, std::str::from_utf8(&entry.reply)) {
                    self.host.send(reply, &out);
                }
                continue;
            }
            self.refuse(&entry.reply, error);
        }
    }

    /// Lets somebody wait for the commit of this turn.
    pub(super) fn reply_when_stored(&mut self, verb: Verb, to: String, answer: Vec<u8>) {
        self.replies.push(Reply { to, verb: Some(verb), answer, undo: None });
    }

    /// Confirms an acknowledgement once it is stored.
    pub(super) fn confirm_when_stored(&mut self, to: &Bytes) {
        if let (false, Ok(to)) = (to.is_empty(), std::str::from_utf8(to)) {
            self.replies.push(Reply { to: to.to_owned(), verb: None, answer: Vec::new(), undo: None });
        }
    }

    /// Hands in what this turn changed besides publishes, and puts the consumers back on the agenda.
    pub(super) fn flush(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        let mut flight = Flight::default();
        for id in touched {
            let durable = self.is_durable();
            let Some(active) = self.consumers.get_mut(&id) else { continue };
            active.touched = false;
            if active.state.is_dirty() {
                if durable && active.persistent {
                    self.ops.push(super::persist::consumer_op(self.handle.id, active));
                    flight.consumers.push(id);
                } else {
                    active.state.rewritten();
                }
            }
            let due = active.next_due(self.now);
            if active.due != due {
                if let Some(due) = active.due.take() {
                    self.agenda.remove(&(due, id));
                }
                if let Some(due) = due {
                    self.agenda.insert((due, id));
                }
                active.due = due;
            }
        }
        let lifetimes = self.expiry_op();
        self.ops.extend(lifetimes);
        if !self.removed.is_empty() {
            flight.removed = std::mem::take(&mut self.removed);
            self.ops.push(Op::Remove { stream: self.handle.id, seqs: flight.removed.clone() });
            let forgotten = self.forget_rollups();
            self.ops.extend(forgotten);
        }
        flight.replies = std::mem::take(&mut self.replies);
        if self.ops.is_empty() && flight.replies.is_empty() {
            return;
        }
        let wait = if flight.replies.is_empty() { Wait::Soon } else { Wait::Durable };
        let ops = std::mem::take(&mut self.ops);
        self.commit(ops, wait, flight);
    }

    /// Whether what is acknowledged leaves the stream.
    pub(super) fn removes_on_ack(&self) -> bool {
        self.config.retention != Retention::Limits
    }
}
