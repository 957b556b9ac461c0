//! The client against servers that misbehave by script.

mod support;

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use natsune::{Applied, Client, ClientState, Code, ConnectOptions, Event, State};
use support::{FakeConnection, FakeServer, LIMIT, Op, client_with, options, soon, until};

/// A client connected to a fake server, and the server's side of it.
async fn pair_with(server: &FakeServer, change: impl FnOnce(&mut ConnectOptions)) -> (Client, FakeConnection) {
    let mut options = options(&server.url());
    change(&mut options);
    let client = tokio::spawn(client_with(options));
    let (connection, _) = server.accept_client().await;
    (soon("connect", client).await.unwrap(), connection)
}

async fn pair(server: &FakeServer) -> (Client, FakeConnection) {
    pair_with(server, |_| {}).await
}

#[tokio::test]
async fn flush_of_a_silent_server_times_out() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair_with(&server, |o| o.request_timeout = Duration::from_millis(50)).await;
    client.publish("a", "x").await.unwrap();
    assert_eq!(client.flush().await.unwrap_err().code(), Code::Timeout);
    assert_eq!(client.rtt().await.unwrap_err().code(), Code::Timeout);
    assert!(matches!(connection.op().await, Op::Pub { .. }));
    assert_eq!(connection.op().await, Op::Ping);
}

#[tokio::test]
async fn a_server_that_ends_each_connection_at_once_is_dialled_ever_more_slowly() {
    let server = FakeServer::start().await;
    let first = Duration::from_millis(1);
    let (client, connection) = pair_with(&server, |o| {
        (o.reconnect_delay, o.reconnect_delay_max) = (first, Duration::from_secs(60));
    })
    .await;
    let mut events = client.events();
    drop(connection);
    // With jitter each delay is something between nothing and a bound; the bound doubles, up to about a second in here.
    for _ in 0..10 {
        loop {
            match soon("an event", events.next()).await {
                Some(Event::Reconnecting { delay, .. }) if delay > first => return,
                Some(Event::Reconnecting { .. }) => break,
                event => assert!(event.is_some()),
            }
        }
        drop(server.accept_client().await);
    }
    panic!("the delay does not grow");
}

#[tokio::test]
async fn subscribe_waits_for_the_pong_behind_it() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair_with(&server, |o| o.subscribe_timeout = Duration::from_millis(50)).await;
    let error = client.subscribe("s").await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::Timeout, Applied::No));
    let Op::Sub { sid, .. } = connection.op().await else { panic!("SUB comes first") };
    assert_eq!(connection.op().await, Op::Ping);
    // What was given up is taken back.
    assert_eq!(connection.op().await, Op::Unsub { sid, max: None });
    assert_eq!(client.stats().subscriptions, 0);
    let (a, b) = tokio::join!(
        async { tokio::join!(client.subscribe("a").into_future(), client.subscribe("b").into_future()) },
        async {
            let ops = [connection.op().await, connection.op().await, connection.op().await, connection.op().await];
            assert!(matches!(ops, [Op::Sub { .. }, Op::Ping, Op::Sub { .. }, Op::Ping]), "{ops:?}");
            // The first PONG is for the PING that was given up on.
            connection.send("PONG\r\nPONG\r\nPONG\r\n").await;
        }
    );
    let () = b;
    let (a, mut b) = (a.0.unwrap(), a.1.unwrap());
    // The right is taken away later: the reader is told.
    connection.send("-ERR 'Permissions Violation for Subscription to \"b\"'\r\n").await;
    assert_eq!(soon("the refusal", b.next()).await.unwrap_err().code(), Code::Permission);
    assert!(!a.is_ready());
}

