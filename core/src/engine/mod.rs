//! One client's engine: the state that its tasks and its handles share. Nobody holds two locks.

pub(crate) mod clock;
mod control;
mod drain;
mod driver;
pub(crate) mod hash;
pub(crate) mod info;
pub(crate) mod pool;
mod publish;
mod reader;
pub(crate) mod requests;
mod salvage;
mod supervisor;
pub(crate) mod waiters;
pub(crate) mod wire;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use natsune_protocol::subject;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use self::clock::Clock;
use self::hash::IdMap;
use self::info::ServerInfo;
use self::pool::{Pool, Server};
use self::requests::{Requests, unique};
use self::wire::Wire;
use crate::error::{Code, Error, Result};
use crate::events::{Event, Hub};
use crate::inbox::{Filter, Inbox, InboxOptions, Sifted};
use crate::message::Message;
use crate::options::{ConnectOptions, WhenFull};
use crate::stats::{Counters, Stats};

/// The size of one read, and the most that a small message can pin.
pub(crate) const READ_CHUNK: usize = 64 << 10;
/// Read buffers kept for the next read.
const SPARE_CHUNKS: usize = 8;
/// nats-server's limit on the arguments of a control line, less the numbers on it.
pub(crate) const SUBJECT_AND_REPLY: usize = 4096 - 48;
/// How long leaving without `close` may flush.
const FLUSH_ON_DROP: Duration = Duration::from_secs(2);

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// The first connection is being made.
    Connecting,
    /// A connection is up.
    Connected,
    /// The connection broke, another one is being made.
    Reconnecting,
    /// Ending: what came is handled, what was published is flushed.
    Draining,
    /// Closed for good.
    Closed,
}

/// See the module.
pub(crate) struct Engine {
    pub(crate) this: Weak<Engine>,
    pub(crate) options: ConnectOptions,
    pub(crate) runtime: Handle,
    pub(crate) wire: Wire,
    pub(crate) requests: Requests,
    pub(crate) clock: Clock,
    pub(crate) events: Hub,
    pub(crate) counters: Counters,
    inboxes: Mutex<IdMap<Arc<Inbox>>>,
    pool: Mutex<Pool>,
    info: Mutex<Arc<ServerInfo>>,
    state: watch::Sender<ClientState>,
    reason: Mutex<Option<Error>>,
    /// The supervisor's task is over: the socket is gone and everything is accounted for.
    finished: watch::Sender<bool>,
    /// A close or a kick, for the supervisor between connections.
    closing: Notify,
    next_sid: AtomicU64,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Engine {
    /// Starts the tasks; waits for the first pass over the pool.
    pub(crate) async fn start(options: ConnectOptions) -> Result<Arc<Engine>> {
        options.check()?;
        let options = options.bounded();
        let runtime = Handle::try_current().map_err(|_| {
            Error::new(Code::InvalidArgument, "connect must be called inside a tokio runtime with I/O and time enabled")
        })?;
        let pool = Pool::new(&options)?;
        let engine = Arc::new_cyclic(|this| Engine {
            this: this.clone(),
            wire: Wire::new(options.outbound_mark, options.outbound_limit, options.buffer_while_disconnected),
            requests: Requests::new(&format!("{}.{}", options.inbox_prefix, unique())),
            clock: Clock::new(),
            events: Hub::default(),
            counters: Counters::default(),
            inboxes: Mutex::default(),
            pool: Mutex::new(pool),
            info: Mutex::default(),
            state: watch::Sender::new(ClientState::Connecting),
            reason: Mutex::default(),
            finished: watch::Sender::new(false),
            closing: Notify::new(),
            next_sid: AtomicU64::new(wire::MUX_SID + 1),
            spare: Mutex::default(),
            options,
            runtime: runtime.clone(),
        });
        let (send, first) = oneshot::channel();
        runtime.spawn(clock::run(Arc::clone(&engine)));
        runtime.spawn(supervisor::run(Arc::clone(&engine), send));
        // Cancelling the connect must not leave a client that nobody knows.
        let abandon = CloseOnDrop(Some(Arc::clone(&engine)));
        let result = first.await.unwrap_or_else(|_| Err(engine.wire.closed_error()));
        result?;
        abandon.keep();
        Ok(engine)
    }

    pub(crate) fn lock_pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_inboxes(&self) -> MutexGuard<'_, IdMap<Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- reading ---

    /// A buffer for reading, with room for one chunk.
    pub(crate) fn spare_chunk(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(READ_CHUNK))
    }

