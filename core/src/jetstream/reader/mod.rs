//! Reading a stream to its end, in order and without a gap: an ordered pull consumer that is made anew whenever something is lost.

mod pump;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use self::pump::Pump;
use super::ack::Metadata;
use super::message::StreamMessage;
use super::stream::Stream;
use crate::error::{Code, Error, Result};
use crate::inbox::{Inbox, State};

/// What one [`take`](StreamReader::take) gives.
#[derive(Debug, Default)]
pub struct StreamTaken {
    /// The messages, oldest first.
    pub messages: Vec<StreamMessage>,
    /// What comes after them.
    pub state: State,
}

/// Reads a stream in order to its end. Cheap to clone; dropping the last handle ends it.
///
/// It goes on after reconnects, and ends when the stream has nothing more at the moment. It fails when the stream is deleted.
#[derive(Clone)]
pub struct StreamReader {
    held: Arc<Held>,
}

struct Held {
    pump: Arc<Pump>,
    inbox: Arc<Inbox>,
    given: AtomicUsize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pump.leave();
        self.pump.client().engine().unsubscribe(&self.inbox);
        self.inbox.abandon();
    }
}

impl StreamReader {
    pub(crate) async fn start(stream: &Stream, start: u64) -> Result<StreamReader> {
        let (pump, inbox, started) = Pump::open(stream, start)?;
        let reader = StreamReader { held: Arc::new(Held { pump, inbox, given: AtomicUsize::new(0) }) };
        started.await.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the client is closed")))?;
        Ok(reader)
    }

    /// Takes what is there: at most `max_messages` and about `max_bytes`, at least one if there is one; never waits. `done` says how
    /// many of those taken before were handled since, which makes room for more; waiting for more says that all of them were.
    pub fn take(&self, max_messages: usize, max_bytes: usize, done: usize) -> StreamTaken {
        let mut messages = Vec::new();
        let state = self.held.inbox.take(&mut messages, max_messages, max_bytes, done);
        // Who asks for more and gets nothing has nothing left to handle.
        self.held.pump.handed_out(&messages, if messages.is_empty() { usize::MAX } else { done });
        let messages = messages.into_iter().filter_map(|message| {
            let place = message.reply().and_then(Metadata::parse).map(|m| (m.stream_sequence, m.timestamp_nanos));
            place.map(|(sequence, nanos)| StreamMessage::new(message.without_reply(), sequence, nanos))
        });
        StreamTaken { messages: messages.collect(), state }
    }

    /// Whether [`take`](StreamReader::take) would give something or an end.
    pub fn is_ready(&self) -> bool {
        self.held.inbox.is_ready()
    }

    /// The same as a poll function; level-triggered, with one slot for a waker.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.held.inbox.poll_ready(cx);
        if ready.is_pending() {
            self.held.pump.handed_out(&[], usize::MAX);
        }
        ready
    }

    /// Waits until [`take`](StreamReader::take) would give something or an end. Any number may wait, and cancelling loses nothing.
    pub async fn ready(&self) {
        if !self.held.inbox.is_ready() {
            self.held.pump.handed_out(&[], usize::MAX);
        }
        self.held.inbox.ready().await;
    }

    /// The next message; `None` at the end of the stream. Cancelling loses nothing.
    pub async fn next(&self) -> Result<Option<StreamMessage>> {
        loop {
            if let Some(result) = self.step() {
                return result;
            }
            self.ready().await;
        }
    }

    /// `None`: wait.
    fn step(&self) -> Option<Result<Option<StreamMessage>>> {
        let done = self.held.given.swap(0, Ordering::AcqRel);
        let mut taken = self.take(1, usize::MAX, done);
        if let Some(message) = taken.messages.pop() {
            self.held.given.fetch_add(1, Ordering::AcqRel);
            return Some(Ok(Some(message)));
        }
        match taken.state {
            State::Ended => Some(Ok(None)),
            State::Failed(error) => Some(Err(error)),
            State::More | State::Idle => None,
        }
    }

    /// Ends it at once.
    pub fn stop(&self) {
        self.held.pump.leave();
        self.held.pump.client().engine().unsubscribe(&self.held.inbox);
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").field("stream", &self.held.pump.stream()).finish_non_exhaustive()
    }
}

impl futures_core::Stream for StreamReader {
    type Item = Result<StreamMessage>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(result) = self.step() {
                return Poll::Ready(result.transpose());
            }
            if self.poll_ready(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
