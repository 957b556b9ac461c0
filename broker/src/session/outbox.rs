//! What waits to be sent to one client: appended under a short lock, written without it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::net::tcp::OwnedWriteHalf;

use super::Session;
use super::reason::Reason;
use super::replies::Replies;
use crate::auth::Permissions;
use crate::server::Shared;
use crate::server::budget::{Budget, STEP};

/// Buffers above this are given back after a burst instead of being kept for the next one.
const KEEP: usize = 256 * 1024;
/// Up to this much is written by whoever appended it; more is left to the session's own task, so that another core can do it.
pub(super) const INLINE: usize = 16 * 1024;
/// Publishers are held up for a moment while a client has more than this waiting, or half of what it may have.
const STALL_ABOVE: usize = 4 * 1024 * 1024;
/// A client whose socket took nothing for this long does not hold up publishers: it is stuck, not slow.
pub(super) const STUCK_AFTER_MS: u64 = 100;

/// Everything about a session that deliveries touch, behind one lock.
#[derive(Default)]
pub(super) struct Outbox {
    /// Appended to.
    tail: Vec<u8>,
    /// Being written, from `sent` on. Empty while a writer has taken it out.
    head: Vec<u8>,
    sent: usize,
    /// Bytes of `head` that the socket has not taken, also while it is taken out.
    unsent: usize,
    /// Somebody is writing.
    flushing: bool,
    /// The socket was full: only the task goes on, when it is told that there is room.
    pub(super) blocked: bool,
    /// Since when.
    blocked_since: u64,
    /// In a publisher's list of sessions to flush.
    pub(super) dirty: bool,
    /// Set once; nothing is appended any more.
    pub(super) closing: Option<Reason>,
    /// Set for plain TCP: then anybody may write.
    pub(super) writer: Option<Arc<OwnedWriteHalf>>,
    /// When the socket last took something, in milliseconds of the server's clock.
    pub(super) progress: u64,
    /// Publishers waiting for room.
    stalled: Vec<Waker>,
    pub(super) max_pending: usize,
    /// What of it is counted in the server's budget.
    charged: usize,
    /// More waiting than this holds up publishers.
    pub(super) stall_above: usize,
    /// Give the client its own messages.
    pub(super) echo: bool,
    /// The client understands HMSG.
    pub(super) headers: bool,
    /// Rights that each delivery is checked against.
    pub(super) filter: Option<Arc<Permissions>>,
    /// Replies the client may publish to because it received them.
    pub(super) replies: Option<Box<Replies>>,
    pub(super) out_msgs: u64,
    pub(super) out_bytes: u64,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// Nothing is left, or somebody else is at it.
    Done,
    /// The socket is full.
    Blocked,
    /// The connection is gone.
    Broken,
}

impl Outbox {
    pub(super) fn new(now: u64, max_pending: usize) -> Outbox {
        Outbox {
            progress: now,
            max_pending,
            stall_above: STALL_ABOVE.min(max_pending / 2),
            echo: true,
            ..Outbox::default()
        }
    }

    /// Bytes the client has still to get.
    pub(super) fn pending(&self) -> usize {
        self.tail.len() + self.unsent
    }

    /// Where to append.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Whether the task has to do something about writing.
    pub(super) fn needs_task(&self) -> bool {
        self.blocked || (!self.flushing && self.pending() > 0)
    }

    /// Counts what waits in the server's budget; false: the server has too much waiting.
    pub(super) fn charge(&mut self, budget: &Budget) -> bool {
        let more = self.pending().saturating_sub(self.charged);
        if more < STEP {
            return true;
        }
        self.charged += more;
        budget.take(more)
    }

    fn settle(&mut self, budget: &Budget) {
        let less = self.charged.saturating_sub(self.pending());
        if less >= STEP || (less > 0 && self.pending() == 0) {
            self.charged -= less;
            budget.give_back(less);
        }
    }

    fn begin(&mut self) -> Option<(Vec<u8>, usize)> {
        if self.flushing {
            return None;
        }
        if self.unsent == 0 {
            if self.tail.is_empty() {
                return None;
            }
            std::mem::swap(&mut self.head, &mut self.tail);
            self.sent = 0;
            self.unsent = self.head.len();
        }
        self.flushing = true;
        Some((std::mem::take(&mut self.head), self.sent))
    }