#[tokio::test]
async fn a_later_info_is_heeded() {
    let server = FakeServer::start().await;
    let other = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let mut events = client.events();
    let info = format!(
        r#"{{"server_name":"late","max_payload":10,"ldm":true,"connect_urls":["127.0.0.1:{}"]}}"#,
        other.port()
    );
    connection.send(format!("INFO {info}\r\n")).await;
    let servers = vec![format!("127.0.0.1:{}", other.port())];
    assert_eq!(soon("an event", events.next()).await, Some(Event::ServersChanged { servers }));
    assert_eq!(soon("an event", events.next()).await, Some(Event::LameDuck));
    assert_eq!((client.max_payload(), client.server_info().server_name.as_str()), (10, "late"));
    assert_eq!(client.publish("a", "01234567890").await.unwrap_err().code(), Code::LimitExceeded);
    drop(connection);
    // The pool has two now, and the one that is left answers.
    drop(server);
    let (_connection, _) = other.accept_client().await;
    until("connected", || client.state() == ClientState::Connected).await;
}

#[tokio::test]
async fn a_request_while_disconnected_ends_in_its_time_and_is_not_sent_later() {
    let server = FakeServer::start().await;
    let (client, connection) = pair(&server).await;
    drop(connection);
    until("the break is seen", || client.state() == ClientState::Reconnecting).await;
    let before = Instant::now();
    let error = client.request("svc", "late").timeout(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!((Duration::from_millis(100)..LIMIT / 2).contains(&before.elapsed()));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.request("svc", "in time").await }
    });
    until("it is entered", || client.stats().requests_waiting == 1).await;
    client.publish("after", "x").await.unwrap();
    let (mut connection, subs) = server.accept_client().await;
    assert!(subs.iter().any(|op| matches!(op, Op::Sub { subject, .. } if subject.starts_with("_INBOX."))), "{subs:?}");
    let Op::Pub { payload, reply, .. } = connection.op_but_ping().await else { panic!("the request comes first") };
    assert_eq!(payload, b"in time");
    assert!(matches!(connection.op_but_ping().await, Op::Pub { subject, .. } if subject == "after"));
    connection.msg(&reply.unwrap(), 1, None, b"answer").await;
    assert_eq!(soon("the answer", waiting).await.unwrap().unwrap().payload(), b"answer");
    let counts = client.publish_counts();
    assert!(counts.balanced() && counts.dropped == 1, "{counts:?}");
}

#[tokio::test]
async fn requests_in_flight_fail_at_once_when_the_connection_breaks() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request("svc", "x").await })
        })
        .collect();
    until("all are entered", || client.stats().requests_waiting == 50).await;
    assert!(matches!(connection.op().await, Op::Sub { .. }));
    connection.reset();
    for task in waiting {
        let error = soon("the failure", task).await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.applied()), (Code::Connection, Applied::Maybe));
    }
    // They are not sent to the next server.
    let (mut connection, _) = server.accept_client().await;
    client.publish("end", "").await.unwrap();
    assert!(matches!(connection.op_but_ping().await, Op::Pub { subject, .. } if subject == "end"));
}

#[tokio::test]
async fn after_a_reconnect_the_buffer_waits_for_the_pong() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let subscribed = tokio::spawn(client.subscribe("s").queue("q").into_future());
    assert!(matches!(connection.op().await, Op::Sub { .. }));
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    let _sub = subscribed.await.unwrap().unwrap();
    drop(connection);
    until("the break is seen", || client.state() == ClientState::Reconnecting).await;
    client.publish("kept", "1").await.unwrap();
    let flushed = tokio::spawn({
        let client = client.clone();
        async move { client.flush().await }
    });
    let mut connection = server.accept().await;
    connection.send("INFO {\"headers\":true}\r\n").await;
    assert!(matches!(connection.op().await, Op::Connect(_)));
    assert!(matches!(connection.op().await, Op::Sub { queue: Some(q), .. } if q == "q"));
    assert_eq!(connection.op().await, Op::Ping);
    // A subscription made in between goes out after the PONG, before what is published later.
    let between = tokio::spawn(client.subscribe("between").into_future());
    until("it is registered", || client.stats().subscriptions == 2).await;
    client.publish("kept", "2").await.unwrap();
    connection.send("PONG\r\n").await;
    assert!(matches!(connection.op().await, Op::Pub { payload, .. } if payload == b"1"));
    assert!(matches!(connection.op().await, Op::Sub { subject, .. } if subject == "between"));
    assert_eq!(connection.op().await, Op::Ping);
    assert!(matches!(connection.op().await, Op::Pub { payload, .. } if payload == b"2"));
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\nPONG\r\n").await;
    soon("subscribed", between).await.unwrap().unwrap();
    let counts = soon("flushed", flushed).await.unwrap().unwrap();
    assert_eq!((counts.flushed, counts.pending), (2, 0));
}

