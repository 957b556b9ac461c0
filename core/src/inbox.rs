//! The queue of one subscription: filled quietly by the reader, one wake per read, drained by `take`.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::engine::waiters::{Waiters, Wakes};
use crate::error::Error;
use crate::message::Message;
use crate::options::WhenFull;
use crate::stats::SubscriptionStats;

/// Bounds of an inbox and what happens at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InboxOptions {
    pub(crate) max_messages: usize,
    pub(crate) max_bytes: usize,
    pub(crate) when_full: WhenFull,
    /// Messages in all, after which the subscription ends.
    pub(crate) limit: Option<u64>,
}

/// What comes after the messages of a batch.
#[derive(Clone, Debug, Default)]
pub enum State {
    /// More messages wait, or the end: call again without waiting.
    More,
    /// Nothing more at the moment.
    #[default]
    Idle,
    /// Nothing will come any more. Never together with messages.
    Ended,
    /// Nothing will come any more, for this reason. Never together with messages.
    Failed(Error),
}

impl State {
    /// The number of the packed batch layout.
    pub fn number(&self) -> u32 {
        match self {
            State::More => 0,
            State::Idle => 1,
            State::Ended => 2,
            State::Failed(_) => 3,
        }
    }
}

/// What one `take` gives.
#[derive(Debug, Default)]
pub struct Taken {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// What comes after them.
    pub state: State,
}

/// What a filter says of the inbox behind it.
pub(crate) enum Sifted {
    /// More may come.
    Open,
    /// What passed is the last, and this is why.
    End(Option<Error>),
}

/// Looks at what the server sends before it is queued, on the reader's thread, without any lock of the inbox or the engine.
pub(crate) trait Filter: Send + Sync {
    /// Takes out what is not for the queue.
    fn sift(&self, messages: &mut Vec<Message>) -> Sifted;

    /// The connection is there (again), or it broke.
    fn linked(&self, up: bool);

    /// The server does not let us publish to this subject, which may be one of this filter's.
    fn refused(&self, subject: &str, error: &Error);

    /// No more will come.
    fn ended(&self, error: Option<&Error>);
}

#[derive(Clone)]
enum End {
    Ended,
    Failed(Error),
}

struct Inner {
    queue: VecDeque<Message>,
    bytes: usize,
    taken: u64,
    done: u64,
    dropped: u64,
    limit: Option<u64>,
    /// In an episode of dropping: until half of the bounds is free again.
    full: bool,
    end: Option<End>,
    /// The owner is gone: nobody will report anything as handled.
    abandoned: bool,
    ready: Waiters,
    /// The one slot of `poll_ready`.
    polled: Option<Waker>,
    /// Wait for "ended, empty and handled".
    handled: Waiters,
    /// Wait for the end alone.
    ended: Waiters,
}

/// What a push means for the engine.
#[derive(Default)]
pub(crate) struct Pushed {
    /// Dropped now.
    pub(crate) dropped: u64,
    /// An episode of dropping began.
    pub(crate) slow: bool,
    /// The last message that was wanted has come.
    pub(crate) complete: bool,
}

/// One subscription's queue.
pub(crate) struct Inbox {
    pub(crate) sid: u64,
    pub(crate) subject: Box<str>,
    pub(crate) queue: Option<Box<str>>,
    options: InboxOptions,
    received: AtomicU64,
    filter: Option<Arc<dyn Filter>>,
    inner: Mutex<Inner>,
}

