//! Publishing into streams: acknowledgements, duplicates, expectations, the retry, and what a timeout means.

mod support;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use natsune::jetstream::{JetStream, PublishOptions, StreamConfig};
use natsune::{Applied, Code};
use support::{FakeServer, NatsServer, Op, client, soon, until};

macro_rules! jetstream {
    ($server:ident, $js:ident) => {
        let Some($server) = NatsServer::start(&["-js", "-sd", "js"]) else { return };
        let $js: JetStream = client(&$server.url()).await.jetstream();
        $js.create_stream(StreamConfig { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() })
            .await
            .unwrap();
    };
}

#[tokio::test]
async fn an_acknowledgement_says_where_it_is() {
    jetstream!(server, js);
    let ack = js.publish("s.a", "x").await.unwrap();
    assert_eq!((ack.stream.as_str(), ack.sequence, ack.duplicate, ack.domain), ("S", 1, false, None));
    let id = PublishOptions { id: Some("one".into()), ..Default::default() };
    assert_eq!(js.publish_with("s.a", "x", &id).await.unwrap().sequence, 2);
    let again = js.publish_with("s.a", "x", &id).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (2, true));
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_refuses() {
    jetstream!(server, js);
    js.publish_with("s.a", "1", &PublishOptions { id: Some("one".into()), ..Default::default() }).await.unwrap();
    js.publish("s.b", "2").await.unwrap();
    let refused = [
        (PublishOptions { expected_last_sequence: Some(1), ..Default::default() }, 10071),
        (PublishOptions { expected_stream: Some("OTHER".into()), ..Default::default() }, 10060),
        (PublishOptions { expected_last_message_id: Some("one".into()), ..Default::default() }, 10070),
        (PublishOptions { expected_last_subject_sequence: Some(0), ..Default::default() }, 10071),
    ];
    for (options, number) in refused {
        let error = js.publish_with("s.a", "x", &options).await.unwrap_err();
        let (code, detail, applied) = (error.code(), error.detail().err_code, error.applied());
        assert_eq!((code, detail, applied), (Code::Conflict, Some(number), Applied::No), "{error}");
    }
    let holds = PublishOptions {
        expected_stream: Some("S".into()),
        expected_last_sequence: Some(2),
        expected_last_subject_sequence: Some(1),
        ..Default::default()
    };
    assert_eq!(js.publish_with("s.a", "x", &holds).await.unwrap().sequence, 3);
    let wider = PublishOptions {
        expected_last_subject_sequence: Some(3),
        expected_last_subject: Some("s.*".into()),
        ..Default::default()
    };
    assert_eq!(js.publish_with("s.c", "x", &wider).await.unwrap().sequence, 4);
}

#[tokio::test]
async fn a_time_to_live_is_kept() {
    jetstream!(server, js);
    let config =
        StreamConfig { name: "T".into(), subjects: vec!["t.>".into()], allow_message_ttl: true, ..Default::default() };
    let stream = js.create_stream(config).await.unwrap();
    let ttl = |ttl| PublishOptions { ttl: Some(ttl), ..Default::default() };
    js.publish_with("t.a", "x", &ttl(Duration::from_secs(60))).await.unwrap();
    js.publish_with("t.a", "x", &ttl(Duration::MAX)).await.unwrap();
    assert_eq!(stream.get(1).await.unwrap().unwrap().header("Nats-TTL"), Some("60"));
    assert_eq!(stream.get(2).await.unwrap().unwrap().header("Nats-TTL"), Some("never"));
    let error = js.publish_with("s.a", "x", &ttl(Duration::from_secs(60))).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::InvalidArgument, Some(10166)));
}

