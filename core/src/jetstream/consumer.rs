//! A pull consumer: what it is, and the three ways to its messages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::context::{JetStream, check_name};
use super::documents::ConsumerInfo;
use super::message::JsMessage;
use super::pull::{ConsumeOptions, Consumption, Fetch, FetchOptions, Pool, PoolOwner};
use super::stream::Stream;
use crate::error::Result;

/// A handle on a consumer. Cheap to clone; its clones share what was received for a cancelled call.
#[derive(Clone)]
pub struct Consumer {
    inner: Arc<Inner>,
}

struct Inner {
    js: JetStream,
    stream: String,
    name: String,
    info: Option<ConsumerInfo>,
    pool: Arc<PoolOwner>,
}

#[derive(Deserialize)]
struct Success {}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { stream, name, .. } = &*self.inner;
        f.debug_struct("Consumer").field("stream", stream).field("name", name).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(crate) fn new(stream: &Stream, name: String, info: Option<ConsumerInfo>) -> Result<Consumer> {
        check_name("consumer", &name)?;
        let js = stream.jetstream().clone();
        let pool = Arc::new(PoolOwner(Pool::new(&js, stream.name(), &name)));
        Ok(Consumer { inner: Arc::new(Inner { js, stream: stream.name().to_owned(), name, info, pool }) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The name of its stream.
    pub fn stream_name(&self) -> &str {
        &self.inner.stream
    }

    /// The JetStream it is reached through.
    pub fn jetstream(&self) -> &JetStream {
        &self.inner.js
    }

    /// What the server said when this handle was made by creating or updating the consumer.
    pub fn cached_info(&self) -> Option<&ConsumerInfo> {
        self.inner.info.as_ref()
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, verb: &str) -> Result<T> {
        let Inner { js, stream, name, .. } = &*self.inner;
        let what = format!("consumer {name} of stream {stream}");
        js.api(&format!("CONSUMER.{verb}.{stream}.{name}"), &(), &what).await
    }

    /// Its configuration and state.
    pub async fn info(&self) -> Result<ConsumerInfo> {
        self.ask("INFO").await
    }

    /// Deletes it.
    pub async fn delete(&self) -> Result<()> {
        self.ask::<Success>("DELETE").await.map(drop)
    }

    /// The next message; `None` when none came in time. Cancelling loses nothing.
    pub async fn next(&self, timeout: Duration) -> Result<Option<JsMessage>> {
        let options = FetchOptions { timeout: Some(timeout), ..Default::default() };
        Ok(self.fetch_with(&options)?.await?.pop())
    }

    /// Up to so many messages; waits until all of them are there, at most `timeout`. None at all is an empty list. Cancelling loses
    /// nothing: what had come goes to the next call on this handle or a clone of it.
    pub async fn fetch(&self, max_messages: u64, timeout: Duration) -> Result<Vec<JsMessage>> {
        let options = FetchOptions { max_messages, timeout: Some(timeout), ..Default::default() };
        self.fetch_with(&options)?.await
    }

    /// A fetch with all its options, as a future. It is under way from now on.
    pub fn fetch_with(&self, options: &FetchOptions) -> Result<Fetch> {
        Fetch::start(&self.inner.pool, options, None)
    }

    /// The low level of [`fetch_with`](Consumer::fetch_with): `done` is called once when [`Fetch::take`] has something, on the client's
    /// thread or before this returns; it must not block. It is not called when the fetch is dropped before.
    pub fn start_fetch(&self, options: &FetchOptions, done: Box<dyn FnOnce() + Send>) -> Result<Fetch> {
        Fetch::start(&self.inner.pool, options, Some(done))
    }

    /// Puts messages back, as if they had not been taken: the next call on this handle or a clone of it gets them first. Settled ones
    /// are left out.
    pub fn give_back(&self, messages: Vec<JsMessage>) {
        self.inner.pool.0.give_back(messages);
    }

    /// Messages that came for a call that was cancelled, and wait for the next one.
    pub fn leftover(&self) -> usize {
        self.inner.pool.0.leftover()
    }

    /// Keeps messages coming. `not_found` when there is no such consumer, `invalid_argument` when it is a push consumer.
    pub async fn consume(&self, options: &ConsumeOptions) -> Result<Consumption> {
        Consumption::start(self, options).await
    }
}
