//! The same requests to our server and to nats-server: every answer is the same, but for times, names and words of JSON errors.
//!
//! The real one is named by `NATSUNE_NATS_SERVER`; without it the test says that it was skipped, and fails under `CI=true`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// One request, and how many answers to wait for (0: there is none within a moment).
struct Step {
    subject: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Body,
    answers: usize,
}

enum Body {
    Json(Value),
    Text(&'static str),
}

fn call(subject: &'static str, body: Value) -> Step {
    Step { subject, headers: &[], body: Body::Json(body), answers: 1 }
}

fn text(subject: &'static str, body: &'static str) -> Step {
    Step { subject, headers: &[], body: Body::Text(body), answers: 1 }
}

fn headed(subject: &'static str, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Step {
    Step { subject, headers, body: Body::Text(body), answers: 1 }
}

fn many(subject: &'static str, body: Value, answers: usize) -> Step {
    Step { subject, headers: &[], body: Body::Json(body), answers }
}

/// What is compared.
fn steps() -> Vec<Step> {
    let none = Value::Null;
    let mut steps = vec![
        call("$JS.API.INFO", none.clone()),
        call("$JS.API.STREAM.NAMES", none.clone()),
        call("$JS.API.STREAM.LIST", none.clone()),
        call("$JS.API.STREAM.INFO.S", none.clone()),
        call(
            "$JS.API.STREAM.CREATE.S",
            json!({"name": "S", "subjects": ["s.>"], "allow_direct": true, "metadata": {"a": "b"}}),
        ),
        call(
            "$JS.API.STREAM.CREATE.S",
            json!({"name": "S", "subjects": ["s.>"], "allow_direct": true, "metadata": {"a": "b"}}),
        ),
        call("$JS.API.STREAM.CREATE.S", json!({"name": "S", "subjects": ["other"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "S"})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": ["s.a"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": ["t", "t"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": ["t.*", "t.a"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": [">"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": ["$JS.API.x"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "subjects": ["a..b"]})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "max_age": 5})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "num_replicas": 3})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "num_replicas": 9})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "sealed": true})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "deny_purge": true, "allow_rollup_hdrs": true})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "discard_new_per_subject": true})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "max_msgs": -7, "pedantic": true})),
        call("$JS.API.STREAM.CREATE.T", json!({"name": "T", "unknown": 1})),
        text("$JS.API.STREAM.CREATE.T", "{\"name\":"),
        call(
            "$JS.API.STREAM.CREATE.T",
            json!({"name": "T", "max_msgs_per_subject": 1, "allow_rollup_hdrs": true,
            "storage": "memory", "subjects": ["t.*"], "max_age": 3_600_000_000_000u64, "subject_delete_marker_ttl": 5_000_000_000u64}),
        ),
        headed("t.a", &[("Nats-TTL", "0")], ""),
        headed("s.a", &[("Nats-TTL", "0")], ""),
        call("$JS.API.STREAM.MSG.DELETE.T", json!({"seq": 0})),
        call("$JS.API.STREAM.MSG.DELETE.T", json!({"seq": 9})),
        call("$JS.API.STREAM.CREATE.F", json!({"name": "F", "subjects": ["f"], "first_seq": 1})),
        call("$JS.API.STREAM.INFO.F", none.clone()),
        call("$JS.API.STREAM.DELETE.F", none.clone()),
        call("$JS.API.STREAM.CREATE.Q", json!({"name": "Q", "subjects": ["q.*"], "retention": "workqueue"})),
        headed("s.a", &[("Nats-Msg-Id", "1")], "one"),
        headed("s.a", &[("Nats-Msg-Id", "1")], "one"),
        headed("s.b", &[("X", "y"), ("X", "z")], "two"),
        headed("s.a", &[("Nats-Expected-Stream", "X")], ""),
        headed("s.a", &[("Nats-Expected-Last-Sequence", "9")], ""),
        headed("s.a", &[("Nats-Expected-Last-Msg-Id", "9")], ""),
        headed("s.a", &[("Nats-Expected-Last-Subject-Sequence", "9")], ""),
        headed("s.a", &[("Nats-Expected-Last-Subject-Sequence-Subject", "s.a")], ""),
        headed("s.a", &[("Nats-Expected-Last-Subject-Sequence", "1")], "three"),
        headed("s.a", &[("Nats-Rollup", "sub")], ""),
        headed("t.a", &[("Nats-Rollup", "x")], ""),
        headed("t.a", &[("Nats-TTL", "x")], ""),
        headed("t.a", &[("Nats-TTL", "1h")], "kept"),
        headed("s.a", &[("Nats-TTL", "5")], ""),
        headed("s.a", &[("Nats-Incr", "5")], ""),
        text("q.a", "job 1"),
        text("q.b", "job 2"),
        call(
            "$JS.API.STREAM.CREATE.N",
            json!({"name": "N", "subjects": ["n.*"], "allow_msg_counter": true, "allow_atomic": true}),
        ),
        headed("n.a", &[("Nats-Incr", "+3")], ""),
        headed("n.a", &[("Nats-Incr", "-5")], ""),
        headed("n.a", &[("Nats-Incr", "x")], ""),
        headed("n.a", &[("Nats-Incr", "1")], "x"),
        headed("n.a", &[("Nats-Incr", "1"), ("Nats-Rollup", "sub")], ""),
        headed("n.a", &[], ""),
        headed("s.a", &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1")], ""),
        headed("n.a", &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Incr", "1")], ""),
        headed("n.b", &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "2"), ("Nats-Incr", "2")], ""),
        headed(
            "n.a",
            &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "3"), ("Nats-Incr", "3"), ("Nats-Batch-Commit", "1")],
            "",
        ),
        headed("n.a", &[("Nats-Batch-Id", "c"), ("Nats-Batch-Sequence", "2"), ("Nats-Incr", "1")], ""),
        headed("n.a", &[("Nats-Batch-Id", "c"), ("Nats-Batch-Sequence", "1"), ("Nats-Incr", "1")], ""),
        headed("n.a", &[("Nats-Batch-Id", "c"), ("Nats-Batch-Sequence", "2"), ("Nats-Batch-Commit", "eob")], ""),
        headed("n.a", &[("Nats-Batch-Id", "d"), ("Nats-Batch-Sequence", "1")], ""),
        headed("n.a", &[("Nats-Batch-Id", "d"), ("Nats-Batch-Sequence", "2"), ("Nats-Batch-Commit", "1")], ""),
        headed("n.a", &[("Nats-Batch-Id", "e"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "9")], ""),
        headed("n.a", &[("Nats-Batch-Id", "e")], ""),
        headed("n.a", &[("Nats-Batch-Id", "f"), ("Nats-Batch-Sequence", "2000")], ""),
        call("$JS.API.STREAM.MSG.GET.N", json!({"last_by_subj": "n.a"})),
        call("$JS.API.STREAM.INFO.S", json!({"subjects_filter": ">"})),
        call("$JS.API.STREAM.INFO.S", json!({"subjects_filter": "s.a", "deleted_details": true})),
        call("$JS.API.STREAM.INFO.T", none.clone()),
        call("$JS.API.STREAM.NAMES", json!({"subject": "s.x"})),
        call("$JS.API.STREAM.NAMES", json!({"subject": "nobody"})),
        call("$JS.API.STREAM.NAMES", json!({"offset": 2})),
        call("$JS.API.STREAM.LIST", json!({"subject": "q.*"})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"seq": 2})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"seq": 2, "no_hdr": true})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"last_by_subj": "s.a"})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"next_by_subj": "s.*", "seq": 2})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"seq": 99})),
        call("$JS.API.STREAM.MSG.GET.S", json!({"seq": 1, "last_by_subj": "s.a"})),
        call("$JS.API.STREAM.MSG.GET.S", none.clone()),
        call("$JS.API.STREAM.MSG.GET.X", json!({"seq": 1})),
        call("$JS.API.DIRECT.GET.S", json!({"seq": 2})),
        call("$JS.API.DIRECT.GET.S", json!({"last_by_subj": "s.a"})),
        call("$JS.API.DIRECT.GET.S.s.b", none.clone()),
        call("$JS.API.DIRECT.GET.S.s.zzz", none.clone()),
        call("$JS.API.DIRECT.GET.S", json!({"seq": 99})),
        call("$JS.API.DIRECT.GET.S", json!({"seq": 1, "last_by_subj": "x"})),
        call("$JS.API.DIRECT.GET.S", json!({"no_hdr": true, "seq": 1})),
        call("$JS.API.DIRECT.GET.S", none.clone()),
        text("$JS.API.DIRECT.GET.S", "{"),
        many("$JS.API.DIRECT.GET.S", json!({"seq": 1, "batch": 2}), 3),
        many("$JS.API.DIRECT.GET.S", json!({"multi_last": ["s.*"]}), 3),
        call("$JS.API.DIRECT.GET.Q", json!({"seq": 1})),
        headed("$JS.API.STREAM.INFO.S", &[("Nats-Required-Api-Level", "99")], ""),
        headed("$JS.API.DIRECT.GET.S", &[("Nats-Required-Api-Level", "99")], "{\"seq\":1}"),
        call("$JS.API.STREAM.UPDATE.S", json!({"name": "S", "subjects": ["s.>"], "storage": "memory"})),
        call("$JS.API.STREAM.UPDATE.S", json!({"name": "S", "subjects": ["s.>"], "retention": "workqueue"})),
        call("$JS.API.STREAM.UPDATE.X", json!({"name": "X"})),
        call("$JS.API.STREAM.UPDATE.S", json!({"name": "S", "subjects": ["s.>", "q.a"]})),
        call(
            "$JS.API.STREAM.UPDATE.S",
            json!({"name": "S", "subjects": ["s.>"], "allow_direct": true, "description": "d", "max_msgs": 100}),
        ),
        text("$JS.API.STREAM.LEADER.STEPDOWN.S", ""),
        text("$JS.API.STREAM.PEER.REMOVE.S", "{\"peer\":\"x\"}"),
    ];
    steps.extend(consumer_steps());
    steps.extend([
        call("$JS.API.STREAM.MSG.DELETE.S", json!({"seq": 2})),
        call("$JS.API.STREAM.MSG.DELETE.S", json!({"seq": 2})),
        call("$JS.API.STREAM.MSG.DELETE.S", json!({"seq": 200})),
        call("$JS.API.STREAM.MSG.DELETE.S", none.clone()),
        call("$JS.API.STREAM.MSG.DELETE.X", json!({"seq": 2})),
        call("$JS.API.STREAM.INFO.S", json!({"deleted_details": true})),
        call("$JS.API.STREAM.PURGE.S", json!({"seq": 1, "keep": 1})),
        call("$JS.API.STREAM.PURGE.S", json!({"filter": "s.b"})),
        call("$JS.API.STREAM.PURGE.S", json!({"keep": 1})),
        call("$JS.API.STREAM.PURGE.S", none.clone()),
        call("$JS.API.STREAM.PURGE.X", none.clone()),
        call("$JS.API.STREAM.INFO.S", none.clone()),
        call("$JS.API.STREAM.PURGE.S", json!({"seq": 77})),
        call("$JS.API.STREAM.INFO.S", none.clone()),
        call("$JS.API.STREAM.UPDATE.S", json!({"name": "S", "subjects": ["s.>"], "sealed": true})),
        text("s.a", "sealed"),
        call("$JS.API.STREAM.PURGE.S", none.clone()),
        call("$JS.API.STREAM.MSG.DELETE.S", json!({"seq": 1})),
        call("$JS.API.STREAM.DELETE.S", json!({"x": 1})),
        call("$JS.API.STREAM.DELETE.S", none.clone()),
        call("$JS.API.STREAM.DELETE.S", none.clone()),
        call("$JS.API.STREAM.LIST", none.clone()),
    ]);
    steps
}

