//! Connection, publish, subscribe and request.

use crate::{Collected, Object, Outcome, Problem, Request, Source, Testee};
use data_encoding::BASE64;
use natsune::jetstream::{JsMessage, StreamMessage};
use natsune::{Accepted, Client, ConnectOptions, Headers, Message, WhenFull};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

pub async fn run(testee: &Arc<Testee>, request: &Request) -> Outcome {
    match request.op.as_str() {
        "connect" => connect(testee, request).await,
        "next_event" => next_event(testee, request).await,
        "subscribe" => subscribe(testee, request).await,
        "next" => next(testee, request).await,
        "collect" => collect(testee, request).await,
        "batches" => batches(testee, request).await,
        "unsubscribe" | "sub_drain" | "sub_stats" => subscription(testee, request).await,
        "serve" => serve(testee, request),
        "respond" => match testee.object(request)? {
            Object::Message(message) => Ok(message.respond(payload(request)?).await.map(|()| json!({}))?),
            _ => Err("not a message".into()),
        },
        "requests" => requests(testee, request).await,
        _ => client(&testee.client(request)?, request).await,
    }
}

async fn connect(testee: &Testee, request: &Request) -> Outcome {
    let document = Value::Object(request.args.clone()).to_string();
    let client = natsune::connect_with(ConnectOptions::from_json(&document)?).await?;
    let collected = Arc::new(Collected::default());
    let (here, mut events) = (collected.clone(), client.events());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Ok(mut list) = here.events.lock() {
                list.push(event);
            }
            here.news.notify_waiters();
        }
    });
    testee.keep(&request.makes, Object::Client(client, collected));
    Ok(json!({}))
}

async fn next_event(testee: &Testee, request: &Request) -> Outcome {
    let Object::Client(_, collected) = testee.object(request)? else { return Err("not a client".into()) };
    let (kind, deadline) =
        (request.text("kind")?.to_owned(), Instant::now() + request.seconds("timeout").unwrap_or_default());
    loop {
        let news = collected.news.notified();
        if let Ok(mut events) = collected.events.lock() {
            let found =
                events.iter().position(|event| serde_json::to_value(event).is_ok_and(|event| event["event"] == kind));
            if let Some(at) = found {
                let mut event = serde_json::to_value(events.remove(at)).map_err(|error| error.to_string())?;
                event["kind"] = kind.into();
                return Ok(event);
            }
        }
        timeout_at(deadline, news).await.map_err(|_| format!("no event {kind} came"))?;
    }
}

async fn client(client: &Client, request: &Request) -> Outcome {
    let document = |value: &dyn erased::Json| value.json();
    Ok(match request.op.as_str() {
        "close" => {
            client.close().await;
            json!({})
        }
        "drain" => client.drain().await.map(|()| json!({}))?,
        "reconnect" => client.reconnect().map(|()| json!({}))?,
        "closed" => json!({"reason": client.closed().await.map(|error| error.message().to_owned())}),
        "flush" => document(&client.flush().await?),
        "rtt" => json!({"seconds": client.rtt().await?.as_secs_f64()}),
        "stats" => document(&client.stats()),
        "server_info" => document(&*client.server_info()),
        "max_payload" => json!({"value": client.max_payload()}),
        "new_inbox" => json!({"value": client.new_inbox()}),
        "wait_writable" => client.writable().await.map(|()| json!({}))?,
        "publish" => {
            let (subject, payload, headers) = (request.text("subject")?, payload(request)?, headers(request)?);
            match (request.args.get("reply").and_then(Value::as_str), headers) {
                (None, None) => client.publish(subject, payload).await?,
                (None, Some(headers)) => client.publish_with_headers(subject, &headers, payload).await?,
                (Some(reply), headers) => {
                    client.writable().await?;
                    client.try_publish(subject, Some(reply), headers.as_ref(), &payload)?;
                }
            }
            json!({})
        }
        "try_publish" => {
            let reply = request.args.get("reply").and_then(Value::as_str);
            match client.try_publish(request.text("subject")?, reply, headers(request)?.as_ref(), &payload(request)?)? {
                Accepted::Pressure => json!({"accepted": "pressure"}),
                _ => json!({"accepted": "ok"}),
            }
        }
        "publish_many" => {
            let (from, count) = (request.number("from").unwrap_or(0), request.number("count").unwrap_or(0));
            let size = usize::try_from(request.number("size").unwrap_or(0)).unwrap_or(0);
            for number in from..from + count {
                let mut data = number.to_string();
                data.push_str(&" ".repeat(size.saturating_sub(data.len())));
                if request.args.get("try") == Some(&Value::Bool(true)) {
                    client.try_publish(request.text("subject")?, None, None, data.as_bytes())?;
                } else {
                    client.publish(request.text("subject")?, data).await?;
                }
            }
            json!({"published": count})
        }
        "request" => {
            let payload = payload(request)?;
            let mut asked = client.request(request.text("subject")?, &payload);
            if let Some(headers) = headers(request)? {
                asked = asked.headers(&headers);
            }
            if let Some(limit) = request.seconds("timeout") {
                asked = asked.timeout(limit);
            }
            json!({"message": message(&asked.await?)})
        }
        other => return Err(format!("unknown operation {other}").into()),
    })
}