#[tokio::test]
async fn drain_takes_what_comes_before_the_pong() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let subscribed = tokio::spawn(client.subscribe("d").into_future());
    let Op::Sub { sid, .. } = connection.op().await else { panic!("SUB") };
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    let mut sub = subscribed.await.unwrap().unwrap();
    let drained = tokio::spawn({
        let control = sub.control();
        async move { control.drain().await }
    });
    assert_eq!(connection.op().await, Op::Unsub { sid, max: None });
    assert_eq!(connection.op().await, Op::Ping);
    // On its way when the UNSUB arrived.
    connection.msg("d", sid, None, b"1").await;
    connection.msg("d", sid, None, b"2").await;
    connection.send("PONG\r\n").await;
    assert_eq!(soon("1", sub.next()).await.unwrap().unwrap().payload(), b"1");
    assert_eq!(soon("2", sub.next()).await.unwrap().unwrap().payload(), b"2");
    assert!(!drained.is_finished());
    assert!(soon("the end", sub.next()).await.unwrap().is_none());
    soon("drained", drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_connection_ends_a_drain_that_waits_for_its_pong() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let subscribed = tokio::spawn(client.subscribe("d").into_future());
    assert!(matches!(connection.op().await, Op::Sub { .. }));
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    let mut sub = subscribed.await.unwrap().unwrap();
    let drained = tokio::spawn({
        let control = sub.control();
        async move { control.drain().await }
    });
    assert!(matches!(connection.op().await, Op::Unsub { .. }));
    drop(connection);
    assert!(soon("the end", sub.next()).await.unwrap().is_none());
    soon("drained", drained).await.unwrap().unwrap();
    assert_eq!(client.stats().subscriptions, 0);
}

