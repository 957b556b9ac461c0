//! What goes to the server, in one place and one order: the outbound buffer, the registrations, the PINGs and the counts.
//!
//! Publishers append under the lock; the driver swaps the buffer with its own, written-out one. Every operation goes
//! through this buffer, so nothing overtakes anything, and a PONG confirms all that was appended before its PING.

mod direct;
mod link;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use natsune_protocol::encode;
use tokio::sync::oneshot;

pub(crate) use self::link::{Next, TooLarge};
use super::waiters::Waiters;
use crate::error::{Applied, Code, Error, Result};
use crate::inbox::Inbox;
use crate::stats::PublishCounts;

/// Answers to PINGs that wait to be written, at most: a peer that asks without end and reads nothing gets no more.
const MOST_PONGS: usize = 1024;

/// The sid of the one reply subscription.
pub(crate) const MUX_SID: u64 = 1;

/// What `try_publish` says when it took the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// There is room for more.
    Ok,
    /// The outbound mark is reached: wait with `writable` before the next one.
    Pressure,
}

/// Who publishes, which decides about limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bounded by `outbound_limit`.
    User,
    /// Acks and pulls: bounded by what was delivered, never `busy`.
    Control,
    /// A request: given up when its connection breaks. Alone: no other waits, so there is nothing to batch it with.
    /// Settling: one that acknowledges, which is never `busy` either.
    Request { alone: bool, settling: bool },
}

impl Kind {
    fn is_bounded(self) -> bool {
        !matches!(self, Kind::Control | Kind::Request { settling: true, .. })
    }
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Handshake,
    Live,
    Closed,
}

/// What a PONG sets off.
pub(crate) enum Then {
    Live,
    Flush(oneshot::Sender<Result<PublishCounts>>),
    Confirm(u64, oneshot::Sender<Result<()>>),
    Rtt(Instant, oneshot::Sender<Result<Duration>>),
    Drained(Arc<Inbox>),
}

struct Ping {
    /// Everything up to this position of the stream of publishes is confirmed by its PONG.
    mark: u64,
    then: Vec<Then>,
}

struct Registration {
    subject: Box<str>,
    queue: Option<Box<str>>,
    /// None: the reply subscription of requests.
    inbox: Option<Arc<Inbox>>,
    /// Messages in all, after which it ends.
    limit: Option<u64>,
    /// What had come before this connection, which the server does not count.
    base: u64,
    /// Subscribers that wait for a connection.
    confirm: Vec<oneshot::Sender<Result<()>>>,
}

struct State {
    phase: Phase,
    reason: Option<Error>,
    /// Draining: no more publishes by users.
    stopped: bool,
    buf: Vec<u8>,
    /// Bytes in the driver's hands.
    writing: usize,
    /// Whether `buf` holds anything but publishes.
    controls: bool,
    /// Of which so many are PONGs.
    pongs: usize,
    /// Publishes of requests that were buffered without a connection.
    idle_requests: usize,
    /// `buf` may hold messages that are larger than the server takes: they were checked when the limit was higher.
    shrunk: bool,
    counts: PublishCounts,
    /// Positions in the stream of publishes: all, up to the driver's chunk, up to its end, confirmed.
    seq: u64,
    chunk_start: u64,
    chunk_end: u64,
    confirmed: u64,
    pings: VecDeque<Ping>,
    /// The last so many PINGs are still in `buf`.
    pings_unsent: usize,
    /// Where `buf` ended after the last PING; 0: none in it.
    ping_end: usize,
    /// Position of the last PING, bytes written since, and since when publishes are unconfirmed.
    ping_mark: u64,
    unpinged: usize,
    since: Option<Instant>,
    registrations: BTreeMap<u64, Registration>,
    driver: Option<Waker>,
    /// The driver waits for the socket: publishes need not wake it, they are seen when the socket takes bytes again.
    blocked: bool,
    /// The socket, for what goes out on the caller's thread.
    direct: Option<TcpStream>,
    /// How much of the beginning of `buf` the socket took that way.
    ahead: usize,
    room: Waiters,
    flushes: Vec<oneshot::Sender<Result<PublishCounts>>>,
    /// Break the connection and make a new one.
    kick: bool,
}

