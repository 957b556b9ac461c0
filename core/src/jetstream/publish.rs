//! Publishing into a stream: the acknowledgement, what can be asked of it, and the one retry of ADR-22.

use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use natsune_protocol::Headers;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::context::JetStream;
use super::errors::ApiError;
use super::pull::{Alarm, bounded, maybe_seconds};
use crate::client::{Client, RequestHandle};
use crate::error::{Applied, Code, Error, Result};
use crate::message::Message;

/// How often a publish that nobody listened to is tried again, and how long it waits before that (ADR-22).
const RETRIES: u32 = 2;
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// What the stream answered: the message is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishAck {
    /// The stream that stored it.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// The stream had a message with this id already and stored nothing new.
    pub duplicate: bool,
    /// The JetStream domain, when the server has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Everything else in the answer (a counter's `val`, a batch's `count`).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a publish can ask for beside the message.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishOptions {
    /// The stream drops a second message with the same id (within its window). It also makes a repeated publish safe.
    pub id: Option<String>,
    /// Refuse unless this stream stores it.
    pub expected_stream: Option<String>,
    /// Refuse unless this is the stream's last sequence.
    pub expected_last_sequence: Option<u64>,
    /// Refuse unless the stream's last message has this id.
    pub expected_last_message_id: Option<String>,
    /// Refuse unless this is the sequence of the last message with this subject (0: there is none).
    pub expected_last_subject_sequence: Option<u64>,
    /// The subject, possibly with wildcards, that `expected_last_subject_sequence` is about, when it is not the message's own.
    pub expected_last_subject: Option<String>,
    /// How long the message lives; the longest duration means for ever, whatever the stream's age limit.
    #[serde(deserialize_with = "maybe_seconds")]
    pub ttl: Option<Duration>,
    /// How long to wait for the acknowledgement, each time (default: the client's request timeout).
    #[serde(deserialize_with = "maybe_seconds")]
    pub timeout: Option<Duration>,
    /// Headers of the message.
    #[serde(skip)]
    pub headers: Option<Headers>,
}

impl PublishOptions {
    fn has_fields(&self) -> bool {
        self.id.is_some()
            || self.expected_stream.is_some()
            || self.expected_last_sequence.is_some()
            || self.expected_last_message_id.is_some()
            || self.expected_last_subject_sequence.is_some()
            || self.expected_last_subject.is_some()
            || self.ttl.is_some()
    }

