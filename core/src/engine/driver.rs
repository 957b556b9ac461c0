//! One connection at work: writes what the wire holds, reads what comes, watches the clock. One task, no split, no locks
//! across I/O; each turn does a bounded amount of both directions and then yields, so that neither starves the other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Sleep;
use zeroize::Zeroize;

use super::Engine;
use super::control::Handler;
use super::pool::Server;
use super::reader::Reader;
use super::wire::Next;
use crate::error::{Code, Error, Result};
use crate::stats::Counters;
use crate::transport::Transport;

/// Chunks written in one turn before reading gets its turn.
const WRITES_PER_TURN: usize = 4;

/// Small reads in one turn.
const READS_PER_TURN: usize = 4;

/// Why driving stopped.
pub(crate) enum Stop {
    /// The handshake's PONG came.
    Live,
    /// The connection is of no more use.
    Broken(Error),
    /// The client is closed.
    Closed,
}

/// See the module.
pub(crate) struct Driver {
    engine: Arc<Engine>,
    transport: Transport,
    pub(crate) chunk: Vec<u8>,
    pub(crate) written: usize,
    /// TLS holds bytes back until it is flushed.
    unflushed: bool,
    reader: Reader,
    handler: Handler,
    alarm: Pin<Box<Sleep>>,
    alarm_at: Instant,
    set: bool,
    next_ping: Instant,
    missed: u32,
    heard: bool,
    /// Since when the socket takes nothing.
    stalled: Option<Instant>,
    confirm_at: Option<Instant>,
}

impl Driver {
    /// A driver that begins with the bytes of the handshake.
    pub(crate) fn new(
        engine: Arc<Engine>,
        transport: Transport,
        server: Server,
        already: Vec<u8>,
        first: Vec<u8>,
    ) -> Driver {
        let now = Instant::now();
        let next_ping = now + engine.options.ping_interval;
        Driver {
            handler: Handler::new(Arc::clone(&engine), server),
            reader: Reader::new(already),
            engine,
            transport,
            chunk: first,
            written: 0,
            unflushed: false,
            alarm: Box::pin(tokio::time::sleep_until(next_ping.into())),
            alarm_at: next_ping,
            set: false,
            next_ping,
            missed: 0,
            heard: false,
            stalled: None,
            confirm_at: None,
        }
    }

    /// Until the handshake's PONG.
    pub(crate) async fn handshake(&mut self) -> Stop {
        // What came with the INFO line; even a PONG that nobody asked for yet.
        if !self.reader.is_empty()
            && let Err(e) = self.feed()
        {
            return Stop::Broken(e);
        }
        if self.handler.take_live() {
            return Stop::Live;
        }
        std::future::poll_fn(|cx| self.turn(cx)).await
    }

    /// Until the connection breaks or the client closes.
    pub(crate) async fn run(&mut self) -> Stop {
        if self.written == self.chunk.len() {
            // CONNECT with its secrets.
            self.chunk.zeroize();
            self.written = 0;
        }
        std::future::poll_fn(|cx| self.turn(cx)).await
    }

    /// Says goodbye to the socket: what TLS and the kernel hold goes out.
    pub(crate) async fn shut(&mut self) {
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await;
    }

