//! Consumers: made and changed; `next`, `fetch`, and everything that settles a message.

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use natsune::Code;
use natsune::jetstream::{Consumer, ConsumerConfig, FetchOptions, JetStream, JsMessage, Stream, StreamConfig};
use support::{NatsServer, client, soon};

const SECOND: Duration = Duration::from_secs(1);

macro_rules! jetstream {
    ($server:ident, $js:ident, $stream:ident) => {
        let Some($server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        let $js: JetStream = client(&$server.url()).await.jetstream().with_timeout(support::LIMIT);
        let $stream = stream(&$js).await;
    };
}

async fn stream(js: &JetStream) -> Stream {
    js.create_stream(StreamConfig { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() })
        .await
        .unwrap()
}

fn durable(name: &str) -> ConsumerConfig {
    ConsumerConfig { durable_name: Some(name.into()), ..Default::default() }
}

async fn publish(js: &JetStream, count: usize) {
    for i in 0..count {
        js.publish("s.a", format!("{i}")).await.unwrap();
    }
}

fn texts(messages: &[JsMessage]) -> Vec<&str> {
    messages.iter().map(|m| std::str::from_utf8(m.payload()).unwrap()).collect()
}

async fn pending(consumer: &Consumer) -> (u64, u64) {
    let info = consumer.info().await.unwrap();
    (info.num_pending, info.num_ack_pending)
}

#[tokio::test]
async fn a_consumer_is_made_found_changed_and_deleted() {
    jetstream!(server, js, stream);
    publish(&js, 3).await;
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    assert_eq!((consumer.name(), consumer.cached_info().unwrap().num_pending), ("d", 3));
    stream.create_consumer(durable("d")).await.unwrap();
    let error = stream.create_consumer(ConsumerConfig { max_deliver: 4, ..durable("d") }).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::AlreadyExists, Some(10148)), "{error}");
    let error = stream.update_consumer(durable("none")).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::NotFound, Some(10149)), "{error}");

    let mut changed = consumer.info().await.unwrap().config.clone();
    changed.max_deliver = 7;
    let updated = stream.update_consumer(changed).await.unwrap();
    assert_eq!(updated.cached_info().unwrap().config.max_deliver, 7);
    stream.create_or_update_consumer(ConsumerConfig { max_deliver: 9, ..durable("d") }).await.unwrap();
    stream.create_or_update_consumer(ConsumerConfig { filter_subject: "s.a".into(), ..durable("f") }).await.unwrap();
    stream
        .create_consumer(ConsumerConfig { filter_subjects: vec!["s.a".into(), "s.b".into()], ..durable("g") })
        .await
        .unwrap();
    let unnamed = stream.create_consumer(ConsumerConfig::default()).await.unwrap();
    assert!(!unnamed.name().is_empty());
    unnamed.delete().await.unwrap();
    let mut names = stream.consumer_names().await.unwrap();
    names.sort();
    assert_eq!(names, ["d", "f", "g"]);
    assert_eq!(stream.consumers().await.unwrap().len(), 3);

    let two = ConsumerConfig { name: Some("x".into()), ..durable("y") };
    assert_eq!(stream.create_consumer(two).await.unwrap_err().code(), Code::InvalidArgument);
    let dotted = stream.create_consumer(durable("a.b")).await.unwrap_err();
    assert_eq!(dotted.code(), Code::InvalidArgument);

    stream.delete_consumer("d").await.unwrap();
    for error in [
        consumer.info().await.unwrap_err(),
        consumer.delete().await.unwrap_err(),
        consumer.next(SECOND).await.unwrap_err(),
        consumer.fetch(1, SECOND).await.unwrap_err(),
        js.consumer("S", "none").unwrap().consume(&Default::default()).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.code(), error.detail().err_code), (Code::NotFound, Some(10014)), "{error}");
    }
    let error = js.consumer("NONE", "d").unwrap().info().await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::NotFound, Some(10059)));
}

