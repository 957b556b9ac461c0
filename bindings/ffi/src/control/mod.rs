//! The control lane: what is rare. One verb and one JSON document start an operation; the same functions stand behind the
//! typed lane.

mod broker;
mod client;
mod consumer;
mod streams;

#[cfg(feature = "embedded")]
pub(crate) use broker::BrokerObject;
pub(crate) use broker::{broker_monitor_url, broker_url};
pub(crate) use broker::{
    create_credentials, create_namespace, delete_credentials, delete_namespace, list_credentials, list_namespaces,
    start_broker, stop_broker,
};
#[cfg(feature = "mobile")]
pub(crate) use client::{Closed, Rtt};
pub(crate) use client::{
    client_closed, close_client, connect, drain_client, events, flush, publish_room, reconnect, rtt, subscribe,
    subscription_closed, subscription_drain, unsubscribe, wait_writable,
};
pub(crate) use client::{client_state, client_stats, max_payload, new_inbox, server_info, subscription_stats};
pub(crate) use consumer::{
    consume, consumption_closed, consumption_drain, consumption_stats, consumption_stop, fetch, next, read_stream,
};
#[cfg(feature = "mobile")]
pub(crate) use streams::Purged;
pub(crate) use streams::{
    ConsumerVerb, MessageKey, PurgeOptions, StreamVerb, account_info, consumer_info, delete_consumer, delete_message,
    delete_stream, get_message, make_consumer, make_stream, open_jetstream, purge_stream, stream_info,
};

use serde::Deserialize;

use crate::documents::{
    BrokerOptions, ConsumeOptions, ConsumerConfig, FetchOptions, StreamConfig, SubscribeOptions, connect_options, parse,
};
use crate::failure::{Failure, R, guard};
use crate::hub::hub_of;
use crate::object::Object;

