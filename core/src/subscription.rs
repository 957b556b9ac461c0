//! Subscriptions: made by a builder that is a future, drained message by message or batch by batch.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::{Applied, Error, Result};
use crate::inbox::{Inbox, InboxOptions, State, Taken};
use crate::message::Message;
use crate::options::WhenFull;
use crate::stats::SubscriptionStats;

/// A subscription to be made; `await` it.
#[must_use = "a subscription is made by awaiting this"]
pub struct SubscribeBuilder {
    client: Client,
    subject: String,
    queue: Option<String>,
    options: InboxOptions,
    confirm: bool,
    timeout: Duration,
}

impl SubscribeBuilder {
    pub(crate) fn new(client: &Client, subject: String) -> SubscribeBuilder {
        let options = &client.engine().options;
        SubscribeBuilder {
            subject,
            queue: None,
            options: InboxOptions {
                max_messages: options.pending_messages,
                max_bytes: options.pending_bytes,
                when_full: WhenFull::default(),
                limit: None,
            },
            confirm: true,
            timeout: options.subscribe_timeout,
            client: client.clone(),
        }
    }

    /// Joins a queue group: each message goes to one of its members.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Messages that are kept before some are dropped.
    pub fn pending_messages(mut self, messages: usize) -> Self {
        self.options.max_messages = messages;
        self
    }

    /// Bytes that are kept before messages are dropped.
    pub fn pending_bytes(mut self, bytes: usize) -> Self {
        self.options.max_bytes = bytes;
        self
    }

    /// What is dropped when there is no room.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.options.when_full = when_full;
        self
    }

    /// Ends by itself after so many messages.
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.options.limit = Some(messages);
        self
    }

    /// False: does not wait for the server's confirmation; a refusal is found by the reader instead.
    pub fn confirm(mut self, confirm: bool) -> Self {
        self.confirm = confirm;
        self
    }

    /// Without waiting for the server's confirmation.
    pub(crate) fn open(self) -> Result<Subscription> {
        let inbox = self.client.engine().subscribe(&self.subject, self.queue.as_deref(), self.options, None)?;
        Ok(Subscription::new(self.client, inbox))
    }

    async fn make(self) -> Result<Subscription> {
        if !self.confirm {
            return self.open();
        }
        let (send, confirmed) = oneshot::channel();
        let engine = Arc::clone(self.client.engine());
        let inbox = engine.subscribe(&self.subject, self.queue.as_deref(), self.options, Some(send))?;
        // From here on, dropping the future unsubscribes.
        let subscription = Subscription::new(self.client, inbox);
        match engine.clock.timeout(self.timeout, confirmed).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(_)) => return Err(engine.wire.closed_error()),
            None => {
                let text = format!("the server did not confirm {:?} within {:?}", self.subject, self.timeout);
                return Err(engine.late(text).with_subject(self.subject).with_applied(Applied::No));
            }
        }
        match subscription.inbox.failure() {
            Some(error) => Err(error),
            None => Ok(subscription),
        }
    }
}

impl IntoFuture for SubscribeBuilder {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

/// A subscription. Dropping it unsubscribes; it keeps its client.
///
/// Read it with [`next`](Subscription::next) (or as a `Stream`), or with [`take`](Subscription::take) and
/// [`ready`](Subscription::ready); not with both at once.
pub struct Subscription {
    client: Client,
    inbox: Arc<Inbox>,
    /// Taken by `next` and not handed out yet.
    batch: VecDeque<Message>,
    /// Handed out by `next` and not reported as handled yet.
    handed: usize,
}

impl Subscription {
    fn new(client: Client, inbox: Arc<Inbox>) -> Subscription {
        Subscription { client, inbox, batch: VecDeque::new(), handed: 0 }
    }

    /// The subject subscribed to.
    pub fn subject(&self) -> &str {
        &self.inbox.subject
    }

    /// The queue group.
    pub fn queue(&self) -> Option<&str> {
        self.inbox.queue.as_deref()
    }

    /// The subscription's number on the wire.
    pub fn sid(&self) -> u64 {
        self.inbox.sid
    }

