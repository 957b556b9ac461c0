//! What waits for a stream's task: publishes, acknowledgements, pull requests, API calls and the store's answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};

use super::api::Call;
use super::stream_config::StreamConfig;
use crate::router::Delivery;
use crate::store::{Location, StoreError};

/// A published message, copied once out of the publisher's buffer.
#[derive(Debug, Clone)]
pub struct Published {
    frame: Bytes,
    subject: u32,
    reply: u32,
    headers: u32,
}

impl Published {
    /// Copies a delivery.
    pub fn of(msg: &Delivery<'_>) -> Published {
        let (reply, headers) = (msg.reply.unwrap_or_default(), msg.headers.unwrap_or_default());
        let mut frame = BytesMut::with_capacity(msg.subject.len() + reply.len() + headers.len() + msg.payload.len());
        for part in [msg.subject.as_bytes(), reply.as_bytes(), headers, msg.payload] {
            frame.extend_from_slice(part);
        }
        let subject = msg.subject.len();
        let reply = subject + reply.len();
        let headers = reply + headers.len();
        Published { frame: frame.freeze(), subject: subject as u32, reply: reply as u32, headers: headers as u32 }
    }

    /// The subject.
    pub fn subject(&self) -> Bytes {
        self.frame.slice(..self.subject as usize)
    }

    /// Where the acknowledgement goes; empty: nowhere.
    pub fn reply(&self) -> Bytes {
        self.frame.slice(self.subject as usize..self.reply as usize)
    }

    /// The header block, empty when there is none.
    pub fn headers(&self) -> Bytes {
        self.frame.slice(self.reply as usize..self.headers as usize)
    }

    /// The body.
    pub fn payload(&self) -> Bytes {
        self.frame.slice(self.headers as usize..)
    }

    /// The same message with another header block.
    pub fn with_headers(&self, headers: &[u8]) -> Published {
        let before = self.reply as usize;
        let mut frame = BytesMut::with_capacity(self.frame.len() + headers.len());
        frame.extend_from_slice(&self.frame.slice(..before));
        frame.extend_from_slice(headers);
        frame.extend_from_slice(&self.payload());
        let headers = before + headers.len();
        Published { frame: frame.freeze(), headers: headers as u32, ..*self }
    }

    /// The bytes it holds.
    pub fn weight(&self) -> usize {
        self.frame.len()
    }
}

/// An acknowledgement of a delivery.
#[derive(Debug)]
pub struct Ack {
    /// The consumer's number.
    pub consumer: u64,
    /// Stream sequence.
    pub seq: u64,
    /// Consumer sequence.
    pub dseq: u64,
    /// The how-manieth delivery.
    pub deliveries: u64,
    /// What kind, with its argument.
    pub body: Bytes,
    /// Who wants a confirmation; empty: nobody.
    pub reply: Bytes,
}

/// One thing to do.
#[derive(Debug)]
pub enum Item {
    /// Store a message.
    Publish(Published),
    /// Take an acknowledgement.
    Ack(Ack),
    /// Serve a pull request.
    Next {
        /// The consumer's number.
        consumer: u64,
        /// The inbox.
        reply: String,
        /// The request.
        body: Bytes,
    },
    /// A push consumer's client keeps up.
    Flow {
        /// The consumer's number.
        consumer: u64,
        /// The subject that was to be answered.
        subject: String,
    },
    /// Somebody listens where a consumer delivers.
    Listener(u64),
    /// Answer an API call.
    Api(Box<Call>),
    /// Take over a checked configuration and answer the call.
    Update {
        /// The configuration.
        config: Box<StreamConfig>,
        /// The call.
        call: Box<Call>,
        /// Told when it is in force.
        done: oneshot::Sender<()>,
    },
    /// Remove everything, answer the call and end.
    Delete {
        /// The call.
        call: Box<Call>,
        /// Told when nothing of the stream is left.
        done: oneshot::Sender<()>,
    },
    /// Finish what is under way and end.
    Stop(oneshot::Sender<()>),
}

/// What the store said of one commit.
pub type Committed = Result<Vec<Location>, StoreError>;

#[derive(Debug, Default)]
struct Inbox {
    items: Vec<Item>,
    committed: Vec<Committed>,
    publishes: usize,
    bytes: usize,
    calls: usize,
    closed: bool,
}

/// The mailbox of a stream's task.
#[derive(Debug, Default)]
pub struct Mailbox {
    inbox: Mutex<Inbox>,
    wake: Notify,
}

/// Publishes and bytes that may wait; more are refused with 10167.
const MAX_PUBLISHES: usize = 100_000;
const MAX_BYTES: usize = 128 << 20;
/// API calls that may wait; more are refused with 10167 as well.
pub const MAX_CALLS: usize = 10_000;
/// Acknowledgements and pull requests that may come during one turn; more are met like those to nobody.
const MAX_ITEMS: usize = 1 << 20;

