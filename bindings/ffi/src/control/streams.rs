//! Control of streams and consumers. Documents are turned into the server's JSON and back; what core does not name is kept.

use std::future::Future;
use std::sync::Arc;

use natsune::jetstream::{Document, Info, Stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::documents::wire::{self, Table};
use crate::documents::{
    ACCOUNT_INFO, AccountInfo, CONSUMER_CONFIG, CONSUMER_INFO, ConsumerConfig, ConsumerInfo, STREAM_CONFIG,
    STREAM_INFO, StreamConfig, StreamInfo,
};
use crate::failure::{Failure, R};
use crate::hub::{hub_of, start_future};
use crate::object::{JetStreamObject, Object};
use crate::outcome::{Done, Received, StoredMessage};

/// What is done with a stream's configuration.
#[derive(Clone, Copy)]
pub(crate) enum StreamVerb {
    Create,
    Update,
    CreateOrUpdate,
}

/// What is done with a consumer's configuration.
#[derive(Clone, Copy)]
pub(crate) enum ConsumerVerb {
    Create,
    Update,
    CreateOrUpdate,
}

/// What a purge deletes; nothing set: everything.
pub(crate) struct PurgeOptions {
    pub(crate) filter: Option<String>,
    pub(crate) sequence: Option<u64>,
    pub(crate) keep: Option<u64>,
}

/// Which stored message is meant.
pub(crate) struct MessageKey {
    pub(crate) sequence: Option<u64>,
    pub(crate) last_for: Option<String>,
    pub(crate) next_for: Option<String>,
}

/// How many messages a purge removed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Purged {
    pub(crate) purged: u64,
}

/// Starts something a JetStream context does.
pub(super) fn with_jetstream<F>(queue: u64, target: u64, make: impl FnOnce(Arc<JetStreamObject>) -> F) -> R<u64>
where
    F: Future<Output = R<Done>> + Send + 'static,
{
    let object = hub_of(target)?.handles.get(target)?.jetstream()?;
    start_future(queue, |_| Ok(make(object)))
}

/// Our configuration as core's: its defaults under what was said, what it does not know beside.
fn to_core<T>(config: &impl Serialize, table: &Table) -> R<Document<T>>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut all = match serde_json::to_value(T::default()) {
        Ok(Value::Object(defaults)) => defaults,
        _ => Map::new(),
    };
    all.extend(wire::to_wire(config, table)?);
    serde_json::from_value(Value::Object(all)).map_err(|error| crate::documents::refused(&error))
}

/// Core's information as ours.
fn from_core<T: DeserializeOwned, K>(info: &Info<K>, table: &Table) -> R<T> {
    wire::from_wire(Value::Object(info.raw().clone()), table)
}

/// A handle on another domain's or prefix's JetStream, made without asking the server.
pub(crate) fn open_jetstream(client: u64, domain: Option<String>, prefix: Option<String>) -> R<u64> {
    let hub = hub_of(client)?;
    let Object::Client(object) = hub.handles.get(client)? else {
        return Err(Failure::invalid("this is not a client"));
    };
    let default = &object.jetstream.jetstream;
    let jetstream = match (domain, prefix) {
        (Some(_), Some(_)) => return Err(Failure::field("prefix", "give a domain or a prefix, not both")),
        (Some(domain), None) => default.with_domain(&domain)?,
        (None, Some(prefix)) => default.with_prefix(&prefix)?,
        (None, None) => default.clone(),
    };
    hub.handles.add(Object::JetStream(Arc::new(JetStreamObject::new(jetstream))))
}

async fn stream_document(stream: Stream) -> R<Done> {
    let info = match stream.cached_info() {
        Some(info) => from_core::<StreamInfo, _>(info, &STREAM_INFO)?,
        None => from_core(&stream.info().await?, &STREAM_INFO)?,
    };
    Ok(Done::document(info))
}

