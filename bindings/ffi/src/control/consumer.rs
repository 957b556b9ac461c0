//! Reading from consumers and streams: next, fetch, consume, read.

use std::sync::Arc;
use std::time::Duration;

use natsune::jetstream::Consumption;

use crate::control::streams::with_jetstream;
use crate::documents::{ConsumeOptions, FetchOptions, SubscriptionStats, same_fields};
use crate::failure::{Failure, R};
use crate::hub::{hub_of, start_future};
use crate::object::{JetStreamObject, Object, Source};
use crate::outcome::{Done, Reader, Received};

/// The next message, or none when none came in time.
pub(crate) fn next(queue: u64, target: u64, stream: String, consumer: String, timeout: Option<Duration>) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let consumer = object.consumer(&stream, &consumer)?;
        let message = consumer.next(timeout.unwrap_or(object.jetstream.timeout())).await?;
        Ok(Done::message(message.map(|message| Received::Consumer(message, consumer))))
    })
}

/// Up to so many messages; none is an empty list.
pub(crate) fn fetch(queue: u64, target: u64, stream: String, consumer: String, options: FetchOptions) -> R<u64> {
    with_jetstream(queue, target, |object| async move {
        let consumer = object.consumer(&stream, &consumer)?;
        let messages = consumer.fetch_with(&options.into_core())?.await?;
        Ok(Done::Fetched(messages, consumer))
    })
}

/// Keeps pulling; finishes with a handle that messages are taken from.
pub(crate) fn consume(queue: u64, target: u64, stream: String, consumer: String, options: ConsumeOptions) -> R<u64> {
    let hub = hub_of(target)?;
    with_jetstream(queue, target, move |object: Arc<JetStreamObject>| async move {
        let consumption = object.consumer(&stream, &consumer)?.consume(&options.into_core()).await?;
        Ok(Done::Handle(hub.handles.add(Object::Consumption(Arc::new(Source::new(consumption))))?))
    })
}

fn consumption_of(handle: u64) -> R<Arc<Source<Consumption>>> {
    match hub_of(handle)?.handles.get(handle)? {
        Object::Consumption(consumption) => Ok(consumption),
        _ => Err(Failure::invalid("this is not a consumption")),
    }
}

/// Ends it at once: what was not taken comes again, with `release` at once.
pub(crate) fn consumption_stop(queue: u64, target: u64, release: bool) -> R<u64> {
    let source = consumption_of(target)?;
    start_future(queue, |_| {
        if release {
            source.inner.release();
        } else {
            source.inner.stop();
        }
        Ok(async { Ok(Done::Unit) })
    })
}

/// Pulls no more; what came is still taken, then it ends.
pub(crate) fn consumption_drain(queue: u64, target: u64) -> R<u64> {
    let source = consumption_of(target)?;
    start_future(queue, |_| {
        source.inner.drain();
        Ok(async { Ok(Done::Unit) })
    })
}

/// Waits until it has ended and everything taken is handled.
pub(crate) fn consumption_closed(queue: u64, target: u64) -> R<u64> {
    let source = consumption_of(target)?;
    start_future(queue, |_| {
        Ok(async move {
            source.inner.closed().await;
            Ok(Done::Unit)
        })
    })
}

/// Counters of a consumption.
pub(crate) fn consumption_stats(handle: u64) -> R<SubscriptionStats> {
    same_fields(&consumption_of(handle)?.inner.stats())
}

/// Reads a stream in order, from `start` (absent: its first message) to its end; finishes with a handle to take from.
pub(crate) fn read_stream(queue: u64, target: u64, stream: String, start: Option<u64>) -> R<u64> {
    let hub = hub_of(target)?;
    with_jetstream(queue, target, move |object: Arc<JetStreamObject>| async move {
        let reader = object.jetstream.stream(stream.as_str())?.read(start.unwrap_or(0)).await?;
        let reader = Reader { reader, stream: stream.into() };
        Ok(Done::Handle(hub.handles.add(Object::Reader(Arc::new(Source::new(reader))))?))
    })
}