#[tokio::test]
async fn next_gives_a_message_or_nothing() {
    jetstream!(server, js, stream);
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    let begun = Instant::now();
    assert!(consumer.next(Duration::from_millis(200)).await.unwrap().is_none());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(180) && took < Duration::from_millis(650), "{took:?}");
    publish(&js, 2).await;
    // The server counts what is pending a moment after it acknowledged it.
    soon("both are counted", async { while pending(&consumer).await.0 < 2 {} }).await;
    let message = consumer.next(SECOND).await.unwrap().unwrap();
    let place = message.metadata().unwrap();
    assert_eq!((place.stream, place.consumer, place.domain), ("S", "d", None));
    assert_eq!((place.stream_sequence, place.consumer_sequence, place.num_delivered, place.num_pending), (1, 1, 1, 1));
    assert!(place.timestamp_nanos > 1_700_000_000_000_000_000);
    message.ack().unwrap();
    // One that comes while somebody waits.
    let second = consumer.next(SECOND).await.unwrap().unwrap();
    second.ack_sync().await.unwrap();
    let waiting = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.next(10 * SECOND).await }
    });
    publish(&js, 1).await;
    let third = soon("the message", waiting).await.unwrap().unwrap().unwrap();
    third.ack_sync().await.unwrap();
    assert_eq!(pending(&consumer).await, (0, 0));
}

#[tokio::test]
async fn fetch_is_bounded_by_messages_bytes_and_time() {
    jetstream!(server, js, stream);
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    assert!(consumer.fetch(5, Duration::from_millis(100)).await.unwrap().is_empty());
    let at_once = FetchOptions { max_messages: 5, no_wait: true, ..Default::default() };
    let begun = Instant::now();
    assert!(consumer.fetch_with(&at_once).unwrap().await.unwrap().is_empty());
    assert!(begun.elapsed() < SECOND);

    publish(&js, 10).await;
    assert_eq!(texts(&consumer.fetch(3, SECOND).await.unwrap()), ["0", "1", "2"]);
    let begun = Instant::now();
    assert_eq!(
        consumer.fetch_with(&FetchOptions { max_messages: 50, ..at_once.clone() }).unwrap().await.unwrap().len(),
        7
    );
    assert!(begun.elapsed() < SECOND);
    assert_eq!(consumer.leftover(), 0);

    let by_bytes = stream.create_consumer(durable("b")).await.unwrap();
    let one = by_bytes.next(SECOND).await.unwrap().unwrap().size() as u64;
    let bytes = |n| FetchOptions { max_messages: 50, max_bytes: Some(n), timeout: Some(SECOND), no_wait: false };
    let begun = Instant::now();
    assert_eq!(by_bytes.fetch_with(&bytes(one * 3 + one / 2)).unwrap().await.unwrap().len(), 3);
    assert!(begun.elapsed() < SECOND, "a full batch does not wait");
    let error = by_bytes.fetch_with(&bytes(one / 2)).unwrap().await.unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded, "{error}");
    assert_eq!(by_bytes.fetch_with(&bytes(100_000)).unwrap().await.unwrap().len(), 6);

    let bad = consumer.fetch(0, SECOND).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let limited = stream.create_consumer(ConsumerConfig { max_batch: 3, ..durable("l") }).await.unwrap();
    assert_eq!(limited.fetch(4, SECOND).await.unwrap_err().code(), Code::LimitExceeded);
    assert_eq!(limited.fetch(3, SECOND).await.unwrap().len(), 3);
}

#[tokio::test]
async fn calls_at_the_same_time_share_what_comes() {
    jetstream!(server, js, stream);
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let consumer = consumer.clone();
            tokio::spawn(async move { consumer.fetch(5, 10 * SECOND).await.unwrap() })
        })
        .collect();
    publish(&js, 100).await;
    let mut seen = BTreeSet::new();
    for call in calls {
        let messages = soon("a batch", call).await.unwrap();
        assert_eq!(messages.len(), 5);
        seen.extend(messages.iter().map(|m| m.metadata().unwrap().stream_sequence));
    }
    assert_eq!(seen.len(), 100);
    assert_eq!(consumer.leftover(), 0);
}

