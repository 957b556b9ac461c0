//! `consume`: keeps pulling, across restarts, silence and full buffers; ends when it must.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use natsune::jetstream::{
    ConsumeOptions, Consumer, ConsumerConfig, Consumption, JetStream, JsMessage, PublishOptions, Stream, StreamConfig,
};
use natsune::{Code, State};
use support::{NatsServer, client, client_with, options, soon, until};

macro_rules! jetstream {
    ($server:ident, $js:ident, $stream:ident) => {
        #[allow(unused_mut)]
        let Some(mut $server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        let $js: JetStream = client(&$server.url()).await.jetstream().with_timeout(support::LIMIT);
        let $stream = stream(&$js).await;
    };
}

async fn stream(js: &JetStream) -> Stream {
    js.create_stream(StreamConfig { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() })
        .await
        .unwrap()
}

async fn consumer(stream: &Stream, name: &str) -> Consumer {
    let config = ConsumerConfig { durable_name: Some(name.into()), max_ack_pending: 100_000, ..Default::default() };
    stream.create_consumer(config).await.unwrap()
}

async fn publish(js: &JetStream, count: usize) {
    let options = PublishOptions::default();
    let pending: Vec<_> = (0..count).map(|i| js.send("s.a", format!("{i:08}"), &options).unwrap()).collect();
    for ack in pending {
        ack.await.unwrap();
    }
}

async fn first_of(consumption: Consumption, count: usize) -> Vec<natsune::Result<JsMessage>> {
    use futures_util::StreamExt;
    consumption.take(count).collect().await
}

fn messages(most: u64) -> ConsumeOptions {
    ConsumeOptions { max_messages: Some(most), ..Default::default() }
}

async fn read(consumption: &Consumption, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let message = soon("a message", consumption.next()).await.unwrap().expect("it goes on");
        message.ack().unwrap();
        seen.push(message.metadata().unwrap().stream_sequence);
    }
    seen
}

#[tokio::test]
async fn everything_comes_in_order_and_no_more_than_asked_is_held() {
    jetstream!(server, js, stream);
    publish(&js, 5000).await;
    let consumer = consumer(&stream, "d").await;
    for (name, options) in
        [("m", messages(100)), ("b", ConsumeOptions { max_bytes: Some(20_000), ..Default::default() })]
    {
        let consumer = self::consumer(&stream, name).await;
        let consumption = consumer.consume(&options).await.unwrap();
        let (mut seen, mut done) = (Vec::new(), 0);
        while seen.len() < 5000 {
            let stats = consumption.stats();
            assert!(stats.pending + stats.unhandled <= if name == "m" { 100 } else { 500 }, "{stats:?}");
            let taken = consumption.take(32, 1 << 20, done);
            done = taken.messages.len();
            seen.extend(taken.messages.iter().map(|m| m.metadata().unwrap().stream_sequence));
            if done == 0 {
                soon("messages", consumption.ready()).await;
            }
        }
        assert_eq!(seen, (1..=5000).collect::<Vec<_>>());
        consumption.stop();
        assert!(matches!(consumption.take(10, 10, 0).state, State::Ended));
    }
    // As a stream of the futures crate, too.
    let consumption = consumer.consume(&ConsumeOptions::default()).await.unwrap();
    let firsts: Vec<_> = soon("ten messages", first_of(consumption, 10)).await;
    assert!(
        firsts.into_iter().enumerate().all(|(i, m)| m.unwrap().metadata().unwrap().stream_sequence == i as u64 + 1)
    );
}

#[tokio::test]
async fn one_message_larger_than_the_bytes_is_an_error_that_says_so() {
    jetstream!(server, js, stream);
    js.publish("s.a", vec![b'x'; 10_000]).await.unwrap();
    let consumer = consumer(&stream, "d").await;
    let options = ConsumeOptions { max_bytes: Some(5000), ..Default::default() };
    let consumption = consumer.consume(&options).await.unwrap();
    let error = soon("the failure", consumption.next()).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded, "{error}");
}

