//! Reading a stream to its end: in order, without a gap, whatever happens on the way.

mod support;

use std::time::Duration;

use futures_util::TryStreamExt;
use natsune::jetstream::{JetStream, PublishOptions, StorageType, Stream, StreamConfig};
use natsune::{Code, State};
use support::{NatsServer, client, soon, until};

macro_rules! jetstream {
    ($server:ident, $js:ident, $stream:ident, $storage:expr) => {
        #[allow(unused_mut)]
        let Some(mut $server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        // A busy machine is no failure.
        let $js: JetStream = client(&$server.url()).await.jetstream().with_timeout(support::LIMIT);
        let $stream = stream(&$js, $storage).await;
    };
}

async fn stream(js: &JetStream, storage: StorageType) -> Stream {
    let config = StreamConfig { name: "S".into(), subjects: vec!["s.>".into()], storage, ..Default::default() };
    js.create_stream(config).await.unwrap()
}

async fn publish(js: &JetStream, count: usize, size: usize) {
    let options = PublishOptions::default();
    for chunk in 0..count.div_ceil(500) {
        let pending: Vec<_> = (chunk * 500..count.min(chunk * 500 + 500))
            .map(|i| js.send("s.a", format!("{i:08}").repeat(size.div_ceil(8)), &options).unwrap())
            .collect();
        for ack in pending {
            ack.await.unwrap();
        }
    }
}

async fn sequences(stream: &Stream, start: u64) -> Vec<u64> {
    let reader = stream.read(start).await.unwrap();
    let messages: Vec<_> = soon("the end", reader.try_collect::<Vec<_>>()).await.unwrap();
    messages.iter().map(natsune::jetstream::StreamMessage::sequence).collect()
}

#[tokio::test]
async fn a_stream_is_read_from_anywhere_to_its_end() {
    jetstream!(server, js, stream, StorageType::Memory);
    assert!(sequences(&stream, 0).await.is_empty(), "an empty stream ends at once");
    publish(&js, 3000, 8).await;
    assert_eq!(sequences(&stream, 0).await, (1..=3000).collect::<Vec<_>>());
    assert_eq!(sequences(&stream, 2990).await, (2990..=3000).collect::<Vec<_>>());
    assert!(sequences(&stream, 3001).await.is_empty());
    for gone in [1, 5, 2999, 3000] {
        stream.delete_message(gone).await.unwrap();
    }
    let rest: Vec<u64> = (1..=3000).filter(|s| ![1, 5, 2999, 3000].contains(s)).collect();
    assert_eq!(sequences(&stream, 0).await, rest);
    let reader = stream.read(0).await.unwrap();
    let first = reader.next().await.unwrap().unwrap();
    assert_eq!((first.subject(), first.reply(), first.sequence()), ("s.a", None, 2));
    assert!(first.timestamp_nanos() > 0);
    drop(reader);
    soon("its consumers are gone", async {
        while !stream.consumer_names().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    until("nothing waits any more", || js.client().stats().requests_waiting == 0).await;
}

#[tokio::test]
async fn large_messages_are_read_within_bounds() {
    jetstream!(server, js, stream, StorageType::Memory);
    publish(&js, 60, 900_000).await;
    let reader = stream.read(0).await.unwrap();
    let mut seen = Vec::new();
    let mut done = 0;
    loop {
        soon("messages", reader.ready()).await;
        let taken = reader.take(4, 4 << 20, done);
        done = taken.messages.len();
        seen.extend(taken.messages.iter().map(|m| m.sequence()));
        match taken.state {
            State::Ended => break,
            State::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_deleted_while_it_is_read_does_not_hold_it_up() {
    jetstream!(server, js, stream, StorageType::Memory);
    publish(&js, 400, 50_000).await;
    let reader = stream.read(0).await.unwrap();
    // Only what fits into the bounds is under way; the rest is deleted before it can be.
    for sequence in 1..=50 {
        assert_eq!(soon("a message", reader.next()).await.unwrap().unwrap().sequence(), sequence);
    }
    stream.purge(&Default::default()).await.unwrap();
    let mut last = 50;
    while let Some(message) = soon("the end", reader.next()).await.unwrap() {
        assert_eq!(message.sequence(), last + 1);
        last += 1;
    }
    assert!(last < 400);
}

#[tokio::test]
async fn restarts_on_the_way_leave_no_gap() {
    jetstream!(server, js, stream, StorageType::File);
    let total = 1200;
    publish(&js, total, 20_000).await;
    let reader = stream.read(0).await.unwrap();
    let mut seen = Vec::new();
    for round in 0..3 {
        while seen.len() < (round + 1) * 100 {
            seen.push(soon("a message", reader.next()).await.unwrap().unwrap().sequence());
        }
        server.restart();
        until("connected again", || js.client().connects() == round as u64 + 2).await;
    }
    while let Some(message) = soon("the rest", reader.next()).await.unwrap() {
        seen.push(message.sequence());
    }
    assert_eq!(seen, (1..=total as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn its_consumer_may_be_taken_away() {
    jetstream!(server, js, stream, StorageType::Memory);
    publish(&js, 1200, 20_000).await;
    let reader = stream.read(0).await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = soon("a message", reader.next()).await.unwrap() {
        seen.push(message.sequence());
        if seen.len() % 300 == 0 {
            for name in stream.consumer_names().await.unwrap() {
                // It may have gone by itself.
                let _ = stream.delete_consumer(&name).await;
            }
        }
    }
    assert_eq!(seen, (1..=1200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deleted_stream_is_a_failure() {
    jetstream!(server, js, stream, StorageType::Memory);
    publish(&js, 1200, 20_000).await;
    let reader = stream.read(0).await.unwrap();
    reader.next().await.unwrap().unwrap();
    stream.delete().await.unwrap();
    let error = soon("the failure", async {
        loop {
            match reader.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it is not the end"),
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(error.code(), Code::NotFound, "{error}");
    reader.stop();
}

#[tokio::test]
async fn cancelled_waits_lose_nothing() {
    jetstream!(server, js, stream, StorageType::Memory);
    publish(&js, 2000, 100).await;
    let reader = stream.read(0).await.unwrap();
    let mut seen = Vec::new();
    let mut round = 0u64;
    loop {
        round += 1;
        match tokio::time::timeout(Duration::from_micros(round * 7 % 100), reader.next()).await {
            Ok(Ok(Some(message))) => seen.push(message.sequence()),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => assert!(round < 10_000_000),
        }
    }
    assert_eq!(seen, (1..=2000).collect::<Vec<_>>());
}
