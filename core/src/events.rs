//! What happens to a client: a queue for each reader, folded to the latest state and counters when nobody reads.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;

use crate::engine::waiters::Waiters;
use crate::inbox::Inbox;
use crate::options::seconds;

/// More unread events than this are folded together.
const FOLD_FROM: usize = 64;

/// Something that happened to a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A connection is up, and what was kept is on its way.
    Connected {
        /// `host:port`.
        server: String,
    },
    /// The connection broke.
    Disconnected {
        /// Why.
        reason: String,
        /// Publishes that the socket had taken and nobody confirmed.
        unknown: u64,
        /// Publishes that are kept for the next connection.
        pending: u64,
    },
    /// The next attempt comes after a delay.
    Reconnecting {
        /// Counted from 1 since the break.
        attempt: u64,
        /// How long until it begins.
        #[serde(with = "seconds")]
        delay: Duration,
    },
    /// The server says that it will go away soon.
    LameDuck,
    /// A subscription began to drop messages; one event per episode, with the count at the time of reading.
    SlowConsumer {
        /// The subject subscribed to.
        subject: String,
        /// Dropped by this subscription so far.
        dropped: u64,
    },
    /// The server refused a publish or a subscription.
    PermissionDenied {
        /// `publish` or `subscribe`.
        operation: String,
        /// The subject refused.
        subject: String,
    },
    /// The server cut the connection because the credentials ran out.
    AuthExpired,
    /// The server complained.
    ServerError {
        /// Its words.
        text: String,
    },
    /// The cluster told about servers that were not known.
    ServersChanged {
        /// The servers of the cluster, `host:port`.
        servers: Vec<String>,
    },
    /// The client is closed for good.
    Closed {
        /// Why; none when it was asked for.
        reason: Option<String>,
    },
}

impl Event {
    /// Events with the same key are folded into the newest.
    fn key(&self) -> (u8, &str, &str) {
        match self {
            Event::Connected { .. } => (1, "", ""),
            Event::Disconnected { .. } => (2, "", ""),
            Event::Reconnecting { .. } => (3, "", ""),
            Event::LameDuck => (4, "", ""),
            Event::SlowConsumer { subject, .. } => (5, subject, ""),
            Event::PermissionDenied { operation, subject } => (6, operation, subject),
            Event::AuthExpired => (7, "", ""),
            Event::ServerError { text } => (8, text, ""),
            Event::ServersChanged { .. } => (9, "", ""),
            Event::Closed { .. } => (10, "", ""),
        }
    }
}

struct Entry {
    event: Event,
    /// For the count at the time of reading.
    inbox: Option<Weak<Inbox>>,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<Entry>,
    ended: bool,
    waiters: Waiters,
}

#[derive(Default)]
struct Reader(Mutex<Inner>);

impl Reader {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &Event, inbox: Option<&Weak<Inbox>>) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        let last = matches!(event, Event::Closed { .. });
        // Attempt after attempt says nothing that the last one does not say.
        if matches!(event, Event::Reconnecting { .. })
            && inner.entries.back().is_some_and(|e| matches!(e.event, Event::Reconnecting { .. }))
        {
            inner.entries.pop_back();
        }
        if inner.entries.len() >= FOLD_FROM {
            let key = event.key();
            inner.entries.retain(|e| e.event.key() != key);
            if inner.entries.len() >= FOLD_FROM {
                // Many different complaints: the oldest of them goes, never a change of state.
                let at = inner.entries.iter().position(|e| matches!(e.event.key().0, 5 | 6 | 8)).unwrap_or(0);
                inner.entries.remove(at);
            }
        }
        inner.entries.push_back(Entry { event: event.clone(), inbox: inbox.cloned() });
        inner.ended |= last;
        let wakes = inner.waiters.take();
        drop(inner);
        wakes.wake();
    }
}

/// All readers of one client.
#[derive(Default)]
pub(crate) struct Hub {
    readers: Mutex<Vec<Weak<Reader>>>,
}

