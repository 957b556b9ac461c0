//! The packed layouts, defined here once: headers in both directions, batches of messages, failures. Little-endian.
//!
//! ```text
//! headers  repeated: u32 name_len, name, u32 value_len, value
//! batch    u32 count, u32 state, u32 entry_size, u32 marks, then the entries, then the bytes
//! entry    u32 offset (from the start of the buffer), u32 subject_len, u32 reply_len (0xffffffff: none),
//!          u32 headers_len (packed form), u32 payload_len, u32 status (0: none), u32 kind (0 core, 1 JetStream), u32 0;
//!          at offset: subject, reply, headers, payload
//! JetStream entries go on: u64 stream_sequence, u64 consumer_sequence, u64 delivered, u64 pending, i64 timestamp_ns,
//!          u32 stream_len, u32 consumer_len, u32 domain_len, u32 0; those three names follow the payload
//! failure  u32 retryable, u32 applied (0 no, 1 maybe, 2 yes), u32 code_len, u32 message_len, u32 detail_len, then
//!          the code, the message, the detail (JSON)
//! ack      u64 sequence, u32 duplicate, u32 stream_len, u32 domain_len, u32 value_len (0xffffffff: none), then the names
//! ```
//! `entry_size` is the size of every entry of that batch; a reader steps by it, so entries can grow. `marks` is 0 so far.
//! The vectors in `bindings/conformance/vectors/batch.json` are the judge of every reader.

use bytes::BufMut;
use natsune_protocol::{header_lines, status_of};

use crate::failure::{Failure, R};

/// More may be there: call `take` again.
pub const STATE_MORE: u32 = 0;
/// Nothing is left for now: wait with `start_ready`.
pub const STATE_IDLE: u32 = 1;
/// It ended in good order and nothing is left.
pub const STATE_ENDED: u32 = 2;

/// Bytes before the first entry.
pub const HEAD: usize = 16;
/// Bytes of an entry of a core message.
pub const CORE_ENTRY: usize = 32;
/// Bytes of an entry of a JetStream message.
pub const JETSTREAM_ENTRY: usize = 88;
/// The length that stands for absence.
pub const NONE: u32 = u32::MAX;

/// One message, borrowed, as the packer needs it.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    /// The subject it was published to.
    pub subject: &'a [u8],
    /// Where an answer goes.
    pub reply: Option<&'a [u8]>,
    /// The raw header block as it came.
    pub block: Option<&'a [u8]>,
    /// The payload.
    pub payload: &'a [u8],
    /// What JetStream says of it; `Some` makes the long entry.
    pub metadata: Option<Metadata<'a>>,
}

/// Where a message stands in its stream and consumer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metadata<'a> {
    /// Stream.
    pub stream: &'a str,
    /// Consumer; empty for a message read from the stream itself.
    pub consumer: &'a str,
    /// JetStream domain; empty without one.
    pub domain: &'a str,
    /// Sequence in the stream.
    pub stream_sequence: u64,
    /// Sequence of the delivery.
    pub consumer_sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// How many more the consumer has.
    pub pending: u64,
    /// When the stream stored it, nanoseconds since 1970.
    pub timestamp_ns: i64,
}

/// Bytes of the packed form of a raw header block.
pub fn packed_headers_len(block: &[u8]) -> usize {
    header_lines(block).map(|(name, value)| 8 + name.len() + value.len()).sum()
}

/// Appends the packed form of a raw header block.
pub fn pack_headers(block: &[u8], out: &mut impl BufMut) {
    for (name, value) in header_lines(block) {
        out.put_u32_le(name.len() as u32);
        out.put_slice(name);
        out.put_u32_le(value.len() as u32);
        out.put_slice(value);
    }
}

/// Appends the header block for these packed headers; nothing for none. A name or value that cannot be sent is refused.
pub fn unpack_headers(packed: &[u8], block: &mut Vec<u8>) -> R<()> {
    if packed.is_empty() {
        return Ok(());
    }
    block.reserve(packed.len() + 16);
    block.extend_from_slice(b"NATS/1.0\r\n");
    let mut rest = packed;
    while !rest.is_empty() {
        let (name, after) = field(rest)?;
        let (value, after) = field(after)?;
        rest = after;
        if name.is_empty() || !name.iter().all(|&byte| byte.is_ascii_graphic() && byte != b':') {
            let text = "a header name is one or more printable ASCII characters without blanks and colons";
            return Err(Failure::field("headers", text));
        }
        if value.iter().any(|&byte| byte == b'\r' || byte == b'\n') {
            return Err(Failure::field("headers", "a header value must not contain CR or LF"));
        }
        if std::str::from_utf8(value).is_err() {
            return Err(Failure::field("headers", "a header value must be UTF-8"));
        }
        block.extend_from_slice(name);
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.trim_ascii_start());
        block.extend_from_slice(b"\r\n");
    }
    block.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(feature = "mobile")]
