//! Nothing is lost in silence: what the client says of its publishes against what a cutting peer counted for itself.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use natsune::{Accepted, Client, Code, Event, PublishCounts};
use natsune_protocol::{ClientOp, Limits, Parser};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{FakeServer, NatsServer, Op, client_with, options, soon, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the cutting peers saw with their own eyes.
#[derive(Default)]
struct Seen {
    /// Whole publishes that reached the server's side, by the number in their payload.
    whole: Mutex<Vec<u64>>,
    cuts: AtomicU64,
}

/// A proxy that forwards a random number of bytes in each direction, then cuts; the last of `cuts` connections is left.
async fn cutting_proxy(target: std::net::SocketAddr, seed: u64, cuts: u64, seen: Arc<Seen>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        loop {
            let Ok((client, _)) = listener.accept().await else { return };
            let server = TcpStream::connect(target).await.unwrap();
            let last = seen.cuts.load(Ordering::Relaxed) >= cuts;
            // Beyond the handshake mostly, so that publishes are hit.
            let up = if last { u64::MAX } else { rng.random_range(100..60_000) };
            let down = if last || rng.random_bool(0.5) { u64::MAX } else { rng.random_range(600..2_000) };
            forward(client, server, up, down, &seen).await;
            seen.cuts.fetch_add(1, Ordering::Relaxed);
        }
    });
    url
}

async fn forward(mut client: TcpStream, mut server: TcpStream, mut up: u64, mut down: u64, seen: &Seen) {
    let mut parser = Parser::new(Limits::client());
    let mut pending = Vec::new();
    let (mut from_client, mut from_server) = ([0u8; 4096], [0u8; 4096]);
    while up > 0 && down > 0 {
        let most_up = from_client.len().min(usize::try_from(up).unwrap_or(usize::MAX));
        let most_down = from_server.len().min(usize::try_from(down).unwrap_or(usize::MAX));
        tokio::select! {
            n = client.read(&mut from_client[..most_up]) => {
                let n = n.unwrap_or(0);
                if n == 0 || server.write_all(&from_client[..n]).await.is_err() { break }
                up -= n as u64;
                pending.extend_from_slice(&from_client[..n]);
                let mut at = 0;
                while let Some((op, used)) = parser.client_op(&pending[at..]).expect("the client speaks NATS") {
                    if let ClientOp::Pub(p) = op { seen.whole.lock().unwrap().push(number(p.payload)) }
                    at += used;
                }
                pending.drain(..at);
            }
            n = server.read(&mut from_server[..most_down]) => {
                let n = n.unwrap_or(0);
                if n == 0 || client.write_all(&from_server[..n]).await.is_err() { break }
                down -= n as u64;
            }
        }
    }
    // What the client still has under way is lost; what was forwarded is not.
    let _ = client.set_zero_linger();
    drop(client);
    let _ = server.shutdown().await;
    let mut rest = Vec::new();
    let _ = server.read_to_end(&mut rest).await;
}

fn number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload.get(..8).and_then(|b| b.try_into().ok()).expect("a numbered payload"))
}

/// Publishes numbers until the peer has cut often enough; every snapshot must balance.
async fn publish_through(client: &Client, seen: &Seen, cuts: u64) -> u64 {
    let mut n = 0u64;
    let mut payload = vec![0u8; 200];
    while seen.cuts.load(Ordering::Relaxed) < cuts {
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload.resize(8 + (n as usize * 37) % 400, 0);
        match client.try_publish("count.me", None, None, &payload) {
            Ok(accepted) => {
                n += 1;
                if accepted == Accepted::Pressure {
                    soon("room", client.writable()).await.unwrap();
                }
            }
            Err(error) => panic!("{error}"),
        }
        if n.is_multiple_of(50) {
            let counts = client.publish_counts();
            assert!(counts.balanced() && counts.published == n, "{counts:?} after {n}");
            tokio::task::yield_now().await;
        }
        // Some of it confirmed, some not, wherever the cut falls.
        if n.is_multiple_of(300) {
            let _ = client.flush_within(Duration::from_millis(5)).await;
        }
    }
    n
}

