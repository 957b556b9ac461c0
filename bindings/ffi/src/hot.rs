//! The hot lane: publish, take, request, acknowledged publish, settle. No task, no JSON and no allocation of our own per call.
//!
//! Subjects come as bytes and are checked here; headers come packed (see [`batch`](crate::batch)).

use std::cell::RefCell;
use std::time::Duration;

use natsune::jetstream::{JsMessage, Settle, settle as settle_message, start_ack_sync as core_ack_sync};
use natsune::{Accepted, State};

use crate::batch::{self, STATE_ENDED, STATE_IDLE, STATE_MORE};
use crate::documents::{self, PublishAck, PublishOptions};
use crate::failure::{Failure, R, guard};
use crate::hub::{self, hub_of};
use crate::object::Object;
use crate::outcome::{Done, Messages, Received, StoredMessage, Taken};
use crate::queue::Cancel;
use crate::ready;

/// The most bytes that one `take` gives (one larger message is given by itself).
pub const MAX_TAKE_BYTES: u32 = 256 << 20;

thread_local! {
    /// Where headers become a block; kept, so that a publish with headers does not allocate.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A subject as text.
pub(crate) fn subject_text<'a>(subject: &'a [u8], field: &str) -> R<&'a str> {
    std::str::from_utf8(subject).map_err(|_| Failure::field(field, format!("the {field} is not UTF-8")))
}

/// Gives the raw header block for packed headers, `None` for none.
fn with_block<T>(headers: &[u8], then: impl FnOnce(Option<&[u8]>) -> R<T>) -> R<T> {
    if headers.is_empty() {
        return then(None);
    }
    BLOCK.with(|cell| {
        let mut block = cell.try_borrow_mut().map_err(|_| Failure::internal("the header buffer is in use"))?;
        block.clear();
        let result = batch::unpack_headers(headers, &mut block).and_then(|()| then(Some(&block)));
        block.shrink_to(64 << 10);
        result
    })
}

/// Copies one message into the outbound buffer. True: accepted, and the buffer is under pressure; wait with the verb
/// `client.wait_writable` before going on. `busy`: nothing was accepted.
pub fn publish(client: u64, subject: &[u8], reply: Option<&[u8]>, headers: &[u8], payload: &[u8]) -> R<bool> {
    guard(|| publish_unguarded(client, subject, reply, headers, payload))
}

/// [`publish`] for lanes that have a guard of their own.
#[inline]
pub(crate) fn publish_unguarded(
    client: u64,
    subject: &[u8],
    reply: Option<&[u8]>,
    headers: &[u8],
    payload: &[u8],
) -> R<bool> {
    with_message(subject, reply, headers, |subject, reply, block| {
        hub_of(client)?.handles.with(client, |object| {
            let accepted = object.client()?.try_publish_raw(subject, reply, block, payload)?;
            Ok(matches!(accepted, Accepted::Pressure))
        })?
    })
}

/// Copies one message into the outbound buffer if that is below its mark. False: it is not, and nothing was accepted; then
/// [`start_publish`] waits for room. For lanes that have a guard of their own.
#[cfg(feature = "mobile")]
#[inline]
pub(crate) fn offer_unguarded(
    client: u64,
    subject: &[u8],
    reply: Option<&[u8]>,
    headers: &[u8],
    payload: &[u8],
) -> R<bool> {
    with_message(subject, reply, headers, |subject, reply, block| {
        hub_of(client)?
            .handles
            .with(client, |object| Ok(object.client()?.offer_raw(subject, reply, block, payload)?))?
    })
}

/// Publishes when there is room, after at most `publish_timeout`. Cancelled before it finished, it may not be sent; cancelled
/// while it waits for room, it is not.
#[cfg(feature = "mobile")]
pub(crate) fn start_publish(
    queue: u64,
    client: u64,
    subject: &[u8],
    reply: Option<&[u8]>,
    headers: &[u8],
    payload: &[u8],
) -> R<u64> {
    with_message(subject, reply, headers, |subject, reply, block| {
        let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
        let (block, payload) = (block.map(<[u8]>::to_vec), payload.to_vec());
        let Object::Client(client) = hub_of(client)?.handles.get(client)? else {
            return Err(Failure::invalid("not a client"));
        };
        hub::start_future(queue, |_| {
            Ok(async move {
                client.client.publish_raw(&subject, reply.as_deref(), block.as_deref(), &payload).await?;
                Ok(Done::Unit)
            })
        })
    })
}