/// Makes or changes a stream; finishes with its [`StreamInfo`].
pub(crate) fn make_stream(queue: u64, target: u64, verb: StreamVerb, config: StreamConfig) -> R<u64> {
    let config = to_core(&config, &STREAM_CONFIG)?;
    with_jetstream(queue, target, |object| async move {
        let jetstream = &object.jetstream;
        stream_document(match verb {
            StreamVerb::Create => jetstream.create_stream(config).await?,
            StreamVerb::Update => jetstream.update_stream(config).await?,
            StreamVerb::CreateOrUpdate => jetstream.create_or_update_stream(config).await?,
        })
        .await
    })
}

pub(crate) fn stream_info(queue: u64, target: u64, stream: String) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let info = object.jetstream.stream(stream)?.info().await?;
        Ok(Done::document(from_core::<StreamInfo, _>(&info, &STREAM_INFO)?))
    })
}

pub(crate) fn delete_stream(queue: u64, target: u64, stream: String) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        object.jetstream.delete_stream(&stream).await?;
        Ok(Done::Unit)
    })
}

pub(crate) fn purge_stream(queue: u64, target: u64, stream: String, what: PurgeOptions) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let options =
            natsune::jetstream::PurgeOptions { filter: what.filter, sequence: what.sequence, keep: what.keep };
        let purged = object.jetstream.stream(stream)?.purge(&options).await?;
        Ok(Done::document(Purged { purged }))
    })
}

pub(crate) fn account_info(queue: u64, target: u64) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let info = object.jetstream.account_info().await?;
        Ok(Done::document(from_core::<AccountInfo, _>(&info, &ACCOUNT_INFO)?))
    })
}

/// One stored message or none: by sequence, the last of a subject, or the next of a subject from a sequence on.
pub(crate) fn get_message(queue: u64, target: u64, stream: String, key: MessageKey) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let handle = object.jetstream.stream(stream.as_str())?;
        let found = match key {
            MessageKey { sequence: Some(sequence), last_for: None, next_for: None } => handle.get(sequence).await?,
            MessageKey { sequence: None, last_for: Some(subject), next_for: None } => handle.last_for(&subject).await?,
            MessageKey { sequence, last_for: None, next_for: Some(subject) } => {
                handle.next_for(&subject, sequence.unwrap_or(1)).await?
            }
            _ => {
                return Err(Failure::invalid(
                    "say which message: `sequence`, `last_for`, or `next_for` with an optional `sequence`",
                ));
            }
        };
        let stream: Arc<str> = stream.into();
        Ok(Done::message(found.map(|found| Received::Stored(StoredMessage::new(found, &stream)))))
    })
}

pub(crate) fn delete_message(queue: u64, target: u64, stream: String, sequence: u64) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        object.jetstream.stream(stream)?.delete_message(sequence).await?;
        Ok(Done::Unit)
    })
}

/// Makes or changes a consumer; finishes with its [`ConsumerInfo`].
pub(crate) fn make_consumer(
    queue: u64,
    target: u64,
    verb: ConsumerVerb,
    stream: String,
    config: ConsumerConfig,
) -> R<u64> {
    let config = to_core(&config, &CONSUMER_CONFIG)?;
    with_jetstream(queue, target, |object| async move {
        let stream = object.jetstream.stream(stream)?;
        let consumer = match verb {
            ConsumerVerb::Create => stream.create_consumer(config).await?,
            ConsumerVerb::Update => stream.update_consumer(config).await?,
            ConsumerVerb::CreateOrUpdate => stream.create_or_update_consumer(config).await?,
        };
        let info = match consumer.cached_info() {
            Some(info) => from_core::<ConsumerInfo, _>(info, &CONSUMER_INFO)?,
            None => from_core(&consumer.info().await?, &CONSUMER_INFO)?,
        };
        Ok(Done::document(info))
    })
}

pub(crate) fn consumer_info(queue: u64, target: u64, stream: String, consumer: String) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let info = object.jetstream.consumer(stream, consumer)?.info().await?;
        Ok(Done::document(from_core::<ConsumerInfo, _>(&info, &CONSUMER_INFO)?))
    })
}

pub(crate) fn delete_consumer(queue: u64, target: u64, stream: String, consumer: String) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        object.forget_consumer(&stream, &consumer);
        object.jetstream.stream(stream)?.delete_consumer(&consumer).await?;
        Ok(Done::Unit)
    })
}
