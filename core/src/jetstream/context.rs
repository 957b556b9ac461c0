//! JetStream of one connection: where its API is, and what is asked there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use natsune_protocol::subject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::consumer::Consumer;
use super::documents::{AccountInfo, Document, StreamConfig, StreamInfo};
use super::errors::ApiError;
use super::publish::{self, PendingAck, PublishAck, PublishDone, PublishHandle, PublishOptions};
use super::pull::bounded;
use super::stream::Stream;
use crate::client::Client;
use crate::error::{Applied, Code, Error, Result};
use crate::message::Message;

/// JetStream as seen through one client. Cheap to clone; making it does no I/O.
#[derive(Clone)]
pub struct JetStream {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// `$JS.API`, or that of a domain or another account; without a dot at the end.
    prefix: String,
    timeout: Duration,
}

impl Client {
    /// JetStream of the account that this client is in.
    pub fn jetstream(&self) -> JetStream {
        let timeout = self.options().request_timeout;
        JetStream { inner: Arc::new(Inner { client: self.clone(), prefix: "$JS.API".to_owned(), timeout }) }
    }
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

impl JetStream {
    /// JetStream of a domain: a leaf node's, or a hub's.
    pub fn with_domain(&self, domain: &str) -> Result<JetStream> {
        check_name("domain", domain)?;
        self.with_prefix(&format!("$JS.{domain}.API"))
    }

    /// JetStream behind another API prefix: one that an account imported.
    pub fn with_prefix(&self, prefix: &str) -> Result<JetStream> {
        let prefix = prefix.strip_suffix('.').unwrap_or(prefix);
        if !subject::is_valid_publish(prefix) {
            return Err(Error::new(Code::InvalidArgument, format!("{prefix:?} is not a prefix of subjects")));
        }
        Ok(self.changed(|inner| inner.prefix = prefix.to_owned()))
    }

    /// The same, waiting this long for each answer instead of the client's request timeout.
    pub fn with_timeout(&self, timeout: Duration) -> JetStream {
        self.changed(|inner| inner.timeout = bounded(timeout))
    }

    fn changed(&self, change: impl FnOnce(&mut Inner)) -> JetStream {
        let Inner { client, prefix, timeout } = &*self.inner;
        let mut inner = Inner { client: client.clone(), prefix: prefix.clone(), timeout: *timeout };
        change(&mut inner);
        JetStream { inner: Arc::new(inner) }
    }

    /// The connection underneath.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// How long an answer is waited for.
    pub fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    // ---- streams

    /// A handle on a stream, made without asking the server.
    pub fn stream(&self, name: impl Into<String>) -> Result<Stream> {
        Stream::new(self, name.into(), None)
    }

    /// A handle on a consumer, made without asking the server.
    pub fn consumer(&self, stream: impl Into<String>, name: impl Into<String>) -> Result<Consumer> {
        self.stream(stream)?.consumer(name)
    }

    /// Makes a stream. The same again succeeds; another configuration under the name is `already_exists`.
    pub async fn create_stream(&self, config: impl Into<Document<StreamConfig>>) -> Result<Stream> {
        self.put_stream("CREATE", config.into()).await
    }

    /// Changes a stream; `not_found` when there is none.
    pub async fn update_stream(&self, config: impl Into<Document<StreamConfig>>) -> Result<Stream> {
        self.put_stream("UPDATE", config.into()).await
    }

    /// Makes or changes a stream.
    pub async fn create_or_update_stream(&self, config: impl Into<Document<StreamConfig>>) -> Result<Stream> {
        let config = config.into();
        match self.put_stream("UPDATE", config.clone()).await {
            Err(e) if e.code() == Code::NotFound => match self.put_stream("CREATE", config.clone()).await {
                // Somebody else was faster.
                Err(e) if e.code() == Code::AlreadyExists => self.put_stream("UPDATE", config).await,
                result => result,
            },
            result => result,
        }
    }

    async fn put_stream(&self, verb: &str, config: Document<StreamConfig>) -> Result<Stream> {
        check_name("stream", &config.name)?;
        let tail = format!("STREAM.{verb}.{}", config.name);
        let info: StreamInfo = self.api(&tail, &config, &format!("stream {}", config.name)).await?;
        Stream::new(self, config.known.name, Some(info))
    }

    /// Deletes a stream with its messages; `not_found` when there is none.
    pub async fn delete_stream(&self, name: &str) -> Result<()> {
        self.stream(name)?.delete().await
    }

    /// The names of all streams, or of those that listen on `subject`.
    pub async fn stream_names(&self, subject: Option<&str>) -> Result<Vec<String>> {
        self.pages("STREAM.NAMES", "streams", subject.map(|s| ("subject", s)), "the streams").await
    }

    /// All streams.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>> {
        self.pages("STREAM.LIST", "streams", None, "the streams").await
    }

    /// What the account uses and may use.
    pub async fn account_info(&self) -> Result<AccountInfo> {
        self.api("INFO", &(), "the account").await
    }

    // ---- publishing

