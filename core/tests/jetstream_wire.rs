//! What JetStream puts on the wire, and what it makes of a scripted server's words.

mod support;

use std::time::Duration;

use natsune::Code;
use natsune::jetstream::{ConsumeOptions, Consumer, Consumption, Priority};
use serde_json::{Value, json};
use support::{FakeConnection, FakeServer, Op, client, client_with, options, soon};

const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT.S.d";

/// A pull request: its reply subject and its fields.
async fn pull(connection: &mut FakeConnection) -> (String, Value) {
    match connection.op_but_ping().await {
        Op::Pub { subject, reply: Some(reply), payload, .. } if subject == NEXT => {
            (reply, serde_json::from_slice(&payload).unwrap())
        }
        other => panic!("a pull was expected, not {other:?}"),
    }
}

/// A request of the API: its reply subject.
async fn api(connection: &mut FakeConnection, tail: &str) -> String {
    match connection.op_but_ping().await {
        Op::Pub { subject, reply: Some(reply), .. } if subject == format!("$JS.API.{tail}") => reply,
        other => panic!("{tail} was expected, not {other:?}"),
    }
}

/// The subscriptions so far: inbox of pulls and inbox of answers, by their subjects.
struct Wire {
    connection: FakeConnection,
    subs: Vec<(String, u64)>,
}

impl Wire {
    fn sid(&self, reply: &str) -> u64 {
        let found = self.subs.iter().find(|(filter, _)| natsune_protocol::subject::matches(filter, reply));
        found.unwrap_or_else(|| panic!("nobody is subscribed to {reply}: {:?}", self.subs)).1
    }

    async fn sub(&mut self) {
        match self.connection.op_but_ping().await {
            Op::Sub { subject, sid, .. } => self.subs.push((subject, sid)),
            other => panic!("a subscription was expected, not {other:?}"),
        }
    }

    async fn status(&mut self, reply: &str, line: &str) {
        let (sid, block) = (self.sid(reply), format!("NATS/1.0 {line}\r\n\r\n"));
        let mut out = Vec::new();
        natsune_protocol::encode::msg(&mut out, reply, sid.to_string().as_bytes(), None, Some(block.as_bytes()), b"");
        self.connection.send(out).await;
    }

    async fn deliver(&mut self, reply: &str, sequences: std::ops::Range<u64>) {
        let sid = self.sid(reply).to_string();
        let mut out = Vec::new();
        for sequence in sequences {
            let ack = format!("$JS.ACK.S.d.1.{sequence}.{sequence}.1795525539589386239.0");
            natsune_protocol::encode::msg(&mut out, "s.a", sid.as_bytes(), Some(&ack), None, b"x");
        }
        self.connection.send(out).await;
    }

    async fn answer(&mut self, reply: &str, body: Value) {
        let sid = self.sid(reply);
        self.connection.msg(reply, sid, None, body.to_string().as_bytes()).await;
    }
}

fn info() -> Value {
    json!({
        "stream_name": "S", "name": "d", "created": "2026-11-24T13:05:39.59Z", "num_pending": 0,
        "config": {"durable_name": "d", "deliver_policy": "all", "ack_policy": "explicit", "replay_policy": "instant"},
        "delivered": {"consumer_seq": 0, "stream_seq": 0}, "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
    })
}

/// A consumption that has just sent its first pull, and what that was.
async fn consuming(server: &FakeServer, wanted: ConsumeOptions) -> (Consumption, Wire, String, Value) {
    let url = server.url();
    let (client, (connection, _)) = tokio::join!(client(&url), server.accept_client());
    let consumer: Consumer = client.jetstream().consumer("S", "d").unwrap();
    let starting = tokio::spawn(async move { consumer.consume(&wanted).await });
    let mut wire = Wire { connection, subs: Vec::new() };
    wire.sub().await;
    let (reply, request) = pull(&mut wire.connection).await;
    wire.sub().await;
    let asked = api(&mut wire.connection, "CONSUMER.INFO.S.d").await;
    wire.answer(&asked, info()).await;
    (soon("the start", starting).await.unwrap().unwrap(), wire, reply, request)
}

