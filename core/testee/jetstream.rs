//! JetStream.

use crate::documents::{to_server, to_shared};
use crate::messages::{headers, js_message, payload, stored};
use crate::{Object, Outcome, Problem, Request, Source, Testee};
use natsune::jetstream::{
    ConsumeOptions, Consumer, ConsumerConfig, Document, FetchOptions, JetStream, JsMessage, PublishOptions,
    PurgeOptions, Stream, StreamConfig,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const OPS: &[&str] = &[
    "js_publish",
    "js_publish_many",
    "account_info",
    "create_stream",
    "update_stream",
    "create_or_update_stream",
    "stream_info",
    "delete_stream",
    "purge_stream",
    "create_consumer",
    "update_consumer",
    "create_or_update_consumer",
    "consumer",
    "consumer_info",
    "delete_consumer",
    "consumer_next",
    "fetch",
    "consume",
    "consume_stop",
    "consume_drain",
    "settle",
    "get_message",
    "delete_message",
    "read_stream",
];

pub async fn run(testee: &Testee, request: &Request) -> Outcome {
    match request.op.as_str() {
        "consumer_next" | "fetch" | "consume" => return pull(testee, request).await,
        "consume_stop" | "consume_drain" => {
            if let Object::Source(source) = testee.object(request)?
                && let Source::Consumption(consumption) = &*source
            {
                if request.op == "consume_stop" { consumption.stop() } else { consumption.drain() }
            }
            return Ok(json!({}));
        }
        "settle" => {
            let Object::JsMessage(message) = testee.object(request)? else {
                return Err("not a JetStream message".into());
            };
            settle(&message, request.text("verb")?, request).await?;
            return Ok(json!({}));
        }
        _ => {}
    }
    let js = testee.client(request)?.jetstream();
    match request.op.as_str() {
        "js_publish" | "js_publish_many" => publish(&js, request).await,
        "account_info" => shared(&js.account_info().await?),
        "create_stream" => info(js.create_stream(stream_config(request)?).await?),
        "update_stream" => info(js.update_stream(stream_config(request)?).await?),
        "create_or_update_stream" => info(js.create_or_update_stream(stream_config(request)?).await?),
        "consumer" => {
            let consumer = js.consumer(request.text("stream")?, request.text("name")?)?;
            testee.keep(&request.makes, Object::Consumer(consumer));
            Ok(json!({}))
        }
        _ => of_stream(testee, js.stream(request.text("stream")?)?, request).await,
    }
}

async fn of_stream(testee: &Testee, stream: Stream, request: &Request) -> Outcome {
    match request.op.as_str() {
        "stream_info" => shared(&stream.info().await?),
        "delete_stream" => Ok(stream.delete().await.map(|()| json!({}))?),
        "purge_stream" => {
            let filter = request.args.get("filter").and_then(Value::as_str).map(str::to_owned);
            let options = PurgeOptions { filter, sequence: request.number("sequence"), keep: request.number("keep") };
            Ok(json!({"purged": stream.purge(&options).await?}))
        }
        "create_consumer" => made(testee, request, stream.create_consumer(consumer_config(request)?).await?),
        "update_consumer" => made(testee, request, stream.update_consumer(consumer_config(request)?).await?),
        "create_or_update_consumer" => {
            made(testee, request, stream.create_or_update_consumer(consumer_config(request)?).await?)
        }
        "consumer_info" => shared(&stream.consumer(request.text("consumer")?)?.info().await?),
        "delete_consumer" => Ok(stream.delete_consumer(request.text("consumer")?).await.map(|()| json!({}))?),
        "get_message" => {
            let text = |name: &str| request.args.get(name).and_then(Value::as_str);
            let found = match (request.number("sequence"), text("last_for"), text("next_for")) {
                (_, Some(subject), _) => stream.last_for(subject).await?,
                (sequence, _, Some(subject)) => stream.next_for(subject, sequence.unwrap_or(0)).await?,
                (Some(sequence), _, _) => stream.get(sequence).await?,
                _ => return Err("get_message wants sequence, last_for or next_for".into()),
            };
            Ok(json!({"message": found.as_ref().map(stored)}))
        }
        "delete_message" => {
            stream.delete_message(request.number("sequence").unwrap_or(0)).await?;
            Ok(json!({}))
        }
        "read_stream" => {
            let reader = stream.read(request.number("start").unwrap_or(0)).await?;
            testee.keep(&request.makes, Object::Source(Arc::new(Source::Reader(reader))));
            Ok(json!({}))
        }
        other => Err(format!("unknown operation {other}").into()),
    }
}

async fn pull(testee: &Testee, request: &Request) -> Outcome {
    let Object::Consumer(consumer) = testee.object(request)? else { return Err("not a consumer".into()) };
    let limit = request.seconds("timeout").unwrap_or(Duration::from_secs(5));
    match request.op.as_str() {
        "consumer_next" => {
            let found = consumer.next(limit).await?.map(Arc::new);
            let told = found.as_deref().map(js_message);
            if let Some(message) = found {
                testee.keep(&request.makes, Object::JsMessage(message));
            }
            Ok(json!({"message": told}))
        }
        "fetch" => {
            let options = FetchOptions {
                max_messages: request.number("max_messages").unwrap_or(1),
                max_bytes: request.number("max_bytes"),
                timeout: Some(limit),
                no_wait: request.args.get("no_wait") == Some(&Value::Bool(true)),
            };
            let found = consumer.fetch_with(&options)?.await?;
            let mut told = Vec::new();
            for (at, message) in found.into_iter().enumerate() {
                told.push(js_message(&message));
                let name = request.makes.as_ref().map(|name| format!("{name}.{at}"));
                testee.keep(&name, Object::JsMessage(Arc::new(message)));
            }
            Ok(json!({"messages": told}))
        }
        _ => {
            let mut options = ConsumeOptions::default();
            (options.max_messages, options.max_bytes) = (request.number("max_messages"), request.number("max_bytes"));
            let consumption = consumer.consume(&options).await?;
            testee.keep(&request.makes, Object::Source(Arc::new(Source::Consumption(consumption))));
            Ok(json!({}))
        }
    }
}

pub async fn settle(message: &JsMessage, verb: &str, request: &Request) -> Result<(), Problem> {
    match verb {
        "ack" => message.ack()?,
        "nak" => message.nak(request.seconds("delay"))?,
        "term" => message.term(request.args.get("reason").and_then(Value::as_str))?,
        "in_progress" => message.in_progress()?,
        "ack_sync" => message.ack_sync().await?,
        other => return Err(format!("no verb is called {other}").into()),
    }
    Ok(())
}

async fn publish(js: &JetStream, request: &Request) -> Outcome {
    if request.op == "js_publish" {
        let mut options = PublishOptions::default();
        let text = |name: &str| request.args.get(name).and_then(Value::as_str).map(str::to_owned);
        options.id = text("id");
        options.expected_stream = text("expected_stream");
        options.expected_last_message_id = text("expected_last_message_id");
        options.expected_last_sequence = request.number("expected_last_sequence");
        options.expected_last_subject_sequence = request.number("expected_last_subject_sequence");
        options.timeout = request.seconds("timeout");
        options.headers = headers(request)?;
        let ack = js.publish_with(request.text("subject")?, payload(request)?, &options).await?;
        return Ok(serde_json::to_value(ack).unwrap_or_default());
    }
    let subject: Arc<str> = request.text("subject")?.into();
    let (count, next) = (request.number("count").unwrap_or(0), Arc::new(AtomicU64::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..request.number("parallel").unwrap_or(1) {
        let (js, next, subject) = (js.clone(), next.clone(), subject.clone());
        workers.spawn(async move {
            let mut sequences = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, natsune::Error>(sequences);
                }
                sequences.push(js.publish(&subject, number.to_string()).await?.sequence);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(sequences) = workers.join_next().await {
        all.extend(sequences.map_err(|error| error.to_string())??);
    }
    Ok(json!({"count": all.len(), "first": all.iter().min(), "last": all.iter().max()}))
}

fn shared(value: &impl Serialize) -> Outcome {
    Ok(to_shared(&serde_json::to_value(value).map_err(|error| error.to_string())?))
}

fn info(stream: Stream) -> Outcome {
    shared(&stream.cached_info())
}

fn made(testee: &Testee, request: &Request, consumer: Consumer) -> Outcome {
    let told = shared(&consumer.cached_info());
    testee.keep(&request.makes, Object::Consumer(consumer));
    told
}

fn stream_config(request: &Request) -> Result<Document<StreamConfig>, Problem> {
    let document = to_server(request.args.get("config").unwrap_or(&Value::Null));
    let mut all = serde_json::to_value(StreamConfig::default()).map_err(|error| error.to_string())?;
    merge(&mut all, document);
    serde_json::from_value(all).map_err(|error| error.to_string().into())
}

fn consumer_config(request: &Request) -> Result<Document<ConsumerConfig>, Problem> {
    let document = to_server(request.args.get("config").unwrap_or(&Value::Null));
    let mut all = serde_json::to_value(ConsumerConfig::default()).map_err(|error| error.to_string())?;
    merge(&mut all, document);
    serde_json::from_value(all).map_err(|error| error.to_string().into())
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
