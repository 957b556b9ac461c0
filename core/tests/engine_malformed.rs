//! Malformed frames over a socket: the client neither crashes nor hangs, drops the connection and goes on with the next.

mod support;
#[path = "../protocol/tests/malformed/text.rs"]
mod text;

use std::time::Duration;

use natsune::{ClientState, Event};
use support::{FakeServer, Op, client_with, options, soon, until};

const FRAMES: &str = include_str!("../protocol/tests/malformed/server.txt");

#[tokio::test]
async fn frames_after_the_handshake() {
    let server = FakeServer::start().await;
    let mut quick = options(&server.url());
    (quick.reconnect_delay, quick.reconnect_delay_max) = (Duration::ZERO, Duration::ZERO);
    let client = tokio::spawn(client_with(quick));
    let (mut connection, _) = server.accept_client().await;
    let client = soon("connect", client).await.unwrap();
    let mut events = client.events();
    let frames = text::read(FRAMES);
    assert!(frames.len() >= 200, "{}", frames.len());
    let (mut closed, mut skipped) = (0, 0);
    for (at, (class, frame)) in frames.iter().enumerate() {
        // Whole, and in two pieces: neither may depend on how the bytes arrive.
        let split = (at * 7919) % frame.len().max(1);
        for pieces in [[&frame[..], &[][..]], [&frame[..split], &frame[split..]]] {
            for piece in pieces {
                // The client may have closed after the first piece.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut connection.stream, piece).await;
                tokio::task::yield_now().await;
            }
            if *class == "unreadable" {
                connection.send("PING\r\n").await;
                loop {
                    match connection.op().await {
                        Op::Pong => break,
                        Op::Ping => connection.send("PONG\r\n").await,
                        other => panic!("{other:?} after {:?}", shown(frame)),
                    }
                }
                skipped += 1;
                continue;
            }
            soon(&format!("the client drops {class} {:?}", shown(frame)), async {
                while connection.read_some().await > 0 {}
            })
            .await;
            closed += 1;
            (connection, _) = server.accept_client().await;
            while events.take(100).0.iter().all(|e| !matches!(e, Event::Connected { .. })) {
                soon("events", events.ready()).await;
            }
        }
    }
    println!("{closed} connections dropped, {skipped} frames skipped");
    assert_eq!(client.stats().unreadable, skipped);
    // After all that it works as on the first day.
    client.publish("still", "alive").await.unwrap();
    assert!(matches!(connection.op_but_ping().await, Op::Pub { subject, .. } if subject == "still"));
    client.close().await;
    assert!(matches!(soon("the end", last(&mut events)).await, Some(Event::Closed { reason: None })));
}

/// Some frames are megabytes.
fn shown(frame: &[u8]) -> String {
    String::from_utf8_lossy(&frame[..frame.len().min(60)]).into_owned()
}

async fn last(events: &mut natsune::Events) -> Option<Event> {
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    last
}

#[tokio::test]
async fn frames_instead_of_the_handshake() {
    let server = FakeServer::start().await;
    let mut quick = options(&server.url());
    (quick.reconnect_delay, quick.reconnect_delay_max) = (Duration::ZERO, Duration::ZERO);
    quick.retry_on_failed_connect = true;
    let client = tokio::spawn(client_with(quick));
    let nested = format!("INFO {}1{}\r\n", "[".repeat(50_000), "]".repeat(50_000)).into_bytes();
    let mut frames: Vec<Vec<u8>> = text::read(FRAMES).into_iter().map(|(_, frame)| frame).step_by(3).collect();
    let infos =
        ["INFO\r\n", "INFO {\r\n", "INFO []\r\n", "INFO {\"max_payload\":-1}\r\n", "INFO {\"port\":99999}\r\n", "\r\n"];
    frames.extend(infos.map(|i| i.as_bytes().to_vec()));
    frames.push(nested);
    for frame in &frames {
        let mut connection = server.accept().await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut connection.stream, frame).await;
        // A line that never ends is the business of the connect timeout: end it here.
        if !frame.contains(&b'\n') {
            continue;
        }
        soon(&format!("the client drops {:?}", shown(frame)), async { while connection.read_some().await > 0 {} })
            .await;
        assert!(connection.received.is_empty(), "CONNECT went to something that is no server");
    }
    // Between INFO and PONG.
    for frame in frames.iter().step_by(4).filter(|f| f.contains(&b'\n') && !f.starts_with(b"INFO")) {
        let mut connection = server.accept().await;
        connection.send("INFO {}\r\n").await;
        while connection.op().await != Op::Ping {}
        let _ = tokio::io::AsyncWriteExt::write_all(&mut connection.stream, frame).await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut connection.stream, b"PONG\r\n").await;
        // Dropped, or (a frame that is only unreadable) accepted.
        drop(connection);
    }
    let (_connection, _) = server.accept_client().await;
    let client = soon("goes on in the background", client).await.unwrap();
    until("connected", || client.state() == ClientState::Connected).await;
    client.close().await;
}

#[tokio::test]
async fn a_promised_size_takes_no_memory_before_it_comes() {
    let server = FakeServer::start().await;
    let client = tokio::spawn(client_with(options(&server.url())));
    let (mut connection, _) = server.accept_client().await;
    let client = soon("connect", client).await.unwrap();
    connection.send("MSG a 9 67108864\r\n").await;
    for _ in 0..3 {
        connection.send(vec![b'x'; 1 << 20]).await;
    }
    // It waits for the rest, and a close does not wait for it.
    until("it is read", || client.stats().in_bytes >= 3 << 20).await;
    soon("close", client.close()).await;
}