    /// Takes back a buffer whose messages are all gone.
    pub(crate) fn recycle(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 2 * READ_CHUNK {
            return;
        }
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_CHUNKS {
            spare.push(buffer);
        }
    }

    pub(crate) fn inbox(&self, sid: u64) -> Option<Arc<Inbox>> {
        self.lock_inboxes().get(&sid).cloned()
    }

    /// Looks up several inboxes under one lock.
    pub(crate) fn inboxes_of<'a>(&self, wanted: impl Iterator<Item = (u64, &'a mut Option<Arc<Inbox>>)>) {
        let inboxes = self.lock_inboxes();
        for (sid, slot) in wanted {
            *slot = inboxes.get(&sid).cloned();
        }
    }

    pub(crate) fn forget_inbox(&self, sid: u64) {
        let gone = self.lock_inboxes().remove(&sid);
        drop(gone);
    }

    /// Gives messages to an inbox and does what follows from it.
    pub(crate) fn push(&self, inbox: &Arc<Inbox>, messages: &mut Vec<Message>) {
        if let Some(filter) = inbox.filter() {
            let sifted = filter.sift(messages);
            if !messages.is_empty() {
                inbox.push(messages);
            }
            if let Sifted::End(error) = sifted {
                self.end_inbox(inbox, error);
            }
            return;
        }
        let pushed = inbox.push(messages);
        if pushed.dropped > 0 {
            Counters::add(&self.counters.dropped, pushed.dropped);
        }
        if pushed.slow {
            self.events.slow_consumer(inbox);
        }
        if pushed.complete {
            self.forget(inbox);
        }
    }

    /// A subscription that the server has ended by itself.
    pub(crate) fn forget(&self, inbox: &Inbox) {
        self.wire.forget(inbox.sid);
        self.forget_inbox(inbox.sid);
    }

    /// Takes over what a server says about itself and its cluster.
    pub(crate) fn learn(&self, info: ServerInfo, from: &Server) {
        if info.max_payload > 0 {
            self.wire.set_max_payload(info.max_payload);
        }
        let changed = !self.options.ignore_discovered_servers && self.lock_pool().discover(&info.connect_urls, from);
        let servers = if changed { info.connect_urls.clone() } else { Vec::new() };
        let old = std::mem::replace(
            &mut *self.info.lock().unwrap_or_else(PoisonError::into_inner),
            Arc::new(ServerInfo { nonce: String::new(), ..info }),
        );
        drop(old);
        if changed {
            self.events.send(Event::ServersChanged { servers });
        }
    }

    // --- subscriptions ---

    /// Registers a subscription; `confirm` is told when the server has processed it.
    pub(crate) fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
        options: InboxOptions,
        confirm: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<Arc<Inbox>> {
        self.subscribe_with(subject, queue, options, None, confirm)
    }

    /// A subscription whose messages pass a filter before they are queued, and whose queue drops nothing: it gets only what
    /// its owner asked for.
    pub(crate) fn subscribe_filtered(&self, subject: &str, filter: Arc<dyn Filter>) -> Result<Arc<Inbox>> {
        let most = usize::MAX / 2;
        let options = InboxOptions { max_messages: most, max_bytes: most, when_full: WhenFull::DropNew, limit: None };
        self.subscribe_with(subject, None, options, Some(filter), None)
    }

    fn subscribe_with(
        &self,
        subject: &str,
        queue: Option<&str>,
        options: InboxOptions,
        filter: Option<Arc<dyn Filter>>,
        confirm: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<Arc<Inbox>> {
        if !subject::is_valid_filter(subject) {
            return Err(bad_subject("subscribe to", subject));
        }
        if let Some(queue) = queue
            && !subject::is_valid_queue(queue)
        {
            return Err(Error::new(Code::InvalidArgument, format!("{queue:?} is no valid queue group")));
        }
        if subject.len() + queue.map_or(0, str::len) > SUBJECT_AND_REPLY {
            return Err(Error::new(Code::InvalidArgument, "subject and queue are longer than a control line may be"));
        }
        if options.max_messages == 0 || options.max_bytes == 0 || options.limit == Some(0) {
            return Err(Error::new(Code::InvalidArgument, "the bounds of a subscription must be more than zero"));
        }
        let sid = self.next_sid.fetch_add(1, Relaxed);
        let mut inbox = Inbox::new(sid, subject, queue, options);
        if let Some(filter) = filter {
            inbox = inbox.with_filter(filter);
        }
        let inbox = Arc::new(inbox);
        self.lock_inboxes().insert(sid, Arc::clone(&inbox));
        if let Err(error) = self.wire.subscribe(&inbox, options.limit, confirm) {
            self.forget_inbox(sid);
            return Err(error);
        }
        Ok(inbox)
    }

    /// Ends a subscription at once; what waits in it is given up.
    pub(crate) fn unsubscribe(&self, inbox: &Inbox) {
        self.wire.unsubscribe(inbox.sid);
        self.forget_inbox(inbox.sid);
        inbox.end(None, true);
    }

    /// Ends a subscription at once for a reason; what waits in it is still handed out.
    pub(crate) fn end_inbox(&self, inbox: &Inbox, error: Option<Error>) {
        self.wire.unsubscribe(inbox.sid);
        self.forget_inbox(inbox.sid);
        inbox.end(error, false);
    }

    /// Tells the filters that the connection is there or broke.
    pub(crate) fn linked(&self, up: bool) {
        for inbox in self.all_inboxes() {
            if let Some(filter) = inbox.filter() {
                filter.linked(up);
            }
        }
    }

    /// Tells the filters that a publish of theirs was refused.
    pub(crate) fn pull_refused(&self, subject: &str, error: &Error) {
        // Not for each of many refused publishes: only a pull has no request that fails.
        if !subject.contains(".CONSUMER.MSG.NEXT.") {
            return;
        }
        for inbox in self.all_inboxes() {
            if let Some(filter) = inbox.filter() {
                filter.refused(subject, error);
            }
        }
    }

    /// Ends a subscription after so many messages in all.
    pub(crate) fn unsubscribe_after(&self, inbox: &Inbox, limit: u64) {
        if inbox.limit(limit) {
            // They have come already: what waits is still handed out.
            self.wire.unsubscribe(inbox.sid);
            self.forget_inbox(inbox.sid);
            inbox.end(None, false);
        } else {
            self.wire.unsubscribe_after(inbox.sid, limit);
        }
    }

    pub(crate) fn all_inboxes(&self) -> Vec<Arc<Inbox>> {
        self.lock_inboxes().values().cloned().collect()
    }

    // --- state ---

    pub(crate) fn info(&self) -> Arc<ServerInfo> {
        Arc::clone(&self.info.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn state(&self) -> ClientState {
        *self.state.borrow()
    }

    /// Draining and Closed are not taken back by a connection that comes or goes.
    pub(crate) fn set_state(&self, new: ClientState) {
        self.state.send_if_modified(|state| {
            let kept = *state == ClientState::Closed || (*state == ClientState::Draining && new != ClientState::Closed);
            let change = !kept && *state != new;
            if change {
                *state = new;
            }
            change
        });
    }

    pub(crate) fn closed_event(&self) -> Option<Event> {
        let reason =
            || self.reason.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|e| e.message().to_owned());
        (self.state() == ClientState::Closed).then(|| Event::Closed { reason: reason() })
    }

    /// Ends everything at once. Only the first reason counts.
    pub(crate) fn close(&self, reason: Option<Error>) {
        if self.wire.close(reason.clone()).is_none() {
            return;
        }
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.clone();
        let error = self.wire.closed_error();
        self.requests.fail_all(&error);
        let inboxes = std::mem::take(&mut *self.lock_inboxes());
        for inbox in inboxes.into_values() {
            // Closed by its owner it ends in order; closed by a failure it says so.
            inbox.end(reason.as_ref().map(|_| error.clone()), reason.is_none());
        }
        self.clock.stop();
        self.closing.notify_one();
        self.set_state(ClientState::Closed);
        self.events.send(Event::Closed { reason: reason.map(|e| e.message().to_owned()) });
    }

    /// Waits until the client is closed; the reason, if it was not asked for.
    pub(crate) async fn closed(&self) -> Option<Error> {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|s| *s == ClientState::Closed).await;
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the socket is gone and everything is accounted for.
    pub(crate) async fn finished(&self) {
        let mut finished = self.finished.subscribe();
        let _ = finished.wait_for(|f| *f).await;
    }

    /// A new connection, at once.
    pub(crate) fn reconnect(&self) -> Result<()> {
        if self.wire.is_closed() {
            return Err(self.wire.closed_error());
        }
        self.wire.kick();
        self.closing.notify_one();
        Ok(())
    }

    /// The last handle is gone: flushes for a moment, then closes.
    pub(crate) fn release(self: &Arc<Self>) {
        if self.wire.is_closed() {
            return;
        }
        if self.wire.counts().pending == 0 {
            self.close(None);
            return;
        }
        let engine = Arc::clone(self);
        self.runtime.spawn(async move {
            let _close = CloseOnDrop(Some(Arc::clone(&engine)));
            let _ = engine.flush(FLUSH_ON_DROP).await;
        });
    }

    pub(crate) fn stats(&self) -> Stats {
        let publishes = self.wire.counts();
        Stats {
            in_messages: Counters::get(&self.counters.in_messages),
            in_bytes: Counters::get(&self.counters.in_bytes),
            out_messages: publishes.published,
            out_bytes: Counters::get(&self.counters.out_bytes) + self.wire.direct_bytes(),
            dropped_messages: Counters::get(&self.counters.dropped),
            unreadable: Counters::get(&self.counters.unreadable),
            connects: Counters::get(&self.counters.connects),
            buffered_bytes: self.wire.buffered() as u64,
            requests_waiting: self.requests.len() as u64,
            subscriptions: self.lock_inboxes().len() as u64,
            publishes,
        }
    }
}

#[cold]
fn bad_subject(what: &str, subject: &str) -> Error {
    let shown: String = subject.chars().take(200).collect();
    Error::new(Code::InvalidArgument, format!("{shown:?} is no valid subject to {what}")).with_subject(shown)
}

/// Closes an engine when a future that owns it is dropped half-way.
struct CloseOnDrop(Option<Arc<Engine>>);

impl CloseOnDrop {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            engine.close(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every PING and sends a message for each SUB it sees.
    async fn tiny_server(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                stream.write_all(b"INFO {}\r\n").await?;
                let mut buf = vec![0; 4096];
                loop {
                    let n = stream.read(&mut buf).await?;
                    if n == 0 {
                        return Ok::<_, std::io::Error>(());
                    }
                    let text = String::from_utf8_lossy(buf.get(..n).unwrap_or_default()).into_owned();
                    for line in text.lines() {
                        if line == "PING" {
                            stream.write_all(b"PONG\r\n").await?;
                        } else if let Some(sid) = line.strip_prefix("SUB a ") {
                            stream.write_all(format!("MSG a {sid} 2\r\nhi\r\n").as_bytes()).await?;
                        }
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_closed_client_is_freed_whatever_is_still_held() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        tokio::spawn(tiny_server(listener));
        for round in 0..20 {
            let client = crate::connect(url.as_str()).await.unwrap();
            let weak = Arc::downgrade(client.engine());
            let mut kept = Vec::new();
            let mut sub = client.subscribe("a").await.unwrap();
            kept.push(sub.next().await.unwrap().unwrap());
            let unread = client.subscribe("a").await.unwrap();
            let events = client.events();
            let asked = client.start_request("q", None, b"", Duration::from_secs(9), Box::new(|_| {})).unwrap();
            asked.detach();
            if round % 2 == 0 {
                client.close().await;
            }
            drop((sub, unread, client));
            let deadline = Instant::now() + Duration::from_secs(10);
            while weak.strong_count() > 0 {
                assert!(Instant::now() < deadline, "{} references are left", weak.strong_count());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop((kept, events));
        }
    }
}
