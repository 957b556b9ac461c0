//! Control of clients and subscriptions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use natsune::{Client, ClientState, Subscription, WhenFull};
use serde::Serialize;

use crate::documents::{PublishCounts, ServerInfo, Stats, SubscribeOptions, SubscriptionStats, fields, same_fields};
use crate::failure::{Failure, R};
use crate::hub::{hub_of, start_future};
use crate::object::{ClientObject, EventsObject, JetStreamObject, Object, Source};
use crate::outcome::Done;

/// The time of one round trip.
#[derive(Serialize)]
pub(crate) struct Rtt {
    #[serde(with = "fields::seconds")]
    pub(crate) seconds: Duration,
}

/// Why a client closed; none when it was asked for.
#[derive(Serialize)]
pub(crate) struct Closed {
    pub(crate) reason: Option<String>,
}

fn client_of(handle: u64) -> R<Arc<ClientObject>> {
    match hub_of(handle)?.handles.get(handle)? {
        Object::Client(client) => Ok(client),
        _ => Err(Failure::invalid("this is not a client")),
    }
}

fn subscription_of(handle: u64) -> R<Arc<Source<Subscription>>> {
    match hub_of(handle)?.handles.get(handle)? {
        Object::Subscription(subscription) => Ok(subscription),
        _ => Err(Failure::invalid("this is not a subscription")),
    }
}

/// Starts something a client does.
fn with_client<F>(queue: u64, target: u64, make: impl FnOnce(Client) -> F) -> R<u64>
where
    F: Future<Output = R<Done>> + Send + 'static,
{
    let object = client_of(target)?;
    start_future(queue, |_| Ok(make(object.client.clone())))
}

/// Connects; finishes with a client handle.
pub(crate) fn connect(queue: u64, options: natsune::ConnectOptions) -> R<u64> {
    start_future(queue, move |hub| {
        Ok(async move {
            let client = natsune::connect_with(options).await?;
            let jetstream = Arc::new(JetStreamObject::new(client.jetstream()));
            let object = Object::Client(Arc::new(ClientObject { client, jetstream }));
            Ok(Done::Handle(hub.handles.add(object)?))
        })
    })
}

/// One real round trip; finishes with [`PublishCounts`].
pub(crate) fn flush(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        Ok(Done::document(same_fields::<PublishCounts>(&client.flush().await?)?))
    })
}

pub(crate) fn rtt(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move { Ok(Done::document(Rtt { seconds: client.rtt().await? })) })
}

pub(crate) fn drain_client(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        client.drain().await?;
        Ok(Done::Unit)
    })
}

/// Closes at once. The handle stays until `close_handle`, so that everything on it is `closed`.
pub(crate) fn close_client(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        client.close().await;
        Ok(Done::Unit)
    })
}

/// Waits until the client is closed for good; finishes with [`Closed`].
pub(crate) fn client_closed(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        let reason = client.closed().await.map(|error| error.message().to_owned());
        Ok(Done::document(Closed { reason }))
    })
}

pub(crate) fn wait_writable(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        client.writable().await?;
        Ok(Done::Unit)
    })
}

/// Waits for room after a publish that was accepted under pressure, at most `publish_timeout`.
pub(crate) fn publish_room(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        let limit = client.options().publish_timeout;
        match tokio::time::timeout(limit, client.writable()).await {
            Ok(room) => Ok(room.map(|()| Done::Unit)?),
            Err(_) => {
                let text = format!(
                    "no room in the outbound buffer within {limit:?}: the server takes messages too slowly; this one was \
                     accepted and waits there"
                );
                // Not to be repeated: that would be a second message.
                Err(Failure { applied: "maybe", retryable: false, ..Failure::new("timeout", text) })
            }
        }
    })
}

pub(crate) fn reconnect(queue: u64, target: u64) -> R<u64> {
    with_client(queue, target, |client| async move {
        client.reconnect()?;
        Ok(Done::Unit)
    })
}