/// Every call is cancelled at another moment; nothing is lost and nothing comes twice.
#[tokio::test]
async fn a_storm_of_cancellations_loses_nothing() {
    jetstream!(server, js, stream);
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    let total = 3000;
    let publisher = tokio::spawn({
        let js = js.clone();
        async move {
            for i in 0..total {
                js.send("s.a", format!("{i}"), &Default::default()).unwrap().await.unwrap();
            }
        }
    });
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut round = 0u64;
    while seen.len() < total {
        assert!(Instant::now() < deadline, "{} of {total} came", seen.len());
        round += 1;
        let patience = Duration::from_micros(round * 37 % 2500);
        let fetch = consumer.fetch(1 + round % 40, 5 * SECOND);
        if let Ok(batch) = tokio::time::timeout(patience, fetch).await {
            seen.extend(batch.unwrap().into_iter().map(|m| {
                m.ack().unwrap();
                m.metadata().unwrap().stream_sequence
            }));
        }
        if round.is_multiple_of(3)
            && let Ok(Ok(Some(m))) = tokio::time::timeout(patience / 2, consumer.next(SECOND)).await
        {
            m.ack().unwrap();
            seen.push(m.metadata().unwrap().stream_sequence);
        }
    }
    publisher.await.unwrap();
    assert_eq!(seen, (1..=total as u64).collect::<Vec<_>>(), "in order, each once");
    js.client().flush().await.unwrap();
    assert_eq!(pending(&consumer).await, (0, 0));
    assert_eq!(js.client().stats().requests_waiting, 0);
    let begun = js.client().stats().subscriptions;
    drop(consumer);
    assert_eq!(js.client().stats().subscriptions, begun - 1, "the handle's subscription goes with it");
}

#[tokio::test]
async fn the_low_level_fetch_calls_and_takes() {
    jetstream!(server, js, stream);
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    publish(&js, 3).await;
    let options = FetchOptions { max_messages: 3, timeout: Some(5 * SECOND), ..Default::default() };
    let (send, receive) = mpsc::channel();
    let mut fetch = consumer.start_fetch(&options, Box::new(move || send.send(()).unwrap())).unwrap();
    tokio::task::spawn_blocking(move || receive.recv_timeout(Duration::from_secs(10)).unwrap()).await.unwrap();
    let messages = fetch.take().unwrap().unwrap();
    assert!(messages.len() == 3 && fetch.take().is_none());
    // Put back, they come first again; a settled one does not.
    messages[1].ack().unwrap();
    consumer.give_back(messages);
    assert_eq!(texts(&consumer.fetch(2, SECOND).await.unwrap()), ["0", "2"]);
}

