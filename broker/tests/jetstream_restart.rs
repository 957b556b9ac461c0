//! What a restart must not change, and what must not pile up over many of them.

mod jetstream_support;

use std::time::{Duration, Instant};

use jetstream_support::{Bench, until};
use natsune_broker::store::sim::{SimDisk, options};
use natsune_broker::store::{Op, Store, Wait};
use serde_json::{Value, json};

fn on(disk: &SimDisk) -> Bench {
    Bench::on(Store::open(options(disk, 64 << 10)).expect("the store opens"))
}

/// The kinds of keys the store holds: the first byte of each.
fn kinds(disk: &SimDisk) -> String {
    let (store, found) = Store::open(options(disk, 64 << 10)).expect("the store opens");
    store.close();
    found.keys.keys().map(|key| key.first().copied().map_or('-', char::from)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_ids_that_are_too_old_leave_the_disk_after_a_restart() {
    let disk = SimDisk::new(1);
    let bench = on(&disk);
    let config = json!({"name": "S", "subjects": ["s.*"], "duplicate_window": 100_000_000});
    bench.must("STREAM.CREATE.S", config).await;
    bench.put_with("s.a", &[("Nats-Msg-Id", "one")], b"x").await;
    let put = Instant::now();
    bench.js.shutdown().await;
    assert_eq!(kinds(&disk), "ds", "the ids and the stream");
    // Their window ends while nothing runs: the next start has to take them away.
    until("the window is over", async || put.elapsed() > Duration::from_millis(120)).await;
    let bench = on(&disk);
    bench.put("s.a", b"y").await;
    bench.js.shutdown().await;
    assert_eq!(kinds(&disk), "s");
    let bench = on(&disk);
    bench.must("STREAM.DELETE.S", Value::Null).await;
    bench.js.shutdown().await;
    assert_eq!(kinds(&disk), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_lies_ahead_of_the_stream_stays_there() {
    let disk = SimDisk::new(2);
    let bench = on(&disk);
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"]})).await;
    bench.put("s.a", b"1").await;
    let ahead = json!({"durable_name": "C", "ack_policy": "explicit", "deliver_policy": "by_start_sequence", "opt_start_seq": 4});
    bench.must("CONSUMER.CREATE.S.C", json!({"stream_name": "S", "config": ahead})).await;
    let all = json!({"durable_name": "R", "ack_policy": "explicit"});
    bench.must("CONSUMER.CREATE.S.R", json!({"stream_name": "S", "config": all})).await;
    bench.must("CONSUMER.RESET.S.R", json!({"seq": 4})).await;
    bench.js.shutdown().await;
    let bench = on(&disk);
    for body in [b"2", b"3", b"4", b"5"] {
        bench.put("s.a", body).await;
    }
    for consumer in ["C", "R"] {
        assert_eq!(bench.consumer("S", consumer).await["num_pending"], 2, "{consumer}");
        let got = bench.pull("S", consumer, json!({"batch": 2})).await;
        let texts: Vec<String> = got.iter().map(jetstream_support::Msg::text).collect();
        assert_eq!(texts, ["4", "5"], "{consumer}");
    }
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_message_id_is_known_afterwards() {
    let disk = SimDisk::new(3);
    let bench = on(&disk);
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"]})).await;
    bench.put_with("s.a", &[("Nats-Msg-Id", "one")], b"x").await;
    bench.js.shutdown().await;
    let bench = on(&disk);
    let ack = bench.put_with("s.a", &[("Nats-Expected-Last-Msg-Id", "one"), ("Nats-Msg-Id", "two")], b"y").await;
    assert_eq!(ack["seq"], 2, "{ack}");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_can_not_be_read_is_not_replaced() {
    let disk = SimDisk::new(4);
    let (store, _) = Store::open(options(&disk, 64 << 10)).expect("the store opens");
    // As a later version may write it.
    let record = Op::Put { key: "s\0A\0S".into(), value: r#"{"id":5,"made":"later"}"#.into() };
    let (told, stored) = std::sync::mpsc::channel();
    store.commit(vec![record], Wait::Durable, Box::new(move |result| drop(told.send(result))));
    stored.recv().expect("an answer").expect("stored");
    store.close();
    let bench = on(&disk);
    assert!(bench.js.health().unwrap_err().contains("A S"), "{:?}", bench.js.health());
    assert_eq!(bench.refused("STREAM.CREATE.S", json!({"name": "S"})).await, 10051);
    bench.must("STREAM.CREATE.T", json!({"name": "T"})).await;
    bench.js.shutdown().await;
    let (_, found) = Store::open(options(&disk, 64 << 10)).expect("the store opens");
    assert!(found.keys[&b"s\0A\0S"[..]].value.ends_with(b"\"later\"}"), "it is still there");
}
