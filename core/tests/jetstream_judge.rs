//! Side by side with async-nats on the same server: the same operations give the same results.

mod support;

use std::time::Duration;

use async_nats::jetstream as judge;
use futures_util::StreamExt;
use natsune::jetstream::{ConsumerConfig, Document, JetStream, PublishOptions, PurgeOptions, StreamConfig};
use support::{NatsServer, client, soon};

const SECOND: Duration = Duration::from_secs(1);

macro_rules! both {
    ($server:ident, $ours:ident, $theirs:ident) => {
        let Some($server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        let $ours: JetStream = client(&$server.url()).await.jetstream();
        let $theirs = judge::new(async_nats::connect($server.url()).await.unwrap());
    };
}

fn config() -> StreamConfig {
    StreamConfig {
        name: "S".into(),
        subjects: vec!["s.>".into()],
        max_messages_per_subject: 3,
        max_age: Duration::from_secs(3600),
        allow_direct: true,
        metadata: [("a".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    }
}

fn consumer(name: &str) -> ConsumerConfig {
    ConsumerConfig {
        durable_name: Some(name.into()),
        filter_subject: "s.a".into(),
        max_deliver: 5,
        ..Default::default()
    }
}

#[tokio::test]
async fn streams_are_the_same_to_both() {
    both!(server, ours, theirs);
    let made = ours.create_stream(config()).await.unwrap();
    // The judge finds what we made identical to what it would make, and the other way round.
    let found = theirs.create_stream(config()).await.unwrap();
    assert_eq!(found.cached_info().config, made.cached_info().unwrap().config.known);
    theirs.create_stream(StreamConfig { name: "T".into(), subjects: vec!["t.>".into()], ..config() }).await.unwrap();
    ours.create_stream(StreamConfig { name: "T".into(), subjects: vec!["t.>".into()], ..config() }).await.unwrap();

    ours.publish("s.a", "x").await.unwrap();
    let (a, b) = (made.info().await.unwrap(), theirs.get_stream("S").await.unwrap());
    assert_eq!(a.config.known, b.cached_info().config);
    assert_eq!(a.state, b.cached_info().state);
    assert_eq!(a.created, b.cached_info().created);
    assert!(a.config.extra.keys().all(|name| !name.is_empty()), "{:?}", a.config.extra);

    let mut names: Vec<String> = theirs.stream_names().map(Result::unwrap).collect().await;
    let mut our_names = ours.stream_names(None).await.unwrap();
    names.sort();
    our_names.sort();
    assert_eq!(names, our_names);
    let account = theirs.query_account().await.unwrap();
    let our_account = ours.account_info().await.unwrap();
    assert_eq!((our_account.streams, our_account.limits), (account.streams, account.limits));
    assert_eq!(our_account.storage, account.storage);

    let changed = StreamConfig { max_messages: 100, ..config() };
    let updated = ours.update_stream(Document::from(changed.clone())).await.unwrap();
    let judged = theirs.update_stream(changed).await.unwrap();
    assert_eq!(updated.cached_info().unwrap().config.known, judged.config);
}

#[tokio::test]
async fn acknowledgements_and_refusals_are_the_same() {
    both!(server, ours, theirs);
    ours.create_stream(config()).await.unwrap();
    let id = PublishOptions { id: Some("one".into()), ..Default::default() };
    let first = ours.publish_with("s.a", "x", &id).await.unwrap();
    let publish = judge::message::PublishMessage::build().payload("x".into()).message_id("one");
    let again = theirs.send_publish("s.a", publish).await.unwrap().await.unwrap();
    assert_eq!((again.sequence, again.stream, again.duplicate), (first.sequence, first.stream, true));

    let refused = ours
        .publish_with("s.a", "x", &PublishOptions { expected_last_sequence: Some(9), ..Default::default() })
        .await
        .unwrap_err();
    let publish = judge::message::PublishMessage::build().payload("x".into()).expected_last_sequence(9);
    let judged = theirs.send_publish("s.a", publish).await.unwrap().await.unwrap_err();
    assert_eq!(refused.detail().err_code, Some(10071));
    assert_eq!(judged.kind(), judge::context::PublishErrorKind::WrongLastSequence);
    let text = refused.detail().description.clone().unwrap();
    assert!(format!("{judged:?}").contains(&text), "{judged:?} against {text}");
}

#[tokio::test]
async fn consumers_deliver_the_same_to_both() {
    both!(server, ours, theirs);
    let stream = ours.create_stream(config()).await.unwrap();
    let mut headers = natsune::Headers::new();
    headers.append("K", "1").unwrap();
    headers.append("K", "2").unwrap();
    for (subject, text) in [("s.a", "0"), ("s.b", "1"), ("s.a", "2")] {
        let options = PublishOptions { headers: Some(headers.clone()), ..Default::default() };
        ours.publish_with(subject, text, &options).await.unwrap();
    }
    let mine = stream.create_consumer(consumer("mine")).await.unwrap();
    let judged = theirs.get_stream("S").await.unwrap();
    let info = judged.consumer_info("mine").await.unwrap();
    let ours_info = mine.info().await.unwrap();
    assert_eq!((ours_info.config.known.clone(), ours_info.num_pending), (info.config, info.num_pending));
    let pull = judge::consumer::pull::Config {
        durable_name: Some("theirs".into()),
        filter_subject: "s.a".into(),
        max_deliver: 5,
        ..Default::default()
    };
    let theirs_consumer = judged.create_consumer(pull).await.unwrap();

    let got = mine.fetch(10, SECOND / 2).await.unwrap();
    let mut batch = theirs_consumer.fetch().max_messages(10).expires(SECOND / 2).messages().await.unwrap();
    for message in &got {
        let judged = soon("a message of the judge", batch.next()).await.unwrap().unwrap();
        let (a, b) = (message.metadata().unwrap(), judged.info().unwrap());
        assert_eq!(message.subject(), judged.subject.as_str());
        assert_eq!(message.payload(), &judged.payload[..]);
        let values: Vec<_> = judged.headers.as_ref().unwrap().get_all("K").map(|v| v.as_str().to_owned()).collect();
        assert_eq!(message.headers().values("K").collect::<Vec<_>>(), values);
        assert_eq!(
            (a.stream, a.stream_sequence, a.consumer_sequence),
            (b.stream, b.stream_sequence, b.consumer_sequence)
        );
        assert_eq!((a.num_delivered as i64, a.num_pending), (b.delivered, b.pending));
        assert_eq!(a.timestamp(), b.published);
        message.ack_sync().await.unwrap();
        judged.double_ack().await.unwrap();
    }
    assert_eq!(got.len(), 2);
    let (a, b) = (mine.info().await.unwrap(), judged.consumer_info("theirs").await.unwrap());
    assert_eq!(
        (a.num_ack_pending, a.ack_floor.stream_sequence),
        (b.num_ack_pending as u64, b.ack_floor.stream_sequence)
    );

    let missing = judged.consumer_info("none").await.unwrap_err();
    assert_eq!(missing.kind(), judge::context::ConsumerInfoErrorKind::NotFound);
    assert_eq!(stream.consumer("none").unwrap().info().await.unwrap_err().detail().err_code, Some(10014));
}

#[tokio::test]
async fn stored_messages_and_purges_are_the_same() {
    both!(server, ours, theirs);
    let stream = ours.create_stream(StreamConfig { max_messages_per_subject: -1, ..config() }).await.unwrap();
    let judged = theirs.get_stream("S").await.unwrap();
    for i in 0..20 {
        ours.publish(if i % 2 == 0 { "s.a" } else { "s.b" }, format!("{i}")).await.unwrap();
    }
    for sequence in [1, 7, 20] {
        let (a, b) = (stream.get(sequence).await.unwrap().unwrap(), judged.get_raw_message(sequence).await.unwrap());
        assert_eq!((a.subject(), a.payload(), a.sequence()), (b.subject.as_str(), &b.payload[..], b.sequence));
        assert_eq!(a.timestamp(), b.time);
    }
    let (a, b) =
        (stream.last_for("s.a").await.unwrap().unwrap(), judged.get_last_raw_message_by_subject("s.a").await.unwrap());
    assert_eq!((a.sequence(), a.payload()), (b.sequence, &b.payload[..]));
    assert_eq!(stream.purge(&PurgeOptions { filter: Some("s.a".into()), ..Default::default() }).await.unwrap(), 10);
    assert_eq!(judged.purge().filter("s.b").keep(2).await.unwrap().purged, 8);

    let reader = stream.read(0).await.unwrap();
    let mut ordered = judged
        .create_consumer(judge::consumer::pull::OrderedConfig::default())
        .await
        .unwrap()
        .messages()
        .await
        .unwrap();
    while let Some(message) = reader.next().await.unwrap() {
        let judged = soon("a message of the judge", ordered.next()).await.unwrap().unwrap();
        assert_eq!(message.sequence(), judged.info().unwrap().stream_sequence);
        assert_eq!(message.payload(), &judged.payload[..]);
    }
}
