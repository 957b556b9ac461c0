//! The manager of one account: makes, changes and removes streams, one call at a time, and lists them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use natsune_protocol::subject;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::api::{self, Call, Verb};
use super::clock::Timestamp;
use super::errors::{self, ApiError};
use super::host::{Handle, Host};
use super::info::{AccountDoc, ApiDoc, Page, StateDoc, StreamDoc};
use super::json as documents;
use super::limits::check_reservation;
use super::mailbox::Item;
use super::sinks::Ingest;
use super::stream::{Record, Remains, Stream, store_error};
use super::stream_check::{check, check_update};
use super::stream_config::{API_LEVEL, Storage, StreamConfig};
use crate::store::{Op, StoreError, Wait};

const NAMES: usize = 1024;
const LIST: usize = 256;

/// Works off the account's calls until nobody can make any more.
pub async fn manage(host: Arc<Host>, mut calls: mpsc::Receiver<Box<Call>>) {
    while let Some(call) = calls.recv().await {
        let (verb, reply) = (call.verb, call.reply.clone());
        let result = match verb {
            Verb::StreamCreate => create(&host, &call).await.map(Some),
            Verb::StreamUpdate => update(&host, call).await.map(|()| None),
            Verb::StreamDelete => delete(&host, call).await.map(|()| None),
            Verb::StreamNames | Verb::StreamList => list(&host, &call).map(Some),
            _ => Ok(Some(info(&host))),
        };
        match result {
            Ok(None) => {}
            Ok(Some(answer)) => host.answer(verb, &reply, Ok(answer)),
            Err(error) => host.answer(verb, &reply, Err(error)),
        }
    }
}

fn read_config(call: &Call) -> Result<(StreamConfig, bool), ApiError> {
    let mut value = documents::value(&call.body)?;
    let pedantic = documents::take_flag(&mut value, "pedantic")?;
    Ok((documents::decode(value)?, pedantic))
}

async fn create(host: &Arc<Host>, call: &Call) -> Result<Vec<u8>, ApiError> {
    let (mut config, pedantic) = read_config(call)?;
    config.set_static_metadata();
    if config.name != call.stream {
        return Err(errors::STREAM_MISMATCH);
    }
    if call.stream.contains(['\\', '/']) {
        return Err(errors::STREAM_NAME_PATH);
    }
    if config.sealed {
        return Err(errors::stream_invalid("stream configuration for create can not be sealed"));
    }
    if config.mirror_direct && config.mirror.is_none() {
        return Err(errors::stream_invalid("stream has no mirror but does have mirror direct"));
    }
    if host.unreadable.lock().unwrap_or_else(PoisonError::into_inner).contains(&config.name) {
        // A new stream of this name would take its place, and its messages would be lost.
        return Err(errors::stream_general("a stream of this name is stored and can not be read"));
    }
    let limits = host.limits();
    let others = host.all_streams().iter().filter(|stream| stream.name != config.name).count();
    if limits.max_streams > 0 && others as i64 >= limits.max_streams {
        return Err(errors::MAX_STREAMS);
    }
    let config = check(config, &limits, host.server.limits.duplicates, pedantic)?;
    if config.num_replicas > 1 {
        return Err(errors::REPLICAS_NOT_SUPPORTED);
    }
    if let Some(stream) = host.stream(&config.name) {
        if !config.same_as(&stream.config()) {
            return Err(errors::STREAM_NAME_EXISTS);
        }
        return Ok(created(host, &stream));
    }
    reserve_check(host, &config, config.max_bytes.max(0))?;
    if overlaps(host, &config) {
        return Err(errors::SUBJECT_OVERLAP);
    }
    let record = Record { id: rand::random::<u64>() | 1, created: Timestamp::now(), config };
    store_record(host, &record).await.map_err(|error| store_error(&error))?;
    let stream = launch(host, record, None);
    host.advise(
        &format!("$JS.EVENT.ADVISORY.STREAM.CREATED.{}", stream.name),
        "stream_action",
        || json!({"stream": stream.name, "action": "create"}),
    );
    Ok(created(host, &stream))
}

