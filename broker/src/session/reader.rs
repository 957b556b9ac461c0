//! The task of a session: read a batch, handle it, write what others left, wait.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use natsune_protocol::{Limits, ParseError, Parser};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::Session;
use super::outbox::Wrote;
use super::reason::Reason;
use super::sink::take_stall;
use crate::auth::Permissions;
use crate::log::Level;
use crate::router::{Account, Batch, MatchCache};

/// Bytes read at a time. One buffer per thread, not per connection.
const READ: usize = 128 * 1024;
/// An operation of which this much has come is read into a buffer of its own instead.
const LARGE: usize = 32 * 1024;
/// Longest CONNECT: tokens can be large.
const CONNECT: usize = 64 * 1024;
/// How long publishers are held up for one slow client.
const STALL: Duration = Duration::from_millis(5);
/// How long a closed connection may take to get the last bytes.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long, and how much, is read after `-ERR` so that a reset does not overtake it.
const LINGER: Duration = Duration::from_millis(250);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Where operations come from.
pub(crate) enum Input {
    /// Plain TCP; its other half is in the outbox, for all to write to.
    Plain(OwnedReadHalf),
    /// TLS: both directions belong to the task.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Input {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Input::Plain(half) => Pin::new(half).poll_read(cx, buf),
            Input::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

/// What the task keeps for itself.
pub(super) struct Reader {
    pub(super) session: Arc<Session>,
    input: Input,
    pub(super) parser: Parser,
    /// The beginning of an operation that is not complete.
    carry: Vec<u8>,
    /// `carry` holds whole operations: it was left over when CONNECT had to be waited for.
    resume: bool,
    pub(super) cache: MatchCache<bool>,
    pub(super) account: Option<Arc<Account>>,
    pub(super) permissions: Arc<Permissions>,
    pub(super) restricted: bool,
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    /// The client may send headers.
    pub(super) headers: bool,
    pub(super) no_responders: bool,
    /// INFO is due after the first PONG.
    pub(super) info_due: bool,
    pub(super) max_subscriptions: Option<u64>,
    /// Each operation goes to the log.
    pub(super) traced: bool,
    /// Of the batch being handled.
    pub(super) batch_msgs: u64,
    pub(super) batch_bytes: u64,
    stall: Option<Stall>,
    unflushed: bool,
}

/// Holding up a publisher.
struct Stall {
    by: Arc<Session>,
    until: Pin<Box<Sleep>>,
}

/// What comes after an operation.
pub(super) enum Next {
    /// The next one.
    More,
    /// CONNECT has to be looked at, or that of a client which did not bother to send one.
    Connect(Option<Vec<u8>>),
    /// The end.
    Close(Reason, Option<&'static str>),
}

enum Event {
    Connect(Option<Vec<u8>>),
    End,
}

/// A session from its connection on. Cleans up however its task ends, a panic included.
pub(crate) struct Opened(Arc<Session>);

impl Opened {
    pub(crate) fn new(session: Arc<Session>) -> Opened {
        Opened(session)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close(Reason::InternalError, None);
        self.0.drop_subscriptions();
        self.0.outbox().shut(&self.0.shared.budget);
        self.0.shared.session_ended(&self.0);
    }
}

/// Runs a session to its end.
pub(crate) async fn serve(opened: Opened, mut input: Input, say_info: bool) {
    let session = opened.session().clone();
    session.start_clock();
    session.shared.log.debug(format_args!("{session} - Client connection created"));
    if say_info {
        let info = session.info();
        session.send(|out| info.append(out));
    }
    let limits = Limits { info: CONNECT, ..session.shared.wire_limits() };
    let mut reader = Box::new(Reader {
        session: session.clone(),
        input,
        parser: Parser::new(limits),
        carry: Vec::new(),
        resume: false,
        cache: MatchCache::default(),
        account: None,
        permissions: Arc::new(Permissions::all()),
        restricted: false,
        verbose: true,
        pedantic: true,
        headers: false,
        no_responders: false,
        info_due: false,
        max_subscriptions: None,
        traced: false,
        batch_msgs: 0,
        batch_bytes: 0,
        stall: None,
        unflushed: false,
    });
    while let Event::Connect(doc) = poll_fn(|cx| reader.poll(cx)).await {
        // Boxed: what authentication needs must not make every idle session larger.
        if let Err((reason, text)) = Box::pin(reader.connect(doc)).await {
            session.close(reason, text.as_deref());
        }
        reader.resume = true;
    }
    input = reader.input;
    session.drop_subscriptions();
    Box::pin(session.last_words(&mut input)).await;
    drop(opened);
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let session = self.session.clone();
        session.waker.register(cx.waker());
        loop {
            if session.closing().is_some() {
                return Poll::Ready(Event::End);
            }
            if self.poll_write(cx) == Wrote::Broken {
                session.close(Reason::WriteError, None);
                return Poll::Ready(Event::End);
            }
            if session.cool_down.load(Ordering::Relaxed) && session.cool_down.swap(false, Ordering::Relaxed) {
                self.cache.release();
                self.carry.shrink_to_fit();
            }
            if !self.poll_stall(cx) {
                return Poll::Pending;
            }
            let next = if std::mem::take(&mut self.resume) {
                let carried = std::mem::take(&mut self.carry);
                let (used, next) = self.handle(&carried);
                self.keep(carried, used);
                next
            } else {
                match self.poll_read(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(next)) => next,
                    Poll::Ready(Err(error)) => {
                        let reason = match error.kind() {
                            io::ErrorKind::UnexpectedEof => Reason::ClientClosed,
                            _ => Reason::ReadError,
                        };
                        session.close(reason, None);
                        return Poll::Ready(Event::End);
                    }
                }
            };
            match next {
                Next::More => {}
                Next::Connect(doc) => return Poll::Ready(Event::Connect(doc)),
                Next::Close(reason, text) => {
                    session.close(reason, text);
                    return Poll::Ready(Event::End);
                }
            }
        }
    }