    fn feed(&mut self) -> Result<usize> {
        let handler = &mut self.handler;
        self.reader.feed(&self.engine, |op| handler.control(op))
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if let Some(stop) = self.write(cx) {
            return Poll::Ready(stop);
        }
        let again = match self.read(cx) {
            Ok(again) => again,
            Err(stop) => return Poll::Ready(stop),
        };
        // A PONG may ask for the next PING, a PING for its PONG.
        if self.handler.take_acted()
            && let Some(stop) = self.write(cx)
        {
            return Poll::Ready(stop);
        }
        if let Err(error) = self.watch(cx) {
            return Poll::Ready(Stop::Broken(error));
        }
        if again {
            // After those that were just woken: what they publish goes out in one write.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn broken(&self, error: std::io::Error) -> Stop {
        let said = self.handler.parting();
        Stop::Broken(said.unwrap_or_else(|| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::new(Code::Connection, "the server closed the connection"),
            _ => Error::new(Code::Connection, error.to_string()).with_source(error),
        }))
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Option<Stop> {
        let mut chunks = 0;
        loop {
            if self.written == self.chunk.len() {
                match self.engine.wire.next(&mut self.chunk, cx.waker()) {
                    Next::Write(ahead) => self.written = ahead,
                    Next::Idle(confirm_at) => {
                        self.confirm_at = confirm_at;
                        self.stalled = None;
                        if self.chunk.is_empty() {
                            self.written = 0;
                        }
                        break;
                    }
                    Next::Closed => return Some(Stop::Closed),
                    Next::Kick => {
                        return Some(Stop::Broken(Error::new(Code::Connection, "a reconnect was asked for")));
                    }
                }
                chunks += 1;
                if chunks > WRITES_PER_TURN {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
            let rest = self.chunk.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.transport).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Some(self.broken(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.unflushed = true;
                    self.stalled = None;
                    Counters::add(&self.engine.counters.out_bytes, n as u64);
                }
                Poll::Ready(Err(e)) => return Some(self.broken(e)),
                Poll::Pending => {
                    // A closed or kicked client must not wait for a peer that takes nothing.
                    if let Some(stop) = self.look(cx) {
                        return Some(stop);
                    }
                    self.stalled.get_or_insert_with(Instant::now);
                    break;
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.transport).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(e)) => return Some(self.broken(e)),
                Poll::Pending => {}
            }
        }
        None
    }

    fn look(&mut self, cx: &mut Context<'_>) -> Option<Stop> {
        match self.engine.wire.blocked(cx.waker()) {
            Next::Closed => Some(Stop::Closed),
            Next::Kick => Some(Stop::Broken(Error::new(Code::Connection, "a reconnect was asked for"))),
            Next::Write(_) | Next::Idle(_) => None,
        }
    }

    /// Reads and hands out. Ok(true): there is more to do, but others get their turn first.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        for _ in 0..READS_PER_TURN {
            let (total, full) = self.fill(cx)?;
            if total == 0 {
                return Ok(false);
            }
            self.heard = true;
            Counters::add(&self.engine.counters.in_bytes, total as u64);
            let delivered = self.feed().map_err(Stop::Broken)?;
            if self.handler.take_live() {
                return Err(Stop::Live);
            }
            // Several were woken: what they publish in answer goes out in one write, if they run before we do. A single
            // one is quicker without that detour.
            if full || delivered > 1 {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// One read (of TLS: a few records). How many bytes came, and whether there was no room for more.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(usize, bool), Stop> {
        let mut total = 0;
        loop {
            let (buf, room) = self.reader.room(&self.engine);
            let mut limited = buf.limit(room);
            let future = std::pin::pin!(self.transport.read_buf(&mut limited));
            match future.poll(cx) {
                Poll::Ready(Ok(0)) => return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(n)) => {
                    total += n;
                    let full = n == room;
                    let more = matches!(self.transport, Transport::Tls(_)) && total < super::READ_CHUNK / 2;
                    if full || !more {
                        return Ok((total, full));
                    }
                }
                Poll::Ready(Err(e)) => return Err(self.broken(e)),
                Poll::Pending => return Ok((total, false)),
            }
        }
    }

    /// Deadlines: keep-alive, confirmation of what was written, a peer that takes nothing.
    fn watch(&mut self, cx: &mut Context<'_>) -> Result<()> {
        loop {
            if self.set && self.alarm.is_elapsed() {
                self.set = false;
                self.rang(cx)?;
            }
            let stall_at = self.stalled.map(|since| since + self.engine.options.write_timeout);
            let due = [Some(self.next_ping), self.confirm_at, stall_at].into_iter().flatten().min();
            let due = due.unwrap_or(self.next_ping);
            // Later is looked at when the earlier alarm rings: no timer is moved for each write. Once polled, it wakes
            // this task by itself.
            if self.set && due >= self.alarm_at {
                return Ok(());
            }
            (self.alarm_at, self.set) = (due, true);
            self.alarm.as_mut().reset(due.into());
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// Does what is due.
    fn rang(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let now = Instant::now();
        let limit = self.engine.options.write_timeout;
        if self.stalled.is_some_and(|since| since + limit <= now) {
            return Err(Error::new(Code::Connection, format!("the server took nothing for {limit:?}")));
        }
        if self.next_ping <= now {
            self.next_ping = now + self.engine.options.ping_interval;
            self.keepalive()?;
        }
        if self.confirm_at.is_some_and(|at| at <= now) {
            // The next turn's write sees to it.
            self.confirm_at = None;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn keepalive(&mut self) -> Result<()> {
        if std::mem::take(&mut self.heard) {
            self.missed = 0;
        } else if self.engine.wire.ping_is_out() {
            self.missed += 1;
            if self.missed >= self.engine.options.max_pings_out {
                return Err(Error::new(Code::Connection, "the server does not answer PINGs any more"));
            }
        }
        self.engine.wire.keepalive();
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.handler.was_live() {
            self.chunk.zeroize();
        }
    }
}

/// Waits for a whole INFO line, which a server sends first. Gives it and what came after it.
pub(crate) async fn read_info(transport: &mut Transport) -> Result<(Vec<u8>, Vec<u8>)> {
    const LONGEST: usize = 1 << 20;
    let mut buf = Vec::with_capacity(4096);
    let mut seen = 0;
    loop {
        if let Some(at) = memchr::memchr(b'\n', buf.get(seen..).unwrap_or_default()) {
            let rest = buf.split_off(seen + at + 1);
            return Ok((buf, rest));
        }
        seen = buf.len();
        if seen > LONGEST {
            return Err(Error::new(Code::Connection, "what answers there is no NATS server: no INFO line"));
        }
        let n = transport
            .read_buf(&mut buf)
            .await
            .map_err(|e| Error::new(Code::Connection, format!("no INFO from the server: {e}")).with_source(e))?;
        if n == 0 {
            return Err(Error::new(Code::Connection, "the server closed the connection before its INFO"));
        }
    }
}

/// Bounded goodbye.
pub(crate) async fn shut(driver: &mut Driver, limit: Duration) {
    let _ = tokio::time::timeout(limit, driver.shut()).await;
}