fn created(host: &Host, stream: &Handle) -> Vec<u8> {
    let mut document = document(host, stream, true);
    document.did_create = true;
    document.domain = None;
    api::success(Verb::StreamCreate, &document)
}

fn document(host: &Host, stream: &Handle, for_answer: bool) -> StreamDoc {
    let config = stream.config();
    StreamDoc {
        config: if for_answer { config.for_answer() } else { config.as_ref().clone() },
        created: stream.created,
        state: stream.state().clone(),
        domain: host.server.domain.clone(),
        cluster: None,
        ts: Timestamp::now(),
        did_create: false,
    }
}

fn reserve_check(host: &Host, config: &StreamConfig, extra: i64) -> Result<(), ApiError> {
    let server = &host.server;
    let limits = host.limits();
    check_reservation(config, extra, (&limits, &host.usage), (server.max(config.storage), &server.usage))
}

fn overlaps(host: &Host, config: &StreamConfig) -> bool {
    host.all_streams().iter().filter(|other| other.name != config.name).any(|other| {
        let theirs = other.config();
        config.subjects.iter().any(|mine| theirs.subjects.iter().any(|their| subject::overlaps(mine, their)))
    })
}

/// A stream exists when its record is on disk.
async fn store_record(host: &Host, record: &Record) -> Result<(), StoreError> {
    if record.config.storage == Storage::Memory || !host.server.durable {
        return Ok(());
    }
    let mut ops = vec![record.op(&host.account.name)];
    if record.config.first_seq > 1 {
        ops.push(Op::HighWater { stream: record.id, seq: record.config.first_seq - 1 });
    }
    let (done, stored) = oneshot::channel();
    let done = Box::new(move |result: Result<_, StoreError>| drop(done.send(result.map(|_| ()))));
    host.server.file.commit(ops, Wait::Durable, done);
    stored.await.unwrap_or(Err(StoreError::Closed))
}

/// Starts the task of a stream and lets it hear its subjects.
pub fn launch(host: &Arc<Host>, record: Record, remains: Option<Remains>) -> Arc<Handle> {
    let handle = Arc::new(Handle::new(record.id, record.created, record.config));
    let config = handle.config();
    let promised = config.max_bytes.max(0);
    host.usage.reserve(config.storage, promised);
    host.server.usage.reserve(config.storage, promised);
    let stream = Stream::new(host.clone(), handle.clone(), remains, super::clock::now());
    *handle.state() = stream.first_state();
    host.streams.write().unwrap_or_else(PoisonError::into_inner).insert(handle.name.clone(), handle.clone());
    let sink = Arc::new(Ingest { host: host.clone(), stream: handle.clone() });
    let subs = config.subjects.iter().map(|subject| host.account.subscribe(subject, None, Bytes::new(), sink.clone()));
    handle.subs.lock().unwrap_or_else(PoisonError::into_inner).extend(subs);
    host.server.runtime.spawn(stream.run());
    handle
}

async fn update(host: &Arc<Host>, call: Box<Call>) -> Result<(), ApiError> {
    let (config, pedantic) = read_config(&call)?;
    let limits = host.limits();
    let mut config = check(config, &limits, host.server.limits.duplicates, pedantic)?;
    if config.name != call.stream {
        return Err(errors::STREAM_MISMATCH);
    }
    let stream = host.stream(&call.stream).ok_or(errors::STREAM_NOT_FOUND)?;
    config.set_static_metadata();
    let old = stream.config();
    let config = check_update(&old, config)?;
    let extra = (config.max_bytes.max(0) - old.max_bytes.max(0)).max(0);
    reserve_check(host, &config, extra)?;
    if overlaps(host, &config) {
        return Err(errors::SUBJECT_OVERLAP);
    }
    host.server.takes_changes(config.storage).map_err(|error| store_error(&error))?;
    let (done, changed) = oneshot::channel();
    if !stream.mailbox.push(Item::Update { config: Box::new(config), call, done }) {
        return Err(errors::STREAM_NOT_FOUND);
    }
    // The next call is checked against what is in force then.
    let _ = changed.await;
    Ok(())
}

