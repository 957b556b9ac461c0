//! The client against the real server: publish, subscribe, request, drain, close, reconnect.

mod support;

use std::time::{Duration, Instant};

use natsune::{Applied, ClientState, Code, Event, Headers, State, WhenFull};
use support::{LIMIT, NatsServer, client, client_with, options, soon, until};

macro_rules! server {
    ($($arg:expr),*) => {
        match NatsServer::start(&[$($arg),*]) {
            Some(server) => server,
            None => return,
        }
    };
}

#[tokio::test]
async fn what_is_published_arrives_whole() {
    let server = server!();
    let client = client(&server.url()).await;
    let mut sub = client.subscribe("a.>").await.unwrap();
    let mut headers = Headers::new();
    headers.append("trace", "1").unwrap();
    headers.append("trace", "2").unwrap();
    client.publish("a.plain", "hello").await.unwrap();
    client.publish_with_headers("a.headers", &headers, b"x").await.unwrap();
    client.publish_with_reply("a.reply", "r.s", "").await.unwrap();
    let large = vec![7u8; 1_000_000];
    client.publish("a.large", &large).await.unwrap();
    let counts = client.flush().await.unwrap();
    assert_eq!((counts.published, counts.flushed, counts.pending), (4, 4, 0));
    let plain = sub.next().await.unwrap().unwrap();
    assert_eq!((plain.subject(), plain.payload(), plain.reply()), ("a.plain", &b"hello"[..], None));
    let with_headers = sub.next().await.unwrap().unwrap();
    assert_eq!(with_headers.headers().values("trace").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(sub.next().await.unwrap().unwrap().reply(), Some("r.s"));
    let got = sub.next().await.unwrap().unwrap();
    assert!(got.payload() == large && got.payload_bytes() == large);
    assert!(client.rtt().await.unwrap() < Duration::from_secs(5));
    client.close().await;
    client.close().await;
    assert!(sub.next().await.unwrap().is_none());
    assert_eq!(client.publish("a", "").await.unwrap_err().code(), Code::Closed);
    assert_eq!(client.subscribe("a").await.unwrap_err().code(), Code::Closed);
    assert_eq!(client.request("a", "").await.unwrap_err().code(), Code::Closed);
    assert_eq!(client.flush().await.unwrap_err().code(), Code::Closed);
    assert!(client.closed().await.is_none() && client.state() == ClientState::Closed);
}

#[tokio::test]
async fn requests_are_answered_refused_and_forgotten() {
    let server = server!();
    let client = client(&server.url()).await;
    let mut service = client.subscribe("svc").queue("q").await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(message) = service.next().await.unwrap() {
            if message.payload() != b"silence" {
                message.respond([b"re:", message.payload()].concat()).await.unwrap();
            }
        }
    });
    for n in 0..100 {
        let answer = client.request("svc", n.to_string()).await.unwrap();
        assert_eq!(answer.payload(), format!("re:{n}").as_bytes());
    }
    let many: Vec<_> = (0..200)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.request("svc", format!("{n}")).await.unwrap() })
        })
        .collect();
    for task in many {
        soon("an answer", task).await.unwrap();
    }
    let before = Instant::now();
    let error = client.request("nobody.home", "").await.unwrap_err();
    assert_eq!((error.code(), error.applied(), error.detail().status), (Code::NoResponders, Applied::No, Some(503)));
    assert!(before.elapsed() < LIMIT / 3);
    let error = client.request("svc", "silence").timeout(Duration::from_millis(30)).await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::Timeout, Applied::Maybe));
    let cancelled = client.request("svc", "silence");
    assert!(tokio::time::timeout(Duration::from_millis(10), cancelled.into_future()).await.is_err());
    assert_eq!(client.stats().requests_waiting, 0);
    client.close().await;
    soon("the service ends", answering).await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_timed_out_requests_leave_nothing() {
    let server = server!();
    let client = client(&server.url()).await;
    let _silent = client.subscribe("silent").await.unwrap();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..100 {
        for _ in 0..1000 {
            let done = done.clone();
            let call = move |r: natsune::Result<natsune::Message>| {
                assert_eq!(r.unwrap_err().code(), Code::Timeout);
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            };
            client.start_request("silent", None, b"", Duration::from_millis(1), Box::new(call)).unwrap().detach();
        }
        client.writable().await.unwrap();
    }
    until("all time out", || done.load(std::sync::atomic::Ordering::Relaxed) == 100_000).await;
    assert_eq!(client.stats().requests_waiting, 0);
}