    /// Puts the buffer back. True: there is more to write.
    fn end(&mut self, mut buffer: Vec<u8>, sent: usize, shared: &Shared) -> bool {
        self.flushing = false;
        if sent > self.sent {
            self.progress = shared.now_ms();
        }
        self.unsent = buffer.len() - sent;
        self.sent = sent;
        if self.unsent == 0 {
            self.sent = 0;
            if buffer.capacity() > KEEP {
                buffer = Vec::new();
            } else {
                buffer.clear();
            }
        }
        self.head = buffer;
        self.settle(&shared.budget);
        if self.has_room() {
            self.stalled.drain(..).for_each(Waker::wake);
        }
        self.unsent == 0 && !self.tail.is_empty()
    }

    /// The socket is full from now on; true: it was not before.
    fn block(&mut self, now: u64) -> bool {
        if self.blocked {
            return false;
        }
        (self.blocked, self.blocked_since) = (true, now);
        true
    }

    /// When the socket last did something that a deadline counts from.
    pub(super) fn alive(&self) -> u64 {
        self.progress.max(self.blocked_since)
    }

    /// Publishers need not wait any more.
    pub(super) fn has_room(&self) -> bool {
        self.pending() <= self.stall_above / 2
    }

    /// Wakes the publisher once there is room again.
    pub(super) fn wait_for_room(&mut self, waker: &Waker) {
        if !self.stalled.iter().any(|known| known.will_wake(waker)) {
            self.stalled.push(waker.clone());
        }
    }

    /// Gives back the memory of an idle client. True when nothing is held.
    pub(super) fn release(&mut self) -> bool {
        if self.pending() > 0 || self.flushing {
            return false;
        }
        self.tail = Vec::new();
        self.head = Vec::new();
        self.stalled = Vec::new();
        true
    }

    /// The end: drops what waits, lets stalled publishers go.
    pub(super) fn shut(&mut self, budget: &Budget) {
        self.writer = None;
        self.tail = Vec::new();
        self.head = Vec::new();
        (self.sent, self.unsent) = (0, 0);
        self.settle(budget);
        self.filter = None;
        self.replies = None;
        self.stalled.drain(..).for_each(Waker::wake);
    }
}

impl Session {
    /// Writes to the socket until it is full or all is sent. Any thread may call it; for plain TCP only.
    pub(super) fn write_now(&self) -> Wrote {
        loop {
            let (writer, buffer, mut sent) = {
                let mut outbox = self.outbox();
                let Some(writer) = outbox.writer.clone() else { return Wrote::Done };
                match outbox.begin() {
                    Some((buffer, sent)) => (writer, buffer, sent),
                    None => return Wrote::Done,
                }
            };
            let wrote = loop {
                match writer.try_write(buffer.get(sent..).unwrap_or_default()) {
                    Ok(0) => break Wrote::Broken,
                    Ok(n) => {
                        sent += n;
                        if sent >= buffer.len() {
                            break Wrote::Done;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Wrote::Blocked,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break Wrote::Broken,
                }
            };
            let mut outbox = self.outbox();
            let more = outbox.end(buffer, sent, &self.shared);
            if wrote == Wrote::Blocked && outbox.block(self.shared.now_ms()) {
                drop(outbox);
                self.watch_writes();
            }
            if wrote != Wrote::Done || !more {
                return wrote;
            }
        }
    }

    /// The same for a stream that only its task can write to.
    pub(super) fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[u8]) -> Poll<io::Result<usize>>,
    ) -> Wrote {
        loop {
            let Some((buffer, mut sent)) = self.outbox().begin() else { return Wrote::Done };
            let wrote = loop {
                match write(cx, buffer.get(sent..).unwrap_or_default()) {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => break Wrote::Broken,
                    Poll::Ready(Ok(n)) => {
                        sent += n;
                        if sent >= buffer.len() {
                            break Wrote::Done;
                        }
                    }
                    Poll::Pending => break Wrote::Blocked,
                }
            };
            let mut outbox = self.outbox();
            let more = outbox.end(buffer, sent, &self.shared);
            let newly = wrote == Wrote::Blocked && outbox.block(self.shared.now_ms());
            outbox.blocked = wrote == Wrote::Blocked;
            drop(outbox);
            if newly {
                self.watch_writes();
            }
            if wrote != Wrote::Done || !more {
                return wrote;
            }
        }
    }
}