/// Finishes with a handle that events are taken from, beginning now.
pub(crate) fn events(queue: u64, target: u64) -> R<u64> {
    let object = client_of(target)?;
    start_future(queue, |hub| {
        // Now, not when the task runs: nothing that happens in between may be missed.
        let events = object.client.events();
        Ok(async move { Ok(Done::Handle(hub.handles.add(Object::Events(Arc::new(EventsObject { events })))?)) })
    })
}

/// Finishes with a subscription handle, when the server confirmed it (unless `confirm` is false).
pub(crate) fn subscribe(queue: u64, target: u64, options: SubscribeOptions) -> R<u64> {
    let when_full = match options.when_full.as_deref() {
        None => None,
        Some("drop_new") => Some(WhenFull::DropNew),
        Some("drop_old") => Some(WhenFull::DropOld),
        Some(_) => return Err(Failure::field("when_full", "`when_full` is `drop_new` or `drop_old`")),
    };
    let object = client_of(target)?;
    start_future(queue, move |hub| {
        Ok(async move {
            let mut builder = object.client.subscribe(options.subject);
            if let Some(name) = options.queue {
                builder = builder.queue(name);
            }
            if let Some(count) = options.pending_messages {
                builder = builder.pending_messages(count as usize);
            }
            if let Some(bytes) = options.pending_bytes {
                builder = builder.pending_bytes(bytes as usize);
            }
            if let Some(when_full) = when_full {
                builder = builder.when_full(when_full);
            }
            if let Some(count) = options.max_messages {
                builder = builder.max_messages(count);
            }
            if let Some(confirm) = options.confirm {
                builder = builder.confirm(confirm);
            }
            let inner = builder.await?;
            Ok(Done::Handle(hub.handles.add(Object::Subscription(Arc::new(Source::new(inner))))?))
        })
    })
}

pub(crate) fn unsubscribe(queue: u64, target: u64, after: Option<u64>) -> R<u64> {
    let source = subscription_of(target)?;
    start_future(queue, |_| {
        source.inner.unsubscribe(after)?;
        Ok(async { Ok(Done::Unit) })
    })
}

pub(crate) fn subscription_drain(queue: u64, target: u64) -> R<u64> {
    let source = subscription_of(target)?;
    start_future(queue, |_| {
        Ok(async move {
            source.inner.drain().await?;
            Ok(Done::Unit)
        })
    })
}

/// Waits until the subscription ended; an end with a failure is the failure.
pub(crate) fn subscription_closed(queue: u64, target: u64) -> R<u64> {
    let source = subscription_of(target)?;
    start_future(queue, |_| {
        Ok(async move {
            match source.inner.closed().await {
                None => Ok(Done::Unit),
                Some(error) => Err(error.into()),
            }
        })
    })
}

pub(crate) fn client_stats(handle: u64) -> R<Stats> {
    same_fields(&client_of(handle)?.client.stats())
}

pub(crate) fn server_info(handle: u64) -> R<ServerInfo> {
    ServerInfo::from_core(&client_of(handle)?.client.server_info())
}

pub(crate) fn max_payload(handle: u64) -> R<u64> {
    Ok(client_of(handle)?.client.max_payload() as u64)
}

pub(crate) fn new_inbox(handle: u64) -> R<String> {
    Ok(client_of(handle)?.client.new_inbox())
}

/// `connecting`, `connected`, `reconnecting`, `draining` or `closed`.
pub(crate) fn client_state(handle: u64) -> R<String> {
    let state = match client_of(handle)?.client.state() {
        ClientState::Connecting => "connecting",
        ClientState::Connected => "connected",
        ClientState::Reconnecting => "reconnecting",
        ClientState::Draining => "draining",
        ClientState::Closed => "closed",
    };
    Ok(state.to_owned())
}

pub(crate) fn subscription_stats(handle: u64) -> R<SubscriptionStats> {
    same_fields(&subscription_of(handle)?.inner.stats())
}