#[tokio::test]
async fn queue_groups_share_and_limits_end() {
    let server = server!();
    let client = client(&server.url()).await;
    let a = client.subscribe("work").queue("g").await.unwrap();
    let b = client.subscribe("work").queue("g").await.unwrap();
    let mut five = client.subscribe("work").max_messages(5).await.unwrap();
    for _ in 0..100 {
        client.publish("work", "x").await.unwrap();
    }
    client.flush().await.unwrap();
    until("all are shared out", || a.stats().pending + b.stats().pending == 100).await;
    let mut got = 0;
    while five.next().await.unwrap().is_some() {
        got += 1;
    }
    assert_eq!(got, 5);
    assert!(five.closed().await.is_none());
    let mut three = client.subscribe("more").await.unwrap();
    client.publish("more", "1").await.unwrap();
    three.next().await.unwrap().unwrap();
    three.unsubscribe(Some(3)).unwrap();
    for _ in 0..10 {
        client.publish("more", "x").await.unwrap();
    }
    let mut got = 1;
    while three.next().await.unwrap().is_some() {
        got += 1;
    }
    assert_eq!(got, 3);
}

#[tokio::test]
async fn bad_subjects_never_reach_the_wire() {
    let server = server!();
    let client = client(&server.url()).await;
    let before = client.stats().out_bytes;
    let evil = ["a b", "a\r\nPUB x 0\r\n\r\n", "", "a..b", ".a", "a.", "a\tb", "a.*", "a.>", "\0", "a\u{7f}"];
    for subject in evil {
        let code = |e: natsune::Error| {
            assert_eq!((e.code(), e.applied()), (Code::InvalidArgument, Applied::No), "{subject:?}")
        };
        code(client.publish(subject, "x").await.unwrap_err());
        code(client.try_publish(subject, None, None, b"x").unwrap_err());
        code(client.publish_with_reply("ok", subject, "x").await.unwrap_err());
        code(client.request(subject, "x").await.unwrap_err());
    }
    for filter in ["a b", "a\r\nSUB x 1", "", "a..b", ">.a"] {
        assert_eq!(client.subscribe(filter).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(
            client
                .subscribe("ok")
                .queue(filter.replace('>', " "))
                .await
                .err()
                .map(|e| e.code())
                .unwrap_or(Code::InvalidArgument),
            Code::InvalidArgument
        );
    }
    let blocks = [&b"NATS/1.0\r\n"[..], b"HTTP/1.1\r\n\r\n", b""];
    for block in blocks {
        assert_eq!(client.try_publish_raw("ok", None, Some(block), b"").unwrap_err().code(), Code::InvalidArgument);
    }
    let long = "x".repeat(5000);
    assert_eq!(client.publish(&long, "").await.unwrap_err().code(), Code::InvalidArgument);
    let most = client.max_payload();
    assert_eq!(client.publish("ok", vec![0; most + 1]).await.unwrap_err().code(), Code::LimitExceeded);
    let mut headers = Headers::new();
    headers.set("a", "b").unwrap();
    assert_eq!(
        client.publish_with_headers("ok", &headers, vec![0; most]).await.unwrap_err().code(),
        Code::LimitExceeded
    );
    assert_eq!(client.stats().publishes.published, 0);
    client.publish("ok", vec![0; most]).await.unwrap();
    assert_eq!(client.flush().await.unwrap().flushed, 1);
    assert!(client.stats().out_bytes > before);
}

#[tokio::test]
async fn a_slow_consumer_is_told_once_and_counted() {
    let server = server!();
    let client = client(&server.url()).await;
    let mut events = client.events();
    let slow = client.subscribe("s").pending_messages(10).await.unwrap();
    let old = client.subscribe("s").pending_bytes(50).when_full(WhenFull::DropOld).await.unwrap();
    for n in 0..1000 {
        client.publish("s", format!("{n:04}")).await.unwrap();
    }
    client.flush().await.unwrap();
    until("all have come", || slow.stats().received == 1000 && old.stats().received == 1000).await;
    assert_eq!((slow.stats().pending, slow.stats().dropped), (10, 990));
    assert_eq!((old.stats().pending, old.stats().dropped), (10, 990));
    assert_eq!(slow.take(100, 1 << 20, 0).messages[9].payload(), b"0009");
    assert_eq!(old.take(100, 1 << 20, 0).messages[9].payload(), b"0999");
    assert_eq!(client.stats().dropped_messages, 1980);
    let (seen, _) = events.take(100);
    let slow: Vec<_> = seen.iter().filter(|e| matches!(e, Event::SlowConsumer { .. })).collect();
    assert_eq!(slow.len(), 2, "{seen:?}");
    assert_eq!(slow[0], &Event::SlowConsumer { subject: "s".into(), dropped: 990 });
    client.close().await;
    soon("the end", async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn drain_hands_out_everything_and_waits_for_it() {
    let server = server!();
    let client = client(&server.url()).await;
    let other = support::client(&server.url()).await;
    let mut sub = client.subscribe("d").await.unwrap();
    for n in 0..1000 {
        other.publish("d", n.to_string()).await.unwrap();
    }
    other.flush().await.unwrap();
    let reading = tokio::spawn({
        let client = client.clone();
        async move {
            let mut n = 0;
            while let Some(message) = sub.next().await.unwrap() {
                assert_eq!(message.payload(), n.to_string().as_bytes());
                tokio::task::yield_now().await;
                client.publish("echo", message.payload()).await.unwrap();
                n += 1;
            }
            n
        }
    });
    soon("drain", client.drain()).await.unwrap();
    assert_eq!(soon("the reader ends", reading).await.unwrap(), 1000);
    let counts = client.publish_counts();
    assert_eq!((counts.flushed, counts.dropped, counts.pending), (1000, 0, 0));
    assert_eq!(client.drain().await.unwrap_err().code(), Code::Closed);
}

#[tokio::test]
async fn drain_is_bounded_when_nobody_handles() {
    let server = server!();
    let mut short = options(&server.url());
    short.drain_timeout = Duration::from_millis(100);
    let client = client_with(short).await;
    let sub = client.subscribe("d").await.unwrap();
    client.publish("d", "x").await.unwrap();
    until("it has come", || sub.is_ready()).await;
    let taken = sub.take(1, 1, 0);
    assert_eq!(taken.messages.len(), 1);
    assert_eq!(client.drain().await.unwrap_err().code(), Code::Timeout);
    assert_eq!(client.state(), ClientState::Closed);
    // Reported late, it is still in order.
    assert!(matches!(sub.take(1, 1, 1).state, State::Ended));
}

#[tokio::test]
async fn drain_of_one_subscription_waits_for_done() {
    let server = server!();
    let client = client(&server.url()).await;
    let sub = client.subscribe("d").await.unwrap();
    client.publish("d", "1").await.unwrap();
    client.publish("d", "2").await.unwrap();
    client.flush().await.unwrap();
    let drained = tokio::spawn({
        let control = sub.control();
        async move { control.drain().await }
    });
    until("both wait", || sub.stats().pending == 2).await;
    assert_eq!(sub.take(1, 1, 0).messages.len(), 1);
    assert_eq!(sub.take(1, 1, 1).messages.len(), 1);
    until("the end is known", || matches!(sub.take(1, 1, 0).state, State::Ended)).await;
    assert!(!drained.is_finished());
    sub.take(1, 1, 1);
    soon("drained", drained).await.unwrap().unwrap();
    client.publish("d", "3").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(sub.stats().received, 2);
}

#[tokio::test]
async fn unsubscribe_while_a_reader_waits() {
    let server = server!();
    let client = client(&server.url()).await;
    let mut sub = client.subscribe("u").await.unwrap();
    let control = sub.control();
    let waiting = tokio::spawn(async move { sub.next().await });
    tokio::task::yield_now().await;
    control.unsubscribe(None).unwrap();
    assert!(soon("the reader ends", waiting).await.unwrap().unwrap().is_none());
    assert_eq!(client.stats().subscriptions, 0);
}

#[tokio::test]
async fn subscriptions_survive_a_restart_and_limits_go_on_counting() {
    let mut server = server!();
    let client = client(&server.url()).await;
    let events = client.events();
    let mut sub = client.subscribe("r").await.unwrap();
    let mut four = client.subscribe("r").max_messages(4).await.unwrap();
    client.publish("r", "1").await.unwrap();
    client.publish("r", "2").await.unwrap();
    client.flush().await.unwrap();
    server.kill();
    until("the break is seen", || client.state() == ClientState::Reconnecting).await;
    client.publish("r", "3").await.unwrap();
    let late = client.subscribe("late");
    server.restart();
    let mut late = soon("subscribed while disconnected", late.into_future()).await.unwrap();
    client.publish("late", "x").await.unwrap();
    soon("flush", client.flush()).await.unwrap();
    for n in 4..10 {
        client.publish("r", n.to_string()).await.unwrap();
    }
    for n in 1..10 {
        let message = soon("a message", sub.next()).await.unwrap().unwrap();
        assert_eq!(message.payload(), n.to_string().as_bytes());
    }
    assert!(soon("late", late.next()).await.unwrap().is_some());
    let mut got = Vec::new();
    while let Some(message) = soon("the limited one", four.next()).await.unwrap() {
        got.push(String::from_utf8_lossy(message.payload()).into_owned());
    }
    assert_eq!(got, ["1", "2", "3", "4"]);
    let counts = client.flush().await.unwrap();
    assert!(counts.balanced() && counts.pending == 0 && counts.unknown == 0, "{counts:?}");
    let (seen, _) = events.take(100);
    assert!(seen.iter().any(|e| matches!(e, Event::Disconnected { .. })), "{seen:?}");
    assert!(matches!(seen.last(), Some(Event::Connected { .. })), "{seen:?}");
    assert_eq!(client.connects(), 2);
}

#[tokio::test]
async fn permissions_are_raised_where_they_belong() {
    let config = r#"
        authorization {
          users = [ { user: u, password: p, permissions: { publish: { deny: ["no.pub"] }, subscribe: { deny: ["no.sub"] } } } ]
        }"#;
    let Some(server) = NatsServer::with_config(config) else { return };
    let mut with_user = options(&server.url());
    (with_user.user, with_user.password) = (Some("u".into()), Some("p".into()));
    let client = client_with(with_user).await;
    let events = client.events();
    let error = client.subscribe("no.sub").await.unwrap_err();
    assert_eq!((error.code(), error.detail().subject.as_deref()), (Code::Permission, Some("no.sub")));
    assert_eq!(client.subscribe("no.sub").queue("q").await.unwrap_err().code(), Code::Permission);
    let mut unconfirmed = client.subscribe("no.sub").confirm(false).await.unwrap();
    assert_eq!(soon("the refusal", unconfirmed.next()).await.unwrap_err().code(), Code::Permission);
    let before = Instant::now();
    let error = client.request("no.pub", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::Permission);
    assert!(before.elapsed() < LIMIT / 3);
    client.publish("no.pub", "x").await.unwrap();
    let counts = client.flush().await.unwrap();
    assert_eq!((counts.published, counts.flushed, counts.rejected), (2, 2, 2));
    let denied = |operation: &str, subject: &str| Event::PermissionDenied {
        operation: operation.into(),
        subject: subject.into(),
    };
    let (seen, _) = events.take(100);
    assert!(seen.contains(&denied("publish", "no.pub")) && seen.contains(&denied("subscribe", "no.sub")), "{seen:?}");
    assert_eq!(client.stats().subscriptions, 0);
    // The client is none the worse for it.
    let mut ok = client.subscribe("ok").await.unwrap();
    client.publish("ok", "x").await.unwrap();
    assert!(soon("a message", ok.next()).await.unwrap().is_some());
}

#[tokio::test]
async fn wrong_credentials_fail_the_connect() {
    let Some(server) = NatsServer::with_config("authorization { user: u, password: right }") else { return };
    let mut wrong = options(&server.url());
    (wrong.user, wrong.password) = (Some("u".into()), Some("wr0ng".into()));
    let error = soon("the refusal", natsune::connect_with(wrong.clone())).await.unwrap_err();
    assert_eq!(error.code(), Code::Auth);
    assert!(!format!("{error:?} {error}").contains("wr0ng"));
    // In the background it gives up at the second refusal.
    wrong.retry_on_failed_connect = true;
    let client = client_with(wrong).await;
    let reason = soon("closed", client.closed()).await.unwrap();
    assert_eq!(reason.code(), Code::Auth);
    let right = natsune::connect(format!("nats://u:right@127.0.0.1:{}", server.port)).await.unwrap();
    right.rtt().await.unwrap();
}

#[tokio::test]
async fn nkeys_and_tokens_are_accepted() {
    let key = natsune_credentials::KeyPair::new_user();
    let config = format!("authorization {{ users = [ {{ nkey: {} }} ] }}", key.public_key());
    let Some(server) = NatsServer::with_config(&config) else { return };
    let client = natsune::connect(server.url()).nkey(key.seed().unwrap().expose()).await.unwrap();
    client.rtt().await.unwrap();
    let stranger = natsune_credentials::KeyPair::new_user();
    let error = natsune::connect(server.url()).nkey(stranger.seed().unwrap().expose()).await.unwrap_err();
    assert_eq!(error.code(), Code::Auth);
    let Some(server) = NatsServer::with_config("authorization { token: t0ken }") else { return };
    natsune::connect(server.url()).token("t0ken").await.unwrap().rtt().await.unwrap();
    assert_eq!(natsune::connect(server.url()).await.unwrap_err().code(), Code::Auth);
}

#[tokio::test]
async fn dropping_the_last_handle_flushes_first() {
    let server = server!();
    let listener = client(&server.url()).await;
    let mut sub = listener.subscribe("bye").await.unwrap();
    let client = client(&server.url()).await;
    for _ in 0..1000 {
        client.publish("bye", vec![0; 1000]).await.unwrap();
    }
    drop(client);
    for _ in 0..1000 {
        assert!(soon("a message", sub.next()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn reconnect_on_demand_and_no_echo() {
    let server = server!();
    let mut quiet = options(&server.url());
    quiet.no_echo = true;
    let client = client_with(quiet).await;
    let sub = client.subscribe("e").await.unwrap();
    client.publish("e", "x").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(sub.stats().received, 0);
    client.reconnect().unwrap();
    until("a second connection", || client.connects() == 2).await;
    soon("flush", client.flush()).await.unwrap();
}
