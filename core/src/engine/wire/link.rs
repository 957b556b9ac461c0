//! The driver's side of the wire: chunks to write, the handshake, PONGs, what a break and the end leave behind.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use natsune_protocol::encode;
use tokio::sync::oneshot;

use super::{MUX_SID, Phase, Ping, State, Then, Wire, release};
use crate::engine::requests::{Alive, Requests};
use crate::engine::salvage::{Keep, salvage};
use crate::engine::waiters::Wakes;
use crate::error::{Code, Error, Result};
use crate::inbox::Inbox;
use crate::stats::PublishCounts;

/// Unconfirmed bytes after which a PING goes out.
const CONFIRM_BYTES: usize = 1 << 20;
/// Time after which a PING follows an unconfirmed write.
const CONFIRM_AFTER: Duration = Duration::from_millis(250);
/// A buffer that grew beyond this in a burst is given back.
const KEEP_CAPACITY: usize = 4 << 20;

/// What the driver does next.
pub(crate) enum Next {
    /// There is a chunk to write, of which the socket has so many bytes already.
    Write(usize),
    /// Nothing to write; the driver's waker is armed. When to look again for unconfirmed publishes.
    Idle(Option<Instant>),
    Closed,
    Kick,
}

/// What became of a broken connection's bytes.
pub(crate) struct Broken {
    /// Publishes lost from sight by this break.
    pub(crate) unknown: u64,
    /// Publishes kept.
    pub(crate) pending: u64,
    /// Requests whose message was never sent.
    pub(crate) unsent: Vec<u64>,
    /// Subscriptions that drained: nothing more can come from a connection that is gone.
    pub(crate) drained: Vec<Arc<Inbox>>,
}

/// What a PONG brought, to be acted on without the lock.
pub(crate) struct Ponged {
    pub(crate) then: Vec<Then>,
    pub(crate) counts: PublishCounts,
}