    /// Publishes and waits for the stream's acknowledgement.
    pub async fn publish(&self, subject: &str, payload: impl AsRef<[u8]>) -> Result<PublishAck> {
        self.publish_with(subject, payload, &PublishOptions::default()).await
    }

    /// Publishes with options and waits for the stream's acknowledgement.
    pub async fn publish_with(
        &self,
        subject: &str,
        payload: impl AsRef<[u8]>,
        options: &PublishOptions,
    ) -> Result<PublishAck> {
        let engine = self.client().engine();
        if engine.wire.is_over_mark() {
            // Under pressure it waits for its turn like any publish.
            let limit = engine.options.publish_timeout;
            let text =
                || format!("no room in the outbound buffer within {limit:?}: the server takes messages too slowly");
            match engine.clock.timeout(limit, engine.room()).await {
                Some(room) => room?,
                None => return Err(engine.late(text()).with_subject(subject).with_applied(Applied::No)),
            }
        }
        self.send(subject, payload, options)?.await
    }

    /// Publishes without waiting: the acknowledgement is a future. Fails with `busy` when the outbound buffer is full.
    pub fn send(&self, subject: &str, payload: impl AsRef<[u8]>, options: &PublishOptions) -> Result<PendingAck> {
        PendingAck::start(self, subject, None, payload.as_ref(), options)
    }

    /// The low level of [`send`](JetStream::send): `done` is called once with the outcome, unless the handle is dropped before. It runs
    /// on the client's thread and must not block. A raw header block (`NATS/1.0` and so on) stands in for the options' headers.
    pub fn start_publish(
        &self,
        subject: &str,
        header_block: Option<&[u8]>,
        payload: &[u8],
        options: &PublishOptions,
        done: PublishDone,
    ) -> Result<PublishHandle> {
        publish::start(self, subject, header_block, payload, options, done)
    }

    // ---- the API

    /// The whole subject of an API call.
    pub(crate) fn api_subject(&self, tail: &str) -> String {
        format!("{}.{tail}", self.inner.prefix)
    }

    /// Asks the API; `what` is what a failure is about.
    pub(crate) async fn api<T: DeserializeOwned>(&self, tail: &str, body: &impl Serialize, what: &str) -> Result<T> {
        let body = encode(body)?;
        read(self.client().request(self.api_subject(tail), body).timeout(self.timeout()).await, what)
    }

    /// Like [`JetStream::api`] with a function that is called once with the outcome, and no task.
    pub(crate) fn start_api<T: DeserializeOwned>(
        &self,
        tail: &str,
        body: &impl Serialize,
        what: String,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<crate::client::RequestHandle> {
        let body = encode(body)?;
        let call = Box::new(move |answer| done(read(answer, &what)));
        self.client().start_request(&self.api_subject(tail), None, &body, self.timeout(), call)
    }

    /// All pages of a list.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        tail: &str,
        field: &str,
        filter: Option<(&str, &str)>,
        what: &str,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let mut body = json!({"offset": all.len()});
            if let Some((name, value)) = filter {
                body[name] = json!(value);
            }
            let mut page: serde_json::Value = self.api(tail, &body, what).await?;
            let total = page["total"].as_u64().unwrap_or(0);
            let items = page.get_mut(field).map(serde_json::Value::take).unwrap_or_default();
            let items: Option<Vec<T>> = serde_json::from_value(items).map_err(|e| unreadable(what, &e))?;
            let items = items.unwrap_or_default();
            if items.is_empty() {
                return Ok(all);
            }
            all.extend(items);
            if all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>> {
    match serde_json::to_vec(body) {
        // Nothing to ask: the API wants an empty body.
        Ok(text) if text == b"null" => Ok(Vec::new()),
        Ok(text) => Ok(text),
        Err(e) => Err(Error::new(Code::InvalidArgument, format!("the document cannot be written as JSON: {e}"))),
    }
}

fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    // The server did it, and told it in a way that this version does not read.
    Error::new(Code::Server, format!("{what}: the server's answer cannot be read: {error}")).with_applied(Applied::Yes)
}

/// Reads an answer of the API.
pub(crate) fn read<T: DeserializeOwned>(answer: Result<Message>, what: &str) -> Result<T> {
    #[derive(serde::Deserialize)]
    struct Failed {
        error: ApiError,
    }
    let answer = answer.map_err(|e| match e.code() {
        Code::NoResponders => Error::new(
            Code::Unavailable,
            format!("{what}: JetStream does not answer: it is off, not ready, or not under this domain or prefix"),
        )
        .with_status(503),
        Code::Timeout => Error::new(Code::Timeout, format!("{what}: JetStream did not answer in time")),
        _ => e,
    })?;
    if let Ok(Failed { error }) = serde_json::from_slice(answer.payload()) {
        return Err(error.into_error(what));
    }
    serde_json::from_slice(answer.payload()).map_err(|e| unreadable(what, &e))
}

/// Names of streams, consumers and domains are tokens of subjects.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if subject::is_valid_name(name) {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidArgument,
        format!("{name:?} is no name for a {what}: it must not be empty nor have spaces, dots, slashes, * or >"),
    ))
}
