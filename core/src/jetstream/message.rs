//! Messages of JetStream: one that a consumer delivered (it wants to be settled), and one read from a stream.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

use super::ack::Metadata;
use super::settle::{self, Settle, settle, start_ack_sync};
use crate::client::Client;
use crate::error::{Code, Error, Result};
use crate::message::Message;

/// A message that a consumer delivered. It reads like a [`Message`] and is settled once: [`ack`](JsMessage::ack),
/// [`nak`](JsMessage::nak) or [`term`](JsMessage::term).
///
/// Settling is synchronous, never fails for lack of room and goes out behind what was published before.
pub struct JsMessage {
    message: Message,
    client: Client,
    /// See [`settle`].
    state: AtomicU8,
}

impl JsMessage {
    /// A message of `client` that nobody settled yet.
    pub(crate) fn new(message: Message, client: Client) -> JsMessage {
        JsMessage { message, client, state: AtomicU8::new(settle::OPEN) }
    }

    /// Where the message came from and how far its consumer is. Read anew at each call, without allocating.
    pub fn metadata(&self) -> Result<Metadata<'_>> {
        Metadata::read(self.message.reply())
    }

    /// The subject that settles the message.
    pub fn ack_subject(&self) -> Option<&str> {
        self.message.reply()
    }

    /// Done with it.
    pub fn ack(&self) -> Result<()> {
        self.settle(Settle::Ack)
    }

    /// Done with it, and wait until the server says that it knows. After a timeout the message is unsettled: call again.
    pub async fn ack_sync(&self) -> Result<()> {
        self.ack_sync_within(None).await
    }

    /// [`ack_sync`](JsMessage::ack_sync) with a limit other than the client's request timeout.
    pub async fn ack_sync_within(&self, timeout: Option<Duration>) -> Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let state = self.state.load(Ordering::Acquire);
        let done = Box::new(move |result| {
            let _ = sender.send(result);
        });
        let _handle = start_ack_sync(&self.client, self.subject_to_settle()?, state, timeout, done)?;
        let state = receiver.await.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the client is closed")))?;
        self.state.store(state, Ordering::Release);
        Ok(())
    }

    /// Not done: deliver it again, at once or after `delay`.
    pub fn nak(&self, delay: Option<Duration>) -> Result<()> {
        self.settle(Settle::Nak(delay))
    }

    /// Never deliver it again; the reason is told in the server's advisory.
    pub fn term(&self, reason: Option<&str>) -> Result<()> {
        self.settle(Settle::Term(reason))
    }

    /// Still at it: the time to acknowledge starts anew.
    pub fn in_progress(&self) -> Result<()> {
        self.settle(Settle::InProgress)
    }

    /// Whether `ack`, `nak` or `term` was said.
    pub fn is_settled(&self) -> bool {
        self.state.load(Ordering::Acquire) != settle::OPEN
    }

    /// The message without its consumer's side. It cannot be settled any more.
    pub fn into_message(self) -> Message {
        self.message
    }

    fn settle(&self, verb: Settle<'_>) -> Result<()> {
        let subject = self.subject_to_settle()?;
        let mut result = Ok(());
        // One caller wins; another one with the same verb finds it done.
        let _ = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                match settle::next_state(state, &verb) {
                    Ok((_, false)) => result = Ok(()),
                    Ok((next, true)) => {
                        result = Ok(());
                        return Some(next);
                    }
                    Err(e) => result = Err(e),
                }
                None
            })
            .map(|before| {
                if let Err(e) = settle(&self.client, subject, before, verb) {
                    self.state.store(before, Ordering::Release);
                    result = Err(e);
                }
            });
        result
    }

    fn subject_to_settle(&self) -> Result<&str> {
        self.message.reply().ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                "the message was not delivered by a JetStream consumer: there is nothing to settle",
            )
        })
    }
}

impl Deref for JsMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for JsMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsMessage")
            .field("subject", &self.message.subject())
            .field("metadata", &self.metadata().ok())
            .field("settled", &self.is_settled())
            .finish_non_exhaustive()
    }
}

/// A message read from a stream, without a consumer. It reads like a [`Message`].
#[derive(Clone, Debug)]
pub struct StreamMessage {
    message: Message,
    sequence: u64,
    timestamp_nanos: i64,
}

impl StreamMessage {
    pub(crate) fn new(message: Message, sequence: u64, timestamp_nanos: i64) -> StreamMessage {
        StreamMessage { message, sequence, timestamp_nanos }
    }

    /// Its sequence in the stream.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the stream stored it: nanoseconds since 1970 (UTC).
    pub fn timestamp_nanos(&self) -> i64 {
        self.timestamp_nanos
    }

    /// When the stream stored it.
    pub fn timestamp(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.timestamp_nanos))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The message alone.
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for StreamMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