/// See the module.
pub(crate) struct Wire {
    state: Mutex<State>,
    mark: usize,
    limit: usize,
    buffer_while_down: bool,
    max_payload: AtomicUsize,
    direct_bytes: AtomicU64,
}

impl Wire {
    pub(crate) fn new(mark: usize, limit: usize, buffer_while_down: bool) -> Wire {
        Wire {
            state: Mutex::new(State {
                phase: Phase::Down,
                reason: None,
                stopped: false,
                buf: Vec::new(),
                writing: 0,
                controls: false,
                pongs: 0,
                idle_requests: 0,
                shrunk: false,
                counts: PublishCounts::default(),
                seq: 0,
                chunk_start: 0,
                chunk_end: 0,
                confirmed: 0,
                pings: VecDeque::new(),
                pings_unsent: 0,
                ping_end: 0,
                ping_mark: 0,
                unpinged: 0,
                since: None,
                registrations: BTreeMap::new(),
                driver: None,
                blocked: false,
                direct: None,
                ahead: 0,
                room: Waiters::default(),
                flushes: Vec::new(),
                kick: false,
            }),
            mark,
            limit,
            buffer_while_down,
            max_payload: AtomicUsize::new(usize::MAX),
            direct_bytes: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.max_payload.load(Relaxed)
    }

    pub(crate) fn set_max_payload(&self, bytes: usize) {
        let before = self.max_payload.swap(bytes, Relaxed);
        if bytes < before {
            self.lock().shrunk = true;
        }
    }

    /// Appends a checked message. Copies once; no I/O. With `soft`, `None` means: wait for room first.
    #[inline]
    pub(crate) fn publish(
        &self,
        kind: Kind,
        soft: bool,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<Option<Accepted>> {
        let size = subject.len() + reply.map_or(0, str::len) + headers.map_or(0, <[u8]>::len) + payload.len();
        let mut state = self.lock();
        if state.phase != Phase::Live || state.stopped {
            self.refuse_or_buffer(&mut state, kind)?;
        }
        if soft && state.buf.len() >= self.mark {
            return Ok(None);
        }
        if kind.is_bounded() && state.buf.len() + state.writing + size > self.limit {
            return Err(self.busy(size));
        }
        if state.phase != Phase::Live {
            state.idle_requests += usize::from(matches!(kind, Kind::Request { .. }));
        }
        encode::pub_(&mut state.buf, subject, reply, headers, payload);
        state.seq += 1;
        state.counts.published += 1;
        state.counts.pending += 1;
        let accepted = if state.buf.len() < self.mark { Accepted::Ok } else { Accepted::Pressure };
        if matches!(kind, Kind::Request { alone: true, .. }) {
            self.release_now(state);
        } else {
            release(state);
        }
        Ok(Some(accepted))
    }

    #[cold]
    fn refuse_or_buffer(&self, state: &mut State, kind: Kind) -> Result<()> {
        if state.phase == Phase::Closed {
            return Err(state.closed());
        }
        if state.stopped && kind != Kind::Control {
            return Err(Error::new(Code::Closed, "the client is draining and takes no more publishes"));
        }
        if state.phase != Phase::Live && !self.buffer_while_down {
            return Err(Error::new(Code::Connection, "not connected, and buffer_while_disconnected is off")
                .with_applied(Applied::No));
        }
        Ok(())
    }

    #[cold]
    fn busy(&self, size: usize) -> Error {
        if size > self.limit {
            let limit = self.limit;
            let text = format!("the message of {size} bytes is larger than outbound_limit ({limit} bytes) allows");
            return Error::new(Code::LimitExceeded, text);
        }
        Error::new(
            Code::Busy,
            format!(
                "the outbound buffer is full ({} bytes): wait until the client is writable, or raise outbound_limit",
                self.limit
            ),
        )
    }

    /// Whether publishing need not wait; otherwise the waker is registered.
    pub(crate) fn poll_room(&self, id: &mut u64, waker: &Waker) -> Option<Result<()>> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Some(Err(state.closed()));
        }
        if state.buf.len() < self.mark {
            if *id != 0 {
                state.room.remove(*id);
                *id = 0;
            }
            return Some(Ok(()));
        }
        state.room.register(id, waker);
        None
    }