/// Why a call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The task has ended.
    Closed,
    /// Too many wait.
    Busy,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a publish; `false` when too many wait.
    pub fn publish(&self, message: Published) -> bool {
        let mut inbox = self.lock();
        let weight = message.weight();
        if inbox.publishes >= MAX_PUBLISHES || inbox.bytes + weight > MAX_BYTES {
            return false;
        }
        inbox.publishes += 1;
        inbox.bytes += weight;
        self.add(inbox, Item::Publish(message))
    }

    /// Adds an API call.
    pub fn call(&self, call: Box<Call>) -> Result<(), Refused> {
        let mut inbox = self.lock();
        if inbox.calls >= MAX_CALLS {
            return Err(Refused::Busy);
        }
        inbox.calls += 1;
        if self.add(inbox, Item::Api(call)) { Ok(()) } else { Err(Refused::Closed) }
    }

    /// A call was taken and is no longer waiting.
    pub fn called(&self) {
        let mut inbox = self.lock();
        inbox.calls = inbox.calls.saturating_sub(1);
    }

    /// Adds what clients send to a consumer; `false` when the task has ended or far too much waits.
    pub fn offer(&self, item: Item) -> bool {
        let inbox = self.lock();
        inbox.items.len() < MAX_ITEMS && self.add(inbox, item)
    }

    /// Adds what the server itself has to say; `false` when the task has ended.
    pub fn push(&self, item: Item) -> bool {
        self.add(self.lock(), item)
    }

    fn add(&self, mut inbox: MutexGuard<'_, Inbox>, item: Item) -> bool {
        if inbox.closed {
            return false;
        }
        let first = inbox.items.is_empty() && inbox.committed.is_empty();
        inbox.items.push(item);
        drop(inbox);
        if first {
            self.wake.notify_one();
        }
        true
    }

    /// Adds the store's answer to a commit.
    pub fn committed(&self, result: Committed) {
        let mut inbox = self.lock();
        let first = inbox.items.is_empty() && inbox.committed.is_empty();
        inbox.committed.push(result);
        drop(inbox);
        if first {
            self.wake.notify_one();
        }
    }

    /// Takes everything that waits; the vectors must be empty.
    pub fn take(&self, items: &mut Vec<Item>, committed: &mut Vec<Committed>) {
        let mut inbox = self.lock();
        std::mem::swap(&mut inbox.items, items);
        std::mem::swap(&mut inbox.committed, committed);
    }

    /// Publishes that were taken and are no longer waiting.
    pub fn settled(&self, publishes: usize, bytes: usize) {
        let mut inbox = self.lock();
        inbox.publishes = inbox.publishes.saturating_sub(publishes);
        inbox.bytes = inbox.bytes.saturating_sub(bytes);
    }

    /// Keeps room for so many items only.
    pub fn shrink_to(&self, room: usize) {
        let mut inbox = self.lock();
        inbox.items.shrink_to(room);
        inbox.committed.shrink_to(room);
    }

    /// Waits until something is there.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Takes nothing more.
    pub fn close(&self) {
        self.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_copied_in_parts() {
        let msg = Delivery {
            subject: "a.b",
            reply: Some("r"),
            headers: Some(b"NATS/1.0\r\n\r\n"),
            payload: b"body",
            origin: 1,
        };
        let copy = Published::of(&msg);
        assert_eq!((&copy.subject()[..], &copy.reply()[..]), (&b"a.b"[..], &b"r"[..]));
        assert_eq!((&copy.headers()[..], &copy.payload()[..]), (&b"NATS/1.0\r\n\r\n"[..], &b"body"[..]));
        let bare = Published::of(&Delivery { reply: None, headers: None, ..msg });
        assert!(bare.reply().is_empty() && bare.headers().is_empty());
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let mailbox = Mailbox::default();
        (0..10_000).for_each(|id| assert!(mailbox.push(Item::Listener(id))));
        mailbox.lock().items.truncate(3);
        mailbox.shrink_to(256);
        let inbox = mailbox.lock();
        assert!(inbox.items.len() == 3 && inbox.items.capacity() < 1000, "{}", inbox.items.capacity());
    }

    #[test]
    fn too_many_calls_are_refused() {
        let mailbox = Mailbox::default();
        let call = || {
            let (verb, text, body) = (super::super::api::Verb::StreamInfo, String::new, Bytes::new());
            let (stream, consumer, rest, reply) = (text(), text(), text(), text());
            Box::new(Call { verb, stream, consumer, rest, reply, body, too_new: false })
        };
        assert!((0..MAX_CALLS).all(|_| mailbox.call(call()).is_ok()));
        // Taken is not answered: what waits in the task's own queue still counts.
        mailbox.take(&mut Vec::new(), &mut Vec::new());
        assert_eq!(mailbox.call(call()), Err(Refused::Busy));
        mailbox.called();
        assert_eq!(mailbox.call(call()), Ok(()));
        assert!((0..MAX_ITEMS).all(|_| mailbox.offer(Item::Listener(1)) || mailbox.lock().items.len() == MAX_ITEMS));
        assert!(!mailbox.offer(Item::Listener(1)) && mailbox.push(Item::Listener(1)));
        mailbox.close();
        mailbox.called();
        assert_eq!(mailbox.call(call()), Err(Refused::Closed));
    }

    #[test]
    fn too_many_publishes_are_refused() {
        let mailbox = Mailbox::default();
        let msg = Delivery { subject: "a", reply: None, headers: None, payload: b"", origin: 1 };
        assert!((0..MAX_PUBLISHES).all(|_| mailbox.publish(Published::of(&msg))));
        assert!(!mailbox.publish(Published::of(&msg)));
        mailbox.settled(1, 1);
        assert!(mailbox.publish(Published::of(&msg)));
        mailbox.close();
        assert!(!mailbox.push(Item::Stop(oneshot::channel().0)));
    }
}