impl Wire {
    /// The driver wrote all of `chunk`: accounts for it and swaps in what was appended meanwhile.
    pub(crate) fn next(&self, chunk: &mut Vec<u8>, waker: &Waker) -> Next {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Next::Closed;
        }
        if state.kick {
            return Next::Kick;
        }
        state.blocked = false;
        if state.phase == Phase::Handshake {
            // The first chunk (CONNECT, SUBs, PING) is not out of the buffer, and nothing follows before the PONG.
            state.arm(waker);
            return Next::Idle(None);
        }
        state.unpinged += chunk.len();
        chunk.clear();
        if chunk.capacity() > KEEP_CAPACITY {
            *chunk = Vec::new();
        }
        state.chunk_start = state.chunk_end;
        state.writing = 0;
        if state.chunk_start > state.ping_mark {
            let now = Instant::now();
            let since = *state.since.get_or_insert(now);
            if state.pings.is_empty() && (state.unpinged >= CONFIRM_BYTES || now - since >= CONFIRM_AFTER) {
                state.ping(None);
            }
        }
        if state.buf.is_empty() {
            state.arm(waker);
            let due = state.since.filter(|_| state.pings.is_empty()).map(|since| since + CONFIRM_AFTER);
            return Next::Idle(due);
        }
        std::mem::swap(chunk, &mut state.buf);
        let ahead = std::mem::take(&mut state.ahead);
        state.writing = chunk.len();
        state.chunk_end = state.seq;
        (state.controls, state.pongs, state.pings_unsent, state.ping_end) = (false, 0, 0, 0);
        let room = state.room.take();
        drop(state);
        room.wake();
        Next::Write(ahead)
    }

    /// The socket takes nothing at the moment: only a close or a kick is of interest.
    pub(crate) fn blocked(&self, waker: &Waker) -> Next {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return Next::Closed;
        }
        if state.kick {
            return Next::Kick;
        }
        state.arm(waker);
        state.blocked = true;
        Next::Write(0)
    }

    /// The bytes of a handshake: CONNECT, all subscriptions, PING. `direct` is the socket, if its bytes are plain.
    pub(crate) fn begin_handshake(&self, connect: &[u8], direct: Option<TcpStream>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(connect.len() + 64);
        encode::connect(&mut out, connect);
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.phase == Phase::Closed {
            return None;
        }
        let mut then = vec![Then::Live];
        for (sid, registration) in &mut state.registrations {
            registration.base = registration.inbox.as_ref().map_or(0, |inbox| inbox.received());
            encode::sub(&mut out, &registration.subject, registration.queue.as_deref(), *sid);
            if let Some(limit) = registration.limit {
                encode::unsub(&mut out, *sid, Some(limit.saturating_sub(registration.base).max(1)));
            }
            then.extend(registration.confirm.drain(..).map(|send| Then::Confirm(*sid, send)));
        }
        encode::ping(&mut out);
        state.pings.clear();
        state.pings.push_back(Ping { mark: state.confirmed, then });
        state.pings_unsent = 0;
        (state.direct, state.ahead) = (direct, 0);
        state.phase = Phase::Handshake;
        Some(out)
    }

    /// Opens the stream after the handshake's PONG. Publishes of requests that ended meanwhile are given up, and those that
    /// this server does not take: sent to it, they would break the connection again and again.
    pub(crate) fn go_live(&self, requests: &Requests, alive: Option<&Alive>) -> TooLarge {
        let mut state = self.lock();
        let mut too_large = TooLarge::default();
        if state.phase != Phase::Handshake {
            return too_large;
        }
        let shrunk = std::mem::take(&mut state.shrunk) && !state.buf.is_empty();
        if alive.is_some() || shrunk {
            too_large = state.give_up(requests, alive, self.max_payload());
        }
        state.idle_requests = 0;
        state.phase = Phase::Live;
        state.chunk_start = state.confirmed;
        state.chunk_end = state.confirmed;
        (state.unpinged, state.since, state.kick) = (0, None, false);
        let flushes = std::mem::take(&mut state.flushes);
        for send in flushes {
            state.ping(Some(Then::Flush(send)));
        }
        release(state);
        too_large
    }

    /// Whether enough of what waits for a connection belongs to requests that ended to be worth looking through it.
    pub(crate) fn has_dead_requests(&self, waiting: usize) -> bool {
        let state = self.lock();
        state.phase != Phase::Live && state.idle_requests.saturating_sub(waiting) as u64 * 4 > state.counts.pending
    }

    /// Gives up the publishes of requests that ended while there is no connection: they only take the room of others.
    pub(crate) fn give_up_dead(&self, requests: &Requests, alive: &Alive) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Down | Phase::Handshake) {
            return;
        }
        state.give_up(requests, Some(alive), usize::MAX);
        let room = if state.buf.len() < self.mark { state.room.take() } else { Wakes::none() };
        drop(state);
        room.wake();
    }

    /// Whether `go_live` must be told which requests are alive.
    pub(crate) fn has_idle_requests(&self) -> bool {
        self.lock().idle_requests > 0
    }

    /// The connection is gone after `written` bytes of `chunk`. None: the client is closed, `settle` accounts for it.
    pub(crate) fn on_break(&self, chunk: &[u8], written: usize, requests: &Requests) -> Option<Broken> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.phase == Phase::Closed {
            return None;
        }
        let was_live = state.phase == Phase::Live;
        state.phase = Phase::Down;
        // An operation of which only a part went out counts as not sent.
        (state.direct, state.ahead) = (None, 0);
        let mut keep = AfterBreak { requests, give_up: was_live, unsent: Vec::new() };
        let mut out = Vec::new();
        let in_chunk = if was_live { salvage(chunk, written, &mut keep, &mut out) } else { Default::default() };
        let mut in_buf_dropped = 0;
        let has_requests = was_live && state.registrations.contains_key(&MUX_SID);
        if out.is_empty() && !state.controls && !has_requests {
            // Nothing but publishes that stay: the buffer is kept as it is.
        } else {
            let buf = std::mem::take(&mut state.buf);
            in_buf_dropped = salvage(&buf, 0, &mut keep, &mut out).dropped;
            state.buf = out;
        }
        let dropped = in_chunk.dropped + in_buf_dropped;
        // A PONG may have confirmed a part of the chunk already.
        let unknown = if was_live { (state.chunk_start + in_chunk.written).saturating_sub(state.confirmed) } else { 0 };
        let unknown = unknown.min(state.counts.pending.saturating_sub(dropped));
        state.counts.unknown += unknown;
        state.counts.dropped += dropped;
        state.counts.pending -= unknown + dropped;
        // Positions start anew: only what is kept is ahead.
        state.confirmed = state.seq.saturating_sub(state.counts.pending);
        (state.chunk_start, state.chunk_end, state.ping_mark) = (state.confirmed, state.confirmed, state.confirmed);
        (state.writing, state.controls, state.pongs) = (0, false, 0);
        (state.ping_end, state.pings_unsent) = (0, 0);
        (state.unpinged, state.since, state.kick, state.driver) = (0, None, false, None);
        let mut broken = Broken { unknown, pending: state.counts.pending, unsent: keep.unsent, drained: Vec::new() };
        let mut lost = Vec::new();
        for then in std::mem::take(&mut state.pings).into_iter().flat_map(|ping| ping.then) {
            match then {
                Then::Flush(send) => state.flushes.push(send),
                Then::Confirm(sid, send) => match state.registrations.get_mut(&sid) {
                    Some(registration) => registration.confirm.push(send),
                    None => lost.push(Then::Confirm(sid, send)),
                },
                then => lost.push(then),
            }
        }
        drop(guard);
        let error = Error::new(Code::Connection, "the connection broke");
        for then in lost {
            match then {
                Then::Rtt(_, send) => drop(send.send(Err(error.clone()))),
                Then::Drained(inbox) => broken.drained.push(inbox),
                Then::Confirm(_, send) => drop(send.send(Ok(()))),
                Then::Live | Then::Flush(_) => {}
            }
        }
        Some(broken)
    }

    /// A PONG came. None: nobody asked for it.
    pub(crate) fn on_pong(&self) -> Option<Ponged> {
        let mut state = self.lock();
        if state.pings.len() <= state.pings_unsent {
            return None;
        }
        let ping = state.pings.pop_front()?;
        let confirmed = ping.mark.saturating_sub(state.confirmed).min(state.counts.pending);
        state.confirmed += confirmed;
        state.counts.flushed += confirmed;
        state.counts.pending -= confirmed;
        Some(Ponged { then: ping.then, counts: state.counts })
    }

    /// The server refused a subscription without saying which: the next one to be confirmed, if that is one alone.
    pub(crate) fn refuse_next(&self) -> Option<oneshot::Sender<Result<()>>> {
        let mut state = self.lock();
        let sent = state.pings.len().saturating_sub(state.pings_unsent);
        let is_confirm = |then: &Then| matches!(then, Then::Confirm(..));
        let ping = state.pings.iter_mut().take(sent).find(|ping| ping.then.iter().any(is_confirm))?;
        let mut confirms = ping.then.iter().enumerate().filter(|(_, then)| is_confirm(then)).map(|(at, _)| at);
        let (Some(at), None) = (confirms.next(), confirms.next()) else { return None };
        match ping.then.remove(at) {
            Then::Confirm(_, send) => Some(send),
            _ => None,
        }
    }

    /// The server refused a publish.
    pub(crate) fn rejected(&self) {
        self.lock().counts.rejected += 1;
    }

    /// The subscriptions that a refusal is about. They are forgotten; the second says that the requests' one is among them.
    pub(crate) fn refused(&self, subject: &str, queue: Option<&str>) -> (Vec<Arc<Inbox>>, bool) {
        let mut state = self.lock();
        let sids: Vec<u64> = state
            .registrations
            .iter()
            .filter(|(_, r)| &*r.subject == subject && r.queue.as_deref() == queue)
            .map(|(sid, _)| *sid)
            .collect();
        let gone: Vec<_> = sids.iter().filter_map(|sid| state.registrations.remove(sid)).collect();
        drop(state);
        let mux = sids.contains(&MUX_SID);
        (gone.into_iter().filter_map(|r| r.inbox).collect(), mux)
    }

    /// No more publishes and subscriptions by users.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Asks the driver for a new connection.
    pub(crate) fn kick(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Closed && state.phase != Phase::Down {
            state.kick = true;
        }
        let driver = state.driver.take();
        drop(state);
        if let Some(waker) = driver {
            waker.wake();
        }
    }

    /// Ends everything; what is not confirmed is given up. `written` bytes of the driver's chunk were taken by the socket.
    /// None: it was closed before.
    pub(crate) fn close(&self, reason: Option<Error>) -> Option<PublishCounts> {
        let mut state = self.lock();
        if state.phase == Phase::Closed {
            return None;
        }
        let live = state.phase == Phase::Live;
        state.phase = Phase::Closed;
        state.direct = None;
        state.reason = reason;
        // What went out before the chunk in the driver's hands may have been processed.
        let unknown =
            if live { state.chunk_start.saturating_sub(state.confirmed).min(state.counts.pending) } else { 0 };
        state.counts.unknown += unknown;
        state.confirmed += unknown;
        state.counts.pending -= unknown;
        let error = state.closed();
        let pings = std::mem::take(&mut state.pings);
        let flushes = std::mem::take(&mut state.flushes);
        let registrations = std::mem::take(&mut state.registrations);
        let room = state.room.take();
        let driver = state.driver.take();
        let counts = state.counts;
        drop(state);
        let thens = pings.into_iter().flat_map(|ping| ping.then);
        for then in thens.chain(flushes.into_iter().map(Then::Flush)) {
            match then {
                Then::Flush(send) => drop(send.send(Err(error.clone()))),
                Then::Confirm(_, send) => drop(send.send(Err(error.clone()))),
                Then::Rtt(_, send) => drop(send.send(Err(error.clone()))),
                Then::Drained(inbox) => inbox.end(None, false),
                Then::Live => {}
            }
        }
        for send in registrations.into_values().flat_map(|r| r.confirm) {
            drop(send.send(Err(error.clone())));
        }
        room.wake();
        if let Some(waker) = driver {
            waker.wake();
        }
        Some(counts)
    }

    /// After `close`, when the socket is gone as well: everything that is left is given up.
    pub(crate) fn settle(&self, chunk: &[u8], written: usize, requests: &Requests) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut keep = AfterBreak { requests, give_up: true, unsent: Vec::new() };
        let taken = salvage(chunk, written, &mut keep, &mut Vec::new()).written;
        let unknown = (state.chunk_start + taken).saturating_sub(state.confirmed).min(state.counts.pending);
        state.counts.unknown += unknown;
        state.counts.dropped += state.counts.pending - unknown;
        state.counts.pending = 0;
        state.buf = Vec::new();
        state.writing = 0;
    }
}

