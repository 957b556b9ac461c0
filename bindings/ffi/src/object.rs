//! The live things behind handles. Children keep their client; closing any of them never waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natsune::jetstream::{Consumer, Consumption, JetStream};
use natsune::{Client, Events, Subscription};

use crate::failure::{Failure, R};
use crate::hub::{Hub, lock};
use crate::outcome::Reader;
use crate::ready::Ready;

/// How long a client that was let go may take to flush before it is closed.
const LEAVING: Duration = Duration::from_secs(2);
/// The most consumers that one context remembers.
const CONSUMERS: usize = 256;

/// What a handle stands for.
#[derive(Clone)]
pub(crate) enum Object {
    Client(Arc<ClientObject>),
    JetStream(Arc<JetStreamObject>),
    Subscription(Arc<Source<Subscription>>),
    Consumption(Arc<Source<Consumption>>),
    Reader(Arc<Source<Reader>>),
    Events(Arc<EventsObject>),
    #[cfg(feature = "embedded")]
    Broker(Arc<crate::control::BrokerObject>),
}

/// A client and its default JetStream.
pub(crate) struct ClientObject {
    pub(crate) client: Client,
    pub(crate) jetstream: Arc<JetStreamObject>,
}

/// One JetStream context. It remembers the consumers that were read from: what a cancelled fetch had received waits there
/// for the next one.
pub(crate) struct JetStreamObject {
    pub(crate) jetstream: JetStream,
    consumers: Mutex<Consumers>,
}

#[derive(Default)]
struct Consumers {
    clock: u64,
    by_name: HashMap<(String, String), (u64, Consumer)>,
}

impl JetStreamObject {
    pub(crate) fn new(jetstream: JetStream) -> JetStreamObject {
        JetStreamObject { jetstream, consumers: Mutex::default() }
    }

    /// The consumer of these names; no I/O.
    pub(crate) fn consumer(&self, stream: &str, name: &str) -> R<Consumer> {
        let mut guarded = lock(&self.consumers);
        let consumers = &mut *guarded;
        consumers.clock += 1;
        let key = (stream.to_owned(), name.to_owned());
        if let Some((used, consumer)) = consumers.by_name.get_mut(&key) {
            *used = consumers.clock;
            return Ok(consumer.clone());
        }
        let consumer = self.jetstream.consumer(stream, name)?;
        let mut forgotten = None;
        if consumers.by_name.len() >= CONSUMERS {
            let oldest = consumers.by_name.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            forgotten = oldest.and_then(|key| consumers.by_name.remove(&key));
        }
        consumers.by_name.insert(key, (consumers.clock, consumer.clone()));
        drop(guarded);
        drop(forgotten);
        Ok(consumer)
    }

    /// The consumer was deleted.
    pub(crate) fn forget_consumer(&self, stream: &str, name: &str) {
        let forgotten = lock(&self.consumers).by_name.remove(&(stream.to_owned(), name.to_owned()));
        drop(forgotten);
    }
}

/// Something messages are taken from. What is inside keeps its client.
pub(crate) struct Source<T> {
    pub(crate) inner: T,
    pub(crate) ready: Arc<Ready>,
}

impl<T> Source<T> {
    pub(crate) fn new(inner: T) -> Source<T> {
        Source { inner, ready: Arc::default() }
    }
}

/// A reader of events.
pub(crate) struct EventsObject {
    pub(crate) events: Events,
}

impl Object {
    pub(crate) fn client(&self) -> R<&Client> {
        match self {
            Object::Client(client) => Ok(&client.client),
            _ => Err(Failure::invalid("this is not a client")),
        }
    }

    /// The context of a JetStream handle, or a client's default one.
    pub(crate) fn jetstream(&self) -> R<Arc<JetStreamObject>> {
        match self {
            Object::Client(client) => Ok(Arc::clone(&client.jetstream)),
            Object::JetStream(jetstream) => Ok(Arc::clone(jetstream)),
            _ => Err(Failure::invalid("this is neither a client nor a JetStream context")),
        }
    }

    /// What leaving the scope means for each kind.
    pub(crate) fn close(self, hub: &'static Hub) {
        match self {
            Object::Client(object) => {
                hub.spawn(async move {
                    let _ = object.client.flush_within(LEAVING).await;
                    object.client.close().await;
                });
            }
            Object::Subscription(source) => {
                let _ = source.inner.unsubscribe(None);
                source.ready.finish_all();
            }
            Object::Consumption(source) => {
                source.inner.stop();
                source.ready.finish_all();
            }
            Object::Reader(source) => {
                source.inner.reader.stop();
                source.ready.finish_all();
            }
            Object::Events(_) | Object::JetStream(_) => {}
            #[cfg(feature = "embedded")]
            Object::Broker(object) => {
                hub.spawn(async move { object.stop().await });
            }
        }
    }
}
