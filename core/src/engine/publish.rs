//! Publishing, requests and flush: what is checked, what waits, and for how long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use natsune_protocol::subject;
use tokio::sync::oneshot;

use super::requests::Done;
use super::wire::{Accepted, Kind, TooLarge, Wire};
use super::{Engine, SUBJECT_AND_REPLY, bad_subject};
use crate::error::{Applied, Code, Error, Result};
use crate::events::Event;
use crate::options::bounded;
use crate::stats::PublishCounts;

impl Engine {
    /// Refuses what must not reach the wire. Nothing that passes can break out of its place in an operation.
    #[inline]
    fn check(&self, subject: &str, reply: Option<&str>, headers: Option<&[u8]>, payload: &[u8]) -> Result<()> {
        if !subject::is_valid_publish(subject) {
            return Err(bad_subject("publish to", subject));
        }
        if let Some(reply) = reply
            && !subject::is_valid_publish(reply)
        {
            return Err(bad_subject("be answered at", reply));
        }
        if subject.len() + reply.map_or(0, str::len) > SUBJECT_AND_REPLY {
            return Err(Error::new(Code::InvalidArgument, "subject and reply are longer than a control line may be"));
        }
        if let Some(block) = headers
            && !(block.starts_with(b"NATS/1.0") && block.ends_with(b"\r\n\r\n"))
        {
            return Err(Error::new(Code::InvalidArgument, "the header block is malformed"));
        }
        let size = headers.map_or(0, <[u8]>::len) + payload.len();
        let most = self.wire.max_payload();
        if size > most {
            return Err(Error::new(
                Code::LimitExceeded,
                format!("the message has {size} bytes with its headers, the server takes {most}"),
            )
            .with_subject(subject));
        }
        Ok(())
    }

    /// Publishes at once or fails.
    #[inline]
    pub(crate) fn try_publish(
        &self,
        kind: Kind,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<Accepted> {
        self.check(subject, reply, headers, payload)?;
        self.wire.publish(kind, false, subject, reply, headers, payload).map(|a| a.unwrap_or(Accepted::Pressure))
    }

    /// Publishes at once if there is room below the mark. False: there is none, and nothing was accepted.
    #[inline]
    pub(crate) fn offer(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<bool> {
        self.check(subject, reply, headers, payload)?;
        Ok(self.wire.publish(Kind::User, true, subject, reply, headers, payload)?.is_some())
    }

    /// Publishes when there is room; cancelled while waiting, nothing was sent.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<()> {
        if self.offer(subject, reply, headers, payload)? {
            return Ok(());
        }
        let limit = self.options.publish_timeout;
        let waiting = async {
            loop {
                self.room().await?;
                if self.wire.publish(Kind::User, true, subject, reply, headers, payload)?.is_some() {
                    return Ok(());
                }
            }
        };
        self.clock.timeout(limit, waiting).await.unwrap_or_else(|| {
            let text = format!("no room in the outbound buffer within {limit:?}: the server takes messages too slowly");
            Err(Error::new(Code::Timeout, text).with_subject(subject).with_applied(Applied::No))
        })
    }

    /// What was accepted for a server that took more than the one that is there now.
    pub(crate) fn tell_too_large(&self, gone: &TooLarge) {
        if gone.count == 0 {
            return;
        }
        let most = self.wire.max_payload();
        let error = Error::new(
            Code::LimitExceeded,
            format!("the message is larger than the {most} bytes that the server takes"),
        );
        gone.requests.iter().for_each(|id| self.requests.fail(*id, &error));
        let text = format!(
            "{} messages were given up: each is larger than the {most} bytes that the server takes",
            gone.count
        );
        self.events.send(Event::ServerError { text });
    }

    /// Requests that ended without a connection must not take the room of what is still wanted.
    pub(crate) fn give_up_dead_requests(&self) {
        if self.wire.has_dead_requests(self.requests.len()) {
            self.wire.give_up_dead(&self.requests, &self.requests.alive());
        }
    }

    /// Waits until publishing needs no wait.
    pub(crate) fn room(&self) -> Room<'_> {
        self.give_up_dead_requests();
        Room { wire: &self.wire, id: 0 }
    }

    /// Starts a request: the id under which it waits. `settling`: it acknowledges, and is not bounded by `outbound_limit`.
    pub(crate) fn request(
        &self,
        settling: bool,
        subject: &str,
        headers: Option<&[u8]>,
        payload: &[u8],
        timeout: Duration,
        done: Done,
    ) -> Result<u64> {
        // Checked before anything is entered.
        self.check(subject, None, headers, payload)?;
        if subject.len() + self.requests.reply_len() > SUBJECT_AND_REPLY {
            return Err(Error::new(Code::InvalidArgument, "subject and inbox are longer than a control line may be"));
        }
        self.wire.ensure_mux(|| self.requests.filter());
        let deadline = Instant::now() + bounded(timeout);
        let (id, reply, alone) = self.requests.insert(subject, deadline, done);
        let kind = Kind::Request { alone, settling };
        if let Err(error) = self.wire.publish(kind, false, subject, Some(&reply), headers, payload) {
            // Not there any more: the end came in between and has told `done`.
            return if self.requests.cancel(id) { Err(error) } else { Ok(id) };
        }
        self.clock.added(deadline);
        Ok(id)
    }

    /// A PING behind everything published so far; its PONG gives the counts.
    pub(crate) async fn flush(&self, limit: Duration) -> Result<PublishCounts> {
        let (send, got) = oneshot::channel();
        self.wire.flush(send)?;
        match self.clock.timeout(limit, got).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(self.wire.closed_error()),
            None => Err(self.late(format!("the server confirmed nothing within {limit:?}"))),
        }
    }

    pub(crate) async fn rtt(&self) -> Result<Duration> {
        let (send, got) = oneshot::channel();
        self.wire.rtt(send)?;
        let limit = self.options.request_timeout;
        match self.clock.timeout(limit, got).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(self.wire.closed_error()),
            None => Err(self.late(format!("no PONG within {limit:?}"))),
        }
    }

    /// A time-out, or the end if the clock stopped because of it.
    pub(crate) fn late(&self, text: String) -> Error {
        if self.wire.is_closed() { self.wire.closed_error() } else { Error::new(Code::Timeout, text) }
    }
}

/// A wait for room in the outbound buffer; dropped early it leaves nothing behind.
pub(crate) struct Room<'a> {
    wire: &'a Wire,
    id: u64,
}

impl Future for Room<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        match this.wire.poll_room(&mut this.id, cx.waker()) {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.id != 0 {
            self.wire.forget_room(self.id);
        }
    }
}
