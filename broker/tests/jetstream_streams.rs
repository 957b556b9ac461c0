//! Streams over the router: publishes, limits, roll-ups, gets, purges, configuration.

mod jetstream_support;

use jetstream_support::{Bench, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_stores_and_tells() {
    let bench = Bench::memory();
    let created = bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.>"]})).await;
    assert_eq!(created["did_create"], true);
    assert_eq!(created["config"]["max_msgs"], -1);
    assert_eq!(created["state"]["first_seq"], 0);
    for i in 1..=3u64 {
        assert_eq!(bench.put(&format!("s.{i}"), b"hello").await, i);
    }
    let state = bench.state("S").await;
    assert_eq!((&state["messages"], &state["num_subjects"], &state["last_seq"]), (&json!(3), &json!(3), &json!(3)));
    let info = bench.must("STREAM.INFO.S", json!({"subjects_filter": "s.*"})).await;
    assert_eq!(info["state"]["subjects"], json!({"s.1": 1, "s.2": 1, "s.3": 1}));
    assert_eq!((&info["total"], &info["cluster"]["leader"]), (&json!(3), &json!("bench")));
    let got = bench.must("STREAM.MSG.GET.S", json!({"seq": 2})).await;
    assert_eq!((&got["message"]["subject"], &got["message"]["data"]), (&json!("s.2"), &json!("aGVsbG8=")));
    let last = bench.must("STREAM.MSG.GET.S", json!({"last_by_subj": "s.>"})).await;
    assert_eq!(last["message"]["seq"], 3);
    let next = bench.must("STREAM.MSG.GET.S", json!({"next_by_subj": "s.3", "seq": 1})).await;
    assert_eq!(next["message"]["seq"], 3);
    bench.must("STREAM.MSG.DELETE.S", json!({"seq": 2})).await;
    assert_eq!(bench.refused("STREAM.MSG.DELETE.S", json!({"seq": 2})).await, 10043);
    assert_eq!(bench.refused("STREAM.MSG.GET.S", json!({"seq": 2})).await, 10037);
    let info = bench.must("STREAM.INFO.S", json!({"deleted_details": true})).await;
    assert_eq!((&info["state"]["num_deleted"], &info["state"]["deleted"]), (&json!(1), &json!([2])));
    let names = bench.must("STREAM.NAMES", json!({"subject": "s.x"})).await;
    assert_eq!((&names["streams"], &names["total"]), (&json!(["S"]), &json!(1)));
    let list = bench.must("STREAM.LIST", Value::Null).await;
    assert_eq!(list["streams"][0]["state"]["messages"], 2);
    let account = bench.must("INFO", Value::Null).await;
    assert_eq!((&account["streams"], &account["api"]["level"]), (&json!(1), &json!(5)));
    assert!(account["storage"].as_u64().unwrap() > 0);
    bench.must("STREAM.DELETE.S", Value::Null).await;
    assert_eq!(bench.refused("STREAM.INFO.S", Value::Null).await, 10059);
    let account = bench.must("INFO", Value::Null).await;
    assert_eq!((&account["storage"], &account["streams"]), (&json!(0), &json!(0)));
    assert_eq!(bench.publish("s.1", None, &[], b""), 0, "a deleted stream listens no more");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_are_held() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"], "allow_rollup_hdrs": true})).await;
    let code = |ack: Value| ack["error"]["err_code"].as_u64().unwrap_or(0);
    let put = async |headers: &[(&str, &str)]| bench.put_with("s.a", headers, b"x").await;
    assert_eq!(put(&[("Nats-Msg-Id", "1")]).await["seq"], 1);
    assert_eq!(put(&[("Nats-Msg-Id", "1")]).await, json!({"stream": "S", "seq": 1, "duplicate": true}));
    assert_eq!(code(put(&[("Nats-Expected-Stream", "T")]).await), 10060);
    let wrong = put(&[("Nats-Expected-Last-Sequence", "5")]).await;
    assert_eq!(wrong["error"]["description"], "wrong last sequence: 1");
    assert_eq!(code(wrong), 10071);
    assert_eq!(put(&[("Nats-Expected-Last-Sequence", "1")]).await["seq"], 2);
    assert_eq!(code(put(&[("Nats-Expected-Last-Msg-Id", "1")]).await), 10070);
    assert_eq!(code(put(&[("Nats-Expected-Last-Subject-Sequence", "1")]).await), 10071);
    assert_eq!(put(&[("Nats-Expected-Last-Subject-Sequence", "2")]).await["seq"], 3);
    let of_other =
        [("Nats-Expected-Last-Subject-Sequence", "0"), ("Nats-Expected-Last-Subject-Sequence-Subject", "s.b")];
    assert_eq!(put(&of_other).await["seq"], 4);
    assert_eq!(code(put(&[("Nats-Expected-Last-Subject-Sequence-Subject", "s.b")]).await), 10193);
    assert_eq!(code(put(&[("Nats-TTL", "5")]).await), 10166);
    assert_eq!(code(put(&[("Nats-Rollup", "nope")]).await), 10111);
    assert_eq!(put(&[("Nats-Rollup", "sub")]).await["seq"], 5);
    let state = bench.state("S").await;
    assert_eq!((&state["messages"], &state["first_seq"]), (&json!(1), &json!(5)));
    assert_eq!(code(put(&[("Nats-Incr", "1")]).await), 10168);
    assert_eq!(code(put(&[("Nats-Batch-Id", "1")]).await), 10174);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishes_at_once_keep_their_order() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s"]})).await;
    let mut inbox = bench.inbox();
    for i in 0..5000u64 {
        let expected = i.to_string();
        let headers = [("Nats-Expected-Last-Sequence", expected.as_str())];
        bench.publish("s", Some(&inbox.subject), &headers, &i.to_le_bytes());
    }
    for i in 1..=5000u64 {
        assert_eq!(inbox.next().await.json()["seq"], i);
    }
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_remove_or_refuse() {
    let bench = Bench::memory();
    let stream = |name: &str, more: Value| {
        let mut config = json!({"name": name, "subjects": [format!("{name}.*")]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    bench.must("STREAM.CREATE.old", stream("old", json!({"max_msgs": 3}))).await;
    bench.must("STREAM.CREATE.new", stream("new", json!({"max_msgs": 3, "discard": "new"}))).await;
    for i in 0..5 {
        bench.put("old.a", b"x").await;
        let ack = bench.put_with("new.a", &[], b"x").await;
        assert_eq!(ack.get("error").is_some(), i >= 3, "{ack}");
        if i >= 3 {
            assert_eq!(ack["error"]["description"], "maximum messages exceeded");
            assert_eq!((&ack["error"]["err_code"], &ack["seq"]), (&json!(10077), &json!(0)));
        }
    }
    assert_eq!((&bench.state("old").await["first_seq"], &bench.state("new").await["last_seq"]), (&json!(3), &json!(3)));
    let per = json!({"max_msgs_per_subject": 2, "discard": "new", "discard_new_per_subject": true});
    bench.must("STREAM.CREATE.per", stream("per", per)).await;
    bench.must("STREAM.CREATE.hist", stream("hist", json!({"max_msgs_per_subject": 2}))).await;
    for i in 0..4 {
        bench.put(&format!("hist.{}", i % 2), b"x").await;
        bench.put("hist.z", b"x").await;
        let ack = bench.put_with("per.a", &[], b"x").await;
        assert_eq!(ack.get("error").is_some(), i >= 2, "{ack}");
    }
    let info = bench.must("STREAM.INFO.hist", json!({"subjects_filter": ">"})).await;
    assert_eq!(info["state"]["subjects"], json!({"hist.0": 2, "hist.1": 2, "hist.z": 2}));
    bench.must("STREAM.CREATE.big", stream("big", json!({"max_bytes": 100, "max_msg_size": 60}))).await;
    for _ in 0..3 {
        bench.put("big.a", &[0; 20]).await;
    }
    assert!(bench.state("big").await["bytes"].as_u64().unwrap() <= 100);
    assert_eq!(bench.put_with("big.a", &[], &[0; 61]).await["error"]["err_code"], 10054);
    bench
        .must("STREAM.CREATE.age", stream("age", json!({"max_age": 150_000_000, "duplicate_window": 100_000_000})))
        .await;
    bench.put("age.a", b"x").await;
    until("old messages go without traffic", async || bench.state("age").await["messages"] == 0).await;
    let state = bench.state("age").await;
    assert_eq!((&state["first_seq"], &state["last_seq"]), (&json!(2), &json!(1)));
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_take_what_they_are_told() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"]})).await;
    for i in 0..10 {
        bench.put(&format!("s.{}", i % 2), b"x").await;
    }
    let purge = async |body: Value| bench.must("STREAM.PURGE.S", body).await["purged"].as_u64().unwrap();
    assert_eq!(purge(json!({"filter": "s.0", "keep": 3})).await, 2);
    assert_eq!(purge(json!({"seq": 5})).await, 2);
    assert_eq!(purge(json!({"filter": "s.1", "seq": 7})).await, 1);
    assert_eq!(bench.state("S").await["messages"], 5);
    assert_eq!(purge(json!({"keep": 2})).await, 3);
    assert_eq!(purge(Value::Null).await, 2);
    let state = bench.state("S").await;
    assert_eq!((&state["first_seq"], &state["last_seq"], &state["messages"]), (&json!(11), &json!(10), &json!(0)));
    purge(json!({"seq": 50})).await;
    assert_eq!(bench.state("S").await["first_seq"], 50);
    assert_eq!(bench.put("s.1", b"x").await, 50);
    assert_eq!(bench.refused("STREAM.PURGE.S", json!({"seq": 1, "keep": 1})).await, 10003);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_is_checked_and_changed() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.>"]})).await;
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.>"]})).await;
    assert_eq!(bench.refused("STREAM.CREATE.S", json!({"name": "S"})).await, 10058);
    assert_eq!(bench.refused("STREAM.CREATE.T", json!({"name": "T", "subjects": ["s.x"]})).await, 10065);
    assert_eq!(bench.refused("STREAM.CREATE.T", json!({"name": "X"})).await, 10056);
    assert_eq!(bench.refused("STREAM.CREATE.T", json!({"name": "T", "num_replicas": 3})).await, 10074);
    assert_eq!(bench.refused("STREAM.CREATE.T", json!({"name": "T", "nope": 1})).await, 10025);
    assert_eq!(bench.refused("STREAM.CREATE.T", json!({"name": "T", "mirror": {"name": "S"}})).await, 10052);
    assert_eq!(bench.refused("STREAM.UPDATE.T", json!({"name": "T"})).await, 10059);
    assert_eq!(bench.refused("STREAM.UPDATE.S", json!({"name": "S", "storage": "memory"})).await, 10052);
    for i in 0..4 {
        bench.put(&format!("s.{i}"), b"x").await;
    }
    let updated = bench.must("STREAM.UPDATE.S", json!({"name": "S", "subjects": ["s.>", "t"], "max_msgs": 2})).await;
    assert_eq!((&updated["config"]["subjects"], &updated["state"]["messages"]), (&json!(["s.>", "t"]), &json!(2)));
    assert_eq!(bench.put("t", b"x").await, 5);
    bench.must("STREAM.UPDATE.S", json!({"name": "S", "subjects": ["t"], "max_msgs": 2})).await;
    assert_eq!(bench.publish("s.1", None, &[], b"x"), 0);
    let sealed = json!({"name": "S", "subjects": ["t"], "max_msgs": 2, "sealed": true});
    assert_eq!(bench.must("STREAM.UPDATE.S", sealed).await["config"]["deny_purge"], true);
    assert_eq!(bench.put_with("t", &[], b"x").await["error"]["err_code"], 10109);
    assert_eq!(bench.refused("STREAM.PURGE.S", Value::Null).await, 10109);
    let answer = bench.request("$JS.API.INFO", &[("Nats-Required-Api-Level", "99")], b"").await.json();
    assert_eq!(answer["error"]["err_code"], 10185);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn direct_gets_answer_without_json() {
    let bench = Bench::memory();
    let config = json!({"name": "S", "subjects": ["s.>"], "allow_direct": true});
    bench.must("STREAM.CREATE.S", config).await;
    for i in 1..=5 {
        bench.put_with(&format!("s.{}", i % 3), &[("X", "y")], format!("m{i}").as_bytes()).await;
    }
    let get = async |tail: &str, body: &str| {
        bench.request(&format!("$JS.API.DIRECT.GET.S{tail}"), &[], body.as_bytes()).await
    };
    let msg = get("", r#"{"seq":2}"#).await;
    assert_eq!((msg.text().as_str(), msg.header("Nats-Subject").as_deref()), ("m2", Some("s.2")));
    assert_eq!((msg.header("X").as_deref(), msg.header("Nats-Sequence").as_deref()), (Some("y"), Some("2")));
    assert!(msg.header("Nats-Time-Stamp").is_some() && msg.header("Nats-Stream").as_deref() == Some("S"));
    assert_eq!(get(".s.1", "").await.text(), "m4");
    assert_eq!(get("", r#"{"next_by_subj":"s.2","seq":3}"#).await.text(), "m5");
    assert_eq!(get("", r#"{"seq":9}"#).await.status(), "404 Message Not Found");
    assert_eq!(get("", "").await.status(), "408 Empty Request");
    assert_eq!(get("", "{x").await.status(), "408 Malformed Request");
    let mut inbox = bench.inbox();
    let body = br#"{"multi_last":["s.>"],"batch":10}"#;
    bench.publish("$JS.API.DIRECT.GET.S", Some(&inbox.subject), &[], body);
    let mut seen = Vec::new();
    loop {
        let msg = inbox.next().await;
        if msg.status() == "204 EOB" {
            assert_eq!(msg.header("Nats-UpTo-Sequence").as_deref(), Some("5"));
            break;
        }
        seen.push(msg.text());
    }
    assert_eq!(seen, ["m3", "m4", "m5"]);
    bench.publish("$JS.API.DIRECT.GET.S", Some(&inbox.subject), &[], br#"{"seq":1,"batch":2}"#);
    assert_eq!((inbox.next().await.text(), inbox.next().await.text()), ("m1".into(), "m2".into()));
    let end = inbox.next().await;
    assert_eq!((end.status().as_str(), end.header("Nats-Num-Pending").as_deref()), ("204 EOB", Some("3")));
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifetimes_end_messages_and_leave_markers() {
    let bench = Bench::memory();
    let config = json!({"name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "subject_delete_marker_ttl": 1_000_000_000,
        "max_age": 300_000_000, "duplicate_window": 300_000_000});
    bench.must("STREAM.CREATE.S", config).await;
    bench.put_with("s.keep", &[("Nats-TTL", "never")], b"x").await;
    bench.put("s.a", b"x").await;
    assert_eq!(bench.put_with("s.a", &[("Nats-TTL", "x")], b"x").await["error"]["err_code"], 10165);
    until("a marker replaces the old message", async || {
        let last = bench.api("STREAM.MSG.GET.S", json!({"last_by_subj": "s.a"})).await;
        last["message"]["seq"] == 3
    })
    .await;
    let marker = bench.must("STREAM.MSG.GET.S", json!({"seq": 3})).await;
    let head = data_encoding::BASE64.decode(marker["message"]["hdrs"].as_str().unwrap().as_bytes()).unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("Nats-Marker-Reason: MaxAge\r\n") && head.contains("Nats-TTL: 1s\r\n"), "{head}");
    until("the marker ends too", async || bench.state("S").await["messages"] == 1).await;
    assert_eq!(bench.state("S").await["first_seq"], 1);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_comes_in_a_stream_nobody_asks_anything() {
    let bench = Bench::memory();
    let config = json!({"name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "subject_delete_marker_ttl": 1_000_000_000,
        "max_age": 300_000_000, "duplicate_window": 300_000_000});
    bench.must("STREAM.CREATE.S", config).await;
    let config = json!({"durable_name": "C", "ack_policy": "explicit"});
    bench.must("CONSUMER.CREATE.S.C", json!({"stream_name": "S", "config": config})).await;
    bench.put("s.a", b"x").await;
    // One request waits for all of it; nothing else wakes the stream.
    let got = bench.pull("S", "C", json!({"batch": 2, "expires": 60_000_000_000u64})).await;
    assert_eq!((got[0].text(), got[1].header("Nats-Marker-Reason")), ("x".to_owned(), Some("MaxAge".to_owned())));
    // Where a marker has no room, messages end without one.
    let config = json!({"name": "T", "subjects": ["t.*"], "allow_msg_ttl": true, "subject_delete_marker_ttl": 1_000_000_000,
        "max_age": 300_000_000, "duplicate_window": 300_000_000, "max_msg_size": 10});
    bench.must("STREAM.CREATE.T", config).await;
    bench.put("t.a", b"x").await;
    until("the message is gone", async || bench.state("T").await["messages"] == 0).await;
    assert_eq!(bench.state("T").await["last_seq"], 1);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_renamed_and_republished() {
    let bench = Bench::memory();
    let config = json!({"name": "S", "subjects": ["in.*"], "subject_transform": {"src": "in.*", "dest": "kept.$1"},
        "republish": {"src": "kept.>", "dest": "out.>"}});
    bench.must("STREAM.CREATE.S", config).await;
    let mut out = bench.subscribe("out.>");
    bench.put("in.a", b"1").await;
    bench.put("in.a", b"2").await;
    let (first, second) = (out.next().await, out.next().await);
    assert_eq!((first.subject.as_str(), first.header("Nats-Subject").as_deref()), ("out.a", Some("kept.a")));
    assert_eq!(
        (first.header("Nats-Last-Sequence").as_deref(), second.header("Nats-Last-Sequence").as_deref()),
        (Some("0"), Some("1"))
    );
    assert_eq!(second.text(), "2");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_stored_whole_or_not_at_all() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"], "allow_atomic": true})).await;
    bench.put_with("s.a", &[("Nats-Msg-Id", "known")], b"0").await;
    let send = async |id: &str, number: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("Nats-Batch-Id", id), ("Nats-Batch-Sequence", number)];
        headers.extend_from_slice(more);
        bench.request("s.b", &headers, number.as_bytes()).await
    };
    let commit = ("Nats-Batch-Commit", "1");
    assert_eq!(send("one", "1", &[]).await.text(), "");
    assert_eq!(send("one", "2", &[]).await.text(), "");
    assert_eq!(bench.state("S").await["messages"], 1, "nothing before the commit");
    let ack = send("one", "3", &[commit]).await.json();
    assert_eq!(ack, json!({"stream": "S", "seq": 4, "batch": "one", "count": 3}));
    // The end of a batch may be a message that is not stored.
    send("two", "1", &[]).await;
    let ack = send("two", "2", &[("Nats-Batch-Commit", "eob")]).await.json();
    assert_eq!(ack, json!({"stream": "S", "seq": 5, "batch": "two", "count": 1}));
    let code = |msg: jetstream_support::Msg| msg.json()["error"]["err_code"].as_u64().unwrap_or(0);
    // One refused message takes all with it, and its ids.
    send("bad", "1", &[("Nats-Msg-Id", "fresh")]).await;
    send("bad", "2", &[("Nats-Msg-Id", "known")]).await;
    assert_eq!(code(send("bad", "3", &[commit]).await), 10201);
    assert_eq!(bench.state("S").await["messages"], 5);
    assert_eq!(bench.put_with("s.a", &[("Nats-Msg-Id", "fresh")], b"x").await["seq"], 6);
    send("cas", "1", &[("Nats-Expected-Last-Sequence", "6")]).await;
    assert_eq!(send("cas", "2", &[commit]).await.json()["seq"], 8);
    send("stale", "1", &[("Nats-Expected-Last-Sequence", "6")]).await;
    assert_eq!(code(send("stale", "2", &[commit]).await), 10071);
    let mut abandoned = bench.subscribe("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S");
    send("gap", "1", &[]).await;
    assert_eq!(code(send("gap", "3", &[]).await), 10176);
    assert_eq!(abandoned.next().await.json()["reason"], "incomplete");
    assert_eq!(code(send("gap", "2", &[]).await), 10176);
    assert_eq!(code(send("odd", "x", &[]).await), 10175);
    assert_eq!(code(send(&"x".repeat(65), "1", &[]).await), 10179);
    assert_eq!(code(send("odd", "1", &[("Nats-Batch-Commit", "2")]).await), 10200);
    for i in 0..50 {
        send(&format!("open{i}"), "1", &[]).await;
    }
    assert_eq!(code(send("one too many", "1", &[]).await), 10210);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_add_up() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"], "allow_msg_counter": true})).await;
    let mut inbox = bench.inbox();
    for step in ["1", "+41", "-100", "99999999999999999999999"] {
        bench.publish("s.a", Some(&inbox.subject), &[("Nats-Incr", step)], b"");
    }
    for value in ["1", "42", "-58", "99999999999999999999941"] {
        assert_eq!(inbox.next().await.json()["val"], value);
    }
    assert_eq!(bench.put_with("s.b", &[("Nats-Incr", "7")], b"").await, json!({"stream": "S", "seq": 5, "val": "7"}));
    let last = bench.must("STREAM.MSG.GET.S", json!({"last_by_subj": "s.b"})).await;
    assert_eq!(last["message"]["data"], data_encoding::BASE64.encode(br#"{"val":"7"}"#));
    let code = async |headers: &[(&str, &str)], body: &[u8]| {
        bench.put_with("s.a", headers, body).await["error"]["err_code"].clone()
    };
    assert_eq!(code(&[], b"").await, 10169);
    assert_eq!(code(&[("Nats-Incr", "x")], b"").await, 10171);
    assert_eq!(code(&[("Nats-Incr", "1")], b"x").await, 10170);
    assert_eq!(code(&[("Nats-Incr", "1"), ("Nats-Expected-Last-Sequence", "5")], b"").await, 10171);
    bench.js.shutdown().await;
}
