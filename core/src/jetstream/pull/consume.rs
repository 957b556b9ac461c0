//! `consume`: messages that keep coming (ADR-37), taken like those of a subscription.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::flow::{Flow, push_based};
use super::options::ConsumeOptions;
use crate::error::{Code, Result};
use crate::inbox::{Inbox, State};
use crate::jetstream::message::JsMessage;
use crate::jetstream::{Consumer, OPEN, Settle, settle};
use crate::stats::SubscriptionStats;

/// What one [`take`](Consumption::take) gives.
#[derive(Debug, Default)]
pub struct JsTaken {
    /// The messages, oldest first.
    pub messages: Vec<JsMessage>,
    /// What comes after them.
    pub state: State,
}

/// A consumption under way. Cheap to clone; dropping the last handle stops it.
///
/// It never ends because of a reconnect. It ends with an error when the consumer is deleted, is a push consumer, or refuses the pulls.
#[derive(Clone)]
pub struct Consumption {
    held: Arc<Held>,
}

struct Held {
    flow: Arc<Flow>,
    inbox: Arc<Inbox>,
    /// Handed out by `next`, to be reported as handled by the following one.
    given: AtomicUsize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.flow.over();
        self.flow.client().engine().unsubscribe(&self.inbox);
        // The owner is gone: nobody will report anything as handled.
        self.inbox.abandon();
    }
}

impl Consumption {
    pub(crate) async fn start(consumer: &Consumer, options: &ConsumeOptions) -> Result<Consumption> {
        let (flow, inbox) = Flow::open(consumer, options)?;
        let consumption = Consumption { held: Arc::new(Held { flow, inbox, given: AtomicUsize::new(0) }) };
        // The first pull is under way meanwhile. What cannot work is told here and not only at the first message.
        match consumer.info().await {
            Ok(info) => match push_based(&info, consumer.name()) {
                Some(error) => Err(error),
                None => Ok(consumption),
            },
            Err(e) if matches!(e.code(), Code::NotFound | Code::Closed) => Err(e),
            // Not allowed to ask, or no answer at the moment: the pulls will tell.
            Err(_) => Ok(consumption),
        }
    }

    /// Takes what is there: at most `max_messages` and about `max_bytes`, at least one if there is one; never waits. `done` says how
    /// many of those taken before were handled since, which makes room for more; waiting for more says that all of them were.
    pub fn take(&self, max_messages: usize, max_bytes: usize, done: usize) -> JsTaken {
        let Held { flow, inbox, .. } = &*self.held;
        let mut messages = Vec::new();
        let state = inbox.take(&mut messages, max_messages, max_bytes, done);
        // Who asks for more and gets nothing has nothing left to handle.
        flow.handed_out(&messages, if messages.is_empty() { usize::MAX } else { done });
        let client = flow.client();
        let messages = messages.into_iter().map(|m| JsMessage::new(m, client.clone())).collect();
        JsTaken { messages, state }
    }

    /// Whether [`take`](Consumption::take) would give something or an end.
    pub fn is_ready(&self) -> bool {
        self.held.inbox.is_ready()
    }

    /// The same as a poll function; level-triggered, with one slot for a waker.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.held.inbox.poll_ready(cx);
        if ready.is_pending() {
            self.held.flow.handed_out(&[], usize::MAX);
        }
        ready
    }

    /// Waits until [`take`](Consumption::take) would give something or an end. Any number may wait, and cancelling loses nothing.
    pub async fn ready(&self) {
        if !self.held.inbox.is_ready() {
            self.held.flow.handed_out(&[], usize::MAX);
        }
        self.held.inbox.ready().await;
    }

    /// The next message; `None` after the end. The one before counts as handled. Cancelling loses nothing.
    pub async fn next(&self) -> Result<Option<JsMessage>> {
        loop {
            if let Some(result) = self.step() {
                return result;
            }
            self.ready().await;
        }
    }

    /// `None`: wait.
    fn step(&self) -> Option<Result<Option<JsMessage>>> {
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

    /// Ends it at once. What was not handed out comes again after the consumer's `ack_wait`.
    pub fn stop(&self) {
        self.held.flow.over();
        self.held.flow.client().engine().unsubscribe(&self.held.inbox);
    }

    /// Ends it at once and gives back what was not handed out, so that it comes again at once.
    pub fn release(&self) {
        let mut messages = Vec::new();
        self.held.inbox.take(&mut messages, usize::MAX, usize::MAX, 0);
        self.stop();
        for message in messages {
            if let Some(subject) = message.reply() {
                let _ = settle(self.held.flow.client(), subject, OPEN, Settle::Nak(None));
            }
        }
        self.held.inbox.abandon();
    }

    /// Pulls no more and hands out what came; then it ends.
    pub fn drain(&self) {
        self.held.flow.over();
        self.held.flow.client().engine().begin_drain(&self.held.inbox);
    }

    /// Waits until it has ended and everything that was handed out is handled.
    pub async fn closed(&self) {
        self.held.inbox.handled().await;
    }

    /// What waits, what was handed out.
    pub fn stats(&self) -> SubscriptionStats {
        self.held.inbox.stats()
    }
}

impl fmt::Debug for Consumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumption").field("consumer", &self.held.flow.what()).finish_non_exhaustive()
    }
}

impl futures_core::Stream for Consumption {
    type Item = Result<JsMessage>;

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
