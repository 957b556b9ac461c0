//! The calls about a stream and its messages.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use super::super::api::{self, Call, Verb};
use super::super::clock::Timestamp;
use super::super::errors::{self, ApiError};
use super::super::info::{ClusterDoc, Page, StreamDoc, StreamInfoDoc};
use super::super::json as documents;
use super::super::sinks::Ingest;
use super::super::stream_config::{MAX_SEQUENCE, Retention, Storage, StreamConfig};
use super::{Stream, store_error};
use crate::store::{StoreError, Stored};

/// Subjects on one page of an info.
const SUBJECTS: usize = 100_000;
/// Deleted sequences in one info.
const DELETED: usize = 500_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct InfoRequest {
    offset: i64,
    deleted_details: bool,
    subjects_filter: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PurgeRequest {
    seq: u64,
    filter: String,
    keep: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeleteRequest {
    seq: u64,
    #[allow(dead_code)] // removed messages are gone either way: the log overwrites nothing in place
    no_erase: bool,
}

/// Which message is meant; direct gets use it too.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GetRequest {
    /// This one, or the first at or after it.
    pub seq: u64,
    /// The last of a subject.
    pub last_by_subj: String,
    /// The next of a subject.
    pub next_by_subj: String,
    /// More than one.
    pub batch: i64,
    /// At most so many bytes.
    pub max_bytes: i64,
    /// From a time on.
    pub start_time: Option<Timestamp>,
    /// The last of each of these.
    pub multi_last: Vec<String>,
    /// As of this sequence.
    pub up_to_seq: u64,
    /// As of this time.
    pub up_to_time: Option<Timestamp>,
    /// The payload alone.
    pub no_hdr: bool,
}

/// What can be said of a call before the stream is looked for.
pub fn precheck(call: &Call) -> Result<(), ApiError> {
    match call.verb {
        Verb::StreamInfo if documents::looks_like_document(&call.body) => {
            documents::request::<InfoRequest>(&call.body).map(|_| ())
        }
        Verb::StreamPurge => purge_request(call).map(|_| ()),
        Verb::MsgDelete if documents::is_empty_request(&call.body) => Err(errors::BAD_REQUEST),
        Verb::MsgDelete => documents::request::<DeleteRequest>(&call.body).map(|_| ()),
        Verb::MsgGet => get_request(call).map(|_| ()),
        _ => Ok(()),
    }
}

fn purge_request(call: &Call) -> Result<PurgeRequest, ApiError> {
    if !documents::looks_like_document(&call.body) {
        return Ok(PurgeRequest::default());
    }
    let request: PurgeRequest = documents::request(&call.body)?;
    // A purge moves the stream to a sequence that is not used yet; one near the end of all numbers would be its end.
    if request.seq > 0 && request.keep > 0 || request.seq > MAX_SEQUENCE {
        return Err(errors::BAD_REQUEST);
    }
    Ok(request)
}

fn get_request(call: &Call) -> Result<GetRequest, ApiError> {
    if documents::is_empty_request(&call.body) {
        return Err(errors::BAD_REQUEST);
    }
    let request: GetRequest = documents::request(&call.body)?;
    let (last, next) = (!request.last_by_subj.is_empty(), !request.next_by_subj.is_empty());
    let (seq, time) = (request.seq > 0, request.start_time.is_some());
    let nothing = !seq && !last && !next && !time;
    if request.batch > 0 || request.max_bytes > 0 || nothing || last && (seq || time || next) || seq && time {
        return Err(errors::BAD_REQUEST);
    }
    Ok(request)
}

impl Stream {
    /// Answers a call.
    pub(super) fn on_call(&mut self, call: Call) {
        if call.verb == Verb::DirectGet {
            self.direct_get(&call);
            return;
        }
        let result = match call.verb {
            Verb::StreamInfo => self.info(&call).map(Some),
            Verb::StreamPurge => self.purge_call(&call),
            Verb::MsgGet => self.get_message(&call).map(Some),
            Verb::MsgDelete => self.delete_message(&call),
            _ => self.consumer_call(&call),
        };
        match result {
            Ok(None) => {}
            Ok(Some(answer)) => self.host.answer(call.verb, &call.reply, Ok(answer)),
            Err(error) => self.host.answer(call.verb, &call.reply, Err(error)),
        }
    }

    fn document(&self, config: StreamConfig) -> StreamDoc {
        StreamDoc {
            config,
            created: self.handle.created,
            state: self.state(),
            domain: self.host.server.domain.clone(),
            cluster: None,
            ts: Timestamp(self.now),
            did_create: false,
        }
    }

    fn info(&mut self, call: &Call) -> Result<Vec<u8>, ApiError> {
        let request: InfoRequest = if documents::looks_like_document(&call.body) {
            documents::request(&call.body)?
        } else {
            InfoRequest::default()
        };
        let mut stream = self.document(self.config.for_answer());
        stream.cluster = Some(ClusterDoc { leader: self.host.server.name.clone() });
        let mut page = Page::default();
        if request.deleted_details {
            stream.state.deleted = self.index.deleted(DELETED);
        }
        if !request.subjects_filter.is_empty() {
            let ids = self.index.subjects.matching(&request.subjects_filter);
            if !ids.is_empty() {
                let offset = usize::try_from(request.offset).unwrap_or(0).min(ids.len());
                page = Page { total: ids.len(), offset, limit: SUBJECTS };
                let shown = ids.iter().skip(offset).take(SUBJECTS);
                let subjects: BTreeMap<String, u64> = shown
                    .map(|id| (self.index.subjects.name(*id).to_string(), self.index.subjects.count(*id) as u64))
                    .collect();
                stream.state.subjects = Some(subjects);
            }
        }
        Ok(api::success(call.verb, &StreamInfoDoc { page, stream }))
    }

    fn purge_call(&mut self, call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
        let request = purge_request(call)?;
        if self.config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        if self.config.deny_purge {
            return Err(errors::purge_failed("stream purge not permitted"));
        }
        self.host.server.takes_changes(self.config.storage).map_err(|error| store_error(&error))?;
        let purged = self.purge(&request.filter, request.seq, request.keep);
        self.publish_state();
        let answer = api::success(call.verb, &json!({"success": true, "purged": purged}));
        self.reply_when_stored(call.verb, call.reply.clone(), answer);
        Ok(None)
    }

    fn delete_message(&mut self, call: &Call) -> Result<Option<Vec<u8>>, ApiError> {
        let request: DeleteRequest = documents::request(&call.body)?;
        if self.config.sealed {
            return Err(errors::STREAM_SEALED);
        }
        if self.config.deny_delete {
            return Err(errors::message_delete_failed("message delete not permitted"));
        }
        // Clients know these two from files only.
        let stored = self.config.storage == Storage::File;
        if stored && request.seq > self.index.last_seq() {
            return Err(errors::message_delete_failed("stream store EOF"));
        }
        if stored && request.seq < self.index.first_seq() {
            return Err(errors::message_delete_failed("no message found"));
        }
        self.host.server.takes_changes(self.config.storage).map_err(|error| store_error(&error))?;
        if !self.remove(request.seq) {
            return Err(errors::sequence_not_found(request.seq));
        }
        self.publish_state();
        self.reply_when_stored(call.verb, call.reply.clone(), api::done(call.verb));
        Ok(None)
    }

    /// Reads a message for an answer; one that can not be read is not there.
    pub(super) fn read(&self, seq: u64) -> Option<Stored> {
        let meta = self.index.get(seq)?;
        self.store.read(self.handle.id, seq, meta.at).ok()
    }

    /// The message an answer is about. That it is not there and that it can not be read are two things: whoever is told
    /// the first may well make it anew.
    pub(super) fn load(&self, seq: Option<u64>) -> Result<Option<Stored>, String> {
        let found = seq.and_then(|seq| Some((seq, self.index.get(seq)?.at)));
        let Some((seq, at)) = found else { return Ok(None) };
        match self.store.read(self.handle.id, seq, at) {
            Ok(stored) => Ok(Some(stored)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(StoreError::Corrupt { .. }) => Err(format!("message {seq} is damaged on disk")),
            Err(error) => Err(format!("message {seq} can not be read: {error}")),
        }
    }

    fn get_message(&mut self, call: &Call) -> Result<Vec<u8>, ApiError> {
        let request = get_request(call)?;
        let seq = request.start_time.map_or(request.seq, |time| self.index.seq_at(time.0));
        let found = if !request.next_by_subj.is_empty() {
            self.index.next_for(&request.next_by_subj, seq)
        } else if seq > 0 {
            Some(seq)
        } else {
            self.index.last_for(&request.last_by_subj)
        };
        let stored = self.load(found).map_err(errors::stream_general)?.ok_or(errors::NO_MESSAGE_FOUND)?;
        let mut message = serde_json::Map::new();
        message.insert("subject".into(), String::from_utf8_lossy(&stored.subject).into());
        message.insert("seq".into(), stored.seq.into());
        if !stored.headers.is_empty() && !request.no_hdr {
            message.insert("hdrs".into(), BASE64.encode(&stored.headers).into());
        }
        if !stored.payload.is_empty() {
            message.insert("data".into(), BASE64.encode(&stored.payload).into());
        }
        message.insert("time".into(), Timestamp(stored.ts).to_string().into());
        Ok(api::success(call.verb, &json!({"message": message})))
    }

    /// Takes over a configuration that passed all checks.
    pub(super) fn on_update(&mut self, config: StreamConfig, call: Call) {
        if let Some(error) = self.violated_by(&config) {
            self.host.answer(call.verb, &call.reply, Err(error));
            return;
        }
        let old = std::mem::replace(&mut self.config, Arc::new(config));
        self.resubscribe(&old);
        *self.handle.config.write().unwrap_or_else(PoisonError::into_inner) = self.config.clone();
        let promised = self.config.max_bytes.max(0) - old.max_bytes.max(0);
        self.host.usage.reserve(self.config.storage, promised);
        self.host.server.usage.reserve(self.config.storage, promised);
        self.dedupe.set_window(self.config.duplicate_window);
        self.set_transforms();
        if !self.config.allow_atomic {
            self.expire_staged(true);
        }
        self.enforce_all_limits();
        if old.retention != Retention::Interest {
            self.release_all_unneeded();
        }
        self.changed = true;
        self.publish_state();
        if self.is_durable() {
            self.ops.push(self.stream_op());
        }
        self.advise_stream("UPDATED", "modify");
        let answer = api::success(call.verb, &self.document(self.config.for_answer()));
        self.reply_when_stored(call.verb, call.reply, answer);
    }

    /// New limits for consumers must fit those that are there.
    fn violated_by(&self, new: &StreamConfig) -> Option<ApiError> {
        let (old, new) = (&self.config.consumer_limits, &new.consumer_limits);
        let idle = new.inactive_threshold > 0 && new.inactive_threshold != old.inactive_threshold;
        let pending = new.max_ack_pending > 0 && new.max_ack_pending != old.max_ack_pending;
        let violating = self.consumers.values().filter(|active| {
            idle && active.config.inactive_threshold > new.inactive_threshold
                || pending && active.config.max_ack_pending > new.max_ack_pending
        });
        let names: Vec<&str> = violating.map(|active| active.name.as_str()).collect();
        (!names.is_empty())
            .then(|| errors::stream_update(format!("change to limits violates consumers: {}", names.join(", "))))
    }

    /// Follows a change of the subjects.
    fn resubscribe(&self, old: &StreamConfig) {
        let mut subs = self.handle.subs.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = Arc::new(Ingest { host: self.host.clone(), stream: self.handle.clone() });
        for subject in self.config.subjects.iter().filter(|subject| !old.subjects.contains(subject)) {
            subs.push(self.host.account.subscribe(subject, None, bytes::Bytes::new(), sink.clone()));
        }
        subs.retain(|sub| {
            let kept = self.config.subjects.iter().any(|subject| **subject == *sub.subject);
            if !kept {
                self.host.account.unsubscribe(sub);
            }
            kept
        });
    }

    /// Removes everything and ends.
    pub(super) fn on_delete(&mut self, call: Call) {
        let ops = self.drop_ops();
        self.ops.extend(ops);
        self.removed.clear();
        self.stop_waiting("409 Consumer Deleted");
        let storage = self.config.storage;
        let promised = self.config.max_bytes.max(0);
        for usage in [&self.host.usage, &self.host.server.usage] {
            usage.sub(storage, self.index.bytes());
            usage.reserve(storage, -promised);
        }
        let all: Vec<u64> = self.consumers.keys().copied().collect();
        for id in all {
            self.drop_consumer(id);
        }
        self.touched.clear();
        self.deleted = true;
        self.advise_stream("DELETED", "delete");
        self.reply_when_stored(call.verb, call.reply, api::done(call.verb));
    }

    fn advise_stream(&self, what: &str, action: &str) {
        let stream = self.handle.name.as_str();
        self.host.advise(
            &format!("$JS.EVENT.ADVISORY.STREAM.{what}.{stream}"),
            "stream_action",
            || json!({"stream": stream, "action": action}),
        );
    }
}