#[tokio::test]
async fn no_byte_of_a_credential_goes_out_in_clear() {
    type Change = fn(&mut ConnectOptions, u16);
    let ways: [Change; 5] = [
        |o, port| o.servers = vec![format!("tls://canary:canary@127.0.0.1:{port}")],
        |o, port| o.servers = vec![format!("tls://canary@127.0.0.1:{port}")],
        |o, _| (o.tls.required, o.token) = (true, Some("canary".into())),
        |o, _| {
            (o.tls.server_name, o.user, o.password) = (Some("x".into()), Some("canary".into()), Some("canary".into()))
        },
        |o, port| {
            o.servers = vec![format!("nats://127.0.0.1:{port}"), "tls://127.0.0.1:1".into()];
            o.token = Some("canary".into());
        },
    ];
    for change in ways {
        for info in ["{}", r#"{"auth_required":true,"tls_required":false}"#] {
            let server = FakeServer::start().await;
            let mut options = options(&server.url());
            options.keep_server_order = true;
            change(&mut options, server.port());
            let connecting = tokio::spawn(natsune::connect_with(options));
            let mut connection = server.accept().await;
            connection.hears_nothing(info).await;
            let error = soon("the refusal", connecting).await.unwrap().unwrap_err();
            assert_eq!(error.code(), Code::Connection, "{error}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        let server = FakeServer::start().await;
        let mut options = options(&server.url());
        options.keep_server_order = true;
        change(&mut options, server.port());
        let connecting = tokio::spawn(natsune::connect_with(options));
        let mut connection = server.accept().await;
        connection.hears_a_tls_greeting(b"canary").await;
        assert!(soon("the refusal", connecting).await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_discovered_server_must_offer_tls_as_well() {
    // With the option set, even a plain nats:// seed and its gossip are refused before a byte is sent.
    let (seed, found) = (FakeServer::start().await, FakeServer::start().await);
    let mut options = options(&seed.url());
    (options.tls.required, options.token) = (true, Some("canary".into()));
    options.retry_on_failed_connect = true;
    let client = tokio::spawn(client_with(options));
    let mut connection = seed.accept().await;
    connection.send(format!("INFO {{\"connect_urls\":[\"127.0.0.1:{}\"]}}\r\n", found.port())).await;
    while connection.read_some().await > 0 {}
    assert!(connection.received.is_empty());
    let client = soon("goes on in the background", client).await.unwrap();
    let mut connection = seed.accept().await;
    connection.send("INFO {}\r\n").await;
    while connection.read_some().await > 0 {}
    assert!(connection.received.is_empty());
    client.close().await;
}

#[tokio::test]
async fn a_dead_peer_is_noticed() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair_with(&server, |o| o.ping_interval = Duration::from_millis(300)).await;
    let mut events = client.events();
    assert_eq!(connection.op().await, Op::Ping);
    // A PONG keeps it, silence ends it.
    connection.send("PONG\r\n").await;
    assert_eq!(connection.op().await, Op::Ping);
    let Some(Event::Disconnected { reason, .. }) = soon("an event", events.next()).await else {
        panic!("disconnected")
    };
    assert!(reason.contains("PING"), "{reason}");
    let _again = server.accept_client().await;
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_noticed() {
    let server = FakeServer::start().await;
    let (client, connection) = pair_with(&server, |o| o.write_timeout = Duration::from_millis(100)).await;
    let mut events = client.events();
    let payload = vec![0u8; 1 << 20];
    while client.try_publish("a", None, None, &payload).is_ok() {}
    let Some(Event::Disconnected { reason, unknown, pending }) = soon("an event", events.next()).await else {
        panic!("disconnected")
    };
    assert!(reason.contains("took nothing"), "{reason}");
    let counts = client.publish_counts();
    assert!(counts.balanced() && counts.unknown == unknown && counts.pending == pending && pending > 0, "{counts:?}");
    drop(connection);
    soon("close", client.close()).await;
}

#[tokio::test]
async fn close_is_bounded_while_the_peer_takes_nothing() {
    let server = FakeServer::start().await;
    let (client, _connection) = pair(&server).await;
    let payload = vec![0u8; 1 << 20];
    while client.try_publish("a", None, None, &payload).is_ok() {}
    let before = Instant::now();
    soon("close", client.close()).await;
    assert!(before.elapsed() < LIMIT / 2);
    let counts = client.publish_counts();
    assert!(counts.balanced() && counts.pending == 0 && counts.dropped > 0, "{counts:?}");
}

#[tokio::test]
async fn connect_is_bounded_and_says_why() {
    // Accepts and says nothing.
    let server = FakeServer::start().await;
    let mut silent = options(&server.url());
    silent.connect_timeout = Duration::from_millis(50);
    let error = natsune::connect_with(silent).await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::Timeout, Applied::No));
    // Nobody there.
    let gone = FakeServer::start().await;
    let url = gone.url();
    drop(gone);
    assert_eq!(natsune::connect_with(options(&url)).await.unwrap_err().code(), Code::Connection);
    // Not a NATS server.
    let server = FakeServer::start().await;
    let connecting = tokio::spawn(natsune::connect_with(options(&server.url())));
    let mut connection = server.accept().await;
    connection.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(soon("the refusal", connecting).await.unwrap().unwrap_err().code(), Code::Connection);
    // Too many connections, said before the handshake.
    let server = FakeServer::start().await;
    let connecting = tokio::spawn(natsune::connect_with(options(&server.url())));
    let mut connection = server.accept().await;
    connection.send("INFO {}\r\n-ERR 'maximum connections exceeded'\r\n").await;
    let error = soon("the refusal", connecting).await.unwrap().unwrap_err();
    assert_eq!(error.detail().description.as_deref(), Some("maximum connections exceeded"));
}

#[tokio::test]
async fn the_pool_is_tried_once_and_the_best_reason_kept() {
    let (refusing, gone) = (FakeServer::start().await, FakeServer::start().await);
    let mut options = options(&refusing.url());
    options.servers.push(gone.url());
    options.keep_server_order = true;
    drop(gone);
    let connecting = tokio::spawn(natsune::connect_with(options));
    let mut connection = refusing.accept().await;
    connection.send("INFO {}\r\n-ERR 'Authorization Violation'\r\n").await;
    assert_eq!(soon("the failure", connecting).await.unwrap().unwrap_err().code(), Code::Auth);
}

#[tokio::test]
async fn expired_credentials_reconnect_once_and_then_close() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let mut events = client.events();
    connection.send("-ERR 'User Authentication Expired'\r\n").await;
    drop(connection);
    assert_eq!(soon("an event", events.next()).await, Some(Event::AuthExpired));
    let Some(Event::Disconnected { reason, .. }) = soon("an event", events.next()).await else {
        panic!("disconnected")
    };
    assert!(reason.contains("Expired"), "{reason}");
    for _ in 0..2 {
        let mut connection = server.accept().await;
        connection.send("INFO {}\r\n-ERR 'Authorization Violation'\r\n").await;
        while connection.read_some().await > 0 {}
    }
    let reason = soon("closed", client.closed()).await.unwrap();
    assert_eq!(reason.code(), Code::Auth);
    let error = client.publish("a", "").await.unwrap_err();
    assert_eq!(error.code(), Code::Closed);
    assert!(error.message().contains("Authorization Violation"));
}

#[tokio::test]
async fn readers_are_told_when_the_client_closes_for_good() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair_with(&server, |o| o.reconnect = false).await;
    let subscribed = tokio::spawn(client.subscribe("s").into_future());
    let Op::Sub { sid, .. } = connection.op().await else { panic!("SUB") };
    connection.send("PONG\r\n").await;
    let mut sub = subscribed.await.unwrap().unwrap();
    connection.msg("s", sid, None, b"last").await;
    until("it has come", || sub.is_ready()).await;
    drop(connection);
    assert_eq!(soon("closed", client.closed()).await.unwrap().code(), Code::Connection);
    // What came is still handed out, then the reason.
    assert_eq!(sub.next().await.unwrap().unwrap().payload(), b"last");
    assert_eq!(sub.next().await.unwrap_err().code(), Code::Closed);
    assert!(matches!(sub.take(1, 1, 0).state, State::Failed(_)));
}

#[tokio::test]
async fn messages_before_the_handshakes_pong_are_kept() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let subscribed = tokio::spawn(client.subscribe("s").into_future());
    let Op::Sub { sid, .. } = connection.op().await else { panic!("SUB") };
    connection.send("PONG\r\n").await;
    let mut sub = subscribed.await.unwrap().unwrap();
    drop(connection);
    let mut connection = server.accept().await;
    connection.send("INFO {}\r\n").await;
    while connection.op().await != Op::Ping {}
    connection.msg("s", sid, None, b"early").await;
    connection.send("PING\r\nPONG\r\n").await;
    assert_eq!(soon("early", sub.next()).await.unwrap().unwrap().payload(), b"early");
    assert_eq!(connection.op().await, Op::Pong);
}