/// Documents as JSON without naming their types.
mod erased {
    pub trait Json {
        fn json(&self) -> serde_json::Value;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap_or_default()
        }
    }
}

async fn subscribe(testee: &Testee, request: &Request) -> Outcome {
    let mut builder = testee.client(request)?.subscribe(request.text("subject")?);
    if let Some(queue) = request.args.get("queue").and_then(Value::as_str) {
        builder = builder.queue(queue);
    }
    let size = |name: &str| request.number(name).and_then(|number| usize::try_from(number).ok());
    if let Some(count) = size("pending_messages") {
        builder = builder.pending_messages(count);
    }
    if let Some(bytes) = size("pending_bytes") {
        builder = builder.pending_bytes(bytes);
    }
    if request.args.get("when_full").and_then(Value::as_str) == Some("drop_old") {
        builder = builder.when_full(WhenFull::DropOld);
    }
    if let Some(count) = request.number("max_messages") {
        builder = builder.max_messages(count);
    }
    if let Some(confirm) = request.args.get("confirm").and_then(Value::as_bool) {
        builder = builder.confirm(confirm);
    }
    let subscription = builder.await?;
    let control = subscription.control();
    testee.keep(&request.makes, Object::Source(Arc::new(Source::Subscription(subscription.into(), control))));
    Ok(json!({}))
}

fn source(testee: &Testee, request: &Request) -> Result<Arc<Source>, Problem> {
    match testee.object(request)? {
        Object::Source(source) => Ok(source),
        _ => Err("nothing to iterate".into()),
    }
}

async fn subscription(testee: &Testee, request: &Request) -> Outcome {
    let source = source(testee, request)?;
    let Source::Subscription(_, control) = &*source else { return Err("not a subscription".into()) };
    match request.op.as_str() {
        "unsubscribe" => control.unsubscribe(request.number("after"))?,
        "sub_drain" => control.drain().await?,
        _ => return Ok(serde_json::to_value(control.stats()).unwrap_or_default()),
    }
    Ok(json!({}))
}

/// Any message that an iteration gives.
pub enum Any {
    Core(Message),
    Js(Arc<JsMessage>),
    Stored(StreamMessage),
}

impl Any {
    fn data(&self) -> String {
        let payload = match self {
            Any::Core(message) => message.payload(),
            Any::Js(message) => message.payload(),
            Any::Stored(message) => message.payload(),
        };
        String::from_utf8_lossy(payload).trim().to_owned()
    }

    pub fn json(&self) -> Value {
        match self {
            Any::Core(found) => message(found),
            Any::Js(found) => js_message(found),
            Any::Stored(found) => stored(found),
        }
    }
}

async fn advance(source: &Source) -> Result<Option<Any>, Problem> {
    Ok(match source {
        Source::Subscription(subscription, _) => subscription.lock().await.next().await?.map(Any::Core),
        Source::Consumption(consumption) => consumption.next().await?.map(|message| Any::Js(Arc::new(message))),
        Source::Reader(reader) => reader.next().await?.map(Any::Stored),
    })
}

async fn next(testee: &Testee, request: &Request) -> Outcome {
    let source = source(testee, request)?;
    match timeout(request.seconds("timeout").unwrap_or_default(), advance(&source)).await {
        Err(_) => Ok(json!({"message": null})),
        Ok(found) => Ok(match found? {
            None => json!({"ended": true}),
            Some(found) => {
                let told = found.json();
                match found {
                    Any::Core(message) => testee.keep(&request.makes, Object::Message(message)),
                    Any::Js(message) => testee.keep(&request.makes, Object::JsMessage(message)),
                    Any::Stored(_) => {}
                }
                json!({"message": told})
            }
        }),
    }
}

async fn collect(testee: &Testee, request: &Request) -> Outcome {
    let source = source(testee, request)?;
    let count = request.number("count").unwrap_or(u64::MAX);
    let deadline = Instant::now() + request.seconds("timeout").unwrap_or_default();
    let (mut found, mut ended) = (Vec::new(), false);
    while (found.len() as u64) < count {
        match timeout_at(deadline, advance(&source)).await {
            Err(_) => break,
            Ok(next) => match next? {
                None => {
                    ended = true;
                    break;
                }
                Some(message) => {
                    if let (Any::Js(message), Some(verb)) =
                        (&message, request.args.get("settle").and_then(Value::as_str))
                    {
                        crate::jetstream::settle(message, verb, request).await?;
                    }
                    found.push(message);
                }
            },
        }
    }
    if request.args.get("brief") != Some(&Value::Bool(true)) {
        return Ok(json!({"messages": found.iter().map(Any::json).collect::<Vec<_>>(), "ended": ended}));
    }
    let texts: Vec<String> = found.iter().map(Any::data).collect();
    let number = |text: &String| text.parse::<i64>().ok();
    let ordered = texts.windows(2).all(|pair| match pair {
        [a, b] => number(a).zip(number(b)).is_some_and(|(a, b)| b == a + 1),
        _ => true,
    });
    Ok(json!({"count": texts.len(), "ordered": ordered, "ended": ended, "first": texts.first(), "last": texts.last()}))
}