    /// Reads once and handles what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let nothing = || Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        if self.carry.len() >= LARGE || (!self.carry.is_empty() && self.parser.want() > READ / 2) {
            let missing = self.parser.want().saturating_sub(self.carry.len()).max(4096);
            self.carry.reserve(missing);
            let read = pin!(self.input.read_buf(&mut self.carry)).poll(cx);
            return match read {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => nothing(),
                Poll::Ready(Ok(_)) => {
                    let carried = std::mem::take(&mut self.carry);
                    let (used, next) = self.handle(&carried);
                    self.keep(carried, used);
                    Poll::Ready(Ok(next))
                }
            };
        }
        let mut buffer = BUFFER.take();
        buffer.resize(READ, 0);
        let carried = self.carry.len();
        if let Some(front) = buffer.get_mut(..carried) {
            front.copy_from_slice(&self.carry);
        }
        let mut read = ReadBuf::new(buffer.get_mut(carried..).unwrap_or_default());
        let polled = Pin::new(&mut self.input).poll_read(cx, &mut read);
        let filled = carried + read.filled().len();
        let answer = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if filled == carried => nothing(),
            Poll::Ready(Ok(())) => {
                let bytes = buffer.get(..filled).unwrap_or_default();
                let (used, next) = self.handle(bytes);
                let rest = bytes.get(used..).unwrap_or_default();
                self.carry.clear();
                self.carry.extend_from_slice(rest);
                self.session.note_unfinished(rest.len(), used > 0);
                Poll::Ready(Ok(next))
            }
        };
        BUFFER.set(buffer);
        answer
    }

    /// What was not used of the own buffer stays for the next time.
    fn keep(&mut self, mut carried: Vec<u8>, used: usize) {
        if used >= carried.len() && carried.capacity() > LARGE {
            carried = Vec::new();
        } else {
            carried.drain(..used);
        }
        self.session.note_unfinished(carried.len(), used > 0);
        self.carry = carried;
    }

    /// Handles all whole operations in `bytes`; says how much they took.
    fn handle(&mut self, bytes: &[u8]) -> (usize, Next) {
        let session = self.session.clone();
        let now = session.shared.now_ms();
        session.last_in.store(now, Ordering::Relaxed);
        session.warm_up();
        self.traced = session.shared.log.enabled(Level::Trace);
        (self.batch_msgs, self.batch_bytes) = (0, 0);
        let mut used = 0;
        let next = {
            let _batch = Batch::begin();
            loop {
                let rest = bytes.get(used..).unwrap_or_default();
                if self.account.is_none()
                    && let Some(next) = self.not_yet_known(rest)
                {
                    break next;
                }
                match self.parser.client_op(rest) {
                    Ok(Some((op, size))) => {
                        used += size;
                        match self.operation(op) {
                            Next::More => {}
                            next => break next,
                        }
                    }
                    Ok(None) => break Next::More,
                    Err(error) => {
                        session.shared.log.error(format_args!("{session} - {error}"));
                        break refused(error);
                    }
                }
            }
        };
        if self.batch_msgs > 0 {
            session.in_msgs.fetch_add(self.batch_msgs, Ordering::Relaxed);
            session.in_bytes.fetch_add(self.batch_bytes, Ordering::Relaxed);
            session.shared.counters.received(self.batch_msgs, self.batch_bytes);
        }
        if let Some(by) = take_stall() {
            session.shared.counters.stalled_client();
            self.stall = Some(Stall { by, until: Box::pin(tokio::time::sleep(STALL)) });
        }
        (used, next)
    }

    /// False: the publisher is still held up.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stall) = &mut self.stall else { return true };
        let room = {
            let mut outbox = stall.by.outbox();
            let room = outbox.closing.is_some() || outbox.has_room();
            if !room {
                outbox.wait_for_room(cx.waker());
            }
            room
        };
        if room || stall.until.as_mut().poll(cx).is_ready() {
            self.stall = None;
            return true;
        }
        false
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Wrote {
        match &mut self.input {
            Input::Plain(half) => loop {
                {
                    let mut outbox = self.session.outbox();
                    if !outbox.needs_task() {
                        return Wrote::Done;
                    }
                    if outbox.blocked {
                        match half.as_ref().poll_write_ready(cx) {
                            Poll::Pending => return Wrote::Blocked,
                            Poll::Ready(Ok(())) => outbox.blocked = false,
                            Poll::Ready(Err(_)) => return Wrote::Broken,
                        }
                    }
                }
                match self.session.write_now() {
                    Wrote::Blocked => {}
                    wrote => return wrote,
                }
            },
            Input::Tls(stream) => {
                let mut any = false;
                let wrote = self.session.poll_write_with(cx, |cx, bytes| {
                    any = true;
                    Pin::new(&mut *stream).poll_write(cx, bytes)
                });
                self.unflushed |= any;
                if wrote == Wrote::Broken {
                    return wrote;
                }
                if self.unflushed {
                    match Pin::new(stream).poll_flush(cx) {
                        Poll::Ready(Ok(())) => self.unflushed = false,
                        Poll::Ready(Err(_)) => return Wrote::Broken,
                        Poll::Pending => {}
                    }
                }
                wrote
            }
        }
    }
}

