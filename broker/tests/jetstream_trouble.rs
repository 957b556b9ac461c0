//! Full and failing disks, limits of accounts, odd requests: clear words, nothing lost, back by itself where that is possible.

mod jetstream_support;

use std::path::Path;
use std::time::{Duration, Instant};

use jetstream_support::{Bench, until};
use natsune_broker::config::JetStreamConfig;
use natsune_broker::router::AccountJetStream;
use natsune_broker::store::Store;
use natsune_broker::store::sim::{Fault, Rng, SimDisk, options};
use serde_json::{Value, json};

fn on(disk: &SimDisk) -> Bench {
    Bench::on(Store::open(options(disk, 64 << 10)).expect("the store opens"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_at_once_and_recovers_by_itself() {
    let disk = SimDisk::new(1);
    let bench = on(&disk);
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"]})).await;
    let config = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    bench.must("CONSUMER.CREATE.S.C", config).await;
    disk.set_capacity(Some(disk.used() + (300 << 10)));
    let (mut stored, body) = (0u64, vec![7u8; 4000]);
    let refusal = loop {
        let start = Instant::now();
        let ack = bench.put_with("s.a", &[("Nats-Msg-Id", &format!("id{stored}"))], &body).await;
        if ack.get("error").is_some() {
            assert!(start.elapsed() < Duration::from_millis(100), "refused after {:?}", start.elapsed());
            break ack;
        }
        stored = ack["seq"].as_u64().unwrap();
        assert!(stored < 1000, "the disk never fills");
    };
    assert_eq!((&refusal["error"]["err_code"], &refusal["seq"]), (&json!(10047), &json!(0)));
    assert_eq!(bench.state("S").await["messages"], stored);
    // What makes room and what keeps the books still works.
    let got = bench.pull("S", "C", json!({"batch": 1})).await;
    bench.ack_sync(&got[0], "+ACK").await;
    bench.must("STREAM.MSG.DELETE.S", json!({"seq": 2})).await;
    disk.set_capacity(None);
    let mut next = 0;
    until("there is room again", async || {
        let ack = bench.put_with("s.a", &[("Nats-Msg-Id", &format!("id{stored}"))], &body).await;
        next = ack["seq"].as_u64().unwrap();
        next > 0
    })
    .await;
    assert_eq!(next, stored + 1, "a refused message used no sequence and left no id");
    until("healthy again", async || bench.js.health().is_ok()).await;
    bench.js.shutdown().await;
    let bench = on(&disk);
    assert_eq!(bench.state("S").await["messages"], stored);
    assert_eq!(bench.consumer("S", "C").await["ack_floor"]["stream_seq"], 1);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_makes_the_streams_read_only_and_says_so() {
    let disk = SimDisk::new(2);
    let bench = on(&disk);
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"]})).await;
    bench.put("s.a", b"kept").await;
    disk.fault(0, Fault::Io);
    let ack = bench.put_with("s.a", &[], b"lost").await;
    assert_eq!(ack["error"]["err_code"], 10077);
    let ack = bench.put_with("s.a", &[], b"refused").await;
    assert_eq!(ack["error"]["description"], "stream is read-only after a failed write");
    assert!(bench.js.health().is_err());
    let got = bench.must("STREAM.MSG.GET.S", json!({"seq": 1})).await;
    assert_eq!(got["message"]["data"], data_encoding::BASE64.encode(b"kept"));
    let config = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    assert_eq!(bench.refused("CONSUMER.CREATE.S.C", config).await, 10077);
    assert_eq!(bench.refused("CONSUMER.INFO.S.C", Value::Null).await, 10014, "it does not exist then");
    // What can not be stored is refused, not tried for ever.
    assert_eq!(bench.refused("STREAM.MSG.DELETE.S", json!({"seq": 1})).await, 10077);
    assert_eq!(bench.refused("STREAM.PURGE.S", Value::Null).await, 10077);
    assert_eq!(bench.refused("STREAM.UPDATE.S", json!({"name": "S", "subjects": ["t"]})).await, 10077);
    assert_eq!(bench.refused("STREAM.DELETE.S", Value::Null).await, 10077);
    // And it did not happen either: what is there can still be read.
    assert_eq!(bench.state("S").await["messages"], 1);
    bench.must("STREAM.MSG.GET.S", json!({"seq": 1})).await;
    assert_eq!(bench.must("STREAM.INFO.S", Value::Null).await["config"]["subjects"], json!(["s.*"]));
    let commits = bench.js.jsz()["store"]["commits"].as_u64().unwrap();
    bench.must("STREAM.INFO.S", Value::Null).await;
    tokio::task::yield_now().await;
    assert!(bench.js.jsz()["store"]["commits"].as_u64().unwrap() <= commits + 1);
    bench.js.shutdown().await;
    disk.heal();
    disk.crash();
    let bench = on(&disk);
    assert_eq!(bench.state("S").await["messages"], 1);
    assert!(bench.put("s.a", b"again").await >= 2);
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_that_can_not_be_stored_are_not_tried_all_the_time() {
    let disk = SimDisk::new(3);
    let bench = on(&disk);
    let config = json!({"name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "subject_delete_marker_ttl": 1_000_000_000,
        "max_age": 200_000_000, "duplicate_window": 200_000_000});
    bench.must("STREAM.CREATE.S", config).await;
    bench.put("s.a", b"x").await;
    disk.fault(0, Fault::Io);
    let commits = || bench.js.jsz()["store"]["commits"].as_u64().unwrap();
    let before = commits();
    until("a marker was tried", async || commits() > before).await;
    let (tried, start) = (commits(), Instant::now());
    until("half a second is over", async || start.elapsed() > Duration::from_millis(500)).await;
    assert!(commits() <= tried + 5, "{} more commits", commits() - tried);
    bench.js.shutdown().await;
    disk.heal();
    disk.crash();
    let bench = on(&disk);
    until("the message has ended", async || bench.state("S").await["messages"] == 0).await;
    assert!(bench.state("S").await["last_seq"].as_u64().unwrap() > 1, "with a marker");
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_message_is_not_said_to_be_missing() {
    let disk = SimDisk::new(4);
    let bench = on(&disk);
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"], "allow_direct": true})).await;
    bench.put("s.a", b"the body").await;
    bench.js.shutdown().await;
    let bench = on(&disk);
    disk.damage(Path::new("/store/00000001.log"), |bytes| {
        let at = bytes.windows(8).position(|window| window == b"the body").expect("the message is there");
        bytes[at] ^= 1;
    });
    let by_sequence = bench.api("STREAM.MSG.GET.S", json!({"seq": 1})).await;
    assert_eq!(by_sequence["error"]["description"], "message 1 is damaged on disk");
    let direct = bench.request("$JS.API.DIRECT.GET.S.s.a", &[], b"").await;
    assert_eq!(direct.status(), "500 Message Not Readable");
    assert_eq!(bench.refused("STREAM.MSG.GET.S", json!({"seq": 2})).await, 10037);
    // A consumer passes it over, and then it counts as lost.
    let config = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    bench.must("CONSUMER.CREATE.S.C", config).await;
    assert_eq!(bench.pull("S", "C", json!({"batch": 1, "no_wait": true})).await[0].status(), "404 No Messages");
    assert_eq!(bench.state("S").await["lost"]["msgs"], json!([1]));
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_have_their_limits() {
    let limits = AccountJetStream {
        enabled: true,
        max_file: 1000,
        max_memory: 0,
        max_streams: 2,
        max_consumers: 1,
        max_ack_pending: 10,
        ..Default::default()
    };
    let bench = Bench::with_limits(JetStreamConfig::default(), None, limits);
    assert_eq!(bench.refused("STREAM.CREATE.S", json!({"name": "S", "max_bytes": 2000})).await, 10047);
    assert_eq!(
        bench.refused("STREAM.CREATE.S", json!({"name": "S", "storage": "memory", "max_bytes": 1})).await,
        10028
    );
    bench.must("STREAM.CREATE.S", json!({"name": "S"})).await;
    bench.must("STREAM.CREATE.T", json!({"name": "T", "max_bytes": 600})).await;
    assert_eq!(bench.refused("STREAM.CREATE.U", json!({"name": "U"})).await, 10027);
    let consumer = |name: &str, pending: u64| json!({"stream_name": "S", "config": {"durable_name": name, "ack_policy": "explicit", "max_ack_pending": pending}});
    assert_eq!(bench.refused("CONSUMER.CREATE.S.A", consumer("A", 11)).await, 10121);
    let made = bench.must("CONSUMER.CREATE.S.A", consumer("A", 0)).await;
    assert_eq!(made["config"]["max_ack_pending"], 10);
    assert_eq!(bench.refused("CONSUMER.CREATE.S.B", consumer("B", 5)).await, 10026);
    for _ in 0..4 {
        bench.put("S", &[0; 200]).await;
    }
    assert_eq!(bench.put_with("S", &[], &[0; 200]).await["error"]["err_code"], 10002);
    bench.must("STREAM.PURGE.S", Value::Null).await;
    bench.put("S", &[0; 200]).await;
    let account = bench.must("INFO", Value::Null).await;
    assert_eq!((&account["reserved_storage"], &account["limits"]["max_streams"]), (&json!(600), &json!(2)));
    bench.js.shutdown().await;

    let server = JetStreamConfig { max_file: Some(500), ..Default::default() };
    let bench = Bench::start(server, None);
    bench.must("STREAM.CREATE.S", json!({"name": "S"})).await;
    bench.put("S", &[0; 300]).await;
    assert_eq!(bench.put_with("S", &[], &[0; 300]).await["error"]["err_code"], 10023);
    bench.js.shutdown().await;

    let none = AccountJetStream::default();
    let bench = Bench::with_limits(JetStreamConfig::default(), None, none);
    assert_eq!(bench.refused("STREAM.CREATE.S", json!({"name": "S"})).await, 10039);
    assert_eq!(bench.refused("INFO", Value::Null).await, 10039);
    bench.js.shutdown().await;
}

/// One thread: whatever is asked before the first `await` waits.
#[tokio::test]
async fn too_many_calls_at_once_are_refused() {
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", json!({"name": "S", "subjects": ["s.*"], "allow_direct": true})).await;
    let mut inbox = bench.inbox();
    for tail in ["INFO", "STREAM.INFO.S"] {
        for _ in 0..10_001 {
            bench.publish(&format!("$JS.API.{tail}"), Some(&inbox.subject), &[], b"");
        }
        let first = inbox.try_next().expect("an answer without waiting").json();
        assert_eq!((&first["error"]["code"], &first["error"]["err_code"]), (&json!(429), &json!(10167)));
        for _ in 0..10_000 {
            assert!(inbox.next().await.json().get("error").is_none());
        }
    }
    for _ in 0..10_001 {
        bench.publish("$JS.API.DIRECT.GET.S.s.a", Some(&inbox.subject), &[], b"");
    }
    assert_eq!(inbox.try_next().expect("an answer without waiting").status(), "429 Too Many Requests");
    for _ in 0..10_000 {
        assert_eq!(inbox.next().await.status(), "404 Message Not Found");
    }
    bench.must("STREAM.INFO.S", Value::Null).await;
    bench.js.shutdown().await;
}

/// Requests of every kind with random documents: each gets an answer or is known to get none, and the server lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_requests_do_no_harm() {
    let bench = Bench::memory();
    bench
        .must(
            "STREAM.CREATE.S",
            json!({"name": "S", "subjects": ["s.*"], "allow_direct": true, "allow_atomic": true,
        "allow_rollup_hdrs": true, "allow_msg_ttl": true}),
        )
        .await;
    bench
        .must(
            "CONSUMER.CREATE.S.C",
            json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}}),
        )
        .await;
    let verbs = [
        "INFO",
        "STREAM.NAMES",
        "STREAM.LIST",
        "STREAM.CREATE.T",
        "STREAM.UPDATE.S",
        "STREAM.INFO.S",
        "STREAM.PURGE.S",
        "STREAM.MSG.GET.S",
        "STREAM.MSG.DELETE.S",
        "CONSUMER.CREATE.S",
        "CONSUMER.CREATE.S.D",
        "CONSUMER.CREATE.S.C",
        "CONSUMER.DURABLE.CREATE.S.D",
        "CONSUMER.INFO.S.C",
        "CONSUMER.NAMES.S",
        "CONSUMER.LIST.S",
        "CONSUMER.PAUSE.S.C",
        "CONSUMER.RESET.S.C",
        "CONSUMER.UNPIN.S.C",
        "DIRECT.GET.S",
        "DIRECT.GET.S.s.a",
        "CONSUMER.MSG.NEXT.S.C",
    ];
    let names = [
        "seq",
        "name",
        "stream_name",
        "config",
        "offset",
        "keep",
        "filter",
        "batch",
        "expires",
        "max_bytes",
        "deliver_policy",
        "ack_policy",
        "opt_start_seq",
        "max_age",
        "subjects",
        "max_msgs",
        "backoff",
        "durable_name",
        "last_by_subj",
        "next_by_subj",
        "multi_last",
        "up_to_seq",
        "start_time",
        "pause_until",
        "filter_subjects",
        "idle_heartbeat",
        "no_wait",
        "group",
        "priority",
        "first_seq",
        "max_deliver",
        "ack_wait",
    ];
    let values = [
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(i64::MIN),
        json!("S"),
        json!("*"),
        json!(""),
        json!(">"),
        json!("s.a"),
        json!([]),
        json!(["s.*", ">"]),
        json!({}),
        json!(null),
        json!(true),
        json!(1e300),
        json!("all"),
        json!("explicit"),
        json!("by_start_sequence"),
        json!("0001-01-01T00:00:00Z"),
        json!("9999-12-31T23:59:59Z"),
        json!([1, -5]),
    ];
    let headers = [
        "Nats-Msg-Id",
        "Nats-Expected-Last-Sequence",
        "Nats-Rollup",
        "Nats-TTL",
        "Nats-Batch-Id",
        "Nats-Batch-Sequence",
        "Nats-Batch-Commit",
        "Nats-Incr",
        "Nats-Expected-Last-Subject-Sequence",
    ];
    let texts = ["", "0", "1", "sub", "all", "-1", "99999999999999999999999", "eob", "never", "1s", "x"];
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let mut document = serde_json::Map::new();
        for _ in 0..rng.below(4) {
            let value = rng.pick(&values).unwrap().clone();
            let value = if rng.chance(20) { json!({*rng.pick(&names).unwrap(): value}) } else { value };
            document.insert((*rng.pick(&names).unwrap()).into(), value);
        }
        if rng.chance(50) {
            document.insert("stream_name".into(), json!("S"));
        }
        let inbox = bench.inbox();
        let body = if rng.chance(10) { b"{\"a\":".to_vec() } else { Value::from(document).to_string().into_bytes() };
        bench.publish(&format!("$JS.API.{}", rng.pick(&verbs).unwrap()), Some(&inbox.subject), &[], &body);
        let odd: Vec<(&str, &str)> =
            (0..rng.below(3)).map(|_| (*rng.pick(&headers).unwrap(), *rng.pick(&texts).unwrap())).collect();
        bench.publish("s.a", Some(&inbox.subject), &odd, b"x");
        let ack = format!(
            "$JS.ACK.S.C.{}.{}.{}.5.5",
            rng.below(3),
            rng.number() >> rng.below(64),
            rng.number() >> rng.below(64)
        );
        let verb = rng
            .pick(&["+ACK", "-NAK {\"delay\":-5}", "+WPI", "+TERM x", "+NXT 5", "-NAK 99999h", "?"])
            .unwrap()
            .to_string();
        bench.publish(&ack, Some(&inbox.subject), &[], verb.as_bytes());
    }
    bench.must("STREAM.INFO.S", Value::Null).await;
    bench.js.health().expect("healthy");
    bench.js.shutdown().await;
}