fn check(counts: PublishCounts, received: &[u64], n: u64, seed: u64) {
    let got = received.len() as u64;
    assert!(counts.balanced(), "seed {seed}: {counts:?}");
    assert_eq!((counts.published, counts.pending, counts.dropped), (n, 0, 0), "seed {seed}: {counts:?}");
    assert!(counts.flushed <= got && got <= counts.flushed + counts.unknown, "seed {seed}: {counts:?}, received {got}");
    assert!(received.windows(2).all(|w| w[0] < w[1]), "seed {seed}: out of order or twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_hold_under_random_cuts_before_the_real_server() {
    let Some(server) = NatsServer::start(&[]) else { return };
    let mut unknown = 0;
    for seed in 0..12 {
        let seen = Arc::new(Seen::default());
        let watcher = support::client(&server.url()).await;
        let mut sub = watcher.subscribe("count.me").await.unwrap();
        let url = cutting_proxy(server.address(), seed, 8, seen.clone()).await;
        let mut options = options(&url);
        options.outbound_mark = 64 << 10;
        options.retry_on_failed_connect = true;
        let client = client_with(options).await;
        let n = publish_through(&client, &seen, 8).await;
        let counts = soon("flush", client.flush()).await.unwrap();
        let whole = seen.whole.lock().unwrap().clone();
        check(counts, &whole, n, seed);
        // The proxy's word against an independent receiver's.
        let mut received = Vec::new();
        while received.len() < whole.len() {
            received.push(number(soon("a message", sub.next()).await.unwrap().unwrap().payload()));
        }
        assert_eq!(received, whole, "seed {seed}");
        unknown += counts.unknown;
        client.close().await;
    }
    assert!(unknown > 0, "the cuts hit nothing: the test is worth nothing");
}

/// A server that processes a random number of operations and then resets, leaving unread what is under way.
async fn cutting_server(seed: u64, cuts: u64, seen: Arc<Seen>) -> String {
    let server = FakeServer::start().await;
    let url = server.url();
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        loop {
            let last = seen.cuts.load(Ordering::Relaxed) >= cuts;
            let mut connection = server.accept().await;
            connection.send("INFO {\"headers\":true,\"max_payload\":1048576}\r\n").await;
            let mut left = if last { u64::MAX } else { rng.random_range(1..3_000u64) };
            while left > 0 {
                match connection.next_op().await {
                    Some(Op::Ping) => connection.send("PONG\r\n").await,
                    Some(Op::Pub { payload, .. }) => {
                        seen.whole.lock().unwrap().push(number(&payload));
                        left -= 1;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            seen.cuts.fetch_add(1, Ordering::Relaxed);
            connection.reset();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_hold_when_the_server_resets_in_the_middle() {
    let mut unknown = 0;
    for seed in 100..110 {
        let seen = Arc::new(Seen::default());
        let url = cutting_server(seed, 10, seen.clone()).await;
        let mut options = options(&url);
        options.outbound_mark = 32 << 10;
        options.retry_on_failed_connect = true;
        let client = client_with(options).await;
        let events = client.events();
        let n = publish_through(&client, &seen, 10).await;
        let counts = soon("flush", client.flush()).await.unwrap();
        check(counts, &seen.whole.lock().unwrap(), n, seed);
        let told: u64 = events
            .take(1000)
            .0
            .iter()
            .filter_map(|e| if let Event::Disconnected { unknown, .. } = e { Some(*unknown) } else { None })
            .sum();
        assert!(told <= counts.unknown, "events tell {told} of {counts:?}");
        unknown += counts.unknown;
        println!("seed {seed}: {counts:?}");
    }
    assert!(unknown > 0, "the cuts hit nothing: the test is worth nothing");
}

#[tokio::test]
async fn kept_while_disconnected_up_to_the_limit_then_busy() {
    let server = FakeServer::start().await;
    let mut options = options(&server.url());
    options.outbound_mark = 1000;
    options.outbound_limit = 4000;
    options.publish_timeout = Duration::from_millis(30);
    let client = tokio::spawn(client_with(options));
    let (connection, _) = server.accept_client().await;
    let client = client.await.unwrap();
    drop(connection);
    until("the break is seen", || client.state() == natsune::ClientState::Reconnecting).await;
    let payload = [7u8; 100];
    let mut pressure = 0;
    let error = loop {
        match client.try_publish("a", None, None, &payload) {
            Ok(Accepted::Ok) => assert_eq!(pressure, 0),
            Ok(Accepted::Pressure) => pressure += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.retryable()), (Code::Busy, true));
    assert!(pressure > 10);
    assert_eq!(client.publish("a", "x").await.unwrap_err().code(), Code::Timeout);
    let kept = client.publish_counts().pending;
    let (mut connection, _) = server.accept_client().await;
    for _ in 0..kept {
        assert!(matches!(connection.op_but_ping().await, Op::Pub { payload, .. } if payload == [7u8; 100]));
    }
    client.publish("b", "after").await.unwrap();
    assert!(matches!(connection.op_but_ping().await, Op::Pub { subject, .. } if subject == "b"));
}

#[tokio::test]
async fn without_buffering_a_break_is_told_at_once() {
    let server = FakeServer::start().await;
    let mut options = options(&server.url());
    options.buffer_while_disconnected = false;
    let client = tokio::spawn(client_with(options));
    let (connection, _) = server.accept_client().await;
    let client = client.await.unwrap();
    drop(connection);
    until("the break is seen", || client.state() == natsune::ClientState::Reconnecting).await;
    let error = client.publish("a", "x").await.unwrap_err();
    assert_eq!((error.code(), error.applied()), (Code::Connection, natsune::Applied::No));
    assert_eq!(client.publish_counts().published, 0);
}

#[tokio::test]
async fn unconfirmed_writes_are_confirmed_by_a_ping_of_our_own() {
    let server = FakeServer::start().await;
    let mut options = options(&server.url());
    // No PING of the keep-alive.
    options.ping_interval = Duration::from_secs(3600);
    let client = tokio::spawn(client_with(options));
    let (mut connection, _) = server.accept_client().await;
    let client = client.await.unwrap();
    client.publish("a", "x").await.unwrap();
    assert!(matches!(connection.op().await, Op::Pub { .. }));
    // Nobody flushes: the engine asks within a quarter of a second.
    assert_eq!(connection.op().await, Op::Ping);
    assert_eq!(client.publish_counts().pending, 1);
    client.publish("a", "y").await.unwrap();
    assert!(matches!(connection.op().await, Op::Pub { .. }));
    connection.send("PONG\r\n").await;
    until("the first is confirmed", || client.publish_counts().flushed == 1).await;
    assert_eq!(connection.op().await, Op::Ping);
    connection.send("PONG\r\n").await;
    until("the second is confirmed", || client.publish_counts().flushed == 2).await;
    // A PONG that nobody asked for changes nothing.
    client.publish("a", "z").await.unwrap();
    connection.send("PONG\r\nPONG\r\n").await;
    assert!(matches!(connection.op().await, Op::Pub { .. }));
    assert_eq!(connection.op().await, Op::Ping);
    let counts = client.publish_counts();
    assert_eq!((counts.flushed, counts.pending), (2, 1));
}

#[tokio::test]
async fn close_gives_up_and_counts() {
    let server = FakeServer::start().await;
    let client = tokio::spawn(client_with(options(&server.url())));
    let (connection, _) = server.accept_client().await;
    let client = client.await.unwrap();
    drop(connection);
    until("the break is seen", || client.state() == natsune::ClientState::Reconnecting).await;
    for _ in 0..10 {
        client.publish("a", "x").await.unwrap();
    }
    soon("close", client.close()).await;
    let counts = client.publish_counts();
    assert_eq!((counts.published, counts.dropped, counts.pending), (10, 10, 0));
}