    /// The client it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The next message; none when the subscription has ended in order. Asking for the next one says that the last one
    /// is handled. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        loop {
            if self.batch.is_empty() {
                // A reader that never has to wait still lets others run.
                tokio::task::consume_budget().await;
            }
            match self.step() {
                Step::Got(message) => return Ok(Some(message)),
                Step::Over(end) => return end.map(|()| None),
                Step::Wait => self.inbox.ready().await,
            }
        }
    }

    /// What is there, without waiting: at most `max_messages` and about `max_bytes`, always at least one if any.
    /// `done` says how many of the messages taken before were handled since; drain waits for them.
    pub fn take(&self, max_messages: usize, max_bytes: usize, done: usize) -> Taken {
        let mut messages = Vec::new();
        let state = self.inbox.take(&mut messages, max_messages, max_bytes, done);
        Taken { messages, state }
    }

    /// Like [`take`](Subscription::take), into a vector that the caller uses again.
    pub fn take_into(&self, out: &mut Vec<Message>, max_messages: usize, max_bytes: usize, done: usize) -> State {
        self.inbox.take(out, max_messages, max_bytes, done)
    }

    /// Waits until `take` would give messages or an end. Any number of tasks may wait; cancelling one loses nothing.
    pub async fn ready(&self) {
        self.inbox.ready().await;
    }

    /// The same as a poll function; it has one slot, the last caller's waker counts.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inbox.poll_ready(cx)
    }

    /// Whether `take` would give messages or an end.
    pub fn is_ready(&self) -> bool {
        !self.batch.is_empty() || self.inbox.is_ready()
    }

    /// A handle to end it while another task waits for messages.
    pub fn control(&self) -> SubscriptionControl {
        SubscriptionControl { client: self.client.clone(), inbox: Arc::clone(&self.inbox) }
    }

    /// Ends it at once, giving up what waits; or after `after` messages counted from its start.
    pub fn unsubscribe(&self, after: Option<u64>) -> Result<()> {
        unsubscribe(&self.client, &self.inbox, after)
    }

    /// Ends it in order: what the server sent before it processed the end is still handed out. Waits until all that was
    /// handed out is handled, at most the client's `drain_timeout`.
    pub async fn drain(&self) -> Result<()> {
        drain(&self.client, &self.inbox).await
    }

    /// Waits until no more messages will come; the error if it did not end in order.
    pub async fn closed(&self) -> Option<Error> {
        self.inbox.ended().await;
        self.inbox.failure()
    }

    /// Counters.
    pub fn stats(&self) -> SubscriptionStats {
        let mut stats = self.inbox.stats();
        let held = self.batch.len() as u64;
        stats.pending += held;
        stats.pending_bytes += self.batch.iter().map(|m| m.size() as u64).sum::<u64>();
        stats.delivered = stats.delivered.saturating_sub(held);
        stats.unhandled = stats.unhandled.saturating_sub(held);
        stats
    }

    fn step(&mut self) -> Step {
        if let Some(message) = self.batch.pop_front() {
            self.handed += 1;
            return Step::Got(message);
        }
        let state = self.inbox.take_queue(&mut self.batch, std::mem::take(&mut self.handed));
        match (self.batch.pop_front(), state) {
            (Some(message), _) => {
                self.handed += 1;
                Step::Got(message)
            }
            (None, State::Idle | State::More) => Step::Wait,
            (None, State::Ended) => Step::Over(Ok(())),
            (None, State::Failed(error)) => Step::Over(Err(error)),
        }
    }
}

enum Step {
    Got(Message),
    Wait,
    Over(Result<()>),
}

impl Stream for Subscription {
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.step() {
                Step::Got(message) => return Poll::Ready(Some(Ok(message))),
                Step::Over(Ok(())) => return Poll::Ready(None),
                Step::Over(Err(error)) => return Poll::Ready(Some(Err(error))),
                Step::Wait => match this.inbox.poll_ready(cx) {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.client.engine().unsubscribe(&self.inbox);
        self.inbox.abandon();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("subject", &self.subject())
            .field("queue", &self.queue())
            .field("sid", &self.sid())
            .finish()
    }
}

/// Ends a subscription while another task reads it. It does not keep the subscription alive.
#[derive(Clone)]
pub struct SubscriptionControl {
    client: Client,
    inbox: Arc<Inbox>,
}

impl SubscriptionControl {
    /// See [`Subscription::unsubscribe`].
    pub fn unsubscribe(&self, after: Option<u64>) -> Result<()> {
        unsubscribe(&self.client, &self.inbox, after)
    }

    /// See [`Subscription::drain`].
    pub async fn drain(&self) -> Result<()> {
        drain(&self.client, &self.inbox).await
    }

    /// See [`Subscription::closed`].
    pub async fn closed(&self) -> Option<Error> {
        self.inbox.ended().await;
        self.inbox.failure()
    }

    /// See [`Subscription::stats`].
    pub fn stats(&self) -> SubscriptionStats {
        self.inbox.stats()
    }
}

fn unsubscribe(client: &Client, inbox: &Inbox, after: Option<u64>) -> Result<()> {
    if inbox.is_ended() {
        // Ending what has ended is what was wanted.
        if after.is_none() {
            inbox.end(None, true);
        }
        return Ok(());
    }
    match after {
        None | Some(0) => client.engine().unsubscribe(inbox),
        Some(limit) => client.engine().unsubscribe_after(inbox, limit),
    }
    Ok(())
}

async fn drain(client: &Client, inbox: &Arc<Inbox>) -> Result<()> {
    let engine = client.engine();
    engine.begin_drain(inbox);
    engine.drained(inbox, engine.options.drain_timeout).await
}