#[tokio::test]
async fn stop_release_and_drain_leave_what_they_say() {
    jetstream!(server, js, stream);
    publish(&js, 20).await;
    let consumer = consumer(&stream, "d").await;
    let acks = |c: &Consumer| {
        let c = c.clone();
        async move { c.info().await.unwrap().num_ack_pending }
    };
    let consumption = consumer.consume(&messages(10)).await.unwrap();
    until("ten are there", || consumption.stats().pending == 10).await;
    consumption.stop();
    assert!(consumption.next().await.unwrap().is_none());
    consumption.closed().await;
    assert_eq!(acks(&consumer).await, 10, "they come again after ack_wait");

    let consumption = consumer.consume(&messages(10)).await.unwrap();
    until("ten more are there", || consumption.stats().pending == 10).await;
    let kept = consumption.next().await.unwrap().unwrap();
    consumption.release();
    assert!(consumption.next().await.unwrap().is_none());
    js.client().flush().await.unwrap();
    kept.ack_sync().await.unwrap();
    let again = consumer.fetch(9, Duration::from_secs(2)).await.unwrap();
    assert_eq!(again.len(), 9, "given back, they come at once");
    for message in &again {
        assert_eq!(message.metadata().unwrap().num_delivered, 2);
        message.ack().unwrap();
    }

    publish(&js, 10).await;
    let consumption = consumer.consume(&messages(8)).await.unwrap();
    until("eight are there", || consumption.stats().pending == 8).await;
    let first = consumption.next().await.unwrap().unwrap();
    consumption.drain();
    let closed = tokio::spawn({
        let consumption = consumption.clone();
        async move { consumption.closed().await }
    });
    let mut count = 1;
    while let Some(message) = soon("the rest", consumption.next()).await.unwrap() {
        message.ack().unwrap();
        count += 1;
    }
    first.ack().unwrap();
    assert_eq!(count, 8, "what came is handed out, nothing more is asked for");
    soon("it closes", closed).await.unwrap();
}