    pub(crate) fn forget_room(&self, id: u64) {
        self.lock().room.remove(id);
    }

    /// Registers the reply subscription once.
    pub(crate) fn ensure_mux(&self, filter: impl FnOnce() -> String) {
        let mut state = self.lock();
        if state.phase == Phase::Closed || state.registrations.contains_key(&MUX_SID) {
            return;
        }
        let registration = Registration {
            subject: filter().into(),
            queue: None,
            inbox: None,
            limit: None,
            base: 0,
            confirm: Vec::new(),
        };
        state.register(MUX_SID, registration, None);
        release(state);
    }

    /// Registers a subscription; `confirm` is told when the server has processed it.
    pub(crate) fn subscribe(
        &self,
        inbox: &Arc<Inbox>,
        limit: Option<u64>,
        confirm: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<()> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Err(state.closed());
        }
        if state.stopped {
            return Err(Error::new(Code::Closed, "the client is draining and takes no more subscriptions"));
        }
        let registration = Registration {
            subject: inbox.subject.clone(),
            queue: inbox.queue.clone(),
            inbox: Some(Arc::clone(inbox)),
            limit,
            base: 0,
            confirm: Vec::new(),
        };
        state.register(inbox.sid, registration, confirm);
        release(state);
        Ok(())
    }

    /// Ends a subscription at the server.
    pub(crate) fn unsubscribe(&self, sid: u64) {
        let mut state = self.lock();
        let Some(registration) = state.registrations.remove(&sid) else { return };
        if state.is_up() {
            encode::unsub(&mut state.buf, sid, None);
            state.controls = true;
        }
        release(state);
        drop(registration);
    }

    /// Lets the server end a subscription after `limit` messages in all.
    pub(crate) fn unsubscribe_after(&self, sid: u64, limit: u64) {
        let mut state = self.lock();
        let up = state.is_up();
        let Some(registration) = state.registrations.get_mut(&sid) else { return };
        registration.limit = Some(limit);
        let left = limit.saturating_sub(registration.base).max(1);
        if up {
            encode::unsub(&mut state.buf, sid, Some(left));
            state.controls = true;
        }
        release(state);
    }

    /// The server ended it by itself, or refused it.
    pub(crate) fn forget(&self, sid: u64) {
        let registration = self.lock().registrations.remove(&sid);
        drop(registration);
    }

    /// UNSUB with a PING behind it, after whose PONG nothing more comes. False: there is no connection, so nothing comes.
    pub(crate) fn drain(&self, inbox: &Arc<Inbox>) -> bool {
        let mut state = self.lock();
        let registration = state.registrations.remove(&inbox.sid);
        let up = state.is_up();
        if up {
            encode::unsub(&mut state.buf, inbox.sid, None);
            state.ping(Some(Then::Drained(Arc::clone(inbox))));
        }
        release(state);
        drop(registration);
        up
    }

    /// A PING whose PONG gives the counts; without a connection it follows the next one.
    pub(crate) fn flush(&self, send: oneshot::Sender<Result<PublishCounts>>) -> Result<()> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => return Err(state.closed()),
            Phase::Live => state.ping(Some(Then::Flush(send))),
            Phase::Down | Phase::Handshake => {
                state.flushes.retain(|f| !f.is_closed());
                state.flushes.push(send);
            }
        }
        self.release_now(state);
        Ok(())
    }

    /// A PING to measure with.
    pub(crate) fn rtt(&self, send: oneshot::Sender<Result<Duration>>) -> Result<()> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => return Err(state.closed()),
            Phase::Live => state.ping(Some(Then::Rtt(Instant::now(), send))),
            Phase::Down | Phase::Handshake => {
                return Err(Error::new(Code::Connection, "not connected").with_applied(Applied::No));
            }
        }
        self.release_now(state);
        Ok(())
    }

    /// The answer to the server's PING.
    pub(crate) fn pong(&self) {
        let mut state = self.lock();
        if state.is_up() && state.pongs < MOST_PONGS {
            encode::pong(&mut state.buf);
            (state.controls, state.pongs) = (true, state.pongs + 1);
        }
        release(state);
    }

    /// A PING to see whether the server lives, unless one is out.
    pub(crate) fn keepalive(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Live && state.pings.is_empty() {
            state.ping(None);
        }
        release(state);
    }

    /// Whether a PING waits for its PONG.
    pub(crate) fn ping_is_out(&self) -> bool {
        !self.lock().pings.is_empty()
    }

    pub(crate) fn counts(&self) -> PublishCounts {
        self.lock().counts
    }

    /// Bytes that wait.
    pub(crate) fn buffered(&self) -> usize {
        let state = self.lock();
        state.buf.len() + state.writing
    }

    /// Bytes that were written on the threads of callers.
    pub(crate) fn direct_bytes(&self) -> u64 {
        self.direct_bytes.load(Relaxed)
    }

    /// Whether publishing should wait.
    pub(crate) fn is_over_mark(&self) -> bool {
        self.lock().buf.len() >= self.mark
    }

    /// Whether a connection is up.
    pub(crate) fn is_live(&self) -> bool {
        self.lock().phase == Phase::Live
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().phase == Phase::Closed
    }

    /// What a call after the end fails with.
    pub(crate) fn closed_error(&self) -> Error {
        self.lock().closed()
    }
}