/// A verb that takes nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Stop {
    release: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamName {
    stream: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsumerName {
    stream: String,
    consumer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfStream {
    stream: String,
    config: ConsumerConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    stream: String,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    sequence: Option<u64>,
    #[serde(default)]
    keep: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetMessage {
    stream: String,
    #[serde(default)]
    sequence: Option<u64>,
    #[serde(default)]
    last_for: Option<String>,
    #[serde(default)]
    next_for: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteMessage {
    stream: String,
    sequence: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadStream {
    stream: String,
    #[serde(default)]
    start: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    stream: String,
    consumer: String,
    #[serde(default)]
    timeout: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNamespace {
    namespace: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedOfNamespace {
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Context {
    domain: Option<String>,
    prefix: Option<String>,
}

/// Starts an operation of the control lane in `queue`. `target` is the handle it is about, 0 for `connect` and
/// `broker.start`; `document` is a JSON object, empty for a verb that needs none. `bindings/README.md` lists the verbs.
pub fn start(queue: u64, target: u64, verb: &str, document: &str) -> R<u64> {
    guard(|| match verb {
        "connect" => connect(queue, connect_options(parse(document)?)?),
        _ if verb.starts_with("client.") || verb.starts_with("sub.") || verb == "events" => {
            start_client(queue, target, verb, document)
        }
        _ if verb.starts_with("js.") => start_jetstream(queue, target, verb, document),
        _ if verb.starts_with("broker.") => start_broker_verb(queue, target, verb, document),
        _ => start_consumer(queue, target, verb, document),
    })
}

fn no_verb(verb: &str) -> Failure {
    Failure::invalid(format!("there is no verb `{verb}`"))
}

fn start_client(queue: u64, target: u64, verb: &str, document: &str) -> R<u64> {
    if verb == "client.subscribe" {
        return subscribe(queue, target, parse::<SubscribeOptions>(document)?);
    }
    if verb == "sub.unsubscribe" {
        return unsubscribe(queue, target, parse::<After>(document)?.after);
    }
    let Nothing {} = parse(document)?;
    match verb {
        "client.flush" => flush(queue, target),
        "client.rtt" => rtt(queue, target),
        "client.drain" => drain_client(queue, target),
        "client.close" => close_client(queue, target),
        "client.closed" => client_closed(queue, target),
        "client.publish_room" => publish_room(queue, target),
        "client.wait_writable" => wait_writable(queue, target),
        "client.reconnect" => reconnect(queue, target),
        "sub.drain" => subscription_drain(queue, target),
        "sub.closed" => subscription_closed(queue, target),
        "events" => events(queue, target),
        _ => Err(no_verb(verb)),
    }
}

fn start_jetstream(queue: u64, target: u64, verb: &str, document: &str) -> R<u64> {
    match verb {
        "js.create_stream" => make_stream(queue, target, StreamVerb::Create, parse::<StreamConfig>(document)?),
        "js.update_stream" => make_stream(queue, target, StreamVerb::Update, parse::<StreamConfig>(document)?),
        "js.create_or_update_stream" => {
            make_stream(queue, target, StreamVerb::CreateOrUpdate, parse::<StreamConfig>(document)?)
        }
        "js.stream_info" => stream_info(queue, target, parse::<StreamName>(document)?.stream),
        "js.delete_stream" => delete_stream(queue, target, parse::<StreamName>(document)?.stream),
        "js.purge_stream" => {
            let Purge { stream, filter, sequence, keep } = parse(document)?;
            purge_stream(queue, target, stream, PurgeOptions { filter, sequence, keep })
        }
        "js.account_info" => {
            let Nothing {} = parse(document)?;
            account_info(queue, target)
        }
        "js.create_consumer" | "js.update_consumer" | "js.create_or_update_consumer" => {
            let OfStream { stream, config } = parse(document)?;
            let how = match verb {
                "js.create_consumer" => ConsumerVerb::Create,
                "js.update_consumer" => ConsumerVerb::Update,
                _ => ConsumerVerb::CreateOrUpdate,
            };
            make_consumer(queue, target, how, stream, config)
        }
        "js.consumer_info" => {
            let ConsumerName { stream, consumer } = parse(document)?;
            consumer_info(queue, target, stream, consumer)
        }
        "js.delete_consumer" => {
            let ConsumerName { stream, consumer } = parse(document)?;
            delete_consumer(queue, target, stream, consumer)
        }
        "js.get_message" => {
            let GetMessage { stream, sequence, last_for, next_for } = parse(document)?;
            get_message(queue, target, stream, MessageKey { sequence, last_for, next_for })
        }
        "js.delete_message" => {
            let DeleteMessage { stream, sequence } = parse(document)?;
            delete_message(queue, target, stream, sequence)
        }
        _ => Err(no_verb(verb)),
    }
}

fn start_consumer(queue: u64, target: u64, verb: &str, document: &str) -> R<u64> {
    match verb {
        "consumer.next" => {
            let Next { stream, consumer, timeout } = parse(document)?;
            next(queue, target, stream, consumer, timeout.map(seconds).transpose()?)
        }
        "consumer.fetch" => {
            let (ConsumerName { stream, consumer }, options) = split_names::<FetchOptions>(document)?;
            fetch(queue, target, stream, consumer, options)
        }
        "consumer.consume" => {
            let (ConsumerName { stream, consumer }, options) = split_names::<ConsumeOptions>(document)?;
            consume(queue, target, stream, consumer, options)
        }
        "consume.stop" => {
            let Stop { release } = parse(document)?;
            consumption_stop(queue, target, release)
        }
        "consume.drain" => {
            let Nothing {} = parse(document)?;
            consumption_drain(queue, target)
        }
        "consume.closed" => {
            let Nothing {} = parse(document)?;
            consumption_closed(queue, target)
        }
        "stream.read" => {
            let ReadStream { stream, start } = parse(document)?;
            read_stream(queue, target, stream, start)
        }
        _ => Err(no_verb(verb)),
    }
}

fn start_broker_verb(queue: u64, target: u64, verb: &str, document: &str) -> R<u64> {
    match verb {
        "broker.start" => start_broker(queue, parse::<BrokerOptions>(document)?),
        "broker.create_namespace" => create_namespace(queue, target, parse::<Named>(document)?.name),
        "broker.list_namespaces" => {
            let Nothing {} = parse(document)?;
            list_namespaces(queue, target)
        }
        "broker.delete_namespace" => delete_namespace(queue, target, parse::<Named>(document)?.name),
        "broker.create_credentials" => {
            let NamedOfNamespace { namespace, name } = parse(document)?;
            create_credentials(queue, target, namespace, name)
        }
        "broker.list_credentials" => list_credentials(queue, target, parse::<OfNamespace>(document)?.namespace),
        "broker.delete_credentials" => {
            let NamedOfNamespace { namespace, name } = parse(document)?;
            delete_credentials(queue, target, namespace, name)
        }
        "broker.stop" => {
            let Nothing {} = parse(document)?;
            stop_broker(queue, target)
        }
        _ => Err(no_verb(verb)),
    }
}

/// A document that names a consumer beside the fields of an options document.
fn split_names<T: serde::de::DeserializeOwned>(document: &str) -> R<(ConsumerName, T)> {
    let mut all: serde_json::Map<String, serde_json::Value> = parse(document)?;
    let mut name = |field: &str| match all.remove(field) {
        Some(serde_json::Value::String(name)) => Ok(name),
        Some(_) => Err(Failure::field(field, format!("the field `{field}` must be a text"))),
        None => Err(Failure::field(field, format!("the field `{field}` is missing"))),
    };
    let names = ConsumerName { stream: name("stream")?, consumer: name("consumer")? };
    let options =
        serde_json::from_value(serde_json::Value::Object(all)).map_err(|error| crate::documents::refused(&error))?;
    Ok((names, options))
}

pub(crate) fn seconds(seconds: f64) -> R<std::time::Duration> {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_err(|_| Failure::field("timeout", "a time-out is a number of seconds from 0 on"))
}

/// A JetStream handle with a domain or prefix of its own (a client's handle is its default JetStream), made without asking
/// the server.
pub fn jetstream(client: u64, document: &str) -> R<u64> {
    guard(|| {
        let Context { domain, prefix } = parse(document)?;
        open_jetstream(client, domain, prefix)
    })
}

/// Asks a handle something that needs no waiting; the answer is JSON. Of a client: `stats` `server_info` `max_payload`
/// `new_inbox` `state`; of a broker: `url` `monitor_url`; of a subscription or consumption: `stats`.
pub fn info(handle: u64, what: &str) -> R<String> {
    guard(|| {
        let object = hub_of(handle)?.handles.get(handle)?;
        match (&object, what) {
            (Object::Client(_), "stats") => json(&client_stats(handle)?),
            (Object::Client(_), "server_info") => json(&server_info(handle)?),
            (Object::Client(_), "max_payload") => json(&max_payload(handle)?),
            (Object::Client(_), "new_inbox") => json(&new_inbox(handle)?),
            (Object::Client(_), "state") => json(&client_state(handle)?),
            (Object::Subscription(_), "stats" | "sub.stats") => json(&subscription_stats(handle)?),
            (Object::Consumption(_), "stats") => json(&consumption_stats(handle)?),
            (_, "url") => json(&broker_url(handle)?),
            (_, "monitor_url") => json(&broker_monitor_url(handle)?),
            _ => Err(Failure::invalid(format!("this object knows nothing of `{what}`"))),
        }
    })
}

fn json(value: &impl serde::Serialize) -> R<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))
}