    /// Appends the header block of the message: the given block, the options' headers and fields.
    fn write_block(&self, block: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        match (block, &self.headers) {
            (Some(block), _) => out.extend_from_slice(block),
            (None, Some(headers)) if !headers.is_empty() => headers.encode(out),
            _ if self.has_fields() => out.extend_from_slice(b"NATS/1.0\r\n\r\n"),
            _ => return Ok(()),
        }
        if !self.has_fields() {
            return Ok(());
        }
        if !out[start..].ends_with(b"\r\n\r\n") {
            return Err(Error::new(Code::InvalidArgument, "the header block does not end with an empty line"));
        }
        out.truncate(out.len() - 2);
        let texts = [
            ("Nats-Msg-Id", &self.id),
            ("Nats-Expected-Stream", &self.expected_stream),
            ("Nats-Expected-Last-Msg-Id", &self.expected_last_message_id),
            ("Nats-Expected-Last-Subject-Sequence-Subject", &self.expected_last_subject),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                if value.bytes().any(|b| b == b'\r' || b == b'\n') {
                    return Err(Error::new(Code::InvalidArgument, format!("{name}: the value has a line break")));
                }
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        let numbers = [
            ("Nats-Expected-Last-Sequence", self.expected_last_sequence),
            ("Nats-Expected-Last-Subject-Sequence", self.expected_last_subject_sequence),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        match self.ttl {
            None => {}
            Some(Duration::MAX) => out.extend_from_slice(b"Nats-TTL: never\r\n"),
            Some(ttl) if ttl.subsec_nanos() == 0 => {
                let _ = write!(out, "Nats-TTL: {}\r\n", ttl.as_secs());
            }
            Some(ttl) => {
                let _ = write!(out, "Nats-TTL: {}ms\r\n", ttl.as_millis());
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Called once with the outcome of a publish, on the client's thread: it must be short and must not block.
pub type PublishDone = Box<dyn FnOnce(Result<PublishAck>) + Send>;

/// A publish that waits for its acknowledgement. Dropping it forgets the wait, not the message.
pub struct PublishHandle(Arc<Attempt>);

impl fmt::Debug for PublishHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublishHandle")
    }
}

impl Drop for PublishHandle {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        progress.done = None;
        let request = std::mem::replace(&mut progress.waiting, Waiting::Over);
        drop(progress);
        drop(request);
        self.0.alarm.clear(&self.0.client);
    }
}

/// One publish with all its tries. Subject, headers and payload lie in one buffer, kept for a second try.
struct Attempt {
    client: Client,
    frame: Vec<u8>,
    subject: usize,
    headers: usize,
    timeout: Duration,
    has_id: bool,
    /// The next try.
    alarm: Alarm,
    progress: Mutex<Progress>,
}

struct Progress {
    done: Option<PublishDone>,
    tries: u32,
    waiting: Waiting,
}

/// What a handle that is dropped must stop.
enum Waiting {
    Nothing,
    Request(#[allow(dead_code, reason = "kept to be dropped")] RequestHandle),
    Over,
}

impl Wake for Attempt {
    fn wake(self: Arc<Attempt>) {
        self.alarm.rang();
        let mut progress = self.lock();
        progress.waiting = Waiting::Nothing;
        let wanted = progress.done.is_some();
        drop(progress);
        if wanted && let Err(e) = self.send() {
            let done = self.lock().done.take();
            if let Some(done) = done {
                done(Err(e));
            }
        }
    }
}

impl Attempt {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> &str {
        self.frame.get(..self.subject).and_then(|s| std::str::from_utf8(s).ok()).unwrap_or_default()
    }

    fn send(self: &Arc<Attempt>) -> Result<()> {
        let block = self.frame.get(self.subject..self.subject + self.headers).filter(|b| !b.is_empty());
        let payload = self.frame.get(self.subject + self.headers..).unwrap_or_default();
        let this = Arc::clone(self);
        let done = Box::new(move |answer| this.answered(answer));
        let request = self.client.start_request(self.subject(), block, payload, self.timeout, done)?;
        let mut progress = self.lock();
        // The answer may have been faster, and the handle may be gone.
        if progress.done.is_some() && matches!(progress.waiting, Waiting::Nothing) {
            progress.waiting = Waiting::Request(request);
        }
        Ok(())
    }

    fn answered(self: Arc<Attempt>, answer: Result<Message>) {
        let mut progress = self.lock();
        if answer.as_ref().is_err_and(|e| e.code() == Code::NoResponders) && progress.tries < RETRIES {
            progress.tries += 1;
            let old = std::mem::replace(&mut progress.waiting, Waiting::Nothing);
            let wanted = progress.done.is_some();
            drop(progress);
            drop(old);
            if wanted {
                self.later();
            }
            return;
        }
        let old = std::mem::replace(&mut progress.waiting, Waiting::Over);
        let done = progress.done.take();
        drop(progress);
        drop(old);
        if let Some(done) = done {
            done(answer.map_err(|e| self.explain(e)).and_then(|message| read_ack(&message, self.subject())));
        }
    }

    fn later(self: &Arc<Attempt>) {
        let at = Instant::now() + RETRY_DELAY;
        self.alarm.set(&self.client, Some(at), || Waker::from(Arc::clone(self)));
    }

    fn explain(&self, error: Error) -> Error {
        let subject = self.subject();
        match error.code() {
            Code::NoResponders => {
                Error::new(Code::NoResponders, format!("no stream listens on {subject}, or JetStream is off"))
                    .with_subject(subject)
                    .with_applied(Applied::No)
            }
            // With an id the stream drops the second copy; without one, a second try may store the message twice.
            Code::Timeout | Code::Connection => {
                let safe = self.has_id || error.applied() == Applied::No;
                error.with_subject(subject).with_retryable(safe)
            }
            _ => error,
        }
    }
}

/// Starts a publish; `done` is called once unless the handle is dropped before.
pub(crate) fn start(
    js: &JetStream,
    subject: &str,
    header_block: Option<&[u8]>,
    payload: &[u8],
    options: &PublishOptions,
    done: PublishDone,
) -> Result<PublishHandle> {
    let room = subject.len() + header_block.map_or(0, <[u8]>::len) + payload.len() + 64;
    let mut frame = Vec::with_capacity(room);
    frame.extend_from_slice(subject.as_bytes());
    options.write_block(header_block, &mut frame)?;
    let headers = frame.len() - subject.len();
    frame.extend_from_slice(payload);
    let attempt = Arc::new(Attempt {
        client: js.client().clone(),
        frame,
        subject: subject.len(),
        headers,
        timeout: bounded(options.timeout.unwrap_or_else(|| js.timeout())),
        has_id: options.id.is_some(),
        alarm: Alarm::default(),
        progress: Mutex::new(Progress { done: Some(done), tries: 0, waiting: Waiting::Nothing }),
    });
    attempt.send()?;
    Ok(PublishHandle(attempt))
}

/// The acknowledgement that is still to come. Dropping it forgets the wait, not the message.
#[derive(Debug)]
#[must_use = "await it to know whether the stream stored the message"]
pub struct PendingAck {
    receiver: oneshot::Receiver<Result<PublishAck>>,
    _handle: PublishHandle,
}

impl PendingAck {
    pub(crate) fn start(
        js: &JetStream,
        subject: &str,
        header_block: Option<&[u8]>,
        payload: &[u8],
        options: &PublishOptions,
    ) -> Result<PendingAck> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            let _ = sender.send(result);
        });
        Ok(PendingAck { _handle: start(js, subject, header_block, payload, options, done)?, receiver })
    }
}

impl Future for PendingAck {
    type Output = Result<PublishAck>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|result| result.unwrap_or_else(|_| Err(Error::new(Code::Closed, "the client is closed"))))
    }
}

