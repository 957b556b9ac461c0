//! Servers that say odd things at odd moments: nothing hangs, nothing is lost in silence, no secret is told.

mod support;

use std::future::IntoFuture;
use std::time::Duration;

use natsune::jetstream::{CONFIRMED, OPEN, Settle};
use natsune::{Applied, Client, Code, ConnectOptions, Event};
use support::*;

async fn pair(server: &FakeServer) -> (Client, FakeConnection) {
    let url = server.url();
    let (client, (connection, _)) = tokio::join!(client(&url), server.accept_client());
    (client, connection)
}

/// A smaller max_payload after a reconnect: what is too large for it is given up, and what stands behind it goes out.
#[tokio::test]
async fn what_a_new_server_does_not_take_is_given_up_alone() {
    let server = FakeServer::start().await;
    let (client, connection) = pair(&server).await;
    connection.reset();
    until("the break is noticed", || client.state() != natsune::ClientState::Connected).await;
    client.publish("a", "before").await.unwrap();
    client.publish("a", vec![b'x'; 500_000]).await.unwrap();
    client.publish("a", "behind").await.unwrap();
    let mut connection = server.accept().await;
    connection.greet(r#"{"headers":true,"max_payload":1024}"#).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        if let Op::Pub { payload, .. } = connection.op_but_ping().await {
            got.push(payload);
        }
    }
    assert!(got == [b"before", b"behind"], "{:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
    let (counts, ()) = tokio::join!(client.flush(), async {
        while connection.op().await != Op::Ping {}
        connection.send("PONG\r\n").await;
    });
    let counts = counts.unwrap();
    assert_eq!((counts.flushed, counts.dropped, counts.unknown, counts.pending), (2, 1, 0, 0), "{counts:?}");
}

/// Not a word about our credentials: another client took the last place, or the server was slow.
#[tokio::test]
async fn a_full_or_slow_server_does_not_close_the_client_for_good() {
    for text in
        ["maximum account active connections exceeded", "Authentication Timeout", "maximum connections exceeded"]
    {
        let server = FakeServer::start().await;
        let (client, connection) = pair(&server).await;
        connection.reset();
        for _ in 0..4 {
            let mut connection = server.accept().await;
            connection.send("INFO {}\r\n").await;
            while connection.op().await != Op::Ping {}
            connection.send(format!("-ERR '{text}'\r\n")).await;
        }
        let (mut connection, _) = server.accept_client().await;
        let (flushed, ()) = tokio::join!(client.flush(), async {
            while connection.op().await != Op::Ping {}
            connection.send("PONG\r\n").await;
        });
        flushed.expect(text);
    }
}

/// A frame whose subject is not readable counts for the server: the limit is reached with it.
#[tokio::test]
async fn an_unreadable_frame_counts_for_a_limit() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let mut sub = client.subscribe("a.*").max_messages(2).confirm(false).await.unwrap();
    while !matches!(connection.op_but_ping().await, Op::Unsub { .. }) {}
    connection.send(format!("MSG a.b {} 1\r\nx\r\n", sub.sid())).await;
    assert_eq!(soon("the first", sub.next()).await.unwrap().unwrap().payload(), b"x");
    connection.send(b"MSG a.\xff").await;
    connection.send(format!(" {} 1\r\nx\r\n", sub.sid())).await;
    assert!(soon("the end", sub.next()).await.unwrap().is_none());
    until("it is forgotten", || client.stats().subscriptions == 0).await;
}

/// For ever is a duration as well.
#[tokio::test]
async fn the_longest_durations_are_only_long() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    let longest = Duration::MAX;
    (wanted.ping_interval, wanted.write_timeout, wanted.connect_timeout) = (longest, longest, longest);
    (wanted.publish_timeout, wanted.request_timeout, wanted.subscribe_timeout) = (longest, longest, longest);
    wanted.drain_timeout = longest;
    let (client, (mut connection, _)) = tokio::join!(client_with(wanted), server.accept_client());
    let answer = async {
        loop {
            match connection.op_but_ping().await {
                Op::Pub { reply: Some(reply), .. } => connection.msg(&reply, 1, None, b"yes").await,
                Op::Unsub { .. } => break,
                _ => {}
            }
        }
        connection
    };
    let work = async {
        client.request("q", "").timeout(Duration::MAX).await.unwrap();
        client.request("q", "").await.unwrap();
        client.flush_within(Duration::MAX).await.unwrap();
        client.flush().await.unwrap();
        drop(client.subscribe("a").await.unwrap());
    };
    let ((), mut connection) = soon("everything", async { tokio::join!(work, answer) }).await;
    let (drained, ()) = tokio::join!(client.drain(), async {
        while connection.next_op().await.inspect(|_| ()).is_some() {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut connection.stream, b"PONG\r\n").await;
        }
    });
    drained.unwrap();
}

