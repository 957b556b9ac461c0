//! The control lane with types, for Swift and Kotlin: `start_x` and `finish_x` for what is rare, exported by uniffi.
//!
//! Everything here is synchronous; waiting is done in the completion queue of the hot lane. Ids are finished with the
//! function that fits what they give.

use std::time::Duration;

use crate::control::{self, ConsumerVerb, MessageKey, PurgeOptions, StreamVerb};
use crate::documents::{
    AccountInfo, BrokerOptions, ConnectOptions, ConsumeOptions, ConsumerConfig, ConsumerInfo, CredentialsInfo,
    FetchOptions, NamespaceInfo, PublishCounts, ServerInfo, Stats, StreamConfig, StreamInfo, SubscribeOptions,
    SubscriptionStats,
};
use crate::events::{self, EventsTaken};
use crate::failure::{Failure, R, guard};
use crate::hub;

/// A failure as generated code throws it; facades turn it into their own error.
#[derive(Debug, uniffi::Error)]
pub enum NativeFailure {
    /// The only case: the code tells them apart.
    Failed {
        /// The code, such as `not_found`.
        code: String,
        /// What was wrong and what to do.
        text: String,
        /// Facts beside the code, a JSON object.
        detail_json: String,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// Whether the call had an effect: `no`, `maybe` or `yes`.
        applied: String,
    },
}

impl std::fmt::Display for NativeFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NativeFailure::Failed { code, text, .. } = self;
        write!(f, "{code}: {text}")
    }
}

impl std::error::Error for NativeFailure {}

impl From<Failure> for NativeFailure {
    fn from(failure: Failure) -> NativeFailure {
        NativeFailure::Failed {
            code: failure.code.to_owned(),
            text: failure.message,
            detail_json: failure.detail.to_string(),
            retryable: failure.retryable,
            applied: failure.applied.to_owned(),
        }
    }
}

type Typed<T> = Result<T, NativeFailure>;

fn typed<T>(body: impl FnOnce() -> R<T>) -> Typed<T> {
    Ok(guard(body)?)
}

fn document<T: 'static>(id: u64) -> Typed<T> {
    typed(|| hub::finish_done(id)?.into_document())
}

/// Connects; [`finish_handle`] gives the client.
#[uniffi::export]
pub fn start_connect(queue: u64, options: ConnectOptions) -> Typed<u64> {
    typed(|| control::connect(queue, options.into_core()?))
}

/// [`finish_counts`].
#[uniffi::export]
pub fn start_flush(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::flush(queue, client))
}

/// [`finish_rtt`].
#[uniffi::export]
pub fn start_rtt(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::rtt(queue, client))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_drain(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::drain_client(queue, client))
}

/// [`finish_unit`]. The handle is still to be closed.
#[uniffi::export]
pub fn start_close(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::close_client(queue, client))
}

/// Waits until the client is closed for good: [`finish_closed`].
#[uniffi::export]
pub fn start_closed(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::client_closed(queue, client))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_reconnect(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::reconnect(queue, client))
}

/// A reader of events from now on: [`finish_handle`], then [`take_events`].
#[uniffi::export]
pub fn start_events(queue: u64, client: u64) -> Typed<u64> {
    typed(|| control::events(queue, client))
}

