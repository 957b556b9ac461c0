//! A subscription, what a publish hands over, and who takes it.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// One message on its way. Everything is borrowed from the publisher's buffer: a sink that keeps it copies it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The subject it was published to.
    pub subject: &'a str,
    /// Where answers go.
    pub reply: Option<&'a str>,
    /// The raw header block, `NATS/1.0` and the final empty line included.
    pub headers: Option<&'a [u8]>,
    /// The body.
    pub payload: &'a [u8],
    /// The id of the publishing session; 0 is the server itself.
    pub origin: u64,
}

/// The receiving end of subscriptions: a session, a stream, the server's own subjects.
pub trait Sink: Send + Sync {
    /// Takes the message, or says `false`: then a queue group tries its next member. Called without any lock held; must not block.
    fn deliver(&self, sub: &Sub, msg: &Delivery<'_>) -> bool;
}

/// One subscription of one sink.
pub struct Sub {
    /// The subject filter; the router's map of literal filters shares the text.
    pub subject: Arc<str>,
    /// The queue group.
    pub queue: Option<Box<str>>,
    /// The id its owner gave it, as it is written on the wire.
    pub sid: Sid,
    pub(super) sink: Arc<dyn Sink>,
    /// Where it sits in its slot of the trie; changed under the trie's write lock only.
    pub(super) place: AtomicU32,
    closed: AtomicBool,
    delivered: AtomicU64,
    max: AtomicU64,
}

impl Sub {
    pub(super) fn new(subject: &str, queue: Option<&str>, sid: &[u8], sink: Arc<dyn Sink>) -> Sub {
        Sub {
            subject: subject.into(),
            queue: queue.map(Into::into),
            sid: Sid::new(sid),
            sink,
            place: AtomicU32::new(u32::MAX),
            closed: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    /// Whether it was unsubscribed. A publish that matched just before may still come along.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// First caller gets `true`.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// How many messages its sink has counted.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// After how many messages it ends; 0 is never.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Lets it end after `max` messages, those already counted included.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Counts one message; for sinks that call it under a lock of their own, as a session does under its outbox's.
    pub fn count_one(&self) -> u64 {
        let now = self.delivered.load(Ordering::Relaxed) + 1;
        self.delivered.store(now, Ordering::Relaxed);
        now
    }
}

impl std::fmt::Debug for Sub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sub")
            .field("subject", &self.subject)
            .field("queue", &self.queue)
            .field("sid", &self.sid)
            .finish_non_exhaustive()
    }
}

/// An id as its owner wrote it. Almost all are short, and then they need no memory of their own.
#[derive(Clone)]
pub struct Sid(Text);

const SHORT: usize = 14;

#[derive(Clone)]
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Sid {
    fn new(text: &[u8]) -> Sid {
        let mut short = [0; SHORT];
        match short.get_mut(..text.len()) {
            Some(front) => {
                front.copy_from_slice(text);
                Sid(Text::Short(text.len() as u8, short))
            }
            None => Sid(Text::Long(text.into())),
        }
    }
}

impl Deref for Sid {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Text::Short(length, text) => text.get(..usize::from(*length)).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Sid) -> bool {
        **self == **other
    }
}

impl Eq for Sid {}

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::fmt::Debug for Sid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}