/// Reads the answer to a publish.
pub(crate) fn read_ack(message: &Message, subject: &str) -> Result<PublishAck> {
    match serde_json::from_slice::<Answer>(message.payload()) {
        Ok(Answer { error: Some(error), stream, .. }) => {
            let what = if stream.is_empty() { format!("publish to {subject}") } else { format!("stream {stream}") };
            Err(error.into_error(&what).with_subject(subject))
        }
        Ok(Answer { stream, sequence, duplicate, domain, extra, .. }) if !stream.is_empty() => {
            Ok(PublishAck { stream, sequence, duplicate, domain, extra })
        }
        // Somebody answered, and it was no stream: whether one stored it as well, nobody can tell.
        _ => Err(Error::new(Code::Server, format!("what answered the publish to {subject} is not a stream"))
            .with_subject(subject)
            .with_applied(Applied::Maybe)),
    }
}

/// The answer in one pass: flattening with serde would buffer every field.
#[derive(Default)]
struct Answer {
    stream: String,
    sequence: u64,
    duplicate: bool,
    domain: Option<String>,
    error: Option<ApiError>,
    extra: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Answer, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Answer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the acknowledgement of a stream")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
                let mut answer = Answer::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match &*name {
                        "stream" => answer.stream = map.next_value()?,
                        "seq" => answer.sequence = map.next_value()?,
                        "duplicate" => answer.duplicate = map.next_value()?,
                        "domain" => answer.domain = Some(map.next_value::<String>()?).filter(|d| !d.is_empty()),
                        "error" => answer.error = map.next_value()?,
                        "type" => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        _ => {
                            answer.extra.insert(name.into_owned(), map.next_value()?);
                        }
                    }
                }
                Ok(answer)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