impl Inbox {
    pub(crate) fn new(sid: u64, subject: &str, queue: Option<&str>, options: InboxOptions) -> Inbox {
        Inbox {
            sid,
            subject: subject.into(),
            queue: queue.map(Into::into),
            options,
            received: AtomicU64::new(0),
            filter: None,
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                bytes: 0,
                taken: 0,
                done: 0,
                dropped: 0,
                limit: options.limit,
                full: false,
                end: None,
                abandoned: false,
                ready: Waiters::default(),
                polled: None,
                handled: Waiters::default(),
                ended: Waiters::default(),
            }),
        }
    }

    /// The same inbox behind a filter.
    pub(crate) fn with_filter(mut self, filter: Arc<dyn Filter>) -> Inbox {
        self.filter = Some(filter);
        self
    }

    pub(crate) fn filter(&self) -> Option<&Arc<dyn Filter>> {
        self.filter.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages that the server sent for this subscription so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Appends what one read brought. The vector is emptied and keeps its room.
    pub(crate) fn push(&self, messages: &mut Vec<Message>) -> Pushed {
        let mut pushed = Pushed::default();
        let mut inner = self.lock();
        if inner.end.is_some() {
            drop(inner);
            messages.clear();
            return pushed;
        }
        let before = self.received.load(Relaxed);
        if let Some(limit) = inner.limit {
            // A server that ignores UNSUB's number must not give more than was asked for.
            messages.truncate(usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX));
        }
        let received = before + messages.len() as u64;
        self.received.store(received, Relaxed);
        if inner.limit.is_some_and(|limit| received >= limit) {
            pushed.complete = true;
            inner.end = Some(End::Ended);
        }
        let mut outcasts = Vec::new();
        for message in messages.drain(..) {
            let size = message.size();
            let fits = |inner: &Inner| {
                inner.queue.len() < self.options.max_messages
                    && (inner.bytes + size <= self.options.max_bytes || inner.queue.is_empty())
            };
            if !fits(&inner) {
                pushed.slow |= !inner.full;
                inner.full = true;
                if self.options.when_full == WhenFull::DropNew {
                    pushed.dropped += 1;
                    outcasts.push(message);
                    continue;
                }
                while !fits(&inner)
                    && let Some(old) = inner.queue.pop_front()
                {
                    inner.bytes -= old.size();
                    pushed.dropped += 1;
                    outcasts.push(old);
                }
            }
            inner.bytes += size;
            inner.queue.push_back(message);
        }
        inner.dropped += pushed.dropped;
        let wakes = inner.ready.take();
        let polled = inner.polled.take();
        let ended = if inner.end.is_some() { inner.ended.take() } else { Wakes::none() };
        let handled = inner.handled_wakes();
        drop(inner);
        drop(outcasts);
        wake(wakes, polled);
        ended.wake();
        handled.wake();
        pushed
    }

    /// Counts a frame that was for this subscription but could not be read. True: it was the last one that was wanted.
    pub(crate) fn skip(&self) -> bool {
        let inner = self.lock();
        let received = self.received.fetch_add(1, Relaxed) + 1;
        let complete = inner.end.is_none() && inner.limit.is_some_and(|limit| received >= limit);
        drop(inner);
        if complete {
            self.end(None, false);
        }
        complete
    }

    /// Takes what is there: at most `max_messages` and about `max_bytes`, always at least one. `done` of those taken
    /// before were handled since.
    pub(crate) fn take(&self, out: &mut Vec<Message>, max_messages: usize, max_bytes: usize, done: usize) -> State {
        let mut inner = self.lock();
        inner.done = (inner.done + done as u64).min(inner.taken);
        let before = out.len();
        if inner.bytes <= max_bytes && inner.queue.len() <= max_messages {
            inner.bytes = 0;
            out.extend(inner.queue.drain(..));
        } else {
            let mut bytes = 0;
            while out.len() - before < max_messages.max(1)
                && let Some(front) = inner.queue.front()
            {
                let size = front.size();
                if out.len() > before && bytes + size > max_bytes {
                    break;
                }
                bytes += size;
                out.extend(inner.queue.pop_front());
            }
            inner.bytes -= bytes;
        }
        let count = out.len() - before;
        inner.taken += count as u64;
        let (state, handled) = inner.taken_out(&self.options, count);
        drop(inner);
        handled.wake();
        state
    }

    /// Like `take` into an empty queue that the owner keeps: the whole queue changes hands when it is small.
    pub(crate) fn take_queue(&self, out: &mut VecDeque<Message>, done: usize) -> State {
        const MESSAGES: usize = 1024;
        const BYTES: usize = 1 << 20;
        let mut inner = self.lock();
        if !out.is_empty() || inner.queue.len() > MESSAGES || inner.bytes > BYTES {
            drop(inner);
            let mut taken = Vec::new();
            let state = self.take(&mut taken, MESSAGES, BYTES, done);
            out.extend(taken);
            return state;
        }
        inner.done = (inner.done + done as u64).min(inner.taken);
        std::mem::swap(out, &mut inner.queue);
        inner.bytes = 0;
        inner.taken += out.len() as u64;
        let (state, handled) = inner.taken_out(&self.options, out.len());
        drop(inner);
        handled.wake();
        state
    }

    /// Whether `take` would give messages or an end.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().is_ready()
    }

    /// Level-triggered readiness with one slot: the last caller's waker counts, as with any poll function.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_ready() {
            return Poll::Ready(());
        }
        match &mut inner.polled {
            Some(waker) => waker.clone_from(cx.waker()),
            slot => *slot = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until `take` would give something. Any number may wait; dropping one loses nothing.
    pub(crate) fn ready(&self) -> Wait<'_> {
        Wait { inbox: self, id: 0, what: What::Ready }
    }

    /// Waits until the inbox ended, is empty, and all that was handed out is handled.
    pub(crate) fn handled(&self) -> Wait<'_> {
        Wait { inbox: self, id: 0, what: What::Handled }
    }

    /// Waits until the inbox takes no more messages.
    pub(crate) fn ended(&self) -> Wait<'_> {
        Wait { inbox: self, id: 0, what: What::Ended }
    }

    /// No more messages. What waits is kept unless `discard`. The first end counts.
    pub(crate) fn end(&self, error: Option<Error>, discard: bool) {
        let mut inner = self.lock();
        let first = inner.end.is_none();
        if first {
            inner.end = Some(error.clone().map_or(End::Ended, End::Failed));
        }
        let outcasts = if discard {
            inner.bytes = 0;
            std::mem::take(&mut inner.queue)
        } else {
            VecDeque::new()
        };
        let (ready, polled, ended) = (inner.ready.take(), inner.polled.take(), inner.ended.take());
        let handled = inner.handled_wakes();
        drop(inner);
        drop(outcasts);
        if first && let Some(filter) = &self.filter {
            filter.ended(error.as_ref());
        }
        wake(ready, polled);
        ended.wake();
        handled.wake();
    }

    /// The owner is gone: ends, discards, and counts everything as handled.
    pub(crate) fn abandon(&self) {
        self.lock().abandoned = true;
        self.end(None, true);
    }

    /// Ends after `limit` messages in all. True: they have come already.
    pub(crate) fn limit(&self, limit: u64) -> bool {
        let mut inner = self.lock();
        inner.limit = Some(limit);
        // Under the lock: the last one may come at this moment, and nothing after it would look at the limit again.
        self.received() >= limit
    }

    /// The error it ended with.
    pub(crate) fn failure(&self) -> Option<Error> {
        match &self.lock().end {
            Some(End::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Whether no more messages will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Whether an end was set and everything handed out is handled.
    pub(crate) fn is_handled(&self) -> bool {
        self.lock().is_handled()
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        let inner = self.lock();
        SubscriptionStats {
            pending: inner.queue.len() as u64,
            pending_bytes: inner.bytes as u64,
            received: self.received(),
            delivered: inner.taken,
            unhandled: inner.taken - inner.done,
            dropped: inner.dropped,
        }
    }
}

impl Inner {
    fn is_ready(&self) -> bool {
        !self.queue.is_empty() || self.end.is_some()
    }

    fn is_handled(&self) -> bool {
        self.end.is_some() && (self.abandoned || (self.queue.is_empty() && self.taken == self.done))
    }

    /// After `count` were taken: ends an episode, says what comes, and who is to be woken.
    fn taken_out(&mut self, options: &InboxOptions, count: usize) -> (State, Wakes) {
        if self.full && self.queue.len() <= options.max_messages / 2 && self.bytes <= options.max_bytes / 2 {
            self.full = false;
        }
        // A burst's room is given back once it is over.
        if self.queue.is_empty() && self.queue.capacity() > 4096 {
            self.queue = VecDeque::new();
        }
        let state = match (&self.end, self.queue.is_empty()) {
            (_, false) => State::More,
            // The end comes alone, so that whoever reads must come back and say that the last ones are handled.
            (Some(_), true) if count > 0 => State::More,
            (None, true) => State::Idle,
            (Some(End::Ended), true) => State::Ended,
            (Some(End::Failed(error)), true) => State::Failed(error.clone()),
        };
        (state, self.handled_wakes())
    }

    fn handled_wakes(&mut self) -> Wakes {
        if self.is_handled() { self.handled.take() } else { Wakes::none() }
    }
}

fn wake(wakes: Wakes, polled: Option<Waker>) {
    wakes.wake();
    if let Some(waker) = polled {
        waker.wake();
    }
}

#[derive(Clone, Copy)]
enum What {
    Ready,
    Handled,
    Ended,
}

/// A wait on an inbox. Registered under the lock, forgotten when dropped.
pub(crate) struct Wait<'a> {
    inbox: &'a Inbox,
    id: u64,
    what: What,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut inner = this.inbox.lock();
        let (holds, waiters) = match this.what {
            What::Ready => (inner.is_ready(), &mut inner.ready),
            What::Handled => (inner.is_handled(), &mut inner.handled),
            What::Ended => (inner.end.is_some(), &mut inner.ended),
        };
        if holds {
            if this.id != 0 {
                waiters.remove(this.id);
                this.id = 0;
            }
            return Poll::Ready(());
        }
        waiters.register(&mut this.id, cx.waker());
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.id != 0 {
            let mut inner = self.inbox.lock();
            match self.what {
                What::Ready => inner.ready.remove(self.id),
                What::Handled => inner.handled.remove(self.id),
                What::Ended => inner.ended.remove(self.id),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct CountWakes(AtomicUsize);
    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn inbox(max_messages: usize, max_bytes: usize, when_full: WhenFull) -> Inbox {
        Inbox::new(7, "a", None, InboxOptions { max_messages, max_bytes, when_full, limit: None })
    }

    fn messages(payloads: &[&str]) -> Vec<Message> {
        payloads.iter().map(|p| Message::from_parts(None, "a", None, None, p.as_bytes())).collect()
    }

    fn texts(taken: &[Message]) -> Vec<&str> {
        taken.iter().map(|m| std::str::from_utf8(m.payload()).unwrap()).collect()
    }

    #[test]
    fn drops_new_or_old_and_counts_one_episode() {
        for (when_full, kept) in [(WhenFull::DropNew, ["1", "2"]), (WhenFull::DropOld, ["4", "5"])] {
            let inbox = inbox(2, 1000, when_full);
            let first = inbox.push(&mut messages(&["1", "2", "3"]));
            let second = inbox.push(&mut messages(&["4", "5"]));
            assert_eq!((first.dropped, first.slow, second.dropped, second.slow), (1, true, 2, false));
            let mut out = Vec::new();
            assert!(matches!(inbox.take(&mut out, 10, 1000, 0), State::Idle));
            assert_eq!(texts(&out), kept);
            // The next overflow is a new episode.
            assert!(inbox.push(&mut messages(&["1", "2", "3"])).slow);
            assert_eq!(inbox.stats().dropped, 4);
        }
    }

    #[test]
    fn bytes_bound_the_queue_but_one_large_message_fits() {
        let inbox = inbox(100, 10, WhenFull::DropNew);
        assert_eq!(inbox.push(&mut messages(&["0123456789abcdef"])).dropped, 0);
        assert_eq!(inbox.push(&mut messages(&["x"])).dropped, 1);
    }

    #[test]
    fn take_is_bounded_and_gives_at_least_one() {
        let inbox = inbox(100, 1000, WhenFull::DropNew);
        inbox.push(&mut messages(&["aa", "bb", "cc"]));
        let mut out = Vec::new();
        assert!(matches!(inbox.take(&mut out, 10, 1, 0), State::More));
        assert_eq!(texts(&out), ["aa"]);
        assert!(matches!(inbox.take(&mut out, 1, 1000, 1), State::More));
        assert!(matches!(inbox.take(&mut out, 1, 1000, 1), State::Idle));
        assert_eq!(texts(&out), ["aa", "bb", "cc"]);
        inbox.end(None, false);
        assert!(!inbox.is_handled());
        assert!(matches!(inbox.take(&mut out, 1, 1, 9), State::Ended));
        assert!(inbox.is_handled());
    }

    #[test]
    fn every_waiter_is_woken_once_and_a_dropped_one_leaves_nothing() {
        let inbox = inbox(100, 1000, WhenFull::DropNew);
        let wakes: Vec<_> = (0..3).map(|_| Arc::new(CountWakes(AtomicUsize::new(0)))).collect();
        let mut waits: Vec<_> = (0..3).map(|_| inbox.ready()).collect();
        for (wait, wake) in waits.iter_mut().zip(&wakes) {
            let waker = Waker::from(Arc::clone(wake));
            for _ in 0..5 {
                assert!(Pin::new(&mut *wait).poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(inbox.lock().ready.len(), 3);
        drop(waits.pop());
        assert_eq!(inbox.lock().ready.len(), 2);
        inbox.push(&mut messages(&["1"]));
        inbox.push(&mut messages(&["2"]));
        let counts: Vec<_> = wakes.iter().map(|w| w.0.load(Relaxed)).collect();
        assert_eq!(counts, [1, 1, 0]);
        // The woken one goes away without looking: the other still finds the level.
        drop(waits.pop());
        let waker = Waker::from(Arc::clone(&wakes[0]));
        assert!(Pin::new(&mut waits[0]).poll(&mut Context::from_waker(&waker)).is_ready());
        drop(waits);
        assert_eq!(inbox.lock().ready.len(), 0);
    }

    #[test]
    fn a_limit_ends_it_and_takes_no_more() {
        let inbox = inbox(100, 1000, WhenFull::DropNew);
        assert!(!inbox.limit(2));
        assert!(inbox.push(&mut messages(&["1", "2", "3"])).complete);
        let mut out = Vec::new();
        assert!(matches!(inbox.take(&mut out, 9, 999, 0), State::More));
        assert_eq!(texts(&out), ["1", "2"]);
        assert!(matches!(inbox.take(&mut out, 9, 999, 2), State::Ended));
    }
}