#[tokio::test]
async fn a_flood_does_not_keep_the_client_from_answering() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let subscribed = tokio::spawn(client.subscribe("f").pending_messages(10).into_future());
    let Op::Sub { sid, .. } = connection.op().await else { panic!("SUB") };
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    let sub = subscribed.await.unwrap().unwrap();
    let mut flood = Vec::new();
    for _ in 0..1000 {
        natsune_protocol::encode::msg(&mut flood, "f", sid.to_string().as_bytes(), None, None, &[0; 100]);
    }
    let (mut reader, mut writer) = connection.stream.into_split();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flooding = tokio::spawn({
        let stop = stop.clone();
        async move {
            use tokio::io::AsyncWriteExt;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                writer.write_all(&flood).await.unwrap();
                writer.write_all(b"PING\r\n").await.unwrap();
            }
            writer
        }
    });
    // Both directions move while the flood goes on.
    use tokio::io::AsyncReadExt;
    let mut text = Vec::new();
    soon("pongs and publishes", async {
        let mut n = 0;
        while text.windows(4).filter(|w| w == b"PUB ").count() < 20 || !text.windows(6).any(|w| w == b"PONG\r\n") {
            client.publish("out", n.to_string()).await.unwrap();
            n += 1;
            reader.read_buf(&mut text).await.unwrap();
        }
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let reading = tokio::spawn(async move { while reader.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {} });
    let writer = soon("the flood ends", flooding).await.unwrap();
    assert!(sub.stats().dropped > 0);
    drop(writer);
    client.close().await;
    soon("the socket closes", reading).await.unwrap();
}

#[tokio::test]
async fn dropping_the_connect_future_leaves_nothing() {
    let server = FakeServer::start().await;
    let connecting = tokio::spawn(natsune::connect_with(options(&server.url())));
    let mut connection = server.accept().await;
    connecting.abort();
    connection.send("INFO {}\r\n").await;
    soon("the socket closes", async { while connection.read_some().await > 0 {} }).await;
}

#[tokio::test]
async fn a_reconnect_asked_for_in_the_middle_of_a_handshake_loses_no_waiter() {
    let server = FakeServer::start().await;
    let (client, connection) = pair(&server).await;
    drop(connection);
    until("the break is seen", || client.state() == ClientState::Reconnecting).await;
    let subscribed = tokio::spawn(client.subscribe("s").into_future());
    let flushed = tokio::spawn({
        let client = client.clone();
        async move { client.flush().await }
    });
    until("it is registered", || client.stats().subscriptions == 1).await;
    let mut half_way = server.accept().await;
    half_way.send("INFO {}\r\n").await;
    while half_way.op().await != Op::Ping {}
    client.reconnect().unwrap();
    let (mut connection, ops) = server.accept_client().await;
    assert!(ops.iter().any(|op| matches!(op, Op::Sub { subject, .. } if subject == "s")), "{ops:?}");
    soon("subscribed", subscribed).await.unwrap().unwrap();
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    soon("flushed", flushed).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_runtime_that_goes_away_ends_every_wait() {
    let server = FakeServer::start().await;
    let url = server.url();
    let (send, got) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let client = client_with(options(&url)).await;
        send.send(client).unwrap();
    });
    let (_connection, _) = server.accept_client().await;
    let client = soon("connect", tokio::task::spawn_blocking(move || got.recv().unwrap())).await.unwrap();
    client.publish("a", "x").await.unwrap();
    // Waits from another runtime.
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.request("svc", "x").await }
    });
    until("it is entered", || client.stats().requests_waiting == 1).await;
    runtime.shutdown_background();
    assert_eq!(soon("the end", waiting).await.unwrap().unwrap_err().code(), Code::Closed);
    assert!(soon("closed", client.closed()).await.unwrap().message().contains("runtime"));
    let counts = client.publish_counts();
    assert!(counts.balanced() && counts.pending == 0, "{counts:?}");
    assert_eq!(client.drain().await.unwrap_err().code(), Code::Closed);
    client.close().await;
}