/// Publishes that were given up because the server takes none as large.
#[derive(Default)]
pub(crate) struct TooLarge {
    pub(crate) count: u64,
    /// Those of requests.
    pub(crate) requests: Vec<u64>,
}

impl State {
    /// Takes out of the buffer what is of no use any more: requests that are not `alive`, and what is larger than `most`.
    fn give_up(&mut self, requests: &Requests, alive: Option<&Alive>, most: usize) -> TooLarge {
        struct Filter<'a> {
            requests: &'a Requests,
            alive: Option<&'a Alive>,
            most: usize,
            too_large: TooLarge,
            idle: usize,
            pings: &'a mut VecDeque<Ping>,
            seen: usize,
            base: u64,
        }
        impl Keep for Filter<'_> {
            fn publish(&mut self, reply: Option<&str>, size: usize) -> bool {
                let id = reply.and_then(|r| self.requests.id_of(r));
                if id.zip(self.alive).is_some_and(|(id, alive)| !alive.has(id)) {
                    return false;
                }
                if size > self.most {
                    self.too_large.count += 1;
                    self.too_large.requests.extend(id);
                    return false;
                }
                self.idle += usize::from(id.is_some());
                true
            }
            fn ping(&mut self, kept: u64) -> bool {
                if let Some(ping) = self.pings.get_mut(self.seen) {
                    ping.mark = self.base + kept;
                }
                self.seen += 1;
                true
            }
            fn control(&self) -> bool {
                true
            }
        }
        let buf = std::mem::take(&mut self.buf);
        let mut out = Vec::with_capacity(buf.len());
        let base = self.confirmed;
        // The handshake's own PING is not in the buffer.
        let seen = self.pings.len() - self.pings_unsent.min(self.pings.len());
        let pings = &mut self.pings;
        let mut filter = Filter { requests, alive, most, too_large: TooLarge::default(), idle: 0, pings, seen, base };
        let found = salvage(&buf, 0, &mut filter, &mut out);
        let (too_large, idle) = (filter.too_large, filter.idle);
        self.buf = out;
        self.idle_requests = idle;
        self.ping_end = 0;
        self.seq -= found.dropped;
        self.ping_mark = self.pings.back().map_or(base, |ping| ping.mark);
        self.counts.dropped += found.dropped;
        self.counts.pending -= found.dropped;
        too_large
    }
}

/// After a break: publishes stay, requests have failed, control operations are made anew by the handshake.
struct AfterBreak<'a> {
    requests: &'a Requests,
    give_up: bool,
    unsent: Vec<u64>,
}

impl Keep for AfterBreak<'_> {
    fn publish(&mut self, reply: Option<&str>, _size: usize) -> bool {
        match reply.filter(|_| self.give_up).and_then(|r| self.requests.id_of(r)) {
            Some(id) => {
                self.unsent.push(id);
                false
            }
            None => true,
        }
    }

    fn ping(&mut self, _kept: u64) -> bool {
        false
    }

    fn control(&self) -> bool {
        false
    }
}