/// A PONG before we asked for it.
#[tokio::test]
async fn a_pong_that_comes_with_the_info_is_taken_as_it_is() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    wanted.retry_on_failed_connect = true;
    let (client, ()) = tokio::join!(client_with(wanted), async {
        let mut connection = server.accept().await;
        connection.send("INFO {\"headers\":true}\r\nPONG\r\n").await;
        assert!(matches!(connection.op().await, Op::Connect(_)));
        tokio::spawn(async move { while connection.next_op().await.is_some() {} });
    });
    soon("published", client.publish("a", "b")).await.unwrap();
    assert_eq!(client.state(), natsune::ClientState::Connected);
    drop(server);
}

/// A complaint that was survived is no reason of a later break.
#[tokio::test]
async fn an_old_complaint_is_no_reason_of_a_later_break() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let mut events = client.events();
    connection.send("-ERR 'Invalid Publish Subject'\r\n").await;
    let (flushed, ()) = tokio::join!(client.flush(), async {
        while connection.op().await != Op::Ping {}
        connection.send("PONG\r\n").await;
    });
    flushed.unwrap();
    drop(connection);
    loop {
        if let Event::Disconnected { reason, .. } = soon("an event", events.next()).await.unwrap() {
            assert!(!reason.contains("Invalid Publish Subject"), "{reason}");
            break;
        }
    }
}

/// PINGs without end from a peer that reads nothing: the answers take no memory.
#[tokio::test]
async fn pings_of_a_peer_that_reads_nothing_take_no_memory() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    let pings = b"PING\r\n".repeat(10_000);
    for _ in 0..500 {
        connection.send(&pings).await;
    }
    connection.send("INFO {\"server_id\":\"SEEN\"}\r\n").await;
    until("everything is read", || client.server_info().server_id == "SEEN").await;
    let buffered = client.buffered_bytes();
    assert!(buffered < 1 << 20, "{buffered}");
    client.close().await;
}

/// Requests that ended while there was no connection are not in the way of publishes.
#[tokio::test]
async fn dead_requests_leave_room_for_publishes() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    (wanted.outbound_mark, wanted.outbound_limit) = (10_000, 100_000);
    wanted.publish_timeout = Duration::from_millis(300);
    let (client, (connection, _)) = tokio::join!(client_with(wanted), server.accept_client());
    connection.reset();
    until("the break is noticed", || client.state() != natsune::ClientState::Connected).await;
    for _ in 0..12 {
        let late = client.request("q", vec![0; 1000]).timeout(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(late.code(), Code::Timeout);
    }
    client.publish("a", "alive").await.expect("room for a publish");
    let (mut connection, _) = server.accept_client().await;
    match connection.op_but_ping().await {
        Op::Pub { subject, .. } => assert_eq!(subject, "a"),
        op => panic!("{op:?}"),
    }
    let counts = client.publish_counts();
    assert!(counts.balanced() && counts.dropped >= 10, "{counts:?}");
}

/// What was never sent can be sent again, with and without an id.
#[tokio::test]
async fn a_stored_publish_that_was_never_sent_is_worth_a_retry() {
    let server = FakeServer::start().await;
    let (client, mut connection) = pair(&server).await;
    // More than the socket takes while nobody reads.
    let js = client.jetstream();
    let mut acks = Vec::new();
    for _ in 0..40 {
        acks.push(js.send("a", vec![0; 1_000_000], &Default::default()).unwrap());
    }
    connection.read_some().await;
    connection.reset();
    let last = acks.pop().unwrap().await.unwrap_err();
    assert_eq!((last.code(), last.applied(), last.retryable()), (Code::Connection, Applied::No, true), "{last:?}");
    let first = acks.swap_remove(0).await.unwrap_err();
    assert_eq!(
        (first.code(), first.applied(), first.retryable()),
        (Code::Connection, Applied::Maybe, false),
        "{first:?}"
    );
}