fn consumer_steps() -> Vec<Step> {
    let none = Value::Null;
    let make = |stream: &str, config: Value| json!({"stream_name": stream, "config": config});
    vec![
        call("$JS.API.CONSUMER.CREATE.S.C", make("S", json!({"durable_name": "C", "ack_policy": "explicit"}))),
        call(
            "$JS.API.CONSUMER.CREATE.S.C",
            json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}, "action": "create"}),
        ),
        call(
            "$JS.API.CONSUMER.CREATE.S.C",
            json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit", "max_deliver": 3}, "action": "create"}),
        ),
        call(
            "$JS.API.CONSUMER.CREATE.S.N",
            json!({"stream_name": "S", "config": {"durable_name": "N"}, "action": "update"}),
        ),
        call("$JS.API.CONSUMER.CREATE.S.C", make("S", json!({"durable_name": "C", "ack_policy": "all"}))),
        call(
            "$JS.API.CONSUMER.CREATE.S.C",
            make("S", json!({"durable_name": "C", "ack_policy": "explicit", "description": "new"})),
        ),
        call("$JS.API.CONSUMER.CREATE.S.C", make("T", json!({"durable_name": "C"}))),
        call("$JS.API.CONSUMER.CREATE.X.C", make("X", json!({"durable_name": "C"}))),
        call("$JS.API.CONSUMER.CREATE.S.C", make("S", json!({"durable_name": "D"}))),
        call("$JS.API.CONSUMER.CREATE.S", make("S", json!({"durable_name": "D"}))),
        call("$JS.API.CONSUMER.DURABLE.CREATE.S.D", make("S", json!({"ack_policy": "none"}))),
        call(
            "$JS.API.CONSUMER.DURABLE.CREATE.S.D",
            make(
                "S",
                json!({"durable_name": "D", "ack_policy": "all", "filter_subjects": ["s.a", "s.b"], "deliver_policy": "last_per_subject"}),
            ),
        ),
        call(
            "$JS.API.CONSUMER.CREATE.S.E.s.b",
            make(
                "S",
                json!({"name": "E", "filter_subject": "s.b", "ack_policy": "none", "inactive_threshold": 60_000_000_000u64}),
            ),
        ),
        call("$JS.API.CONSUMER.CREATE.S.F.s.b", make("S", json!({"name": "F", "filter_subject": "s.a"}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "filter_subjects": ["s.*", "s.a"]}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "deliver_policy": "by_start_sequence"}))),
        call(
            "$JS.API.CONSUMER.CREATE.S.F",
            make("S", json!({"name": "F", "deliver_policy": "new", "opt_start_seq": 3})),
        ),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "deliver_policy": "last_per_subject"}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "flow_control": true}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "deliver_subject": "s.x"}))),
        call(
            "$JS.API.CONSUMER.CREATE.S.F",
            make("S", json!({"name": "F", "deliver_subject": "d", "flow_control": true})),
        ),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "sample_freq": "x"}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "max_expires": 5}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "priority_groups": ["g"]}))),
        call("$JS.API.CONSUMER.CREATE.S.F", make("S", json!({"name": "F", "backoff": [1, 2, 3], "max_deliver": 2}))),
        call(
            "$JS.API.CONSUMER.CREATE.S.G",
            make("S", json!({"name": "G", "priority_groups": ["g"], "priority_policy": "overflow"})),
        ),
        call("$JS.API.CONSUMER.DELETE.S.G", none.clone()),
        call(
            "$JS.API.CONSUMER.CREATE.S.P",
            make(
                "S",
                json!({"durable_name": "P", "deliver_subject": "push.to", "deliver_policy": "by_start_sequence", "opt_start_seq": 2, "idle_heartbeat": 5_000_000_000u64, "headers_only": true}),
            ),
        ),
        call(
            "$JS.API.CONSUMER.CREATE.Q.A",
            make("Q", json!({"durable_name": "A", "ack_policy": "explicit", "filter_subject": "q.a"})),
        ),
        call("$JS.API.CONSUMER.CREATE.Q.B", make("Q", json!({"durable_name": "B", "ack_policy": "explicit"}))),
        call(
            "$JS.API.CONSUMER.CREATE.Q.B",
            make("Q", json!({"durable_name": "B", "ack_policy": "explicit", "filter_subject": "q.*"})),
        ),
        call("$JS.API.CONSUMER.CREATE.Q.B", make("Q", json!({"durable_name": "B", "filter_subject": "q.b"}))),
        call(
            "$JS.API.CONSUMER.CREATE.Q.B",
            make(
                "Q",
                json!({"durable_name": "B", "ack_policy": "explicit", "filter_subject": "q.b", "deliver_policy": "new"}),
            ),
        ),
        many("$JS.API.CONSUMER.MSG.NEXT.S.C", json!({"batch": 2}), 2),
        many("$JS.API.CONSUMER.MSG.NEXT.S.D", json!({"batch": 5, "no_wait": true}), 3),
        many("$JS.API.CONSUMER.MSG.NEXT.S.E", json!({"batch": 1, "max_bytes": 10}), 1),
        many("$JS.API.CONSUMER.MSG.NEXT.S.E", json!({"batch": 1, "max_bytes": 1000}), 2),
        many("$JS.API.CONSUMER.MSG.NEXT.S.E", json!({"batch": 1, "expires": 50_000_000}), 1),
        many("$JS.API.CONSUMER.MSG.NEXT.S.E", json!({"batch": 1, "expires": 100, "idle_heartbeat": 90}), 1),
        many("$JS.API.CONSUMER.MSG.NEXT.S.P", json!({"batch": 1}), 1),
        many("$JS.API.CONSUMER.MSG.NEXT.S.E", json!({"batch": 1, "group": "g", "min_pending": 4}), 1),
        text("$JS.API.CONSUMER.MSG.NEXT.S.X", ""),
        text("$JS.ACK.S.X.1.1.1.1.0", "+ACK"),
        text("$JS.ACK.S.C.1.1.1.1700000000000000000.0", "+ACK"),
        text("$JS.ACK.S.C.1.1.1.1700000000000000000.0", "+ACK"),
        text("$JS.ACK.S.D.1.3.2.1700000000000000000.0", "+ACK"),
        call("$JS.API.CONSUMER.INFO.S.C", none.clone()),
        call("$JS.API.CONSUMER.INFO.S.D", none.clone()),
        call("$JS.API.CONSUMER.INFO.S.E", none.clone()),
        call("$JS.API.CONSUMER.INFO.S.P", none.clone()),
        call("$JS.API.CONSUMER.INFO.S.X", none.clone()),
        call("$JS.API.CONSUMER.NAMES.S", none.clone()),
        call("$JS.API.CONSUMER.NAMES.X", none.clone()),
        call("$JS.API.CONSUMER.LIST.X", none.clone()),
        call("$JS.API.CONSUMER.LIST.Q", none.clone()),
        call("$JS.API.CONSUMER.PAUSE.S.C", json!({"pause_until": "2099-01-01T00:00:00Z"})),
        call("$JS.API.CONSUMER.PAUSE.S.C", none.clone()),
        call("$JS.API.CONSUMER.PAUSE.S.X", none.clone()),
        call("$JS.API.CONSUMER.RESET.S.C", json!({"seq": 2})),
        call("$JS.API.CONSUMER.RESET.S.D", json!({"seq": 2})),
        call("$JS.API.CONSUMER.UNPIN.S.C", json!({"group": "g"})),
        call("$JS.API.CONSUMER.DELETE.S.E", none.clone()),
        call("$JS.API.CONSUMER.DELETE.S.E", none.clone()),
        many("$JS.API.CONSUMER.MSG.NEXT.Q.A", json!({"batch": 1}), 1),
        text("$JS.ACK.Q.A.1.1.1.1700000000000000000.0", "+ACK"),
        call("$JS.API.STREAM.INFO.Q", none),
    ]
}