impl Hub {
    pub(crate) fn send(&self, event: Event) {
        self.send_about(event, None);
    }

    pub(crate) fn slow_consumer(&self, inbox: &Arc<Inbox>) {
        let event = Event::SlowConsumer { subject: inbox.subject.to_string(), dropped: 0 };
        self.send_about(event, Some(Arc::downgrade(inbox)));
    }

    fn send_about(&self, event: Event, inbox: Option<Weak<Inbox>>) {
        let readers: Vec<_> = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.retain(|r| r.strong_count() > 0);
            readers.iter().filter_map(Weak::upgrade).collect()
        };
        for reader in readers {
            reader.push(&event, inbox.as_ref());
        }
    }

    /// A new reader. `closed` is asked afterwards, so that an end in between is not missed.
    pub(crate) fn reader(&self, closed: impl FnOnce() -> Option<Event>) -> Events {
        let reader = Arc::new(Reader::default());
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&reader));
        if let Some(event) = closed() {
            reader.push(&event, None);
        }
        Events { reader }
    }
}

/// A reader of a client's events, from the moment it was made.
pub struct Events {
    reader: Arc<Reader>,
}

impl Events {
    /// The next event; none after `Closed`. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let (mut events, ended) = self.take(1);
            if let Some(event) = events.pop() {
                return Some(event);
            }
            if ended {
                return None;
            }
            self.ready().await;
        }
    }

    /// What is there, at most `max`; true when nothing will come after it.
    pub fn take(&self, max: usize) -> (Vec<Event>, bool) {
        let mut inner = self.reader.lock();
        let n = max.min(inner.entries.len());
        let taken: Vec<Entry> = inner.entries.drain(..n).collect();
        let ended = inner.ended && inner.entries.is_empty();
        drop(inner);
        let events = taken.into_iter().map(|entry| match (entry.event, entry.inbox) {
            (Event::SlowConsumer { subject, .. }, Some(inbox)) => {
                Event::SlowConsumer { subject, dropped: inbox.upgrade().map_or(0, |i| i.stats().dropped) }
            }
            (event, _) => event,
        });
        (events.collect(), ended)
    }

    /// Waits until `take` would give something or an end.
    pub async fn ready(&self) {
        struct Forget<'a>(&'a Reader, u64);
        impl Drop for Forget<'_> {
            fn drop(&mut self) {
                if self.1 != 0 {
                    self.0.lock().waiters.remove(self.1);
                }
            }
        }
        let mut slot = Forget(&self.reader, 0);
        poll_fn(|cx| self.poll(cx, &mut slot.1)).await;
    }

    fn poll(&self, cx: &mut Context<'_>, id: &mut u64) -> Poll<()> {
        let mut inner = self.reader.lock();
        if !inner.entries.is_empty() || inner.ended {
            return Poll::Ready(());
        }
        inner.waiters.register(id, cx.waker());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_events_fold_to_the_latest() {
        let hub = Hub::default();
        let events = hub.reader(|| None);
        for attempt in 1..=1000 {
            hub.send(Event::Reconnecting { attempt, delay: Duration::ZERO });
        }
        for n in 0..1000 {
            hub.send(Event::PermissionDenied { operation: "publish".into(), subject: format!("s.{}", n % 200) });
        }
        hub.send(Event::LameDuck);
        hub.send(Event::Closed { reason: None });
        let (all, ended) = events.take(usize::MAX);
        assert!(ended && all.len() <= FOLD_FROM, "{}", all.len());
        assert_eq!(all[0], Event::Reconnecting { attempt: 1000, delay: Duration::ZERO });
        assert_eq!(all[all.len() - 2..], [Event::LameDuck, Event::Closed { reason: None }]);
    }

    #[test]
    fn the_document_is_what_the_bindings_read() {
        let event = Event::Reconnecting { attempt: 3, delay: Duration::from_millis(250) };
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"event":"reconnecting","attempt":3,"delay":0.25}"#);
    }
}