#[tokio::test]
async fn dropping_it_unsubscribes() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let before = js.client().stats().subscriptions;
    let consumption = consumer.consume(&ConsumeOptions::default()).await.unwrap();
    let clone = consumption.clone();
    drop(consumption);
    assert_eq!(js.client().stats().subscriptions, before + 1);
    drop(clone);
    assert_eq!(js.client().stats().subscriptions, before);
    soon("the pull is given up", async {
        while consumer.info().await.unwrap().num_waiting > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_consumer_ends_it_after_what_came() {
    jetstream!(server, js, stream);
    publish(&js, 5).await;
    let consumer = consumer(&stream, "d").await;
    let consumption = consumer.consume(&ConsumeOptions::default()).await.unwrap();
    until("five are there", || consumption.stats().pending == 5).await;
    consumer.delete().await.unwrap();
    assert_eq!(read(&consumption, 5).await, [1, 2, 3, 4, 5]);
    let error = soon("the failure", consumption.next()).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    assert_eq!(consumption.next().await.unwrap_err().code(), Code::NotFound, "it stays so");
}

#[tokio::test]
async fn a_refused_pull_ends_it() {
    jetstream!(server, js, stream);
    let config = ConsumerConfig { durable_name: Some("d".into()), max_batch: 10, ..Default::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let consumption = consumer.consume(&messages(11)).await.unwrap();
    let error = soon("the failure", consumption.next()).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded, "{error}");
    assert!(error.message().contains("MaxRequestBatch of 10"), "{error}");
    let fits = consumer.consume(&messages(10)).await.unwrap();
    publish(&js, 30).await;
    assert_eq!(read(&fits, 30).await.len(), 30);
}

#[tokio::test]
async fn a_closed_client_ends_it() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let consumption = consumer.consume(&ConsumeOptions::default()).await.unwrap();
    let waiting = tokio::spawn({
        let consumption = consumption.clone();
        async move { consumption.next().await }
    });
    js.client().close().await;
    assert!(soon("the end", waiting).await.unwrap().unwrap().is_none());
    assert_eq!(consumer.consume(&ConsumeOptions::default()).await.map(drop).unwrap_err().code(), Code::Closed);
}

/// Restarted again and again in the middle: everything comes, and once it is acknowledged it does not come again.
#[tokio::test]
async fn restarts_in_the_middle_leave_no_gap() {
    jetstream!(server, js, stream);
    let config = ConsumerConfig {
        durable_name: Some("d".into()),
        ack_wait: Duration::from_secs(1),
        max_ack_pending: 100_000,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let total = 4000u64;
    publish(&js, 2000).await;
    let consumption = consumer.consume(&messages(200)).await.unwrap();
    let mut seen: BTreeSet<u64> = read(&consumption, 700).await.into_iter().collect();
    for round in 0..3 {
        server.restart();
        until("connected again", || js.client().connects() == round + 2).await;
        let begun = Instant::now();
        // After a restart the server needs a moment to have its streams back.
        while stream.info().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        if round == 0 {
            publish(&js, 2000).await;
        }
        seen.extend(read(&consumption, 500).await);
    }
    while (seen.len() as u64) < total {
        seen.extend(read(&consumption, 1).await);
    }
    assert_eq!(seen, (1..=total).collect());
    let begun = Instant::now();
    // Acknowledgements that were lost with a connection bring their message once more.
    while consumer.info().await.unwrap().num_ack_pending > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        let _ = tokio::time::timeout(Duration::from_millis(100), read(&consumption, 1)).await;
    }
}

#[tokio::test]
async fn a_consumer_that_is_deleted_while_nobody_is_connected_ends_it() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let mut far = options(&server.url());
    far.reconnect_delay = Duration::from_millis(300);
    far.reconnect_delay_max = Duration::from_millis(300);
    let other = client_with(far).await.jetstream();
    let consumption = other.consumer("S", "d").unwrap().consume(&ConsumeOptions::default()).await.unwrap();
    other.client().set_servers("nats://127.0.0.1:9").unwrap();
    other.client().reconnect().unwrap();
    until("it is away", || other.client().state() == natsune::ClientState::Reconnecting).await;
    consumer.delete().await.unwrap();
    other.client().set_servers(server.url()).unwrap();
    let error = soon("the failure", consumption.next()).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

/// The server is stopped with a signal: no heartbeats, no end of the connection. Then it goes on.
#[tokio::test]
async fn missed_heartbeats_are_noticed_and_it_pulls_again() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let options = ConsumeOptions {
        expires: Some(Duration::from_secs(2)),
        heartbeat: Some(Duration::from_millis(300)),
        ..Default::default()
    };
    let consumption = consumer.consume(&options).await.unwrap();
    publish(&js, 3).await;
    assert_eq!(read(&consumption, 3).await.len(), 3);
    let before = js.client().stats().out_messages;
    signal(server.pid(), "-STOP");
    // Silence for two heartbeats, and it asks again; the connection stays.
    until("it pulled again", || js.client().stats().out_messages > before).await;
    signal(server.pid(), "-CONT");
    publish(&js, 3).await;
    assert_eq!(read(&consumption, 3).await.len(), 3);
    assert_eq!(js.client().connects(), 1);
}

fn signal(pid: u32, which: &str) {
    assert!(Command::new("kill").args([which, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn an_idle_consumption_renews_its_pull() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let options = ConsumeOptions { expires: Some(Duration::from_secs(1)), ..Default::default() };
    let consumption = consumer.consume(&options).await.unwrap();
    let begun = js.client().stats().out_messages;
    until("three more pulls", || js.client().stats().out_messages >= begun + 3).await;
    assert!(consumer.info().await.unwrap().num_waiting <= 1, "one pull at a time");
    publish(&js, 1).await;
    assert_eq!(read(&consumption, 1).await, [1]);
}

#[tokio::test]
async fn cancelled_waits_lose_nothing() {
    jetstream!(server, js, stream);
    let consumer = consumer(&stream, "d").await;
    let consumption = consumer.consume(&messages(50)).await.unwrap();
    let total = 2000;
    let publisher = tokio::spawn({
        let js = js.clone();
        async move { publish(&js, total).await }
    });
    let mut seen = Vec::new();
    let mut round = 0u64;
    let deadline = Instant::now() + Duration::from_secs(30);
    while seen.len() < total {
        assert!(Instant::now() < deadline, "{} of {total}", seen.len());
        round += 1;
        let patience = Duration::from_micros(round * 13 % 300);
        if let Ok(message) = tokio::time::timeout(patience, consumption.next()).await {
            seen.push(message.unwrap().unwrap().metadata().unwrap().stream_sequence);
        }
    }
    publisher.await.unwrap();
    assert_eq!(seen, (1..=total as u64).collect::<Vec<_>>());
}