#[tokio::test]
async fn settling_follows_one_rule() {
    jetstream!(server, js, stream);
    publish(&js, 1).await;
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    let message = consumer.next(SECOND).await.unwrap().unwrap();
    message.in_progress().unwrap();
    message.in_progress().unwrap();
    assert!(!message.is_settled());
    message.nak(None).unwrap();
    message.nak(None).unwrap();
    message.in_progress().unwrap();
    assert!(message.is_settled());
    for error in [message.ack().unwrap_err(), message.term(None).unwrap_err(), message.ack_sync().await.unwrap_err()] {
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
    // It comes again at once, then after the delay.
    let message = consumer.next(SECOND).await.unwrap().unwrap();
    assert_eq!(message.metadata().unwrap().num_delivered, 2);
    let begun = Instant::now();
    message.nak(Some(Duration::from_millis(400))).unwrap();
    let message = consumer.next(5 * SECOND).await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(message.metadata().unwrap().num_delivered, 3);
    message.ack_sync().await.unwrap();
    message.ack_sync().await.unwrap();
    message.ack().unwrap();
    assert_eq!(message.nak(None).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(pending(&consumer).await, (0, 0));
}

#[tokio::test]
async fn a_terminated_message_never_comes_again_and_says_why() {
    jetstream!(server, js, stream);
    publish(&js, 1).await;
    let consumer =
        stream.create_consumer(ConsumerConfig { ack_wait: Duration::from_millis(300), ..durable("d") }).await.unwrap();
    let mut advisories = js.client().subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>").await.unwrap();
    consumer.next(SECOND).await.unwrap().unwrap().term(Some("no\nuse")).unwrap();
    let advisory = soon("the advisory", advisories.next()).await.unwrap().unwrap();
    let advisory: serde_json::Value = serde_json::from_slice(advisory.payload()).unwrap();
    assert_eq!(advisory["reason"], "no use");
    assert!(consumer.next(Duration::from_millis(700)).await.unwrap().is_none());
    assert_eq!(pending(&consumer).await, (0, 0));
}

#[tokio::test]
async fn progress_holds_a_redelivery_off_and_max_deliver_ends_it() {
    jetstream!(server, js, stream);
    publish(&js, 1).await;
    let config = ConsumerConfig { ack_wait: Duration::from_millis(500), max_deliver: 2, ..durable("d") };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut advisories = js.client().subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>").await.unwrap();
    let first = consumer.next(SECOND).await.unwrap().unwrap();
    let again = consumer.clone();
    let redelivery = tokio::spawn(async move { again.next(10 * SECOND).await.unwrap().unwrap() });
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(150));
    for _ in 0..8 {
        ticks.tick().await;
        first.in_progress().unwrap();
    }
    assert!(!redelivery.is_finished(), "it is being worked on");
    let second = soon("the redelivery", redelivery).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(1400), "{:?}", begun.elapsed());
    assert_eq!(second.metadata().unwrap().num_delivered, 2);
    assert!(consumer.next(Duration::from_millis(1200)).await.unwrap().is_none(), "twice is enough");
    soon("the advisory", advisories.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn acknowledgements_stay_behind_publishes_and_are_confirmed() {
    jetstream!(server, js, stream);
    publish(&js, 50).await;
    let consumer = stream.create_consumer(durable("d")).await.unwrap();
    let messages = consumer.fetch(50, SECOND).await.unwrap();
    let confirms = messages.iter().map(JsMessage::ack_sync);
    for confirm in confirms {
        confirm.await.unwrap();
    }
    assert_eq!(pending(&consumer).await, (0, 0));
    // An acknowledgement that cannot be confirmed leaves the message open.
    publish(&js, 1).await;
    let message = consumer.next(SECOND).await.unwrap().unwrap();
    let error = message.ack_sync_within(Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(!message.is_settled());
    message.ack_sync().await.unwrap();
    js.client().close().await;
    let closed = consumer.next(SECOND).await.unwrap_err();
    assert_eq!(closed.code(), Code::Closed);
}

#[tokio::test]
async fn a_push_consumer_is_not_pulled() {
    jetstream!(server, js, stream);
    let push = ConsumerConfig { deliver_subject: Some("push.here".into()), ..durable("p") };
    let consumer = stream.create_consumer(push).await.unwrap();
    for error in
        [consumer.next(SECOND).await.unwrap_err(), consumer.consume(&Default::default()).await.map(drop).unwrap_err()]
    {
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn a_wait_goes_on_across_a_restart_of_the_server() {
    let Some(mut server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
    let js = client(&server.url()).await.jetstream();
    let stream = stream(&js).await;
    // What the server had sent when it was killed comes again soon.
    let config = ConsumerConfig { ack_wait: SECOND, ..durable("d") };
    let consumer = stream.create_consumer(config).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.fetch(2, 20 * SECOND).await });
    publish(&js, 1).await;
    server.restart();
    support::until("connected again", || js.client().connects() == 2).await;
    publish(&js, 1).await;
    let messages = soon("both messages", waiting).await.unwrap().unwrap();
    assert_eq!(messages.len(), 2);
}