/// Removes a stream that nobody asked to remove: its account is deleted.
pub async fn drop_stream(host: &Arc<Host>, name: &str) {
    let (reply, body) = (String::new(), Bytes::new());
    let (consumer, rest) = (String::new(), String::new());
    let call = Call { verb: Verb::StreamDelete, stream: name.to_owned(), consumer, rest, reply, body, too_new: false };
    // Gone already is as good.
    let _ = delete(host, Box::new(call)).await;
}

async fn delete(host: &Arc<Host>, call: Box<Call>) -> Result<(), ApiError> {
    if !documents::is_empty_request(&call.body) {
        return Err(errors::NOT_EMPTY_REQUEST);
    }
    if let Some(stream) = host.stream(&call.stream) {
        host.server.takes_changes(stream.config().storage).map_err(|error| store_error(&error))?;
    }
    let stream = host
        .streams
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&call.stream)
        .ok_or(errors::STREAM_NOT_FOUND)?;
    let subs = std::mem::take(&mut *stream.subs.lock().unwrap_or_else(PoisonError::into_inner));
    host.account.unsubscribe_all(&subs);
    let (done, gone) = oneshot::channel();
    if !stream.mailbox.push(Item::Delete { call, done }) {
        return Err(errors::STREAM_NOT_FOUND);
    }
    // A new stream of the same name must find nothing of this one.
    let _ = gone.await;
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListRequest {
    offset: i64,
    subject: String,
}

fn list(host: &Host, call: &Call) -> Result<Vec<u8>, ApiError> {
    let asked: ListRequest = if documents::looks_like_document(&call.body) {
        documents::request(&call.body)?
    } else {
        ListRequest::default()
    };
    let mut streams = host.all_streams();
    if !asked.subject.is_empty() {
        streams.retain(|stream| stream.config().subjects.iter().any(|own| subject::overlaps(own, &asked.subject)));
    }
    let limit = if call.verb == Verb::StreamNames { NAMES } else { LIST };
    let offset = usize::try_from(asked.offset).unwrap_or(0).min(streams.len());
    let page = Page { total: streams.len(), offset, limit };
    let shown = streams.iter().skip(offset).take(limit);
    let shown = match call.verb {
        Verb::StreamNames if streams.is_empty() => json!(null),
        Verb::StreamNames => json!(shown.map(|stream| stream.name.as_str()).collect::<Vec<_>>()),
        _ => json!(shown.map(|stream| document(host, stream, false)).collect::<Vec<_>>()),
    };
    let mut answer = serde_json::to_value(&page).unwrap_or_default();
    if let Some(map) = answer.as_object_mut() {
        map.insert("streams".into(), shown);
    }
    Ok(api::success(call.verb, &answer))
}

fn info(host: &Host) -> Vec<u8> {
    let streams = host.all_streams();
    let states: Vec<StateDoc> = streams.iter().map(|stream| stream.state().clone()).collect();
    let document = AccountDoc {
        memory: host.usage.get(Storage::Memory),
        storage: host.usage.get(Storage::File),
        reserved_memory: host.usage.reserved(Storage::Memory),
        reserved_storage: host.usage.reserved(Storage::File),
        streams: streams.len(),
        consumers: states.iter().map(|state| state.consumer_count).sum(),
        limits: host.limits(),
        domain: host.server.domain.clone(),
        api: ApiDoc {
            level: API_LEVEL,
            total: host.api.0.load(Ordering::Relaxed),
            errors: host.api.1.load(Ordering::Relaxed),
        },
    };
    api::success(Verb::Info, &document)
}
