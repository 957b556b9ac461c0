//! Streams: made, found, changed, purged, deleted; their messages one by one.

mod support;

use std::time::Duration;

use natsune::Code;
use natsune::jetstream::{
    DiscardPolicy, Document, JetStream, PublishOptions, PurgeOptions, RetentionPolicy, StreamConfig,
};
use support::{NatsServer, client};

macro_rules! jetstream {
    ($server:ident, $js:ident) => {
        let Some($server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        let $js: JetStream = client(&$server.url()).await.jetstream();
    };
}

fn config(name: &str, subjects: &[&str]) -> StreamConfig {
    StreamConfig { name: name.into(), subjects: subjects.iter().map(|s| (*s).into()).collect(), ..Default::default() }
}

#[tokio::test]
async fn a_stream_is_made_found_changed_and_deleted() {
    jetstream!(server, js);
    let stream = js.create_stream(config("S", &["s.>"])).await.unwrap();
    assert_eq!((stream.name(), stream.cached_info().unwrap().state.messages), ("S", 0));
    // The same again succeeds, another configuration does not.
    js.create_stream(config("S", &["s.>"])).await.unwrap();
    let error = js.create_stream(config("S", &["other.>"])).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::AlreadyExists, Some(10058)));
    let error = js.create_stream(config("T", &["s.a"])).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::AlreadyExists, Some(10065)), "its subjects are taken");

    let mut changed = stream.info().await.unwrap().config.clone();
    changed.max_messages = 5;
    changed.discard = DiscardPolicy::New;
    let updated = stream.update(changed).await.unwrap();
    assert_eq!(updated.cached_info().unwrap().config.max_messages, 5);
    assert_eq!(stream.info().await.unwrap().config.max_messages, 5);
    let error = stream
        .update(StreamConfig { retention: RetentionPolicy::WorkQueue, ..config("S", &["s.>"]) })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert_eq!(stream.update(config("T", &["s.>"])).await.unwrap_err().code(), Code::InvalidArgument);

    js.create_or_update_stream(StreamConfig { max_messages: 7, ..config("S", &["s.>"]) }).await.unwrap();
    js.create_or_update_stream(config("T", &["t.>"])).await.unwrap();
    let mut names = js.stream_names(None).await.unwrap();
    names.sort();
    assert_eq!(names, ["S", "T"]);
    assert_eq!(js.stream_names(Some("t.x")).await.unwrap(), ["T"]);
    assert_eq!(js.streams().await.unwrap().len(), 2);
    assert_eq!(js.account_info().await.unwrap().streams, 2);

    js.delete_stream("T").await.unwrap();
    stream.delete().await.unwrap();
    for error in [
        stream.info().await.unwrap_err(),
        stream.delete().await.unwrap_err(),
        js.update_stream(config("S", &["s.>"])).await.unwrap_err(),
        stream.purge(&PurgeOptions::default()).await.unwrap_err(),
        stream.get(1).await.unwrap_err(),
        stream.read(0).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.code(), error.detail().err_code), (Code::NotFound, Some(10059)), "{error}");
    }
    assert!(js.stream_names(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn names_that_would_change_the_subject_are_refused() {
    jetstream!(server, js);
    for name in ["", "a.b", "a b", "*", ">", "a/b", "a\r\nb"] {
        assert_eq!(js.stream(name).unwrap_err().code(), Code::InvalidArgument, "{name:?}");
        assert_eq!(js.create_stream(config(name, &["x"])).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(js.consumer("S", name).unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(js.with_domain(name).unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(js.with_prefix("a b").unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(js.stream("S").unwrap().last_for("a b").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn messages_are_got_one_by_one() {
    messages_one_by_one(false).await;
}

#[tokio::test]
async fn direct_answers_are_the_same() {
    messages_one_by_one(true).await;
}

async fn messages_one_by_one(allow_direct: bool) {
    jetstream!(server, js);
    let stream = js.create_stream(StreamConfig { allow_direct, ..config("S", &["s.>"]) }).await.unwrap();
    let mut headers = natsune::Headers::new();
    headers.append("H", "1").unwrap();
    headers.append("H", "2").unwrap();
    let options = PublishOptions { headers: Some(headers), ..Default::default() };
    js.publish_with("s.a", "one", &options).await.unwrap();
    js.publish("s.b", b"\x00\xff").await.unwrap();
    js.publish("s.a", "").await.unwrap();

    let one = stream.get(1).await.unwrap().unwrap();
    assert_eq!((one.subject(), one.payload(), one.sequence(), one.reply()), ("s.a", &b"one"[..], 1, None));
    assert_eq!(one.headers().values("H").collect::<Vec<_>>(), ["1", "2"]);
    assert!(one.timestamp() <= time_now() && one.timestamp_nanos() > 0);
    assert_eq!(stream.get(2).await.unwrap().unwrap().payload(), b"\x00\xff");
    assert_eq!(stream.last_for("s.a").await.unwrap().unwrap().sequence(), 3);
    assert_eq!(stream.last_for("s.*").await.unwrap().unwrap().sequence(), 3);
    assert_eq!(stream.next_for("s.b", 1).await.unwrap().unwrap().sequence(), 2);
    assert_eq!(stream.next_for("s.a", 2).await.unwrap().unwrap().sequence(), 3);
    for absent in
        [stream.get(4).await, stream.get(999).await, stream.last_for("s.zz").await, stream.next_for("s.b", 3).await]
    {
        assert!(absent.unwrap().is_none());
    }
    assert_eq!(one.headers().len(), 2, "{:?}", one.headers());
    assert!(stream.get(3).await.unwrap().unwrap().header_block().is_none());
    stream.delete_message(2).await.unwrap();
    assert!(stream.get(2).await.unwrap().is_none());
    assert_eq!(stream.delete_message(2).await.unwrap_err().code(), Code::NotFound);
    stream.erase_message(1).await.unwrap();
    let info = stream.info().await.unwrap();
    assert_eq!((info.state.messages, info.state.last_sequence), (1, 3));
}

fn time_now() -> std::time::SystemTime {
    std::time::SystemTime::now() + Duration::from_secs(1)
}

#[tokio::test]
async fn purging_says_how_many() {
    jetstream!(server, js);
    let stream = js.create_stream(config("S", &["s.>"])).await.unwrap();
    for i in 0..10 {
        js.publish(if i % 2 == 0 { "s.even" } else { "s.odd" }, "x").await.unwrap();
    }
    let purge = |options| {
        let stream = stream.clone();
        async move { stream.purge(&options).await }
    };
    assert_eq!(purge(PurgeOptions { sequence: Some(3), ..Default::default() }).await.unwrap(), 2);
    assert_eq!(
        purge(PurgeOptions { filter: Some("s.odd".into()), keep: Some(1), ..Default::default() }).await.unwrap(),
        3
    );
    assert_eq!(purge(PurgeOptions { filter: Some("s.none".into()), ..Default::default() }).await.unwrap(), 0);
    assert_eq!(purge(PurgeOptions { keep: Some(2), ..Default::default() }).await.unwrap(), 3);
    let both = PurgeOptions { keep: Some(2), sequence: Some(1), filter: None };
    assert_eq!(purge(both).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(purge(PurgeOptions::default()).await.unwrap(), 2);
    assert_eq!(stream.info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn subjects_are_counted_on_request() {
    jetstream!(server, js);
    let stream = js.create_stream(config("S", &["s.>"])).await.unwrap();
    for subject in ["s.a", "s.b", "s.b"] {
        js.publish(subject, "").await.unwrap();
    }
    let info = stream.info_with_subjects("s.>").await.unwrap();
    assert_eq!(info.raw()["state"]["subjects"], serde_json::json!({"s.a": 1, "s.b": 2}));
    assert_eq!(stream.info_with_subjects("s.c").await.unwrap().raw()["state"].get("subjects"), None);
}

#[tokio::test]
async fn an_information_can_be_sent_back_whole() {
    jetstream!(server, js);
    let stream = js.create_stream(config("S", &["s.>"])).await.unwrap();
    let before = stream.info().await.unwrap();
    let config: Document<StreamConfig> = before.config.clone();
    let after = js.update_stream(config).await.unwrap();
    assert_eq!(after.cached_info().unwrap().config, before.config);
}

#[tokio::test]
async fn without_jetstream_it_says_so() {
    let Some(server) = NatsServer::start(&[]) else { return };
    let js = client(&server.url()).await.jetstream();
    let error = js.create_stream(config("S", &["s.>"])).await.unwrap_err();
    assert_eq!((error.code(), error.detail().status), (Code::Unavailable, Some(503)), "{error}");
    assert_eq!(js.with_domain("hub").unwrap().account_info().await.unwrap_err().code(), Code::Unavailable);
    let error = js.publish("s.a", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::NoResponders);
    // Nobody can say that there is no message.
    let consumer = js.consumer("S", "c").unwrap();
    assert_eq!(consumer.next(Duration::from_millis(300)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(consumer.fetch(5, Duration::ZERO).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_domain_is_reached_by_its_prefix() {
    let Some(server) = NatsServer::with_config("jetstream { store_dir: js, domain: hub }") else { return };
    let js = client(&server.url()).await.jetstream().with_domain("hub").unwrap();
    let stream = js.create_stream(config("S", &["s.>"])).await.unwrap();
    let ack = js.publish("s.a", "x").await.unwrap();
    assert_eq!((ack.domain.as_deref(), ack.sequence), (Some("hub"), 1));
    assert_eq!(js.account_info().await.unwrap().domain.as_deref(), Some("hub"));
    assert_eq!(stream.get(1).await.unwrap().unwrap().payload(), b"x");
    let reader = stream.read(0).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().sequence(), 1);
    assert!(reader.next().await.unwrap().is_none());
}