/// Subject and reply as text, and the header block.
#[inline]
fn with_message<T>(
    subject: &[u8],
    reply: Option<&[u8]>,
    headers: &[u8],
    then: impl FnOnce(&str, Option<&str>, Option<&[u8]>) -> R<T>,
) -> R<T> {
    let subject = subject_text(subject, "subject")?;
    let reply = reply.map(|reply| subject_text(reply, "reply")).transpose()?;
    with_block(headers, |block| then(subject, reply, block))
}

/// Sends a request; the id finishes with the reply. `timeout_ms` 0: the client's own. Cancelling frees everything.
pub fn start_request(
    queue: u64,
    client: u64,
    subject: &[u8],
    headers: &[u8],
    payload: &[u8],
    timeout_ms: u64,
) -> R<u64> {
    guard(|| {
        let subject = subject_text(subject, "subject")?;
        let hub = hub_of(client)?;
        let Object::Client(client) = hub.handles.get(client)? else { return Err(Failure::invalid("not a client")) };
        let timeout =
            if timeout_ms == 0 { client.client.options().request_timeout } else { Duration::from_millis(timeout_ms) };
        with_block(headers, |block| {
            let queue = hub.queue(queue)?;
            let completion = queue.open()?;
            let id = completion.id();
            let done = Box::new(move |result: natsune::Result<natsune::Message>| {
                completion.done(match result {
                    Ok(message) => Ok(Done::message(Some(Received::Core(message)))),
                    Err(error) => Err(error.into()),
                });
            });
            match client.client.start_request(subject, block, payload, timeout, done) {
                Ok(handle) => queue.attach(id, Cancel::Request(handle)),
                Err(error) => {
                    hub::cancel(id);
                    return Err(error.into());
                }
            }
            Ok(id)
        })
    })
}

/// Publishes to a stream; the id finishes with its ack. `options`: a JSON [`PublishOptions`] document, or none.
pub fn start_js_publish(
    queue: u64,
    target: u64,
    subject: &[u8],
    headers: &[u8],
    payload: &[u8],
    options: Option<&str>,
) -> R<u64> {
    guard(|| {
        let options = options.map(documents::parse::<PublishOptions>).transpose()?;
        js_publish(queue, target, subject, headers, payload, options)
    })
}

pub(crate) fn js_publish(
    queue: u64,
    target: u64,
    subject: &[u8],
    headers: &[u8],
    payload: &[u8],
    options: Option<PublishOptions>,
) -> R<u64> {
    let subject = subject_text(subject, "subject")?;
    let options = options.map(PublishOptions::into_core).unwrap_or_default();
    let hub = hub_of(target)?;
    let jetstream = hub.handles.get(target)?.jetstream()?;
    with_block(headers, |block| {
        let queue = hub.queue(queue)?;
        let completion = queue.open()?;
        let id = completion.id();
        let done = Box::new(move |result: natsune::Result<natsune::jetstream::PublishAck>| {
            completion.done(match result {
                Ok(ack) => Ok(Done::Ack(Box::new(PublishAck::from_core(ack)))),
                Err(error) => Err(error.into()),
            });
        });
        match jetstream.jetstream.start_publish(subject, block, payload, &options, done) {
            Ok(handle) => queue.attach(id, Cancel::Publish(handle)),
            Err(error) => {
                hub::cancel(id);
                return Err(error.into());
            }
        }
        Ok(id)
    })
}

/// Takes the ack of a finished [`start_js_publish`], without JSON.
pub fn finish_ack(id: u64) -> R<PublishAck> {
    guard(|| hub::finish_done(id)?.into_ack())
}

/// Takes what is there, without waiting: at most `max_messages` and about `max_bytes`, at least one message if there is
/// one. `done` of those taken before were handled since. An end with a failure is this call's failure, after the last message.
pub fn take(handle: u64, max_messages: u32, max_bytes: u32, done: u32) -> R<Taken> {
    guard(|| take_from(handle, max_messages, max_bytes, done))
}

