//! The client: connect, publish, request, subscribe, flush, drain, close.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use natsune_protocol::Headers;
use tokio::sync::oneshot;

use crate::engine::info::ServerInfo;
use crate::engine::requests::{Done, unique};
use crate::engine::wire::{Accepted, Kind};
use crate::engine::{ClientState, Engine};
use crate::error::{Applied, Code, Error, Result};
use crate::events::Events;
use crate::message::Message;
use crate::options::{ConnectOptions, TlsOptions, bounded};
use crate::stats::{PublishCounts, Stats};
use crate::subscription::SubscribeBuilder;

/// What can be given as server addresses.
pub trait IntoServers {
    /// The addresses as URLs.
    fn into_servers(self) -> Vec<String>;
}

impl IntoServers for &str {
    fn into_servers(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoServers for String {
    fn into_servers(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoServers for &String {
    fn into_servers(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<S: Into<String>> IntoServers for Vec<S> {
    fn into_servers(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<S: Into<String>, const N: usize> IntoServers for [S; N] {
    fn into_servers(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl IntoServers for &[&str] {
    fn into_servers(self) -> Vec<String> {
        self.iter().map(|s| (*s).to_owned()).collect()
    }
}

/// A credentials file or its text.
#[derive(Clone)]
pub struct Credentials(Source);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(String),
}

impl Credentials {
    /// A file, read again at each connect, so that renewed credentials are used at once.
    pub fn file(path: impl Into<PathBuf>) -> Credentials {
        Credentials(Source::File(path.into()))
    }

    /// The text of such a file.
    pub fn text(text: impl Into<String>) -> Credentials {
        Credentials(Source::Text(text.into()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => f.debug_tuple("Credentials::file").field(path).finish(),
            Source::Text(_) => f.write_str("Credentials::text((hidden))"),
        }
    }
}

/// Connects to one server or a pool of them; configure it, then `await` it.
///
/// ```no_run
/// # async fn example() -> natsune::Result<()> {
/// let client = natsune::connect("nats://localhost:4222").name("shop").await?;
/// client.publish("orders.new", "42").await?;
/// client.drain().await
/// # }
/// ```
pub fn connect(servers: impl IntoServers) -> ConnectBuilder {
    ConnectBuilder { options: ConnectOptions { servers: servers.into_servers(), ..ConnectOptions::default() } }
}

/// Connects with a whole document of options.
pub async fn connect_with(options: ConnectOptions) -> Result<Client> {
    // Nothing was published yet, so whatever went wrong had no effect.
    let engine = Engine::start(options).await.map_err(|error| error.with_applied(Applied::No))?;
    Ok(Client { handle: Arc::new(LastOneCloses(engine)) })
}

/// A connection to be made; `await` it.
#[must_use = "a connection is made by awaiting this"]
#[derive(Clone, Debug)]
pub struct ConnectBuilder {
    options: ConnectOptions,
}

impl ConnectBuilder {
    /// The name that the server shows.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// User name and password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options.user = Some(user.into());
        self.options.password = Some(password.into());
        self
    }

    /// A token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.token = Some(token.into());
        self
    }

    /// The seed of a user NKey.
    pub fn nkey(mut self, seed: impl Into<String>) -> Self {
        self.options.nkey_seed = Some(seed.into());
        self
    }

    /// A credentials file or its text.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        match credentials.0 {
            Source::File(path) => self.options.creds_file = Some(path),
            Source::Text(text) => self.options.creds_text = Some(text),
        }
        self
    }

    /// How TLS is done.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.options.tls = tls;
        self
    }

    /// Everything else: changes the options in place.
    pub fn with(mut self, change: impl FnOnce(&mut ConnectOptions)) -> Self {
        change(&mut self.options);
        self
    }
}

impl IntoFuture for ConnectBuilder {
    type Output = Result<Client>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(connect_with(self.options))
    }
}

/// When the last handle goes, what is published is flushed for a moment and the connection is closed.
struct LastOneCloses(Arc<Engine>);

impl Drop for LastOneCloses {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A connection to NATS that heals itself. Cheap to clone, usable from any thread and any executor.
#[derive(Clone)]
pub struct Client {
    handle: Arc<LastOneCloses>,
}

impl Client {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.handle.0
    }

    /// Publishes; waits while the outbound buffer is over its mark, at most `publish_timeout`. Cancelled while waiting, it
    /// was not sent.
    pub async fn publish(&self, subject: impl AsRef<str>, payload: impl AsRef<[u8]>) -> Result<()> {
        self.engine().publish(subject.as_ref(), None, None, payload.as_ref()).await
    }

    /// Publishes with headers.
    pub async fn publish_with_headers(
        &self,
        subject: impl AsRef<str>,
        headers: &Headers,
        payload: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.engine().publish(subject.as_ref(), None, block_of(Some(headers)).as_deref(), payload.as_ref()).await
    }

    /// Publishes with the subject that an answer should go to.
    pub async fn publish_with_reply(
        &self,
        subject: impl AsRef<str>,
        reply: impl AsRef<str>,
        payload: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.engine().publish(subject.as_ref(), Some(reply.as_ref()), None, payload.as_ref()).await
    }

    /// Publishes at once: copies into the outbound buffer, or fails with `busy` when it is full. No I/O, no waiting.
    #[inline]
    pub fn try_publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&Headers>,
        payload: &[u8],
    ) -> Result<Accepted> {
        match headers {
            None => self.engine().try_publish(Kind::User, subject, reply, None, payload),
            some => self.engine().try_publish(Kind::User, subject, reply, block_of(some).as_deref(), payload),
        }
    }

    /// Like [`try_publish`](Client::try_publish) with a header block that is encoded already (`NATS/1.0` to its empty
    /// line).
    #[inline]
    pub fn try_publish_raw(
        &self,
        subject: &str,
        reply: Option<&str>,
        header_block: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<Accepted> {
        self.engine().try_publish(Kind::User, subject, reply, header_block, payload)
    }

    /// Publishes at once if the outbound buffer is below its mark, with a header block as for
    /// [`try_publish_raw`](Client::try_publish_raw). False: it is not, and nothing was accepted.
    #[inline]
    pub fn offer_raw(
        &self,
        subject: &str,
        reply: Option<&str>,
        header_block: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<bool> {
        self.engine().offer(subject, reply, header_block, payload)
    }

    /// [`publish`](Client::publish) with a header block as for [`try_publish_raw`](Client::try_publish_raw).
    pub async fn publish_raw(
        &self,
        subject: &str,
        reply: Option<&str>,
        header_block: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<()> {
        self.engine().publish(subject, reply, header_block, payload).await
    }

    /// For acks and pulls: never `busy`, because what was delivered bounds them.
    pub(crate) fn publish_control(
        &self,
        subject: &str,
        reply: Option<&str>,
        header_block: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<()> {
        self.engine().try_publish(Kind::Control, subject, reply, header_block, payload).map(|_| ())
    }

    /// Waits until the outbound buffer is below its mark.
    pub async fn writable(&self) -> Result<()> {
        self.engine().room().await
    }

    /// Whether the outbound buffer is below its mark.
    pub fn is_writable(&self) -> bool {
        self.engine().wire.buffered() < self.engine().options.outbound_mark
    }

    /// Subscribes; configure it, then `await` it. Complete when the server confirmed it.
    pub fn subscribe(&self, subject: impl Into<String>) -> SubscribeBuilder {
        SubscribeBuilder::new(self, subject.into())
    }

    /// Asks and waits for one answer; `await` it. Nobody listening is `no_responders` at once.
    pub fn request<'a, P: AsRef<[u8]> + Send + 'a>(
        &'a self,
        subject: impl Into<std::borrow::Cow<'a, str>>,
        payload: P,
    ) -> RequestBuilder<'a, P> {
        RequestBuilder {
            client: self,
            subject: subject.into(),
            payload,
            headers: None,
            timeout: self.engine().options.request_timeout,
        }
    }

    /// The low level of requests: no task, no timer, no future. `done` is called at most once, on the engine's thread, so
    /// it must be short; it is called before or after this returns, and not at all when this fails or the handle is
    /// dropped first.
    pub fn start_request(
        &self,
        subject: &str,
        header_block: Option<&[u8]>,
        payload: &[u8],
        timeout: Duration,
        done: Box<dyn FnOnce(Result<Message>) + Send>,
    ) -> Result<RequestHandle> {
        let id = self.engine().request(false, subject, header_block, payload, timeout, Done::Call(done))?;
        Ok(RequestHandle { engine: Arc::clone(self.engine()), id })
    }

    /// For acknowledgements that wait for an answer: never `busy`, because what was delivered bounds them.
    pub(crate) fn start_settling(
        &self,
        subject: &str,
        payload: &[u8],
        timeout: Duration,
        done: Box<dyn FnOnce(Result<Message>) + Send>,
    ) -> Result<RequestHandle> {
        let id = self.engine().request(true, subject, None, payload, timeout, Done::Call(done))?;
        Ok(RequestHandle { engine: Arc::clone(self.engine()), id })
    }

    /// Waits until the server processed everything published so far; what became of it. Without a connection it waits for
    /// one, at most `request_timeout`.
    pub async fn flush(&self) -> Result<PublishCounts> {
        self.flush_within(self.engine().options.request_timeout).await
    }

    /// Like [`flush`](Client::flush) with its own limit.
    pub async fn flush_within(&self, limit: Duration) -> Result<PublishCounts> {
        self.engine().flush(limit).await
    }

    /// The time of one PING and its PONG, behind what is buffered.
    pub async fn rtt(&self) -> Result<Duration> {
        self.engine().rtt().await
    }

    /// Ends in order: subscriptions get what was sent to them, all that was handed out is handled, all that was published
    /// is flushed; then it closes. It goes on when this future is dropped. After `drain_timeout` it closes all the same
    /// and fails with `timeout`.
    pub async fn drain(&self) -> Result<()> {
        let engine = Arc::clone(self.engine());
        let task = self.engine().runtime.spawn(async move { engine.drain().await });
        task.await.unwrap_or_else(|_| Err(self.engine().wire.closed_error()))
    }

    /// Closes at once; what is not flushed is given up, and counted. May be called again.
    pub async fn close(&self) {
        self.close_now();
        self.engine().finished().await;
    }

    /// Like [`close`](Client::close), without waiting for the socket to be gone.
    pub fn close_now(&self) {
        self.engine().close(None);
    }

    /// Waits until the client is closed for good; the reason, unless it was asked for.
    pub async fn closed(&self) -> Option<Error> {
        self.engine().closed().await
    }

    /// Breaks the connection and makes a new one.
    pub fn reconnect(&self) -> Result<()> {
        self.engine().reconnect()
    }

    /// Replaces the server pool; it counts from the next connect on.
    pub fn set_servers(&self, servers: impl IntoServers) -> Result<()> {
        self.engine().lock_pool().set(&servers.into_servers())
    }

    /// A reader of what happens from now on.
    pub fn events(&self) -> Events {
        self.engine().events.reader(|| self.engine().closed_event())
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        self.engine().stats()
    }

    /// What became of what was published.
    pub fn publish_counts(&self) -> PublishCounts {
        self.engine().wire.counts()
    }

    /// Bytes that wait in the outbound buffer.
    pub fn buffered_bytes(&self) -> usize {
        self.engine().wire.buffered()
    }

    /// What the server said about itself last.
    pub fn server_info(&self) -> Arc<ServerInfo> {
        self.engine().info()
    }

    /// The largest message, headers included; `usize::MAX` before the first connection.
    pub fn max_payload(&self) -> usize {
        self.engine().wire.max_payload()
    }

    /// Successful connects so far; it changes with each reconnect.
    pub fn connects(&self) -> u64 {
        crate::stats::Counters::get(&self.engine().counters.connects)
    }

    /// A subject that nobody else uses, to receive answers at.
    pub fn new_inbox(&self) -> String {
        format!("{}.{}", self.engine().options.inbox_prefix, unique())
    }

    /// Where the client stands.
    pub fn state(&self) -> ClientState {
        self.engine().state()
    }

    /// The options it was made with.
    pub fn options(&self) -> &ConnectOptions {
        &self.engine().options
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state())
            .field("servers", &self.engine().lock_pool().addresses())
            .finish()
    }
}

/// The encoded form; none for no headers, so that they cost nothing.
fn block_of(headers: Option<&Headers>) -> Option<Vec<u8>> {
    let headers = headers.filter(|h| !h.is_empty())?;
    let mut block = Vec::with_capacity(headers.encoded_len());
    headers.encode(&mut block);
    Some(block)
}

/// A request to be made; `await` it. Dropping it half-way leaves nothing behind.
#[must_use = "a request is made by awaiting this"]
pub struct RequestBuilder<'a, P> {
    client: &'a Client,
    subject: std::borrow::Cow<'a, str>,
    payload: P,
    headers: Option<Vec<u8>>,
    timeout: Duration,
}

impl<P: AsRef<[u8]>> RequestBuilder<'_, P> {
    /// Headers of the request.
    pub fn headers(mut self, headers: &Headers) -> Self {
        self.headers = block_of(Some(headers));
        self
    }

    /// How long to wait instead of the client's `request_timeout`, connected or not.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<Message> {
        let engine = self.client.engine();
        let deadline = std::time::Instant::now() + bounded(self.timeout);
        if engine.wire.is_over_mark() {
            // Under pressure a request waits for its turn like a publish.
            match engine.clock.timeout(self.timeout, engine.room()).await {
                Some(room) => room?,
                None => {
                    return Err(engine
                        .late(format!("no room in the outbound buffer within {:?}", self.timeout))
                        .with_subject(self.subject)
                        .with_applied(Applied::No));
                }
            }
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let (send, answer) = oneshot::channel();
        let payload = self.payload.as_ref();
        let id = engine.request(false, &self.subject, self.headers.as_deref(), payload, left, Done::Send(send))?;
        let handle = RequestHandle { engine: Arc::clone(engine), id };
        let result = answer.await;
        handle.detach();
        match result {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(error.with_subject(self.subject)),
            Err(_) => Err(Error::new(Code::Internal, "a request was lost").with_subject(self.subject)),
        }
    }
}

impl<'a, P: AsRef<[u8]> + Send + 'a> IntoFuture for RequestBuilder<'a, P> {
    type Output = Result<Message>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A request that waits for its answer. Dropping it forgets the request: its callback is not called any more.
#[must_use = "dropping it cancels the request; detach it to let it go on"]
pub struct RequestHandle {
    engine: Arc<Engine>,
    id: u64,
}

impl RequestHandle {
    /// Forgets the request. False: it was finished before.
    pub fn cancel(self) -> bool {
        let waited = self.engine.requests.cancel(self.id);
        self.detach();
        waited
    }

    /// Lets the request go on without this handle.
    pub fn detach(mut self) {
        self.id = 0;
    }
}

impl Drop for RequestHandle {
    fn drop(&mut self) {
        if self.id != 0 {
            self.engine.requests.cancel(self.id);
        }
    }
}