/// Unlocks, then wakes the driver if the buffer has something for it.
#[inline]
fn release(mut state: MutexGuard<'_, State>) {
    if state.phase == Phase::Live
        && !state.blocked
        && !state.buf.is_empty()
        && let Some(waker) = state.driver.take()
    {
        drop(state);
        waker.wake();
    }
}

impl State {
    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Handshake)
    }

    #[cold]
    fn closed(&self) -> Error {
        match &self.reason {
            None => Error::new(Code::Closed, "the client is closed"),
            Some(reason) => Error::new(Code::Closed, format!("the client is closed: {}", reason.message()))
                .with_source(reason.clone()),
        }
    }

    fn arm(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(have) => have.clone_from(waker),
            slot => *slot = Some(waker.clone()),
        }
    }

    /// Appends a PING, or joins the one that is at the end of the buffer.
    fn ping(&mut self, then: Option<Then>) {
        if self.ping_end != 0
            && self.ping_end == self.buf.len()
            && let Some(last) = self.pings.back_mut()
        {
            last.then.extend(then);
            return;
        }
        encode::ping(&mut self.buf);
        self.pings.push_back(Ping { mark: self.seq, then: then.into_iter().collect() });
        self.pings_unsent += 1;
        (self.ping_end, self.ping_mark, self.controls) = (self.buf.len(), self.seq, true);
        (self.unpinged, self.since) = (0, None);
    }

    fn register(&mut self, sid: u64, registration: Registration, confirm: Option<oneshot::Sender<Result<()>>>) {
        let mut registration = registration;
        if self.is_up() {
            encode::sub(&mut self.buf, &registration.subject, registration.queue.as_deref(), sid);
            if let Some(limit) = registration.limit {
                encode::unsub(&mut self.buf, sid, Some(limit.max(1)));
            }
            self.controls = true;
            if let Some(send) = confirm {
                self.ping(Some(Then::Confirm(sid, send)));
            }
        } else {
            registration.confirm.extend(confirm);
        }
        self.registrations.insert(sid, registration);
    }
}