#[tokio::test]
async fn nobody_listening_is_tried_three_times() {
    jetstream!(server, js);
    let begun = Instant::now();
    let error = js.publish("nowhere.a", "x").await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::NoResponders, Applied::No), "{error}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(490) && took < Duration::from_secs(3), "{took:?}");
    // A stream that comes meanwhile gets it.
    let pending = js.send("late.a", "x", &PublishOptions::default()).unwrap();
    let config = StreamConfig { name: "LATE".into(), subjects: vec!["late.>".into()], ..Default::default() };
    js.create_stream(config).await.unwrap();
    assert_eq!(soon("the second try", pending).await.unwrap().stream, "LATE");
}

#[tokio::test]
async fn many_are_under_way_at_once_and_keep_their_order() {
    jetstream!(server, js);
    let options = PublishOptions::default();
    let pending: Vec<_> = (0..2000).map(|i| js.send("s.a", format!("{i}"), &options).unwrap()).collect();
    for (i, ack) in pending.into_iter().enumerate() {
        assert_eq!(soon("an acknowledgement", ack).await.unwrap().sequence, i as u64 + 1);
    }
    assert_eq!(js.client().stats().requests_waiting, 0);
}

#[tokio::test]
async fn a_function_is_called_once_unless_the_handle_is_dropped() {
    jetstream!(server, js);
    let (send, receive) = mpsc::channel();
    let options = PublishOptions::default();
    let of = |send: mpsc::Sender<_>| Box::new(move |result: natsune::Result<_>| drop(send.send(result)));
    let handle = js.start_publish("s.a", Some(b"NATS/1.0\r\nA: b\r\n\r\n"), b"x", &options, of(send.clone())).unwrap();
    let first =
        tokio::task::spawn_blocking(move || (receive.recv_timeout(Duration::from_secs(10)), receive)).await.unwrap();
    assert_eq!(first.0.unwrap().unwrap().sequence, 1);
    drop(handle);
    // Cancelled while it waits for its second try.
    let handle = js.start_publish("nowhere.a", None, b"x", &options, of(send)).unwrap();
    until("no more answers", || js.client().stats().requests_waiting == 0).await;
    drop(handle);
    assert!(first.1.recv_timeout(Duration::from_secs(10)).is_err(), "the sender is gone without a word");
    assert_eq!(js.stream("S").unwrap().get(1).await.unwrap().unwrap().header("A"), Some("b"));
    assert_eq!(
        js.start_publish("bad subject", None, b"", &options, Box::new(|_| {})).unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_timeout_is_worth_a_retry_only_with_an_id() {
    let server = FakeServer::start().await;
    let url = server.url();
    let serve = tokio::spawn(async move {
        let (mut connection, _) = server.accept_client().await;
        while let Some(op) = connection.next_op().await {
            if op == Op::Ping {
                connection.send("PONG\r\n").await;
            }
        }
    });
    let js = client(&url).await.jetstream();
    for (id, retryable) in [(None, false), (Some("a".to_owned()), true)] {
        let options = PublishOptions { id, timeout: Some(Duration::from_millis(30)), ..Default::default() };
        let error = js.publish_with("s.a", "x", &options).await.unwrap_err();
        assert_eq!((error.code(), error.applied()), (Code::Timeout, Applied::Maybe));
        assert_eq!(error.retryable(), retryable);
    }
    js.client().close().await;
    assert_eq!(js.publish("s.a", "x").await.unwrap_err().code(), Code::Closed);
    serve.abort();
}

#[tokio::test]
async fn limits_of_the_stream_are_told_apart() {
    jetstream!(server, js);
    let config = StreamConfig {
        name: "L".into(),
        subjects: vec!["l.>".into()],
        max_messages: 1,
        max_message_size: 10,
        discard: natsune::jetstream::DiscardPolicy::New,
        ..Default::default()
    };
    js.create_stream(config).await.unwrap();
    let error = js.publish("l.a", "more than ten bytes").await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::LimitExceeded, Some(10054)));
    js.publish("l.a", "1").await.unwrap();
    let error = js.publish("l.a", "2").await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::LimitExceeded, Some(10077)), "{error}");
}