pub(crate) fn take_from(handle: u64, max_messages: u32, max_bytes: u32, done: u32) -> R<Taken> {
    let max = max_messages.max(1) as usize;
    let bytes = max_bytes.min(MAX_TAKE_BYTES) as usize;
    let done = done as usize;
    let (messages, state) = hub_of(handle)?.handles.with(handle, |object| match object {
        Object::Subscription(source) => {
            let taken = source.inner.take(max, bytes, done);
            Ok((Messages::Core(taken.messages), taken.state))
        }
        Object::Consumption(source) => {
            let taken = source.inner.take(max, bytes, done);
            let messages = taken.messages.into_iter().map(JsMessage::into_message).collect();
            Ok((Messages::Consumer(messages), taken.state))
        }
        Object::Reader(source) => {
            let taken = source.inner.reader.take(max, bytes, done);
            let stored = |message| StoredMessage::new(message, &source.inner.stream);
            Ok((Messages::Stored(taken.messages.into_iter().map(stored).collect()), taken.state))
        }
        _ => Err(Failure::invalid("messages are not taken from this object")),
    })??;
    let taken = Taken { messages, state: STATE_IDLE };
    let state = match state {
        State::More => STATE_MORE,
        State::Idle => STATE_IDLE,
        State::Ended => STATE_ENDED,
        State::Failed(error) if taken.is_empty() => return Err(error.into()),
        // Said by the next take, when these are handed out.
        State::Failed(_) => STATE_MORE,
    };
    Ok(Taken { state, ..taken })
}

/// An id that is done when [`take`] (or `take_events`) would give something or an end. Level-triggered; any number may wait.
pub fn start_ready(queue: u64, handle: u64) -> R<u64> {
    guard(|| {
        let hub = hub_of(handle)?;
        let queue = hub.queue(queue)?;
        match hub.handles.get(handle)? {
            Object::Subscription(source) => ready::start(&queue, &source.ready, |cx| source.inner.poll_ready(cx)),
            Object::Consumption(source) => ready::start(&queue, &source.ready, |cx| source.inner.poll_ready(cx)),
            Object::Reader(source) => ready::start(&queue, &source.ready, |cx| source.inner.reader.poll_ready(cx)),
            Object::Events(events) => {
                let completion = queue.open()?;
                let id = completion.id();
                let task = hub.spawn(async move {
                    events.events.ready().await;
                    completion.done(Ok(Done::Unit));
                });
                queue.attach(id, Cancel::Task(task));
                Ok(id)
            }
            _ => Err(Failure::invalid("nothing is taken from this object")),
        }
    })
}

/// Settles a consumer's message: `verb` 1 ack, 2 nak (`arg`: delay in float seconds), 3 term (`arg`: reason), 4 in progress.
/// Gives the new state, which the facade keeps with the message (0: open). Synchronous, goes out with the next write.
pub fn settle(client: u64, ack_subject: &[u8], state: u8, verb: u8, arg: Option<&str>) -> R<u8> {
    guard(|| {
        let subject = subject_text(ack_subject, "reply")?;
        let verb = match verb {
            1 => Settle::Ack,
            2 => Settle::Nak(arg.map(delay).transpose()?),
            3 => Settle::Term(arg),
            4 => Settle::InProgress,
            _ => return Err(Failure::invalid("a message is settled by 1 ack, 2 nak, 3 term or 4 in progress")),
        };
        hub_of(client)?.handles.with(client, |object| Ok(settle_message(object.client()?, subject, state, verb)?))?
    })
}

fn delay(text: &str) -> R<Duration> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Failure::field("delay", "a delay is a number of seconds from 0 on"))
}

/// Acknowledges and waits for the server's confirmation; finishes with the new state as a number. After a time-out the
/// message is unsettled. `timeout_ms` 0: the client's own.
pub fn start_ack_sync(queue: u64, client: u64, ack_subject: &[u8], state: u8, timeout_ms: u64) -> R<u64> {
    guard(|| {
        let subject = subject_text(ack_subject, "reply")?;
        let hub = hub_of(client)?;
        let Object::Client(client) = hub.handles.get(client)? else { return Err(Failure::invalid("not a client")) };
        let timeout = (timeout_ms != 0).then(|| Duration::from_millis(timeout_ms));
        let queue = hub.queue(queue)?;
        let completion = queue.open()?;
        let id = completion.id();
        let done = Box::new(move |result: natsune::Result<u8>| {
            completion.done(match result {
                Ok(state) => Ok(Done::Number(u64::from(state))),
                Err(error) => Err(error.into()),
            });
        });
        match core_ack_sync(&client.client, subject, state, timeout, done) {
            Ok(Some(handle)) => queue.attach(id, Cancel::Request(handle)),
            Ok(None) => {}
            Err(error) => {
                hub::cancel(id);
                return Err(error.into());
            }
        }
        Ok(id)
    })
}
