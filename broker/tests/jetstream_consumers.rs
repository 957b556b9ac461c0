//! Consumers over the router: pulls, acknowledgements, redelivery, pushes, the words of every status.

mod jetstream_support;

use std::time::Duration;

use jetstream_support::{Bench, Msg, until};
use serde_json::{Value, json};

async fn stream(bench: &Bench, more: Value) {
    let mut config = json!({"name": "S", "subjects": ["s.>"]});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.must("STREAM.CREATE.S", config).await;
}

async fn consumer(bench: &Bench, name: &str, more: Value) -> Value {
    let mut config = json!({"durable_name": name, "ack_policy": "explicit"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bench.must(&format!("CONSUMER.CREATE.S.{name}"), json!({"stream_name": "S", "config": config})).await
}

async fn fill(bench: &Bench, n: usize) {
    for i in 0..n {
        bench.put(&format!("s.{}", i % 2), format!("m{i}").as_bytes()).await;
    }
}

fn texts(messages: &[Msg]) -> Vec<String> {
    messages.iter().map(Msg::text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_consumer_delivers_and_counts() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    fill(&bench, 10).await;
    let created = consumer(&bench, "C", json!({"filter_subject": "s.0"})).await;
    assert_eq!((&created["num_pending"], &created["config"]["max_ack_pending"]), (&json!(5), &json!(1000)));
    let got = bench.pull("S", "C", json!({"batch": 3})).await;
    assert_eq!(texts(&got), ["m0", "m2", "m4"]);
    assert_eq!(got[0].subject, "s.0");
    assert_eq!(got.iter().map(Msg::position).collect::<Vec<_>>(), [(1, 1, 1, 4), (3, 2, 1, 3), (5, 3, 1, 2)]);
    bench.ack_sync(&got[1], "").await;
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["num_ack_pending"], &info["num_pending"]), (&json!(2), &json!(2)));
    assert_eq!(
        info["ack_floor"],
        json!({"consumer_seq": 0, "stream_seq": 0, "last_active": info["ack_floor"]["last_active"]})
    );
    assert_eq!((&info["delivered"]["consumer_seq"], &info["delivered"]["stream_seq"]), (&json!(3), &json!(5)));
    bench.ack_sync(&got[0], "+ACK").await;
    bench.ack_sync(&got[0], "+ACK").await;
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["ack_floor"]["consumer_seq"], &info["ack_floor"]["stream_seq"]), (&json!(2), &json!(4)));
    bench.ack_sync(&got[2], "+TERM bad").await;
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]), (&json!(0), &json!(5)));
    let rest = bench.pull("S", "C", json!({"batch": 10, "no_wait": true})).await;
    assert_eq!(rest.len(), 3);
    assert_eq!(rest[2].status(), "404 No Messages");
    assert_eq!(bench.publish("$JS.API.CONSUMER.MSG.NEXT.S.X", Some("r"), &[], b""), 0);
    assert_eq!(bench.publish("$JS.ACK.S.X.1.1.1.1.0", Some("r"), &[], b""), 0);
    bench.must("CONSUMER.DELETE.S.C", Value::Null).await;
    assert_eq!(bench.refused("CONSUMER.INFO.S.C", Value::Null).await, 10014);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_pulls_are_served_in_turn_and_told_their_end() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    consumer(&bench, "C", json!({"max_waiting": 3})).await;
    let next = "$JS.API.CONSUMER.MSG.NEXT.S.C";
    let (mut a, mut b) = (bench.inbox(), bench.inbox());
    bench.publish(next, Some(&a.subject), &[], br#"{"batch":2,"expires":60000000000}"#);
    bench.publish(next, Some(&b.subject), &[], br#"{"batch":2,"expires":60000000000}"#);
    until("both wait", async || bench.consumer("S", "C").await["num_waiting"] == 2).await;
    fill(&bench, 4).await;
    assert_eq!((a.next().await.text(), b.next().await.text()), ("m0".into(), "m1".into()));
    assert_eq!((a.next().await.text(), b.next().await.text()), ("m2".into(), "m3".into()));
    // A requester that is gone does not swallow a message.
    let gone = bench.inbox();
    bench.publish(next, Some(&gone.subject), &[], br#"{"batch":5}"#);
    drop(gone);
    let got = bench.pull("S", "C", json!({"batch": 1, "expires": 100_000_000})).await;
    assert_eq!(got[0].status(), "408 Request Timeout");
    assert_eq!(got[0].header("Nats-Pending-Messages").as_deref(), Some("1"));
    let mut c = bench.inbox();
    bench.publish(next, Some(&c.subject), &[], br#"{"batch":1,"expires":400000000,"idle_heartbeat":100000000}"#);
    let beat = c.next().await;
    assert_eq!(beat.status(), "100 Idle Heartbeat");
    assert_eq!(beat.header("Nats-Last-Consumer").as_deref(), Some("4"));
    bench.put("s.1", b"last").await;
    while c.next().await.text() != "last" {}
    bench.publish(next, Some(&c.subject), &[], br#"{"batch":1}"#);
    until("one waits", async || bench.consumer("S", "C").await["num_waiting"] == 1).await;
    bench.must("CONSUMER.DELETE.S.C", Value::Null).await;
    assert_eq!(c.next().await.status(), "409 Consumer Deleted");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_comes_again() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    let config = json!({"ack_wait": 100_000_000, "max_deliver": 2});
    consumer(&bench, "C", config).await;
    let mut advisories = bench.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.C");
    fill(&bench, 2).await;
    let first = bench.pull("S", "C", json!({"batch": 2})).await;
    bench.ack_sync(&first[1], "+ACK").await;
    let again = bench.pull("S", "C", json!({"batch": 1, "expires": 5_000_000_000u64})).await;
    assert_eq!((again[0].text().as_str(), again[0].position()), ("m0", (1, 3, 2, 0)));
    assert_eq!(bench.consumer("S", "C").await["num_redelivered"], 1);
    let event = advisories.next().await.json();
    assert_eq!((&event["stream_seq"], &event["deliveries"]), (&json!(1), &json!(2)));
    assert_eq!(event["type"], "io.nats.jetstream.advisory.v1.max_deliver");
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["num_ack_pending"], &info["ack_floor"]["stream_seq"]), (&json!(0), &json!(2)));
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negative_acknowledgements_and_progress_move_the_time() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    consumer(&bench, "C", json!({"ack_wait": 300_000_000, "max_ack_pending": 2})).await;
    fill(&bench, 3).await;
    let got = bench.pull("S", "C", json!({"batch": 2})).await;
    let none = bench.pull("S", "C", json!({"batch": 1, "expires": 50_000_000})).await;
    assert_eq!(none[0].status(), "408 Request Timeout", "no more than max_ack_pending");
    bench.ack(&got[0], "-NAK");
    let again = bench.pull("S", "C", json!({"batch": 1})).await;
    assert_eq!((again[0].text().as_str(), again[0].position().2), ("m0", 2));
    bench.ack_sync(&again[0], "+ACK").await;
    bench.ack(&got[1], r#"-NAK {"delay": 400000000}"#);
    let next = bench.pull("S", "C", json!({"batch": 1})).await;
    assert_eq!(next[0].text(), "m2");
    let start = std::time::Instant::now();
    for _ in 0..3 {
        bench.ack(&next[0], "+WPI");
        let none = bench.pull("S", "C", json!({"batch": 1, "expires": 100_000_000})).await;
        assert_eq!(none[0].status(), "408 Request Timeout");
    }
    bench.ack_sync(&next[0], "").await;
    let late = bench.pull("S", "C", json!({"batch": 1})).await;
    assert_eq!(late[0].text(), "m1");
    assert!(start.elapsed() >= Duration::from_millis(380), "{:?}", start.elapsed());
    bench.put("s.1", b"after").await;
    let mut inbox = bench.inbox();
    bench.publish(&late[0].reply, Some(&inbox.subject), &[], b"+NXT {\"batch\":1}");
    assert_eq!(inbox.next().await.text(), "after");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_queues_remove_what_is_done() {
    let bench = Bench::memory();
    stream(&bench, json!({"retention": "workqueue"})).await;
    consumer(&bench, "zero", json!({"filter_subject": "s.0"})).await;
    let refused = async |name: &str, config: Value| {
        bench.refused(&format!("CONSUMER.CREATE.S.{name}"), json!({"stream_name": "S", "config": config})).await
    };
    assert_eq!(refused("x", json!({"ack_policy": "explicit"})).await, 10099);
    assert_eq!(refused("x", json!({"ack_policy": "explicit", "filter_subject": "s.*"})).await, 10100);
    assert_eq!(refused("x", json!({"ack_policy": "none"})).await, 10084);
    consumer(&bench, "one", json!({"filter_subject": "s.1"})).await;
    fill(&bench, 4).await;
    let got = bench.pull("S", "zero", json!({"batch": 2})).await;
    bench.ack_sync(&got[0], "+ACK").await;
    assert_eq!(bench.state("S").await["messages"], 3);
    let got = bench.pull("S", "one", json!({"batch": 2})).await;
    bench.ack_sync(&got[1], "+TERM").await;
    let state = bench.state("S").await;
    assert_eq!((&state["messages"], &state["first_seq"]), (&json!(2), &json!(2)));
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interest_keeps_what_somebody_still_wants() {
    let bench = Bench::memory();
    stream(&bench, json!({"retention": "interest"})).await;
    assert_eq!(bench.put("s.0", b"nobody").await, 1);
    assert_eq!(bench.state("S").await["messages"], 0);
    consumer(&bench, "A", json!({})).await;
    consumer(&bench, "B", json!({"filter_subject": "s.0"})).await;
    fill(&bench, 4).await;
    assert_eq!(bench.state("S").await["messages"], 4);
    for msg in bench.pull("S", "A", json!({"batch": 4})).await {
        bench.ack_sync(&msg, "+ACK").await;
    }
    assert_eq!(bench.state("S").await["messages"], 2, "those of s.0 wait for B");
    let got = bench.pull("S", "B", json!({"batch": 1})).await;
    bench.ack_sync(&got[0], "+ACK").await;
    assert_eq!(bench.state("S").await["messages"], 1);
    bench.must("CONSUMER.DELETE.S.B", Value::Null).await;
    assert_eq!(bench.state("S").await["messages"], 0);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_consumer_pushes_beats_and_waits() {
    let bench = Bench::memory();
    stream(&bench, json!({"max_msgs_per_subject": 5})).await;
    fill(&bench, 6).await;
    let mut inbox = bench.inbox();
    let config = json!({"deliver_subject": inbox.subject, "deliver_policy": "last_per_subject", "filter_subject": "s.>",
        "ack_policy": "none", "idle_heartbeat": 200_000_000, "flow_control": true, "headers_only": true, "mem_storage": true});
    let created = bench.must("CONSUMER.CREATE.S", json!({"stream_name": "S", "config": config})).await;
    assert_eq!((&created["num_pending"], &created["push_bound"]), (&json!(2), &json!(true)));
    let (one, two) = (inbox.next().await, inbox.next().await);
    assert_eq!((one.position(), two.position()), ((5, 1, 1, 1), (6, 2, 1, 0)));
    assert_eq!((one.header("Nats-Msg-Size").as_deref(), one.text().as_str()), (Some("2"), ""));
    bench.put("s.2", b"new").await;
    assert_eq!(inbox.next().await.position(), (7, 3, 1, 0));
    let beat = inbox.next().await;
    assert_eq!(beat.status(), "100 Idle Heartbeat");
    assert_eq!(
        (beat.header("Nats-Last-Consumer").as_deref(), beat.header("Nats-Last-Stream").as_deref()),
        (Some("3"), Some("7"))
    );
    assert_eq!(
        bench.refused("CONSUMER.CREATE.S", json!({"stream_name": "S", "config": {"deliver_subject": "s.x"}})).await,
        10081
    );
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flow_control_holds_a_push_back() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    let big = vec![0u8; 256 << 10];
    for _ in 0..40 {
        bench.put("s.0", &big).await;
    }
    let mut inbox = bench.inbox();
    let config = json!({"deliver_subject": inbox.subject, "ack_policy": "none", "idle_heartbeat": 1_000_000_000u64,
        "flow_control": true});
    bench.must("CONSUMER.CREATE.S", json!({"stream_name": "S", "config": config})).await;
    let (mut messages, mut questions) = (0, 0);
    while messages < 40 {
        let msg = inbox.next().await;
        match msg.status().as_str() {
            "" => messages += 1,
            "100 FlowControl Request" => {
                questions += 1;
                if questions == 1 {
                    // Unanswered, it goes on only so far, and says what it waits for.
                    let stalled = loop {
                        let msg = inbox.next().await;
                        match msg.status().as_str() {
                            "" => messages += 1,
                            _ => break msg.header("Nats-Consumer-Stalled"),
                        }
                    };
                    assert!(messages < 12, "{messages} were pushed without an answer");
                    assert_eq!(stalled.as_deref(), Some(msg.reply.as_str()));
                }
                bench.publish(&msg.reply, None, &[], b"");
            }
            other => assert_eq!(other, "100 Idle Heartbeat"),
        }
    }
    assert!(questions >= 2);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_consumer_waits_for_a_listener() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    fill(&bench, 2).await;
    consumer(&bench, "P", json!({"deliver_subject": "to.me", "deliver_group": "g"})).await;
    assert_eq!(bench.consumer("S", "P").await.get("push_bound"), None);
    let mut me = bench.subscribe("to.me");
    assert_eq!((me.next().await.text(), me.next().await.text()), ("m0".into(), "m1".into()));
    let info = bench.consumer("S", "P").await;
    assert_eq!((&info["push_bound"], &info["num_ack_pending"]), (&json!(true), &json!(2)));
    drop(me);
    bench.put("s.1", b"m2").await;
    until("unbound", async || bench.consumer("S", "P").await.get("push_bound").is_none()).await;
    let mut me = bench.subscribe("to.me");
    assert_eq!(me.next().await.text(), "m2");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_consumers_end_and_used_ones_stay() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    let config = json!({"ack_policy": "explicit", "inactive_threshold": 100_000_000});
    for name in ["idle", "busy"] {
        let body = json!({"stream_name": "S", "config": config});
        bench.must(&format!("CONSUMER.CREATE.S.{name}"), body).await;
    }
    let inbox = bench.inbox();
    bench.publish("$JS.API.CONSUMER.MSG.NEXT.S.busy", Some(&inbox.subject), &[], b"1");
    until("the idle one ends", async || bench.state("S").await["consumer_count"] == 1).await;
    assert_eq!(bench.must("CONSUMER.NAMES.S", Value::Null).await["consumers"], json!(["busy"]));
    drop(inbox);
    until("the other one ends too", async || bench.state("S").await["consumer_count"] == 0).await;
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_are_changed_paused_and_reset() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    consumer(&bench, "C", json!({"description": "a"})).await;
    let change = |config: Value, action: &str| json!({"stream_name": "S", "config": config, "action": action});
    let same = json!({"durable_name": "C", "ack_policy": "explicit", "description": "a"});
    bench.must("CONSUMER.CREATE.S.C", change(same.clone(), "create")).await;
    let other = json!({"durable_name": "C", "ack_policy": "explicit", "description": "b", "filter_subject": "s.1"});
    assert_eq!(bench.refused("CONSUMER.CREATE.S.C", change(other.clone(), "create")).await, 10148);
    assert_eq!(bench.refused("CONSUMER.CREATE.S.D", change(json!({"durable_name": "D"}), "update")).await, 10149);
    fill(&bench, 4).await;
    let updated = bench.must("CONSUMER.CREATE.S.C", change(other, "update")).await;
    assert_eq!((&updated["config"]["description"], &updated["num_pending"]), (&json!("b"), &json!(2)));
    let refused = json!({"durable_name": "C", "ack_policy": "all", "description": "b", "filter_subject": "s.1"});
    assert_eq!(bench.refused("CONSUMER.CREATE.S.C", change(refused, "")).await, 10012);
    let paused = bench.must("CONSUMER.PAUSE.S.C", json!({"pause_until": "2099-01-01T00:00:00Z"})).await;
    assert_eq!((&paused["paused"], paused["pause_remaining"].is_u64()), (&json!(true), true));
    let none = bench.pull("S", "C", json!({"batch": 1, "expires": 50_000_000})).await;
    assert_eq!(none[0].status(), "408 Request Timeout");
    assert_eq!(bench.consumer("S", "C").await["paused"], true);
    assert_eq!(bench.must("CONSUMER.PAUSE.S.C", Value::Null).await["paused"], false);
    let got = bench.pull("S", "C", json!({"batch": 2})).await;
    assert_eq!(texts(&got), ["m1", "m3"]);
    let reset = bench.must("CONSUMER.RESET.S.C", json!({"seq": 3})).await;
    assert_eq!(
        (&reset["reset_seq"], &reset["num_pending"], &reset["num_ack_pending"]),
        (&json!(3), &json!(1), &json!(0))
    );
    assert_eq!(texts(&bench.pull("S", "C", json!({"batch": 1})).await), ["m3"]);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_and_limits_count_for_consumers() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    consumer(&bench, "C", json!({})).await;
    fill(&bench, 6).await;
    let got = bench.pull("S", "C", json!({"batch": 2})).await;
    bench.must("STREAM.MSG.DELETE.S", json!({"seq": 1})).await;
    bench.must("STREAM.MSG.DELETE.S", json!({"seq": 4})).await;
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["num_ack_pending"], &info["num_pending"]), (&json!(1), &json!(3)));
    bench.must("STREAM.PURGE.S", json!({"filter": "s.0"})).await;
    assert_eq!(bench.consumer("S", "C").await["num_pending"], 1);
    bench.must("STREAM.PURGE.S", Value::Null).await;
    let info = bench.consumer("S", "C").await;
    assert_eq!((&info["num_ack_pending"], &info["num_pending"]), (&json!(0), &json!(0)));
    assert_eq!(info["ack_floor"]["stream_seq"], 6);
    bench.put("s.1", b"after").await;
    bench.ack(&got[1], "+ACK");
    assert_eq!(texts(&bench.pull("S", "C", json!({"batch": 1})).await), ["after"]);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_messages_are_replayed_at_their_pace() {
    let bench = Bench::memory();
    stream(&bench, json!({})).await;
    bench.put("s.0", b"a").await;
    // The pause between the two is what is replayed.
    assert!(bench.inbox().next_within(Duration::from_millis(150)).await.is_none());
    bench.put("s.0", b"b").await;
    consumer(&bench, "C", json!({"replay_policy": "original"})).await;
    let start = std::time::Instant::now();
    assert_eq!(texts(&bench.pull("S", "C", json!({"batch": 2})).await), ["a", "b"]);
    assert!(start.elapsed() >= Duration::from_millis(140), "{:?}", start.elapsed());
    bench.js.shutdown().await;
}