/// What was heard, without what has to differ.
async fn hears(client: &Client, step: &Step) -> Vec<String> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("subscribe");
    let mut headers = HeaderMap::new();
    for (name, value) in step.headers {
        headers.append(*name, *value);
    }
    let body = match &step.body {
        Body::Json(Value::Null) => Vec::new(),
        Body::Json(value) => serde_json::to_vec(value).expect("json"),
        Body::Text(text) => text.as_bytes().to_vec(),
    };
    if headers.is_empty() {
        client.publish_with_reply(step.subject, inbox, body.into()).await.expect("publish");
    } else {
        client.publish_with_reply_and_headers(step.subject, inbox, headers, body.into()).await.expect("publish");
    }
    let mut heard = Vec::new();
    while heard.len() < step.answers {
        match tokio::time::timeout(Duration::from_secs(5), answers.next()).await {
            Ok(Some(msg)) => heard.push(normal(&msg)),
            _ => {
                heard.push("silence".into());
                break;
            }
        }
    }
    heard
}

fn normal(msg: &async_nats::Message) -> String {
    let mut lines = Vec::new();
    if let Some(status) = msg.status {
        lines.push(format!("{} {}", status.as_u16(), msg.description.as_deref().unwrap_or_default()));
    }
    let headers: BTreeMap<String, Vec<String>> = msg
        .headers
        .iter()
        .flat_map(|headers| headers.iter())
        .map(|(name, values)| (name.to_string(), values.iter().map(ToString::to_string).collect()))
        .filter(|(name, _)| name != "Nats-Time-Stamp")
        .collect();
    if !headers.is_empty() {
        lines.push(format!("{headers:?}"));
    }
    match serde_json::from_slice::<Value>(&msg.payload) {
        Ok(mut document) if document.is_object() => {
            clean(&mut document);
            lines.push(document.to_string());
        }
        _ => lines.push(String::from_utf8_lossy(&msg.payload).into_owned()),
    }
    if let Some(reply) = &msg.reply {
        let mut tokens: Vec<&str> = reply.split('.').collect();
        if tokens.len() == 9 {
            tokens[7] = "time";
        }
        lines.push(tokens.join("."));
    }
    lines.join(" | ")
}