async fn batches(testee: &Testee, request: &Request) -> Outcome {
    let source = source(testee, request)?;
    let Source::Subscription(subscription, _) = &*source else { return Err("not a subscription".into()) };
    let subscription = subscription.lock().await;
    let most = usize::try_from(request.number("max").unwrap_or(256)).unwrap_or(256);
    let deadline = Instant::now() + request.seconds("timeout").unwrap_or_default();
    let (mut count, mut largest, mut done, mut ended) = (0, 0, 0, false);
    while (count as u64) < request.number("count").unwrap_or(u64::MAX) && !ended {
        let taken = subscription.take(most, 1 << 20, done);
        done = taken.messages.len();
        (count, largest) = (count + done, largest.max(done));
        match taken.state {
            natsune::State::Ended => ended = true,
            natsune::State::Failed(error) => return Err(error.into()),
            _ if done == 0 => timeout_at(deadline, subscription.ready()).await.map_err(|_| "no batch in time")?,
            _ => {}
        }
    }
    Ok(json!({"count": count, "largest": largest, "ended": ended}))
}

fn serve(testee: &Testee, request: &Request) -> Outcome {
    let source = source(testee, request)?;
    let (fixed, headers) =
        (request.args.contains_key("data").then(|| payload(request)).transpose()?, headers(request)?);
    tokio::spawn(async move {
        while let Ok(Some(Any::Core(message))) = advance(&source).await {
            let data = fixed.clone().unwrap_or_else(|| message.payload().to_vec());
            let sent = match &headers {
                None => message.respond(data).await,
                Some(headers) => message.respond_with_headers(headers, data).await,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(json!({}))
}

async fn requests(testee: &Testee, request: &Request) -> Outcome {
    let client = testee.client(request)?;
    let subject: Arc<str> = request.text("subject")?.into();
    let (count, limit) =
        (request.number("count").unwrap_or(0), request.seconds("timeout").unwrap_or(Duration::from_secs(5)));
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..request.number("parallel").unwrap_or(1) {
        let (client, next, subject) = (client.clone(), next.clone(), subject.clone());
        workers.spawn(async move {
            let mut results = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return results;
                }
                let sent = number.to_string();
                let result = client.request(&*subject, &sent).timeout(limit).await;
                results.push(
                    result.map(|reply| reply.payload() == sent.as_bytes()).map_err(|error| error.code().as_str()),
                );
            }
        });
    }
    let (mut ok, mut mismatched, mut errors) = (0, 0, std::collections::BTreeMap::<&str, u64>::new());
    while let Some(results) = workers.join_next().await {
        for result in results.map_err(|error| error.to_string())? {
            match result {
                Ok(true) => ok += 1,
                Ok(false) => mismatched += 1,
                Err(code) => *errors.entry(code).or_default() += 1,
            }
        }
    }
    Ok(json!({"ok": ok, "mismatched": mismatched, "errors": errors}))
}

pub fn payload(request: &Request) -> Result<Vec<u8>, Problem> {
    let text = request.args.get("data").and_then(Value::as_str).unwrap_or_default();
    BASE64.decode(text.as_bytes()).map_err(|error| error.to_string().into())
}

pub fn headers(request: &Request) -> Result<Option<Headers>, Problem> {
    let Some(pairs) = request.args.get("headers").and_then(Value::as_array).filter(|pairs| !pairs.is_empty()) else {
        return Ok(None);
    };
    let mut headers = Headers::new();
    for pair in pairs {
        let side = |at: usize| pair.get(at).and_then(Value::as_str).unwrap_or_default();
        let refused =
            |error: natsune::HeaderError| natsune::Error::new(natsune::Code::InvalidArgument, error.to_string());
        headers.append(side(0), side(1)).map_err(refused)?;
    }
    Ok(Some(headers))
}

fn told(message: &Message) -> Value {
    json!({
        "subject": message.subject(), "data": BASE64.encode(message.payload()), "reply": message.reply(),
        "headers": message.headers().iter().collect::<Vec<_>>(), "status": message.status_code(),
    })
}

pub fn message(message: &Message) -> Value {
    told(message)
}

pub fn js_message(message: &JsMessage) -> Value {
    let mut all = told(message);
    if let Ok(place) = message.metadata() {
        all["metadata"] = json!({
            "stream": place.stream, "consumer": place.consumer, "domain": place.domain,
            "stream_sequence": place.stream_sequence, "consumer_sequence": place.consumer_sequence,
            "num_delivered": place.num_delivered, "num_pending": place.num_pending, "timestamp_ns": place.timestamp_nanos,
        });
    }
    all
}

pub fn stored(message: &StreamMessage) -> Value {
    let mut all = told(message);
    all["sequence"] = message.sequence().into();
    all["timestamp_ns"] = message.timestamp_nanos().into();
    all
}
