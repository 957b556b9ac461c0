//! A received message: offsets into the bytes of one read, shared by all messages of that read.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use natsune_protocol::{Headers, Status, header_get, status_of};

use crate::engine::Engine;
use crate::error::{Code, Error, Result};

static NO_HEADERS: OnceLock<Headers> = OnceLock::new();

/// The bytes of one read (at most 64 KiB, or exactly one larger message). Immutable from the moment it is shared.
pub(crate) struct Chunk {
    data: Vec<u8>,
    /// For `respond`. Weak: a forgotten message must not keep a connection's memory alive.
    engine: Weak<Engine>,
}

impl Chunk {
    pub(crate) fn new(data: Vec<u8>, engine: Weak<Engine>) -> Arc<Chunk> {
        Arc::new(Chunk { data, engine })
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // Full read buffers go back to the reader: no allocation in steady state.
        if self.data.capacity() >= crate::engine::READ_CHUNK
            && let Some(engine) = self.engine.upgrade()
        {
            engine.recycle(std::mem::take(&mut self.data));
        }
    }
}

/// Where a part of the message is inside its chunk.
#[derive(Clone, Copy, Default)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Part {
    /// The place of `part` inside `whole`; both must come from one buffer.
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Part {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(part.is_empty() || start + part.len() <= whole.len());
        Part { start: start as u32, len: part.len() as u32 }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// A message. It shares the bytes it came with and outlives its subscription.
///
/// Keeping a message keeps at most 64 KiB of its neighbours alive; copy [`payload`](Message::payload) to keep less.
#[derive(Clone)]
pub struct Message {
    chunk: Arc<Chunk>,
    subject: Part,
    /// Length 0: none.
    reply: Part,
    /// Length 0: none.
    headers: Part,
    payload: Part,
    parsed: OnceLock<Box<Headers>>,
}

impl Message {
    /// The message whose parts lie in `chunk`.
    pub(crate) fn in_chunk(
        chunk: &Arc<Chunk>,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Message {
        let data = chunk.data();
        Message {
            subject: Part::of(data, subject.as_bytes()),
            reply: reply.map(|r| Part::of(data, r.as_bytes())).unwrap_or_default(),
            headers: headers.map(|h| Part::of(data, h)).unwrap_or_default(),
            payload: Part::of(data, payload),
            parsed: OnceLock::new(),
            chunk: Arc::clone(chunk),
        }
    }

    /// A message put together from its parts, with a chunk of its own. `respond` works when `like` came from a client.
    pub(crate) fn from_parts(
        like: Option<&Message>,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Message {
        let parts = [subject.as_bytes(), reply.unwrap_or_default().as_bytes(), headers.unwrap_or_default(), payload];
        let mut data = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
        let places = parts.map(|part| {
            let place = Part { start: data.len() as u32, len: part.len() as u32 };
            data.extend_from_slice(part);
            place
        });
        let [subject, reply, headers, payload] = places;
        let engine = like.map(|m| m.chunk.engine.clone()).unwrap_or_default();
        Message { chunk: Chunk::new(data, engine), subject, reply, headers, payload, parsed: OnceLock::new() }
    }

    /// Moves messages of one chunk into a smaller one of their own. `bytes` is their size together.
    pub(crate) fn regroup(messages: &mut [Message], bytes: usize) {
        let Some(engine) = messages.first().map(|m| m.chunk.engine.clone()) else { return };
        let mut data = Vec::with_capacity(bytes);
        let mut copy = |from: &[u8], part: Part| {
            let start = data.len() as u32;
            data.extend_from_slice(from.get(part.range()).unwrap_or_default());
            Part { start, len: part.len }
        };
        for message in messages.iter_mut() {
            let from = message.chunk.data();
            let moved = [message.subject, message.reply, message.headers, message.payload].map(|part| copy(from, part));
            [message.subject, message.reply, message.headers, message.payload] = moved;
        }
        let chunk = Chunk::new(data, engine);
        for message in messages {
            message.chunk = Arc::clone(&chunk);
        }
    }

    /// The same message without a subject to answer at.
    pub(crate) fn without_reply(mut self) -> Message {
        self.reply = Part::default();
        self
    }

    fn bytes(&self, part: Part) -> &[u8] {
        self.chunk.data().get(part.range()).unwrap_or_default()
    }

    fn text(&self, part: Part) -> &str {
        // Checked to be UTF-8 when it was read; looking again costs a few nanoseconds and no unsafe code.
        std::str::from_utf8(self.bytes(part)).unwrap_or_default()
    }

    /// The subject it was published to.
    pub fn subject(&self) -> &str {
        self.text(self.subject)
    }

    /// The subject as bytes.
    pub fn subject_bytes(&self) -> &[u8] {
        self.bytes(self.subject)
    }

    /// Where an answer goes.
    pub fn reply(&self) -> Option<&str> {
        (self.reply.len > 0).then(|| self.text(self.reply))
    }

    /// The body.
    pub fn payload(&self) -> &[u8] {
        self.bytes(self.payload)
    }

    /// The body as a shared buffer, without copying; it keeps the chunk of the message alive.
    pub fn payload_bytes(&self) -> Bytes {
        struct Owner(Message);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.payload()
            }
        }
        if self.payload.len == 0 {
            return Bytes::new();
        }
        let (chunk, payload) = (Arc::clone(&self.chunk), self.payload);
        let none = Part::default();
        Bytes::from_owner(Owner(Message {
            chunk,
            subject: none,
            reply: none,
            headers: none,
            payload,
            parsed: OnceLock::new(),
        }))
    }

    /// The headers, parsed at the first call; empty when there are none or the block is malformed.
    pub fn headers(&self) -> &Headers {
        match self.header_block() {
            None => NO_HEADERS.get_or_init(Headers::default),
            Some(block) => self
                .parsed
                .get_or_init(|| Box::new(Headers::parse(block).map(|(headers, _)| headers).unwrap_or_default())),
        }
    }

    /// The raw header block, from `NATS/1.0` to its empty line.
    pub fn header_block(&self) -> Option<&[u8]> {
        (self.headers.len > 0).then(|| self.bytes(self.headers))
    }

    /// The first value of one header, without parsing the rest.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_get(self.header_block()?, name)
    }

    /// The code of the status line, which only servers send (503: no responders, 100: heartbeat, ...).
    pub fn status_code(&self) -> Option<u16> {
        status_of(self.header_block()?).map(|(code, _)| code)
    }

    /// The status line.
    pub fn status(&self) -> Option<Status> {
        status_of(self.header_block()?).map(|(code, text)| Status { code, text: text.to_owned() })
    }

    /// Bytes of subject, reply, headers and payload.
    pub fn size(&self) -> usize {
        self.subject.len as usize + self.reply.len as usize + self.headers.len as usize + self.payload.len as usize
    }

    /// Publishes an answer to the reply subject; waits under pressure like `publish`.
    pub async fn respond(&self, payload: impl AsRef<[u8]>) -> Result<()> {
        let (engine, reply) = self.answer_to()?;
        engine.publish(reply, None, None, payload.as_ref()).await
    }

    /// Publishes an answer with headers to the reply subject; waits under pressure like `publish`.
    pub async fn respond_with_headers(&self, headers: &Headers, payload: impl AsRef<[u8]>) -> Result<()> {
        let (engine, reply) = self.answer_to()?;
        let mut block = Vec::with_capacity(headers.encoded_len());
        headers.encode(&mut block);
        engine.publish(reply, None, Some(&block), payload.as_ref()).await
    }

    fn answer_to(&self) -> Result<(Arc<Engine>, &str)> {
        let reply = self
            .reply()
            .ok_or_else(|| Error::new(Code::InvalidArgument, "this message has no reply subject to respond to"))?;
        let engine = self.chunk.engine.upgrade().ok_or_else(|| Error::new(Code::Closed, "the client is closed"))?;
        Ok((engine, reply))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("subject", &self.subject())
            .field("reply", &self.reply())
            .field("status", &self.status_code())
            .field("headers_len", &self.headers.len)
            .field("payload_len", &self.payload.len)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_again() {
        let block = b"NATS/1.0 503 No Responders\r\na: 1\r\n\r\n";
        let m = Message::from_parts(None, "a.b", Some("r"), Some(block), b"hello");
        assert_eq!((m.subject(), m.reply(), m.payload(), m.size()), ("a.b", Some("r"), &b"hello"[..], 9 + block.len()));
        assert_eq!((m.status_code(), m.header("a"), m.headers().get("a")), (Some(503), Some("1"), Some("1")));
        let bytes = m.payload_bytes();
        drop(m);
        assert_eq!(&bytes[..], b"hello");
        let bare = Message::from_parts(None, "a", None, None, b"");
        assert!(bare.reply().is_none() && bare.headers().is_empty() && bare.header_block().is_none());
        assert!(bare.payload_bytes().is_empty());
    }

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<Message>() <= 56, "{}", size_of::<Message>());
    }
}