/// Takes out times, the server's name, and the wording of JSON errors; sorts what has no order.
fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for name in ["created", "ts", "time", "last_active", "first_ts", "last_ts", "pause_remaining"] {
                if map.contains_key(name) {
                    map.insert(name.into(), "some".into());
                }
            }
            if map.get("err_code") == Some(&json!(10025)) {
                map.insert("description".into(), "some".into());
            }
            if map.contains_key("leader") {
                map.insert("leader".into(), "some".into());
            }
            // The client sends its headers in no order.
            if let Some(block) =
                map.get("hdrs").and_then(|hdrs| data_encoding::BASE64.decode(hdrs.as_str()?.as_bytes()).ok())
            {
                let text = String::from_utf8_lossy(&block).into_owned();
                let mut lines: Vec<&str> = text.lines().collect();
                lines.sort_unstable();
                map.insert("hdrs".into(), lines.join("|").into());
            }
            // Not counted in the same way: one counts when a call comes, the other when it was answered.
            map.remove("api");
            map.values_mut().for_each(clean);
        }
        Value::Array(list) => {
            list.iter_mut().for_each(clean);
            list.sort_by_key(|item| item["config"]["name"].as_str().unwrap_or_default().to_owned());
        }
        _ => {}
    }
}

struct Real {
    child: Child,
    url: String,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the real server on a port of its own.
fn start(program: &str, dir: &Path) -> Real {
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"]).arg(dir.join("js")).arg("--ports_file_dir").arg(dir);
    let mut real = Real {
        child: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nats-server starts"),
        url: String::new(),
    };
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let ports = std::fs::read_dir(dir)
            .expect("dir")
            .flatten()
            .find(|file| file.path().extension().is_some_and(|e| e == "ports"));
        let found = ports.and_then(|file| serde_json::from_slice::<Value>(&std::fs::read(file.path()).ok()?).ok());
        if let Some(url) = found.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
            real.url = url.to_owned();
            return real;
        }
        assert!(Instant::now() < end, "nats-server writes no ports file");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_give_the_same_answers() {
    let Ok(program) = std::env::var("NATSUNE_NATS_SERVER") else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "NATSUNE_NATS_SERVER is not set");
        println!("skipped: NATSUNE_NATS_SERVER names no nats-server to compare with");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let real = start(&program, dir.path());
    let broker = natsune_broker::Broker::start(natsune_broker::config::Config::ephemeral()).await.expect("a broker");
    let ours = async_nats::connect(broker.url()).await.expect("our server");
    let theirs = async_nats::connect(&real.url).await.expect("the real server");
    let steps = steps();
    let mut different = 0;
    for step in &steps {
        let (mine, other) = tokio::join!(hears(&ours, step), hears(&theirs, step));
        if mine != other {
            different += 1;
            let body = match &step.body {
                Body::Json(value) => value.to_string(),
                Body::Text(text) => (*text).to_owned(),
            };
            println!(
                "{} {:?} {body}\n  ours:   {}\n  theirs: {}",
                step.subject,
                step.headers,
                mine.join("\n          "),
                other.join("\n          ")
            );
        }
    }
    println!("{} requests compared, {different} answered differently", steps.len());
    assert_eq!(different, 0);
    broker.shutdown().await;
}
