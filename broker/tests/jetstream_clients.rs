//! A stock client against the server in this process and against the binary, which is killed in the middle of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull, push};
use async_nats::jetstream::{self, AckKind, kv, stream};
use futures_util::{StreamExt, TryStreamExt};
use natsune_broker::Broker;
use natsune_broker::config::Config;

const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

async fn connect(url: &str) -> jetstream::Context {
    jetstream::new(async_nats::connect(url).await.expect("a connection"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_consumers_serve_a_stock_client() {
    let broker = Broker::start(Config::ephemeral()).await.expect("a broker");
    let js = connect(&broker.url()).await;
    let config = stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() };
    let stream = js.create_stream(config).await.expect("a stream");
    let mut acks = Vec::new();
    for i in 0..500 {
        acks.push(js.publish(format!("s.{}", i % 5), format!("{i}").into()).await.expect("sent"));
    }
    for (i, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.await.expect("acknowledged").sequence, i as u64 + 1);
    }
    let config = pull::Config { durable_name: Some("C".into()), ack_policy: AckPolicy::Explicit, ..Default::default() };
    let mut consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages").take(500);
    let mut seen = 0u64;
    while let Some(message) = in_time(messages.next()).await {
        let message = message.expect("a message");
        seen += 1;
        assert_eq!(message.info().expect("info").stream_sequence, seen);
        message.ack().await.expect("acknowledged");
    }
    drop(messages);
    let client = js.client();
    client.flush().await.expect("flush");
    let end = Instant::now() + PATIENCE;
    while consumer.info().await.expect("info").num_ack_pending > 0 {
        assert!(Instant::now() < end, "acknowledgements arrive");
    }
    assert_eq!(consumer.info().await.expect("info").ack_floor.stream_sequence, 500);

    let ordered = pull::OrderedConfig { filter_subject: "s.3".into(), ..Default::default() };
    let ordered = stream.create_consumer(ordered).await.expect("an ordered consumer");
    let mut messages = ordered.messages().await.expect("messages").take(100);
    let mut count = 0;
    while let Some(message) = in_time(messages.next()).await {
        assert_eq!(message.expect("a message").subject.as_str(), "s.3");
        count += 1;
    }
    assert_eq!(count, 100);

    let pushed = push::Config {
        deliver_subject: client.new_inbox(),
        durable_name: Some("P".into()),
        deliver_policy: DeliverPolicy::LastPerSubject,
        filter_subject: "s.>".into(),
        ack_policy: AckPolicy::Explicit,
        ..Default::default()
    };
    let consumer = stream.create_consumer(pushed).await.expect("a push consumer");
    let mut messages = consumer.messages().await.expect("messages").take(5);
    while let Some(message) = in_time(messages.next()).await {
        message.expect("a message").double_ack().await.expect("confirmed");
    }
    drop(messages);
    let queue = stream::Config {
        name: "Q".into(),
        retention: stream::RetentionPolicy::WorkQueue,
        storage: stream::StorageType::Memory,
        ..Default::default()
    };
    let mut queue = js.create_stream(queue).await.expect("a work queue");
    js.publish("Q", "job".into()).await.expect("sent").await.expect("acknowledged");
    let config = pull::Config { durable_name: Some("W".into()), ..Default::default() };
    let worker = queue.create_consumer(config).await.expect("a worker");
    let mut batch = worker.fetch().max_messages(1).messages().await.expect("a batch");
    let job = in_time(batch.next()).await.expect("a job").expect("a job");
    job.ack_with(AckKind::Nak(None)).await.expect("sent");
    let mut batch = worker.fetch().max_messages(5).messages().await.expect("a batch");
    let again = in_time(batch.next()).await.expect("the job").expect("the job");
    assert_eq!(again.info().expect("info").delivered, 2);
    again.double_ack().await.expect("confirmed");
    assert_eq!(queue.info().await.expect("info").state.messages, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_value_works_for_a_stock_client() {
    let broker = Broker::start(Config::ephemeral()).await.expect("a broker");
    let js = connect(&broker.url()).await;
    let config = kv::Config { bucket: "B".into(), history: 3, ..Default::default() };
    let bucket = js.create_key_value(config).await.expect("a bucket");
    let mut watch = bucket.watch_all().await.expect("a watch");
    let first = bucket.put("a", "1".into()).await.expect("put");
    bucket.update("a", "2".into(), first).await.expect("update");
    assert!(bucket.update("a", "3".into(), first).await.is_err(), "the revision is not the last");
    bucket.create("b.c", "x".into()).await.expect("create");
    assert!(bucket.create("b.c", "y".into()).await.is_err());
    bucket.delete("b.c").await.expect("delete");
    bucket.purge("a").await.expect("purge");
    let mut seen = Vec::new();
    for _ in 0..5 {
        let entry = in_time(watch.next()).await.expect("an entry").expect("an entry");
        seen.push((entry.key, entry.operation, entry.revision));
    }
    use kv::Operation::{Delete, Purge, Put};
    let expected = [("a", Put, 1), ("a", Put, 2), ("b.c", Put, 3), ("b.c", Delete, 4), ("a", Purge, 5)];
    assert_eq!(seen, expected.map(|(key, operation, revision)| (key.to_owned(), operation, revision)));
    bucket.put("z", "9".into()).await.expect("put");
    assert_eq!(bucket.get("z").await.expect("get").as_deref(), Some(&b"9"[..]));
    assert_eq!(bucket.get("a").await.expect("get"), None);
    let keys: Vec<String> = in_time(bucket.keys().await.expect("keys").try_collect()).await.expect("keys");
    assert_eq!(keys, ["z"]);
    let history: Vec<kv::Entry> =
        in_time(bucket.history("a").await.expect("history").try_collect()).await.expect("history");
    assert_eq!(history.len(), 1, "a purge leaves itself only");
    broker.shutdown().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the binary on a folder; the address comes with the ports file.
fn start(dir: &Path) -> (Killed, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natsune-broker"));
    command.args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"]).arg(dir.join("js")).arg("--ports_file_dir").arg(dir);
    let child = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the broker starts"));
    let ports = dir.join(format!("natsune-broker_{}.ports", child.0.id()));
    let end = Instant::now() + PATIENCE;
    loop {
        let read = std::fs::read(&ports).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        if let Some(url) = read.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
            return (child, url.to_owned());
        }
        assert!(Instant::now() < end, "no ports file");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Confirmed acknowledgements and acknowledged publishes are there after `kill -9`, right behind the confirmation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_kept_its_word() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut confirmed = BTreeSet::new();
    let mut published = 0u64;
    for round in 0..4 {
        let (child, url) = start(dir.path());
        let js = connect(&url).await;
        let config = stream::Config { name: "S".into(), subjects: vec!["s".into()], ..Default::default() };
        let mut stream = js.get_or_create_stream(config).await.expect("the stream");
        let config = pull::Config {
            durable_name: Some("C".into()),
            ack_wait: Duration::from_millis(300),
            max_ack_pending: 100_000,
            ..Default::default()
        };
        let mut consumer = stream.get_or_create_consumer("C", config).await.expect("the consumer");
        let state = stream.info().await.expect("info").state.clone();
        assert!(state.last_sequence >= published && state.messages >= published, "round {round}: {state:?}");
        let info = consumer.info().await.expect("info").clone();
        let open = info.num_pending + info.num_ack_pending as u64;
        assert_eq!(open, state.messages - confirmed.len() as u64, "round {round}: {info:?}");
        let mut acks = Vec::new();
        for _ in 0..300 {
            acks.push(js.publish("s", "x".into()).await.expect("sent"));
        }
        for ack in acks {
            published = published.max(ack.await.expect("acknowledged").sequence);
        }
        let mut batch = consumer.fetch().max_messages(100).messages().await.expect("a batch");
        while let Some(message) = in_time(batch.next()).await {
            let message = message.expect("a message");
            let seq = message.info().expect("info").stream_sequence;
            assert!(!confirmed.contains(&seq), "round {round}: {seq} was confirmed and comes again");
            message.double_ack().await.expect("confirmed");
            confirmed.insert(seq);
        }
        drop(child);
    }
    println!("{published} acknowledged publishes and {} confirmed acknowledgements outlived 4 kills", confirmed.len());
}