async fn handle(consumption: &Consumption, count: usize) {
    for _ in 0..count {
        soon("a message", consumption.next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn pulls_follow_adr_37() {
    let server = FakeServer::start().await;
    let (consumption, mut wire, first, request) = consuming(&server, ConsumeOptions::default()).await;
    assert_eq!(request, json!({"batch": 500, "expires": 30_000_000_000_u64, "idle_heartbeat": 15_000_000_000_u64}));
    // Half of it handled: that half is asked for.
    wire.deliver(&first, 1..501).await;
    handle(&consumption, 251).await;
    let (second, request) = pull(&mut wire.connection).await;
    assert!(second != first && request["batch"] == 250);
    // What the server says it did not deliver is asked for anew.
    wire.status(&second, "408 Request Timeout\r\nNats-Pending-Messages: 250\r\nNats-Pending-Bytes: 0").await;
    let (third, request) = pull(&mut wire.connection).await;
    assert_eq!(request["batch"], 250);
    wire.deliver(&third, 501..601).await;
    wire.status(&third, "409 Leadership Change\r\nNats-Pending-Messages: 150\r\nNats-Pending-Bytes: 0").await;
    // 350 are there; the rest is asked for once they are fewer.
    handle(&consumption, 150).await;
    let (_, request) = pull(&mut wire.connection).await;
    assert_eq!(request["batch"], 300, "500 less the 200 that are there or in hand");
}

#[tokio::test]
async fn bytes_are_accounted_for() {
    let server = FakeServer::start().await;
    let wanted =
        ConsumeOptions { max_bytes: Some(10_000), expires: Some(Duration::from_secs(10)), ..Default::default() };
    let (consumption, mut wire, first, request) = consuming(&server, wanted).await;
    let expected = json!({"batch": 1_000_000, "expires": 10_000_000_000_u64, "max_bytes": 10_000, "idle_heartbeat": 5_000_000_000_u64});
    assert_eq!(request, expected);
    wire.deliver(&first, 10..110).await;
    soon("messages", consumption.ready()).await;
    let size = consumption.take(100, usize::MAX, 0).messages.iter().map(|m| m.size() as u64).sum::<u64>();
    assert!(size < 5000, "{size}");
    wire.status(&first, "409 Batch Completed\r\nNats-Pending-Messages: 0\r\nNats-Pending-Bytes: 5678").await;
    // What is left of the request is given up; all but what is in hand is asked for.
    let (_, request) = pull(&mut wire.connection).await;
    assert_eq!(request["max_bytes"], 10_000 - size);
}

#[tokio::test]
async fn a_group_keeps_its_pin_until_it_is_taken_away() {
    let server = FakeServer::start().await;
    let priority = Some(Priority { group: "g".into(), ..Default::default() });
    let wanted = ConsumeOptions { max_messages: Some(2), priority, ..Default::default() };
    let (consumption, mut wire, first, request) = consuming(&server, wanted).await;
    assert_eq!((&request["group"], request.get("id")), (&json!("g"), None));
    let sid = wire.sid(&first).to_string();
    let mut out = Vec::new();
    let (ack, block) = ("$JS.ACK.S.d.1.1.1.1795525539589386239.0", b"NATS/1.0\r\nNats-Pin-Id: p1\r\n\r\n");
    natsune_protocol::encode::msg(&mut out, "s.a", sid.as_bytes(), Some(ack), Some(block), b"x");
    wire.connection.send(out).await;
    handle(&consumption, 1).await;
    wire.status(&first, "408 Request Timeout\r\nNats-Pending-Messages: 1\r\nNats-Pending-Bytes: 0").await;
    let (second, request) = pull(&mut wire.connection).await;
    assert_eq!(request["id"], "p1");
    wire.status(&second, "423 Nats-Wrong-Pin-Id\r\nNats-Pending-Messages: 1\r\nNats-Pending-Bytes: 0").await;
    let (_, request) = pull(&mut wire.connection).await;
    assert_eq!(request.get("id"), None);
}

#[tokio::test]
async fn words_of_an_older_connection_do_not_count() {
    let server = FakeServer::start().await;
    let (consumption, wire, first, _) = consuming(&server, ConsumeOptions::default()).await;
    let mut old = wire;
    old.deliver(&first, 1..11).await;
    handle(&consumption, 10).await;
    let (subs, connection) = (old.subs, old.connection);
    connection.reset();
    let (connection, again) = server.accept_client().await;
    let mut wire = Wire { connection, subs };
    assert!(again.iter().any(|op| matches!(op, Op::Sub { .. })));
    let (second, request) = pull(&mut wire.connection).await;
    assert_eq!(request["batch"], 499, "all but the one in hand is asked for anew");
    let asked = api(&mut wire.connection, "CONSUMER.INFO.S.d").await;
    wire.answer(&asked, info()).await;
    wire.status(&first, "409 Consumer Deleted").await;
    wire.deliver(&second, 11..12).await;
    handle(&consumption, 1).await;
}

#[tokio::test]
async fn a_pull_that_nobody_hears_is_looked_into() {
    let server = FakeServer::start().await;
    let (consumption, mut wire, first, _) = consuming(&server, ConsumeOptions::default()).await;
    wire.status(&first, "503").await;
    let asked = api(&mut wire.connection, "CONSUMER.INFO.S.d").await;
    wire.answer(&asked, info()).await;
    // It is there: pulled again, a little later.
    let (second, _) = pull(&mut wire.connection).await;
    wire.status(&second, "503").await;
    let asked = api(&mut wire.connection, "CONSUMER.INFO.S.d").await;
    wire.answer(&asked, json!({"error": {"code": 404, "err_code": 10014, "description": "consumer not found"}})).await;
    let error = soon("the failure", consumption.next()).await.unwrap_err();
    assert_eq!((error.code(), error.detail().err_code), (Code::NotFound, Some(10014)));
}

#[tokio::test]
async fn silence_is_looked_into() {
    let server = FakeServer::start().await;
    let wanted = ConsumeOptions {
        expires: Some(Duration::from_secs(5)),
        heartbeat: Some(Duration::from_millis(100)),
        ..Default::default()
    };
    let (consumption, mut wire, first, _) = consuming(&server, wanted).await;
    // Heartbeats keep it calm.
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..8 {
        ticks.tick().await;
        wire.status(&first, "100 Idle Heartbeat").await;
    }
    assert_eq!(consumption.stats().received, 0, "they are no messages");
    // Without them it pulls again and asks for the consumer.
    let (second, _) = pull(&mut wire.connection).await;
    assert_ne!(second, first);
    let asked = api(&mut wire.connection, "CONSUMER.INFO.S.d").await;
    wire.answer(&asked, info()).await;
    wire.deliver(&second, 1..2).await;
    handle(&consumption, 1).await;
}

#[tokio::test]
async fn settling_stays_behind_publishes_and_is_never_busy() {
    let server = FakeServer::start().await;
    let mut small = options(&server.url());
    small.outbound_mark = 1000;
    small.outbound_limit = 2000;
    let (client, (connection, _)) = tokio::join!(client_with(small), server.accept_client());
    let mut wire = Wire { connection, subs: Vec::new() };
    let consumer = client.jetstream().consumer("S", "d").unwrap();
    let fetching = tokio::spawn(async move { consumer.fetch(4, Duration::from_secs(10)).await });
    wire.sub().await;
    let (reply, request) = pull(&mut wire.connection).await;
    assert_eq!((&request["batch"], request.get("idle_heartbeat")), (&json!(4), None));
    wire.deliver(&reply, 1..5).await;
    let messages = soon("four messages", fetching).await.unwrap().unwrap();
    // No turn is given to the connection: the buffer fills up, and settling still goes behind it.
    let payload = [b'x'; 100];
    let mut published = 0;
    while client.try_publish("p", None, None, &payload).is_ok() {
        published += 1;
    }
    assert_eq!(client.try_publish("p", None, None, &payload).unwrap_err().code(), Code::Busy);
    messages[0].ack().unwrap();
    messages[1].nak(Some(Duration::from_secs(1))).unwrap();
    messages[2].in_progress().unwrap();
    messages[3].term(Some("enough")).unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < published + 4 {
        match wire.connection.op_but_ping().await {
            Op::Pub { subject, payload, .. } if subject == "p" => bodies.push(payload),
            Op::Pub { subject, payload, reply: None, .. } if subject.starts_with("$JS.ACK.S.d.") => {
                bodies.push(payload)
            }
            Op::Unsub { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert!(bodies[..published].iter().all(|b| b == &payload));
    let bodies: Vec<_> = bodies[published..].iter().map(|b| std::str::from_utf8(b).unwrap()).collect();
    assert_eq!(bodies, ["+ACK", "-NAK {\"delay\": 1000000000}", "+WPI", "+TERM enough"]);
}