/// [`finish_handle`] gives the subscription.
#[uniffi::export]
pub fn start_subscribe(queue: u64, client: u64, options: SubscribeOptions) -> Typed<u64> {
    typed(|| control::subscribe(queue, client, options))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_unsubscribe(queue: u64, subscription: u64, after: Option<u64>) -> Typed<u64> {
    typed(|| control::unsubscribe(queue, subscription, after))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_subscription_drain(queue: u64, subscription: u64) -> Typed<u64> {
    typed(|| control::subscription_drain(queue, subscription))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_subscription_closed(queue: u64, subscription: u64) -> Typed<u64> {
    typed(|| control::subscription_closed(queue, subscription))
}

/// A JetStream context of another domain or prefix; a client is its own default context.
#[uniffi::export]
pub fn open_jetstream(client: u64, domain: Option<String>, prefix: Option<String>) -> Typed<u64> {
    typed(|| control::open_jetstream(client, domain, prefix))
}

/// [`finish_stream_info`].
#[uniffi::export]
pub fn start_create_stream(queue: u64, jetstream: u64, config: StreamConfig) -> Typed<u64> {
    typed(|| control::make_stream(queue, jetstream, StreamVerb::Create, config))
}

/// [`finish_stream_info`].
#[uniffi::export]
pub fn start_update_stream(queue: u64, jetstream: u64, config: StreamConfig) -> Typed<u64> {
    typed(|| control::make_stream(queue, jetstream, StreamVerb::Update, config))
}

/// [`finish_stream_info`].
#[uniffi::export]
pub fn start_create_or_update_stream(queue: u64, jetstream: u64, config: StreamConfig) -> Typed<u64> {
    typed(|| control::make_stream(queue, jetstream, StreamVerb::CreateOrUpdate, config))
}

/// [`finish_stream_info`].
#[uniffi::export]
pub fn start_stream_info(queue: u64, jetstream: u64, stream: String) -> Typed<u64> {
    typed(|| control::stream_info(queue, jetstream, stream))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_delete_stream(queue: u64, jetstream: u64, stream: String) -> Typed<u64> {
    typed(|| control::delete_stream(queue, jetstream, stream))
}

/// [`finish_purged`].
#[uniffi::export]
pub fn start_purge_stream(
    queue: u64,
    jetstream: u64,
    stream: String,
    filter: Option<String>,
    sequence: Option<u64>,
    keep: Option<u64>,
) -> Typed<u64> {
    typed(|| control::purge_stream(queue, jetstream, stream, PurgeOptions { filter, sequence, keep }))
}

/// [`finish_account_info`].
#[uniffi::export]
pub fn start_account_info(queue: u64, jetstream: u64) -> Typed<u64> {
    typed(|| control::account_info(queue, jetstream))
}

/// [`finish_consumer_info`].
#[uniffi::export]
pub fn start_create_consumer(queue: u64, jetstream: u64, stream: String, config: ConsumerConfig) -> Typed<u64> {
    typed(|| control::make_consumer(queue, jetstream, ConsumerVerb::Create, stream, config))
}

/// [`finish_consumer_info`].
#[uniffi::export]
pub fn start_update_consumer(queue: u64, jetstream: u64, stream: String, config: ConsumerConfig) -> Typed<u64> {
    typed(|| control::make_consumer(queue, jetstream, ConsumerVerb::Update, stream, config))
}

/// [`finish_consumer_info`].
#[uniffi::export]
pub fn start_create_or_update_consumer(
    queue: u64,
    jetstream: u64,
    stream: String,
    config: ConsumerConfig,
) -> Typed<u64> {
    typed(|| control::make_consumer(queue, jetstream, ConsumerVerb::CreateOrUpdate, stream, config))
}

/// [`finish_consumer_info`].
#[uniffi::export]
pub fn start_consumer_info(queue: u64, jetstream: u64, stream: String, consumer: String) -> Typed<u64> {
    typed(|| control::consumer_info(queue, jetstream, stream, consumer))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_delete_consumer(queue: u64, jetstream: u64, stream: String, consumer: String) -> Typed<u64> {
    typed(|| control::delete_consumer(queue, jetstream, stream, consumer))
}

/// One stored message: by sequence, or the last or next of a subject (`next_for` counts from `sequence`). The hot lane's
/// `finish_messages` gives one or none.
#[uniffi::export]
pub fn start_get_message(
    queue: u64,
    jetstream: u64,
    stream: String,
    sequence: Option<u64>,
    last_for: Option<String>,
    next_for: Option<String>,
) -> Typed<u64> {
    typed(|| control::get_message(queue, jetstream, stream, MessageKey { sequence, last_for, next_for }))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_delete_message(queue: u64, jetstream: u64, stream: String, sequence: u64) -> Typed<u64> {
    typed(|| control::delete_message(queue, jetstream, stream, sequence))
}

/// Reads a stream to its end: [`finish_handle`], then the hot lane's `take`.
#[uniffi::export]
pub fn start_read_stream(queue: u64, jetstream: u64, stream: String, start: Option<u64>) -> Typed<u64> {
    typed(|| control::read_stream(queue, jetstream, stream, start))
}

/// The next message: the hot lane's `finish_messages` gives one or none.
#[uniffi::export]
pub fn start_next(
    queue: u64,
    jetstream: u64,
    stream: String,
    consumer: String,
    timeout: Option<Duration>,
) -> Typed<u64> {
    typed(|| control::next(queue, jetstream, stream, consumer, timeout))
}

/// Messages: the hot lane's `finish_messages`.
#[uniffi::export]
pub fn start_fetch(queue: u64, jetstream: u64, stream: String, consumer: String, options: FetchOptions) -> Typed<u64> {
    typed(|| control::fetch(queue, jetstream, stream, consumer, options))
}

/// Messages that keep flowing: [`finish_handle`], then the hot lane's `take`.
#[uniffi::export]
pub fn start_consume(
    queue: u64,
    jetstream: u64,
    stream: String,
    consumer: String,
    options: ConsumeOptions,
) -> Typed<u64> {
    typed(|| control::consume(queue, jetstream, stream, consumer, options))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_consumption_stop(queue: u64, consumption: u64, release: bool) -> Typed<u64> {
    typed(|| control::consumption_stop(queue, consumption, release))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_consumption_drain(queue: u64, consumption: u64) -> Typed<u64> {
    typed(|| control::consumption_drain(queue, consumption))
}

/// Waits until it has ended and everything taken is handled: [`finish_unit`].
#[uniffi::export]
pub fn start_consumption_closed(queue: u64, consumption: u64) -> Typed<u64> {
    typed(|| control::consumption_closed(queue, consumption))
}

/// Counters of a consumption.
#[uniffi::export]
pub fn consumption_stats(consumption: u64) -> Typed<SubscriptionStats> {
    typed(|| control::consumption_stats(consumption))
}

/// [`finish_handle`] gives the broker.
#[uniffi::export]
pub fn start_broker(queue: u64, options: BrokerOptions) -> Typed<u64> {
    typed(|| control::start_broker(queue, options))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_broker_stop(queue: u64, broker: u64) -> Typed<u64> {
    typed(|| control::stop_broker(queue, broker))
}

/// [`finish_namespace`].
#[uniffi::export]
pub fn start_create_namespace(queue: u64, broker: u64, name: String) -> Typed<u64> {
    typed(|| control::create_namespace(queue, broker, name))
}

/// [`finish_namespaces`].
#[uniffi::export]
pub fn start_list_namespaces(queue: u64, broker: u64) -> Typed<u64> {
    typed(|| control::list_namespaces(queue, broker))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_delete_namespace(queue: u64, broker: u64, name: String) -> Typed<u64> {
    typed(|| control::delete_namespace(queue, broker, name))
}

/// [`finish_credentials`], with the secret text.
#[uniffi::export]
pub fn start_create_credentials(queue: u64, broker: u64, namespace: String, name: String) -> Typed<u64> {
    typed(|| control::create_credentials(queue, broker, namespace, name))
}

/// [`finish_credentials_list`].
#[uniffi::export]
pub fn start_list_credentials(queue: u64, broker: u64, namespace: String) -> Typed<u64> {
    typed(|| control::list_credentials(queue, broker, namespace))
}

/// [`finish_unit`].
#[uniffi::export]
pub fn start_delete_credentials(queue: u64, broker: u64, namespace: String, name: String) -> Typed<u64> {
    typed(|| control::delete_credentials(queue, broker, namespace, name))
}

/// Nothing, or the failure.
#[uniffi::export]
pub fn finish_unit(id: u64) -> Typed<()> {
    typed(|| hub::finish_done(id)?.into_number().map(|_| ()))
}

/// A new handle.
#[uniffi::export]
pub fn finish_handle(id: u64) -> Typed<u64> {
    typed(|| hub::finish_done(id)?.into_handle())
}

/// What became of everything published.
#[uniffi::export]
pub fn finish_counts(id: u64) -> Typed<PublishCounts> {
    document(id)
}

/// The time of one round trip.
#[uniffi::export]
pub fn finish_rtt(id: u64) -> Typed<Duration> {
    document::<control::Rtt>(id).map(|rtt| rtt.seconds)
}

/// Why the client closed; none when it was asked for.
#[uniffi::export]
pub fn finish_closed(id: u64) -> Typed<Option<String>> {
    document::<control::Closed>(id).map(|closed| closed.reason)
}

/// A stream's information.
#[uniffi::export]
pub fn finish_stream_info(id: u64) -> Typed<StreamInfo> {
    document(id)
}

/// How many messages were removed.
#[uniffi::export]
pub fn finish_purged(id: u64) -> Typed<u64> {
    document::<control::Purged>(id).map(|purged| purged.purged)
}

/// The account's information.
#[uniffi::export]
pub fn finish_account_info(id: u64) -> Typed<AccountInfo> {
    document(id)
}

/// A consumer's information.
#[uniffi::export]
pub fn finish_consumer_info(id: u64) -> Typed<ConsumerInfo> {
    document(id)
}

/// A new namespace.
#[uniffi::export]
pub fn finish_namespace(id: u64) -> Typed<NamespaceInfo> {
    document(id)
}

/// All namespaces.
#[uniffi::export]
pub fn finish_namespaces(id: u64) -> Typed<Vec<NamespaceInfo>> {
    document(id)
}

/// New credentials, with their secret text.
#[uniffi::export]
pub fn finish_credentials(id: u64) -> Typed<CredentialsInfo> {
    document(id)
}

/// The credentials of a namespace.
#[uniffi::export]
pub fn finish_credentials_list(id: u64) -> Typed<Vec<CredentialsInfo>> {
    document(id)
}

/// Events that are there, without waiting.
#[uniffi::export]
pub fn take_events(events: u64, max: u32) -> Typed<EventsTaken> {
    typed(|| events::take_typed(events, max))
}

/// Counters of a client, in one snapshot.
#[uniffi::export]
pub fn client_stats(client: u64) -> Typed<Stats> {
    typed(|| control::client_stats(client))
}

/// What the server said of itself last.
#[uniffi::export]
pub fn client_server_info(client: u64) -> Typed<ServerInfo> {
    typed(|| control::server_info(client))
}

/// The largest payload with headers that the server takes.
#[uniffi::export]
pub fn client_max_payload(client: u64) -> Typed<u64> {
    typed(|| control::max_payload(client))
}

/// A fresh reply subject.
#[uniffi::export]
pub fn client_new_inbox(client: u64) -> Typed<String> {
    typed(|| control::new_inbox(client))
}

/// `connected`, `reconnecting`, `draining` or `closed`.
#[uniffi::export]
pub fn client_state(client: u64) -> Typed<String> {
    typed(|| control::client_state(client))
}

/// Counters of a subscription.
#[uniffi::export]
pub fn subscription_stats(subscription: u64) -> Typed<SubscriptionStats> {
    typed(|| control::subscription_stats(subscription))
}

/// Where clients connect.
#[uniffi::export]
pub fn broker_url(broker: u64) -> Typed<String> {
    typed(|| control::broker_url(broker))
}

/// Where the monitoring pages are, if anywhere.
#[uniffi::export]
pub fn broker_monitor_url(broker: u64) -> Typed<Option<String>> {
    typed(|| control::broker_monitor_url(broker))
}
