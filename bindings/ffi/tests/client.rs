//! The client through both lanes, against the broker inside the library.

mod common;

use std::collections::HashSet;

use common::{LIMIT, Queue, World, code, connect, payloads, publish, text};
use natsune_ffi::batch::{STATE_ENDED, STATE_IDLE};
use natsune_ffi::{Messages, Outcome};
use serde_json::{Value, json};

fn packed(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        for part in [name, value] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part.as_bytes());
        }
    }
    out
}

#[test]
fn a_message_goes_round_with_its_headers() {
    let world = World::new();
    let sub = world.queue.handle(world.client, "client.subscribe", json!({"subject": "a.*"})).expect("subscribed");
    let headers = packed(&[("B", "1"), ("A", "grüße"), ("B", "2")]);
    let pressed = natsune_ffi::publish(world.client, b"a.b", Some(b"r.1"), &headers, b"hello").expect("accepted");
    assert!(!pressed);
    let taken = world.queue.take(sub, 256, 0).expect("taken");
    let Messages::Core(list) = &taken.messages else { panic!("{taken:?}") };
    let message = &list[0];
    assert_eq!((message.subject(), message.reply(), message.payload()), ("a.b", Some("r.1"), &b"hello"[..]));
    assert_eq!(message.headers().iter().collect::<Vec<_>>(), [("B", "1"), ("A", "grüße"), ("B", "2")]);
    assert_eq!(natsune_ffi::take(sub, 256, u32::MAX, 1).expect("nothing").state, STATE_IDLE);
    let stats: Value = serde_json::from_str(&natsune_ffi::info(sub, "stats").expect("stats")).expect("JSON");
    assert_eq!((stats["delivered"].as_u64(), stats["unhandled"].as_u64()), (Some(1), Some(0)));
    let batch = taken.pack();
    assert_eq!(batch[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn what_a_client_knows_of_itself() {
    let World { queue, client, .. } = &World::new();
    let counts = queue.document(*client, "client.flush", json!({})).expect("flushed");
    assert_eq!((counts["published"].as_u64(), counts["pending"].as_u64()), (Some(0), Some(0)));
    assert!(queue.document(*client, "client.rtt", json!({})).expect("rtt")["seconds"].as_f64().expect("seconds") > 0.0);
    let info: Value = serde_json::from_str(&natsune_ffi::info(*client, "server_info").expect("info")).expect("JSON");
    assert_eq!(info["headers"], json!(true));
    assert_eq!(natsune_ffi::info(*client, "max_payload").expect("a size"), "1048576");
    assert_eq!(text(natsune_ffi::info(*client, "state")), "connected");
    let inboxes: HashSet<String> = (0..100).map(|_| text(natsune_ffi::info(*client, "new_inbox"))).collect();
    assert_eq!(inboxes.len(), 100);
    queue.unit(*client, "client.wait_writable", json!({})).expect("writable");
    assert_eq!(code(natsune_ffi::info(*client, "nonsense")), "invalid_argument");
}

#[test]
fn requests_are_answered_refused_and_cancelled() {
    let world = World::new();
    let World { queue, client, url, .. } = &world;
    let request = |subject: &str, timeout| {
        natsune_ffi::start_request(queue.number, *client, subject.as_bytes(), &[], b"ask", timeout)
    };
    assert_eq!(code(queue.finish(request("nobody.home", 0).expect("started"))), "no_responders");

    let server = connect(queue, url);
    let sub = queue.handle(server, "client.subscribe", json!({"subject": "svc"})).expect("subscribed");
    let ids: Vec<u64> = (0..100).map(|_| request("svc", 0).expect("started")).collect();
    let mut answered = 0;
    while answered < ids.len() {
        let taken = queue.take(sub, 256, 0).expect("requests");
        let Messages::Core(list) = &taken.messages else { panic!("{taken:?}") };
        for message in list {
            publish(server, message.reply().expect("a reply subject"), b"answer").expect("answered");
            answered += 1;
        }
    }
    for id in ids {
        let Outcome::Message(taken) = queue.finish(id).expect("answered") else { panic!("not a message") };
        assert_eq!(payloads(&taken), [b"answer"]);
    }

    assert_eq!(code(queue.finish(request("svc", 30).expect("started"))), "timeout");
    let waiting = request("svc", 60_000).expect("started");
    natsune_ffi::cancel(waiting);
    assert_eq!(code(natsune_ffi::finish(waiting)), "closed");
    let stats: Value = serde_json::from_str(&natsune_ffi::info(*client, "stats").expect("stats")).expect("JSON");
    assert_eq!(stats["requests_waiting"], json!(0), "a cancelled request leaves nothing behind");
    assert_eq!(code(request("", 0)), "invalid_argument");
    assert_eq!(code(request("a b", 0)), "invalid_argument");
}

#[test]
fn nothing_of_a_million_is_lost() {
    const COUNT: u32 = 1_000_000;
    let world = World::new();
    let World { queue, client, url, .. } = &world;
    let sub = queue
        .handle(*client, "client.subscribe", json!({"subject": "n", "pending_messages": COUNT}))
        .expect("subscribed");
    let publisher = connect(queue, url);
    let number = queue.number;
    let sender = std::thread::spawn(move || {
        let queue = Queue::new();
        assert_ne!(queue.number, number);
        for n in 0..COUNT {
            if publish(publisher, "n", &n.to_le_bytes()).expect("accepted") {
                queue.unit(publisher, "client.wait_writable", json!({})).expect("writable");
            }
        }
    });
    let (mut next, mut done) = (0u32, 0u32);
    while next < COUNT {
        let taken = queue.take(sub, 256, done).expect("taken");
        done = taken.len() as u32;
        for payload in payloads(&taken) {
            assert_eq!(payload, next.to_le_bytes());
            next += 1;
        }
    }
    sender.join().expect("all published");
    let stats: Value = serde_json::from_str(&natsune_ffi::info(sub, "stats").expect("stats")).expect("JSON");
    assert_eq!(stats["dropped"], json!(0));
    natsune_ffi::close_handle(publisher);
}

#[test]
fn a_subscription_ends_after_its_number_or_when_drained() {
    let world = World::new();
    let World { queue, client, .. } = &world;
    let limited =
        queue.handle(*client, "client.subscribe", json!({"subject": "l", "max_messages": 2})).expect("subscribed");
    let drained = queue.handle(*client, "client.subscribe", json!({"subject": "l"})).expect("subscribed");
    for n in 0..3u8 {
        publish(*client, "l", &[n]).expect("accepted");
    }
    queue.document(*client, "client.flush", json!({})).expect("flushed");
    let taken = queue.take(limited, 256, 0).expect("taken");
    assert_eq!(payloads(&taken), [[0], [1]]);
    let end = natsune_ffi::take(limited, 256, u32::MAX, 2).expect("the end");
    assert_eq!((end.len(), end.state), (0, STATE_ENDED), "an end comes alone");
    queue.unit(limited, "sub.closed", json!({})).expect("ended");

    let draining = natsune_ffi::start(queue.number, drained, "sub.drain", "").expect("started");
    let (mut got, mut done) = (Vec::new(), 0);
    loop {
        let taken = queue.take(drained, 2, done).expect("taken");
        done = taken.len() as u32;
        got.extend(payloads(&taken));
        if taken.state == STATE_ENDED {
            break;
        }
    }
    assert_eq!(got, [[0], [1], [2]]);
    natsune_ffi::take(drained, 1, 1, done).expect("handled");
    assert!(matches!(queue.finish(draining), Ok(Outcome::Unit)));

    let plain = queue.handle(*client, "client.subscribe", json!({"subject": "l"})).expect("subscribed");
    queue.unit(plain, "sub.unsubscribe", json!({"after": null})).expect("unsubscribed");
    assert_eq!(queue.take(plain, 1, 0).expect("the end").state, STATE_ENDED);
}

#[test]
fn closed_things_are_closed_and_closing_again_is_nothing() {
    let world = World::new();
    let World { queue, client, url, .. } = &world;
    let other = connect(queue, url);
    let sub = queue.handle(other, "client.subscribe", json!({"subject": "c"})).expect("subscribed");
    let ready = natsune_ffi::start_ready(queue.number, sub).expect("started");
    natsune_ffi::close_handle(sub);
    natsune_ffi::close_handle(sub);
    queue.finish(ready).expect("a closed handle wakes who waits");
    assert_eq!(code(natsune_ffi::take(sub, 1, 1, 0)), "closed");
    assert_eq!(code(natsune_ffi::start_ready(queue.number, sub)), "closed");
    assert_eq!(code(natsune_ffi::info(sub, "stats")), "closed");

    queue.unit(other, "client.close", json!({})).expect("closed");
    queue.unit(other, "client.close", json!({})).expect("closed again");
    assert_eq!(code(publish(other, "a", b"")), "closed");
    assert_eq!(code(queue.run(other, "client.flush", json!({}))), "closed");
    let reason = queue.document(other, "client.closed", json!({})).expect("closed");
    assert_eq!(reason, json!({"reason": null}));
    natsune_ffi::close_handle(other);
    assert_eq!(code(publish(other, "a", b"")), "closed");
    let fresh = connect(queue, url);
    assert_ne!(fresh, other, "a stale handle is never another object");
    assert_eq!(code(publish(other, "a", b"")), "closed");
    natsune_ffi::close_handle(fresh);
    for nonsense in [0, 1, u64::MAX, queue.number] {
        natsune_ffi::close_handle(nonsense);
        assert_eq!(code(publish(nonsense, "a", b"")), "closed");
    }
    publish(*client, "a", b"").expect("the client is untouched");
    assert_eq!(code(natsune_ffi::take(*client, 1, 1, 0)), "invalid_argument");
}

#[test]
fn a_client_that_is_let_go_flushes_first() {
    let world = World::new();
    let World { queue, client, url, .. } = &world;
    let sub = queue.handle(*client, "client.subscribe", json!({"subject": "bye"})).expect("subscribed");
    let other = connect(queue, url);
    for _ in 0..1000 {
        publish(other, "bye", &[7; 100]).expect("accepted");
    }
    natsune_ffi::close_handle(other);
    let mut got = 0;
    while got < 1000 {
        got += queue.take(sub, 256, 0).expect("taken").len();
    }
}

#[test]
fn events_are_taken_like_messages() {
    let world = World::new();
    let World { queue, client, .. } = &world;
    let events = queue.handle(*client, "events", json!({})).expect("events");
    assert_eq!(natsune_ffi::take_events(events, 10).expect("nothing"), (vec![], STATE_IDLE));
    let ready = natsune_ffi::start_ready(queue.number, events).expect("started");
    queue.unit(*client, "client.reconnect", json!({})).expect("reconnects");
    queue.finish(ready).expect("something happened");
    let mut kinds = Vec::new();
    let deadline = std::time::Instant::now() + LIMIT;
    while !kinds.contains(&"connected".to_owned()) {
        assert!(std::time::Instant::now() < deadline, "{kinds:?}");
        queue.finish(natsune_ffi::start_ready(queue.number, events).expect("started")).expect("ready");
        let (texts, _) = natsune_ffi::take_events(events, 10).expect("events");
        for text in texts {
            let event: Value = serde_json::from_str(&text).expect("JSON");
            kinds.push(event["kind"].as_str().expect("a kind").to_owned());
        }
    }
    queue.unit(*client, "client.close", json!({})).expect("closed");
    loop {
        let (texts, state) = natsune_ffi::take_events(events, 10).expect("events");
        if state == STATE_ENDED {
            assert!(texts.last().is_none_or(|text| text.contains(r#""kind":"closed""#)), "{texts:?}");
            break;
        }
        queue.finish(natsune_ffi::start_ready(queue.number, events).expect("started")).expect("ready");
    }
}

#[test]
fn documents_are_checked_and_the_field_is_named() {
    let world = World::new();
    let World { queue, client, .. } = &world;
    let failed = |target, verb, document: Value| queue.run(target, verb, document).expect_err("refused");
    let failure = failed(0, "connect", json!({"sevrers": []}));
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("sevrers")));
    let failure = failed(*client, "client.subscribe", json!({"subject": "a", "quue": "x"}));
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("quue")));
    let failure = failed(*client, "client.subscribe", json!({"subject": "a", "when_full": "block"}));
    assert_eq!((failure.code, &failure.detail["field"]), ("invalid_argument", &json!("when_full")));
    for (verb, document) in [
        ("client.subscribe", json!({"subject": 5})),
        ("client.subscribe", json!({"subject": "a b"})),
        ("client.subscribe", json!([])),
        ("client.flush", json!({"x": 1})),
        ("no.such", json!({})),
        ("client.nonsense", json!({})),
        ("js.nonsense", json!({})),
        ("broker.nonsense", json!({})),
    ] {
        assert_eq!(failed(*client, verb, document).code, "invalid_argument", "{verb}");
    }
    let secret = "SUAMYNEEDLE";
    let failure = failed(0, "connect", json!({"nkey_seed": secret, "password": secret, "user": "u"}));
    assert_eq!(failure.code, "invalid_argument");
    assert!(!format!("{failure:?}").contains(secret));
    let failure = failed(0, "connect", json!({"connect_timeout": -1}));
    assert_eq!(failure.code, "invalid_argument");
    let failure = failed(0, "connect", json!({"servers": ["nats://127.0.0.1:1"], "connect_timeout": 1}));
    assert_eq!((failure.code, failure.retryable), ("connection", true));
}