/// Calls `each` with the name and text of every packed field (the form of packed headers).
pub(crate) fn unpack_fields(packed: &[u8], mut each: impl FnMut(&str, &str) -> R<()>) -> R<()> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Failure::invalid("a packed field is not UTF-8"));
    let mut rest = packed;
    while !rest.is_empty() {
        let (name, after) = field(rest)?;
        let (value, after) = field(after)?;
        rest = after;
        each(text(name)?, text(value)?)?;
    }
    Ok(())
}

fn field(bytes: &[u8]) -> R<(&[u8], &[u8])> {
    let malformed = || Failure::invalid("the packed headers or fields are malformed");
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(malformed)
}

/// How many bytes [`pack`] writes.
pub fn packed_len<'a>(views: impl Iterator<Item = View<'a>>) -> usize {
    HEAD + views
        .map(|view| {
            let entry = if view.metadata.is_some() { JETSTREAM_ENTRY } else { CORE_ENTRY };
            entry + body_len(&view)
        })
        .sum::<usize>()
}

fn body_len(view: &View<'_>) -> usize {
    let names = view.metadata.map_or(0, |of| of.stream.len() + of.consumer.len() + of.domain.len());
    let headers = view.block.map_or(0, packed_headers_len);
    view.subject.len() + view.reply.map_or(0, <[u8]>::len) + headers + view.payload.len() + names
}

/// Writes one batch. All messages are of one kind: a batch with one JetStream message has long entries throughout.
pub fn pack<'a>(state: u32, views: impl ExactSizeIterator<Item = View<'a>> + Clone, out: &mut impl BufMut) {
    let long = views.clone().next().is_some_and(|view| view.metadata.is_some());
    let entry = if long { JETSTREAM_ENTRY } else { CORE_ENTRY };
    out.put_u32_le(views.len() as u32);
    out.put_u32_le(state);
    out.put_u32_le(entry as u32);
    out.put_u32_le(0);
    let mut offset = HEAD + entry * views.len();
    for view in views.clone() {
        out.put_u32_le(offset as u32);
        out.put_u32_le(view.subject.len() as u32);
        out.put_u32_le(view.reply.map_or(NONE, |reply| reply.len() as u32));
        out.put_u32_le(view.block.map_or(0, packed_headers_len) as u32);
        out.put_u32_le(view.payload.len() as u32);
        out.put_u32_le(view.block.and_then(status_of).map_or(0, |(code, _)| u32::from(code)));
        out.put_u32_le(u32::from(long));
        out.put_u32_le(0);
        if long {
            let of = view.metadata.unwrap_or_default();
            out.put_u64_le(of.stream_sequence);
            out.put_u64_le(of.consumer_sequence);
            out.put_u64_le(of.delivered);
            out.put_u64_le(of.pending);
            out.put_i64_le(of.timestamp_ns);
            out.put_u32_le(of.stream.len() as u32);
            out.put_u32_le(of.consumer.len() as u32);
            out.put_u32_le(of.domain.len() as u32);
            out.put_u32_le(0);
        }
        offset += body_len(&view);
    }
    for view in views {
        out.put_slice(view.subject);
        out.put_slice(view.reply.unwrap_or_default());
        if let Some(block) = view.block {
            pack_headers(block, out);
        }
        out.put_slice(view.payload);
        if let Some(of) = view.metadata {
            out.put_slice(of.stream.as_bytes());
            out.put_slice(of.consumer.as_bytes());
            out.put_slice(of.domain.as_bytes());
        }
    }
}

/// Appends a failure.
pub fn pack_failure(failure: &Failure, out: &mut Vec<u8>) {
    let detail = failure.detail.to_string();
    out.put_u32_le(u32::from(failure.retryable));
    out.put_u32_le(match failure.applied {
        "no" => 0,
        "yes" => 2,
        _ => 1,
    });
    for text in [failure.code, &failure.message, &detail] {
        out.put_u32_le(text.len() as u32);
    }
    for text in [failure.code, &failure.message, &detail] {
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