fn refused(error: ParseError) -> Next {
    let reason = match error {
        ParseError::Payload => Reason::MaxPayloadExceeded,
        ParseError::ControlLine => Reason::MaxControlLineExceeded,
        ParseError::UnknownOp | ParseError::MissingCrlf => Reason::ParseError,
        _ => Reason::ProtocolViolation,
    };
    Next::Close(reason, error.err_text())
}

impl Session {
    /// Takes all subscriptions out of the account.
    fn drop_subscriptions(&self) {
        #[allow(clippy::mutable_key_type, reason = "the id is what is hashed, and it never changes")]
        let subs = std::mem::take(&mut *self.subs());
        if !subs.is_empty()
            && let Some(identity) = self.identity()
        {
            identity.account.unsubscribe_all(subs.iter().map(|found| &found.0));
        }
    }

    /// Sends what is left, within bounds, so that the client learns why it is closed.
    async fn last_words(&self, input: &mut Input) {
        let reason = self.closing();
        let broken = matches!(
            reason,
            Some(
                Reason::ReadError
                    | Reason::WriteError
                    | Reason::SlowConsumerPendingBytes
                    | Reason::SlowConsumerWriteDeadline
                    | Reason::InternalError
            )
        );
        if broken {
            return;
        }
        let written = tokio::time::timeout(LAST_WORDS, poll_fn(|cx| self.poll_last_words(cx, input))).await;
        if written != Ok(Wrote::Done) || reason == Some(Reason::ClientClosed) {
            return;
        }
        // Half closed first: closing with unread bytes would reset the connection, and a reset overtakes the -ERR.
        self.outbox().writer = None;
        let mut left = LINGER_BYTES;
        let mut scrap = vec![0; 16 * 1024];
        let drain = async {
            if let Input::Tls(stream) = input {
                let _ = poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await;
            }
            while let Ok(n @ 1..) = input.read(&mut scrap).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }

    fn poll_last_words(&self, cx: &mut Context<'_>, input: &mut Input) -> Poll<Wrote> {
        self.waker.register(cx.waker());
        match input {
            Input::Plain(half) => loop {
                match self.write_now() {
                    Wrote::Blocked => match half.as_ref().poll_write_ready(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(())) => self.outbox().blocked = false,
                        Poll::Ready(Err(_)) => return Poll::Ready(Wrote::Broken),
                    },
                    Wrote::Done if self.outbox().pending() > 0 => return Poll::Pending,
                    wrote => return Poll::Ready(wrote),
                }
            },
            Input::Tls(stream) => {
                let wrote = self.poll_write_with(cx, |cx, bytes| Pin::new(&mut *stream).poll_write(cx, bytes));
                match wrote {
                    Wrote::Done => match Pin::new(stream).poll_flush(cx) {
                        Poll::Ready(Ok(())) => Poll::Ready(Wrote::Done),
                        Poll::Ready(Err(_)) => Poll::Ready(Wrote::Broken),
                        Poll::Pending => Poll::Pending,
                    },
                    Wrote::Blocked => Poll::Pending,
                    Wrote::Broken => Poll::Ready(Wrote::Broken),
                }
            }
        }
    }
}
