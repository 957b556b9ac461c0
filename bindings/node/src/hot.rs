//! The hot lane: publish, take, request, acknowledged publish, settle. Messages cross as one packed batch. `exports.rs`
//! gives these functions to JavaScript.

use std::mem::MaybeUninit;

use bytes::BufMut;
use napi::Result;
use napi::bindgen_prelude::Either;
use natsune_ffi::{Failure, Outcome, Taken};

use crate::environment::number;
use crate::failure::{checked, thrown};
use crate::values::{Bytes, Made, Payload, Text};

/// Batches above this get a buffer of their own: the pool is for many small ones.
const POOLED: usize = 16 << 10;

/// Bytes written to the pool, or a buffer of its own.
type Packed<'call> = Either<u32, Made<'call>>;

/// Accepts bytes. True: the outbound buffer is under pressure.
pub(crate) fn publish(client: f64, subject: Text, payload: Bytes<'_>) -> Result<bool> {
    checked(natsune_ffi::publish(client as u64, subject.bytes(), None, &[], payload.get()))
}

/// Accepts a string.
pub(crate) fn publish_text(client: f64, subject: Text, payload: Text) -> Result<bool> {
    checked(natsune_ffi::publish(client as u64, subject.bytes(), None, &[], payload.bytes()))
}

/// Accepts anything, with a reply subject or headers.
pub(crate) fn publish_full(
    client: f64,
    subject: Text,
    reply: Option<Text>,
    headers: Bytes<'_>,
    payload: Payload<'_>,
) -> Result<bool> {
    let reply = reply.as_ref().map(Text::bytes);
    checked(natsune_ffi::publish(client as u64, subject.bytes(), reply, headers.get(), payload.bytes()))
}

/// Publishes to a reply subject that is still in its batch.
pub(crate) fn respond(
    client: f64,
    slab: Bytes<'_>,
    at: u32,
    len: u32,
    headers: Bytes<'_>,
    payload: Payload<'_>,
) -> Result<bool> {
    checked(natsune_ffi::publish(client as u64, slab.part(at, len)?, None, headers.get(), payload.bytes()))
}

/// Sends a request; `finish_messages` has the reply.
pub(crate) fn start_request(
    queue: f64,
    client: f64,
    subject: Text,
    headers: Bytes<'_>,
    payload: Payload<'_>,
    timeout_ms: f64,
) -> Result<f64> {
    checked(natsune_ffi::start_request(
        queue as u64,
        client as u64,
        subject.bytes(),
        headers.get(),
        payload.bytes(),
        timeout_ms as u64,
    ))
    .map(number)
}

/// Publishes to a stream; `finish_ack` has the ack.
pub(crate) fn start_js_publish(
    queue: f64,
    target: f64,
    subject: Text,
    headers: Bytes<'_>,
    payload: Payload<'_>,
    options: Option<String>,
) -> Result<f64> {
    checked(natsune_ffi::start_js_publish(
        queue as u64,
        target as u64,
        subject.bytes(),
        headers.get(),
        payload.bytes(),
        options.as_deref(),
    ))
    .map(number)
}

/// Writes the ack in its packed layout to `out` and says how many bytes it has.
pub(crate) fn finish_ack(id: f64, out: Bytes<'_>) -> Result<u32> {
    let ack = checked(natsune_ffi::finish_ack(id as u64))?;
    let domain = ack.domain.as_deref().unwrap_or_default();
    let value = ack.value.as_deref();
    let len = 24 + ack.stream.len() + domain.len() + value.map_or(0, str::len);
    let mut room = out.room(0);
    if room.len() < len {
        return Err(thrown(&Failure::internal("an ack does not fit its buffer")));
    }
    room.put_u64_le(ack.sequence);
    room.put_u32_le(u32::from(ack.duplicate));
    room.put_u32_le(ack.stream.len() as u32);
    room.put_u32_le(domain.len() as u32);
    room.put_u32_le(value.map_or(u32::MAX, |value| value.len() as u32));
    for text in [&ack.stream, domain, value.unwrap_or_default()] {
        room.put_slice(text.as_bytes());
    }
    Ok(len as u32)
}

/// Takes what is there, without waiting: a packed batch at `at` of `pool`, or in a buffer of its own.
pub(crate) fn take(
    handle: f64,
    max_messages: u32,
    max_bytes: u32,
    done: u32,
    pool: Bytes<'_>,
    at: u32,
) -> Result<Packed<'_>> {
    packed(&checked(natsune_ffi::take(handle as u64, max_messages, max_bytes, done))?, pool, at)
}

/// The messages of a finished request, fetch, next or get.
pub(crate) fn finish_messages(id: f64, pool: Bytes<'_>, at: u32) -> Result<Packed<'_>> {
    match checked(natsune_ffi::finish(id as u64))? {
        Outcome::Message(taken) | Outcome::Batch(taken) => packed(&taken, pool, at),
        _ => Err(thrown(&Failure::internal("the operation gives no messages"))),
    }
}

fn packed<'call>(taken: &Taken, pool: Bytes<'call>, at: u32) -> Result<Packed<'call>> {
    taken.pack_into(|len, write: &mut dyn FnMut(&mut &'call mut [MaybeUninit<u8>])| {
        let env = pool.env();
        let mut room = pool.room(at);
        if len <= room.len().min(POOLED) {
            write(&mut room);
            return Ok(Either::A(len as u32));
        }
        Made::filled(env, len, |mut room| write(&mut room)).map(Either::B)
    })
}

/// An id that is done when `take` would give something.
pub(crate) fn start_ready(queue: f64, handle: f64) -> Result<f64> {
    checked(natsune_ffi::start_ready(queue as u64, handle as u64)).map(number)
}

/// Settles a message whose ack subject is still in its batch; gives the new state.
pub(crate) fn settle(
    client: f64,
    slab: Bytes<'_>,
    at: u32,
    len: u32,
    state: u8,
    verb: u8,
    argument: Option<String>,
) -> Result<u8> {
    checked(natsune_ffi::settle(client as u64, slab.part(at, len)?, state, verb, argument.as_deref()))
}

/// Acknowledges and waits for the confirmation; the id finishes with the new state.
pub(crate) fn start_ack_sync(
    queue: f64,
    client: f64,
    slab: Bytes<'_>,
    at: u32,
    len: u32,
    state: u8,
    timeout_ms: f64,
) -> Result<f64> {
    let subject = slab.part(at, len)?;
    checked(natsune_ffi::start_ack_sync(queue as u64, client as u64, subject, state, timeout_ms as u64)).map(number)
}