#[test]
fn no_text_repeats_a_secret() {
    for url in
        ["nats://joe:s3cr/et@h:4222", "nats://joe:s3cr?et@h", "nats://joe:s3cr,et@h", "s3cr/et@h", "joe:s3cr#et@h:1"]
    {
        let mut options = ConnectOptions::new();
        options.servers = vec![url.to_owned()];
        let shown = format!("{options:?}");
        assert!(!shown.contains("s3cr"), "{shown}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(natsune::connect_with(options)).err();
        let shown = format!("{error:?}");
        assert!(error.is_some() && !shown.contains("s3cr"), "{shown}");
    }
    for field in ["password", "token", "nkey_seed", "creds_text"] {
        let error = ConnectOptions::from_json(&format!("{{\"{field}\":5318008}}")).unwrap_err();
        assert!(!error.to_string().contains("5318008"), "{error}");
        let error = ConnectOptions::from_json(&format!("{{\"tls\":\"5318008\",\"{field}\":\"x\"}}")).unwrap_err();
        let _ = error;
    }
    let error = ConnectOptions::from_json(r#"{"tls":{"key_pem":5318008}}"#).unwrap_err();
    assert!(!error.to_string().contains("5318008"), "{error}");
}

/// The server takes no more subscriptions: the one that was refused says so, and the others go on.
#[tokio::test]
async fn a_subscription_too_many_is_refused() {
    let Some(mut server) = NatsServer::with_config("max_subscriptions: 2") else { return };
    let client = client(&server.url()).await;
    let mut first = client.subscribe("a").await.unwrap();
    let second = client.subscribe("b").await.unwrap();
    let error = soon("a refusal", client.subscribe("c").into_future()).await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::LimitExceeded, Applied::No), "{error}");
    client.publish("a", "x").await.unwrap();
    assert!(soon("a message", first.next()).await.unwrap().is_some());
    drop(second);
    let second = client.subscribe("c").await.unwrap();
    // Of too many after a restart as many as possible are there again.
    let _third = client.subscribe("d").confirm(false).await.unwrap();
    server.restart();
    until("it is connected again", || client.connects() >= 2).await;
    client.publish("a", "y").await.unwrap();
    assert!(soon("a message", first.next()).await.unwrap().is_some());
    drop(second);
}

/// However full the buffer is, an acknowledgement has room, also one that waits for its answer.
#[tokio::test]
async fn an_acknowledgement_that_waits_is_never_busy() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    (wanted.outbound_mark, wanted.outbound_limit) = (1000, 2000);
    let (client, (mut connection, _)) = tokio::join!(client_with(wanted), server.accept_client());
    while client.try_publish("a", None, None, b"").is_ok() {}
    let (send, confirmed) = tokio::sync::oneshot::channel();
    let done = Box::new(move |state| drop(send.send(state)));
    let _wait = natsune::jetstream::start_ack_sync(&client, "$JS.ACK.S.c.1.1.1.1.0", OPEN, None, done).unwrap();
    loop {
        match connection.op_but_ping().await {
            Op::Pub { reply: Some(reply), .. } => break connection.msg(&reply, 1, None, b"").await,
            Op::Pub { .. } | Op::Sub { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(soon("the answer", confirmed).await.unwrap().unwrap(), CONFIRMED);
}

/// The inbox is a part of the control line: what does not fit is refused, instead of breaking the connection.
#[tokio::test]
async fn a_request_that_does_not_fit_on_its_line_is_refused() {
    let Some(server) = NatsServer::start(&[]) else { return };
    let mut wanted = options(&server.url());
    wanted.inbox_prefix = format!("_INBOX.{}", "p".repeat(100));
    let client = client_with(wanted).await;
    let error = client.request("s".repeat(4000), "").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    // The longest that is not refused does fit.
    let fits = (3000..4000).rev().map(|n| "s".repeat(n));
    for subject in fits {
        match client.request(subject.as_str(), "").await.unwrap_err().code() {
            Code::InvalidArgument => {}
            Code::NoResponders => break,
            other => panic!("{other} for {} bytes", subject.len()),
        }
    }
    assert_eq!(client.connects(), 1);
}

/// What never fits is no matter of waiting.
#[tokio::test]
async fn a_message_larger_than_the_buffer_is_no_busy() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    (wanted.outbound_mark, wanted.outbound_limit) = (1000, 2000);
    let (client, _connection) = tokio::join!(client_with(wanted), server.accept_client());
    for error in [
        client.try_publish("a", None, None, &[0; 2000]).unwrap_err(),
        client.publish("a", [0; 2000]).await.unwrap_err(),
        client.request("a", [0; 2000]).await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.retryable()), (Code::LimitExceeded, false), "{error}");
        assert!(error.message().contains("outbound_limit"), "{error}");
    }
}

/// Saying again and again that a message is in progress fills no memory while nobody hears it.
#[tokio::test]
async fn progress_without_a_connection_fills_no_memory() {
    let server = FakeServer::start().await;
    let mut wanted = options(&server.url());
    (wanted.outbound_mark, wanted.outbound_limit) = (1000, 20_000);
    let (client, (connection, _)) = tokio::join!(client_with(wanted), server.accept_client());
    connection.reset();
    until("the break is noticed", || client.state() != natsune::ClientState::Connected).await;
    let say = |verb| natsune::jetstream::settle(&client, "$JS.ACK.S.c.1.1.1.1.0", OPEN, verb).unwrap();
    for _ in 0..10_000 {
        say(Settle::InProgress);
    }
    let buffered = client.buffered_bytes();
    assert!(buffered < 50_000, "{buffered}");
    say(Settle::Ack);
    assert!(client.buffered_bytes() > buffered);
}
