//! Power losses under JetStream: what was acknowledged, confirmed or configured is there afterwards, at every seed.
//!
//! Everything runs on one thread and the store is stepped by a task of its own, so a seed repeats its run (but for timers).
//! `NATSUNE_SEEDS=first..last` runs other seeds than the usual ones.

mod jetstream_support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jetstream_support::{Bench, Inbox, Msg};
use natsune_broker::store::sim::{Fault, Rng, SimDisk, Stepped, options};
use serde_json::{Value, json};

/// What must hold for one stream after the lights come back.
#[derive(Default)]
struct Stream {
    config: Value,
    /// Acknowledged and not touched since.
    sure: BTreeMap<u64, (String, String)>,
    /// Payloads that were published but not (yet) acknowledged.
    attempts: BTreeSet<String>,
    /// Sequences that may be gone.
    doubtful: BTreeSet<u64>,
    /// Sequences that must be gone.
    gone: BTreeSet<u64>,
    /// The highest sequence anybody was told.
    told: u64,
    ids: HashMap<String, u64>,
    /// Per consumer: confirmed as done, and perhaps done.
    consumers: BTreeMap<String, Consumer>,
}

#[derive(Default, Clone)]
struct Consumer {
    filter: String,
    done: BTreeSet<u64>,
    perhaps: BTreeSet<u64>,
}

#[derive(Default, Debug, Clone, Copy)]
struct Counts {
    crashes: u64,
    publishes: u64,
    confirmations: u64,
    compared: u64,
}

struct World {
    rng: Rng,
    disk: SimDisk,
    streams: BTreeMap<String, Stream>,
    counts: Counts,
    payload: u64,
}

/// An answer, or none because the power went out.
async fn answer(inbox: &mut Inbox, disk: &SimDisk) -> Option<Msg> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(msg) = inbox.try_next() {
            return Some(msg);
        }
        if disk.is_down() {
            // What was already on its way may still come.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            return inbox.try_next();
        }
        assert!(Instant::now() < end, "no answer");
        tokio::task::yield_now().await;
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.number());
        World { rng, disk, streams: BTreeMap::new(), counts: Counts::default(), payload: 0 }
    }

    async fn call(&self, bench: &Bench, tail: &str, body: &Value) -> Option<Value> {
        let mut inbox = bench.inbox();
        bench.publish(&format!("$JS.API.{tail}"), Some(&inbox.subject), &[], body.to_string().as_bytes());
        answer(&mut inbox, &self.disk).await.map(|msg| msg.json())
    }

    /// One random thing; false when the power is out.
    async fn step(&mut self, bench: &Bench) -> bool {
        match self.rng.below(20) {
            0..=1 => self.create(bench).await,
            2..=9 => self.publish(bench).await,
            10..=15 => self.consume(bench).await,
            16 => self.purge(bench).await,
            17 => self.update(bench).await,
            18 => self.delete_message(bench).await,
            _ => self.delete_stream(bench).await,
        }
        !self.disk.is_down()
    }

    fn pick_stream(&mut self) -> Option<String> {
        let names: Vec<String> = self.streams.keys().cloned().collect();
        self.rng.pick(&names).cloned()
    }

    async fn create(&mut self, bench: &Bench) {
        let kinds = ["limits", "workqueue", "kv"];
        let kind = *self.rng.pick(&kinds).unwrap_or(&"limits");
        if self.streams.contains_key(kind) {
            return self.create_consumer(bench, kind).await;
        }
        let config = match kind {
            "workqueue" => json!({"name": kind, "subjects": [format!("{kind}.*")], "retention": "workqueue"}),
            "kv" => json!({"name": kind, "subjects": [format!("{kind}.*")], "max_msgs_per_subject": 1,
                "allow_rollup_hdrs": true}),
            _ => {
                json!({"name": kind, "subjects": [format!("{kind}.*")], "metadata": {"n": self.rng.number().to_string()}})
            }
        };
        if let Some(done) = self.call(bench, &format!("STREAM.CREATE.{kind}"), &config).await
            && done.get("error").is_none()
        {
            let stream = Stream { config: done["config"].clone(), ..Stream::default() };
            self.streams.insert(kind.into(), stream);
        }
    }

    async fn create_consumer(&mut self, bench: &Bench, stream: &str) {
        let number = self.rng.below(2);
        let name = format!("c{number}");
        let filter = format!("{stream}.{number}");
        let config =
            json!({"durable_name": name, "ack_policy": "explicit", "filter_subject": filter, "ack_wait": 40_000_000});
        let body = json!({"stream_name": stream, "config": config});
        let done = self.call(bench, &format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
        if done.is_some_and(|done| done.get("error").is_none()) {
            let known = self.streams.get_mut(stream).expect("known");
            known.consumers.entry(name).or_insert(Consumer { filter, ..Consumer::default() });
        }
    }

    async fn publish(&mut self, bench: &Bench) {
        let Some(name) = self.pick_stream() else { return };
        let mut inboxes = Vec::new();
        for _ in 0..1 + self.rng.below(6) {
            self.payload += 1;
            let payload = format!("p{}", self.payload);
            let subject = format!("{name}.{}", self.rng.below(3));
            let id = self.rng.chance(30).then(|| format!("id-{}", self.payload));
            let mut headers: Vec<(&str, &str)> = id.iter().map(|id| ("Nats-Msg-Id", id.as_str())).collect();
            let rollup = name == "kv" && self.rng.chance(20);
            if rollup {
                headers.push(("Nats-Rollup", if self.rng.chance(30) { "all" } else { "sub" }));
            }
            let all = headers.contains(&("Nats-Rollup", "all"));
            let inbox = bench.inbox();
            bench.publish(&subject, Some(&inbox.subject), &headers, payload.as_bytes());
            let stream = self.streams.get_mut(&name).expect("known");
            stream.attempts.insert(payload.clone());
            if name == "kv" {
                let touched = stream.sure.iter().filter(|(_, (s, _))| all || *s == subject).map(|(seq, _)| *seq);
                stream.doubtful.extend(touched.collect::<Vec<_>>());
            }
            inboxes.push((inbox, subject, payload, id, all));
        }
        for (mut inbox, subject, payload, id, all) in inboxes {
            let Some(ack) = answer(&mut inbox, &self.disk).await.map(|msg| msg.json()) else { continue };
            let Some(seq) = ack["seq"].as_u64().filter(|seq| *seq > 0) else { continue };
            self.counts.publishes += 1;
            let stream = self.streams.get_mut(&name).expect("known");
            stream.told = stream.told.max(seq);
            if name == "kv" {
                let replaced = stream.sure.iter().filter(|(s, (o, _))| **s < seq && (all || *o == subject));
                let replaced: Vec<u64> = replaced.map(|(seq, _)| *seq).collect();
                for old in replaced {
                    stream.sure.remove(&old);
                    stream.gone.insert(old);
                }
            }
            stream.sure.insert(seq, (subject, payload.clone()));
            stream.attempts.remove(&payload);
            if let Some(id) = id {
                stream.ids.insert(id, seq);
            }
        }
    }

    async fn consume(&mut self, bench: &Bench) {
        let Some(name) = self.pick_stream() else { return };
        let names: Vec<String> = self.streams[&name].consumers.keys().cloned().collect();
        let Some(consumer) = self.rng.pick(&names).cloned() else { return };
        let mut inbox = bench.inbox();
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{consumer}");
        bench.publish(&next, Some(&inbox.subject), &[], br#"{"batch":8,"no_wait":true}"#);
        for _ in 0..8 {
            let Some(msg) = answer(&mut inbox, &self.disk).await else { return };
            if !msg.status().is_empty() {
                return;
            }
            let seq = msg.position().0;
            let stream = self.streams.get_mut(&name).expect("known");
            let state = stream.consumers.get_mut(&consumer).expect("known");
            assert!(!state.done.contains(&seq), "{name} {seq} was confirmed as done by {consumer} and comes again");
            let verb = self.rng.below(10);
            if verb >= 8 {
                bench.publish(&msg.reply, None, &[], if verb == 8 { b"-NAK" } else { b"+WPI" });
                continue;
            }
            state.perhaps.insert(seq);
            if name == "workqueue" {
                stream.doubtful.insert(seq);
            }
            let body: &[u8] = if verb == 0 { b"+TERM" } else { b"+ACK" };
            if verb < 3 {
                bench.publish(&msg.reply, None, &[], body);
                continue;
            }
            let mut confirmed = bench.inbox();
            bench.publish(&msg.reply, Some(&confirmed.subject), &[], body);
            if answer(&mut confirmed, &self.disk).await.is_some() {
                self.counts.confirmations += 1;
                let stream = self.streams.get_mut(&name).expect("known");
                stream.consumers.get_mut(&consumer).expect("known").done.insert(seq);
                if name == "workqueue" {
                    stream.sure.remove(&seq);
                    stream.gone.insert(seq);
                }
            }
        }
    }

    async fn purge(&mut self, bench: &Bench) {
        let Some(name) = self.pick_stream() else { return };
        let subject = format!("{name}.{}", self.rng.below(3));
        let stream = self.streams.get_mut(&name).expect("known");
        let touched: Vec<u64> = stream.sure.iter().filter(|(_, (s, _))| *s == subject).map(|(seq, _)| *seq).collect();
        stream.doubtful.extend(&touched);
        let done = self.call(bench, &format!("STREAM.PURGE.{name}"), &json!({"filter": subject})).await;
        if done.is_some_and(|done| done["success"] == true) {
            let stream = self.streams.get_mut(&name).expect("known");
            for seq in touched {
                stream.sure.remove(&seq);
                stream.gone.insert(seq);
            }
        }
    }

    async fn delete_message(&mut self, bench: &Bench) {
        let Some(name) = self.pick_stream() else { return };
        let seqs: Vec<u64> = self.streams[&name].sure.keys().copied().collect();
        let Some(seq) = self.rng.pick(&seqs).copied() else { return };
        self.streams.get_mut(&name).expect("known").doubtful.insert(seq);
        let done = self.call(bench, &format!("STREAM.MSG.DELETE.{name}"), &json!({"seq": seq})).await;
        if done.is_some_and(|done| done["success"] == true) {
            let stream = self.streams.get_mut(&name).expect("known");
            stream.sure.remove(&seq);
            stream.gone.insert(seq);
        }
    }

    async fn update(&mut self, bench: &Bench) {
        let Some(name) = self.pick_stream() else { return };
        let mut config = self.streams[&name].config.clone();
        config["description"] = json!(format!("d{}", self.rng.number()));
        let before = self.streams[&name].config.clone();
        match self.call(bench, &format!("STREAM.UPDATE.{name}"), &config).await {
            Some(done) if done.get("error").is_none() => {
                self.streams.get_mut(&name).expect("known").config = done["config"].clone();
            }
            // It may or may not have happened.
            _ => self.streams.get_mut(&name).expect("known").config = json!({"either": [before, config]}),
        }
    }

    async fn delete_stream(&mut self, bench: &Bench) {
        if !self.rng.chance(15) {
            return;
        }
        let Some(name) = self.pick_stream() else { return };
        let done = self.call(bench, &format!("STREAM.DELETE.{name}"), &json!({})).await;
        match done {
            Some(done) if done["success"] == true => drop(self.streams.remove(&name)),
            _ => self.streams.get_mut(&name).expect("known").config = json!({"either": []}),
        }
    }

    /// Looks at everything after a start and takes what is there as the new truth.
    async fn verify(&mut self, bench: &Bench) {
        let listed = bench.must("STREAM.NAMES", Value::Null).await;
        let there: BTreeSet<String> =
            listed["streams"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
        let known: Vec<String> = self.streams.keys().cloned().collect();
        for name in known {
            if !there.contains(&name) {
                let may =
                    self.streams[&name].config.get("either").is_some_and(|e| e.as_array().is_some_and(Vec::is_empty));
                assert!(may, "stream {name} is gone");
                self.streams.remove(&name);
                continue;
            }
            self.verify_stream(bench, &name).await;
        }
        for name in there {
            // Created, but nobody was told: it is complete then.
            self.streams.entry(name.clone()).or_default();
            let info = bench.must(&format!("STREAM.INFO.{name}"), Value::Null).await;
            self.streams.get_mut(&name).expect("there").config = info["config"].clone();
        }
    }

    async fn verify_stream(&mut self, bench: &Bench, name: &str) {
        let info = bench.must(&format!("STREAM.INFO.{name}"), Value::Null).await;
        let mut messages: BTreeMap<u64, (String, String)> = BTreeMap::new();
        let mut next = 1;
        loop {
            let found = bench.api(&format!("STREAM.MSG.GET.{name}"), json!({"next_by_subj": ">", "seq": next})).await;
            let Some(seq) = found["message"]["seq"].as_u64() else { break };
            let data = found["message"]["data"].as_str().unwrap_or_default();
            let data = String::from_utf8(data_encoding::BASE64.decode(data.as_bytes()).expect("base64")).expect("text");
            messages.insert(seq, (found["message"]["subject"].as_str().expect("subject").to_owned(), data));
            next = seq + 1;
        }
        self.counts.compared += messages.len() as u64;
        let stream = self.streams.get_mut(name).expect("known");
        let expected = &stream.config;
        match expected.get("either").and_then(Value::as_array) {
            None => assert_eq!(&info["config"], expected, "{name}"),
            Some(either) if either.is_empty() => {}
            Some(either) => assert!(
                either.iter().any(|config| config["description"] == info["config"]["description"]),
                "{name}: {info}"
            ),
        }
        assert!(info["state"]["last_seq"].as_u64().expect("seq") >= stream.told, "{name}: a sequence is used again");
        assert_eq!(info["state"]["messages"], messages.len());
        for (seq, message) in &stream.sure {
            match messages.get(seq) {
                Some(found) => assert_eq!(found, message, "{name} {seq}"),
                None => assert!(stream.doubtful.contains(seq), "{name} {seq} was acknowledged and is gone"),
            }
        }
        for (seq, found) in &messages {
            assert!(!stream.gone.contains(seq), "{name} {seq} was removed and is back");
            let sure = stream.sure.get(seq) == Some(found);
            assert!(sure || stream.attempts.contains(&found.1), "{name} {seq} was never published: {found:?}");
        }
        if name == "kv" {
            let subjects: BTreeSet<&String> = messages.values().map(|(subject, _)| subject).collect();
            assert_eq!(subjects.len(), messages.len(), "{name} keeps one message per subject");
        }
        let (ids, consumers) = (stream.ids.clone(), stream.consumers.clone());
        stream.sure = messages;
        stream.doubtful.clear();
        stream.told = stream.told.max(info["state"]["last_seq"].as_u64().expect("seq"));
        stream.config = info["config"].clone();
        for (id, seq) in ids.into_iter().take(5) {
            let ack = bench.put_with(&format!("{name}.0"), &[("Nats-Msg-Id", &id)], b"again").await;
            assert_eq!((&ack["duplicate"], &ack["seq"]), (&json!(true), &json!(seq)), "{name} {id}");
        }
        for (consumer, state) in consumers {
            self.verify_consumer(bench, name, &consumer, state).await;
        }
    }

    async fn verify_consumer(&mut self, bench: &Bench, name: &str, consumer: &str, state: Consumer) {
        let info = bench.consumer(name, consumer).await;
        let number = |value: &Value| value.as_u64().expect("a number");
        assert!(number(&info["delivered"]["consumer_seq"]) >= number(&info["ack_floor"]["consumer_seq"]), "{info}");
        assert!(number(&info["delivered"]["stream_seq"]) >= number(&info["ack_floor"]["stream_seq"]), "{info}");
        let stream = &self.streams[name];
        let matching: Vec<u64> =
            stream.sure.iter().filter(|(_, (subject, _))| *subject == state.filter).map(|(seq, _)| *seq).collect();
        let open =
            matching.iter().filter(|seq| !state.done.contains(seq) && !state.perhaps.contains(seq)).count() as u64;
        let most = matching.iter().filter(|seq| !state.done.contains(seq)).count() as u64;
        let left = number(&info["num_pending"]) + number(&info["num_ack_pending"]);
        assert!(
            (open..=most).contains(&left),
            "{name} {consumer}: {open}..={most} messages are open, not {left}: {info}"
        );
        // All that is open comes (again), and nothing that was confirmed.
        let mut seen = BTreeSet::new();
        let end = Instant::now() + Duration::from_secs(10);
        while (seen.len() as u64) < left {
            assert!(Instant::now() < end, "{name} {consumer}: only {seen:?} of {left} came");
            let request = json!({"batch": left - seen.len() as u64, "expires": 60_000_000});
            for msg in bench.pull(name, consumer, request).await {
                if msg.status().is_empty() {
                    let seq = msg.position().0;
                    assert!(!state.done.contains(&seq), "{name} {seq} was confirmed as done and comes again");
                    seen.insert(seq);
                }
            }
        }
    }
}

/// One seed: a few rounds of work, each ended by a power loss or a kill.
async fn run(seed: u64, lies: bool) -> Counts {
    let mut world = World::new(seed);
    world.disk.set_lies(lies);
    for _ in 0..3 {
        let segment = *world.rng.pick(&[8192, 65536, 1 << 20]).unwrap_or(&8192);
        world.disk.heal();
        let (stepped, recovered) = Stepped::open(options(&world.disk, segment)).expect("the store opens");
        assert!(lies || recovered.report.is_clean(), "{:?}", recovered.report);
        let store = stepped.store.clone();
        let stepper = tokio::spawn({
            let stepped = Arc::new(stepped);
            async move {
                loop {
                    stepped.step();
                    stepped.idle();
                    tokio::task::yield_now().await;
                }
            }
        });
        let bench = Bench::on((store, recovered));
        world.verify(&bench).await;
        if world.rng.chance(80) {
            world.disk.fault(world.rng.below(150), Fault::PowerLoss);
        }
        for _ in 0..30 {
            if !world.step(&bench).await {
                break;
            }
        }
        stepper.abort();
        let _ = stepper.await;
        if world.disk.is_down() || world.rng.chance(50) {
            world.counts.crashes += 1;
            world.disk.crash();
        } else {
            world.disk.kill();
        }
    }
    world.counts
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("NATSUNE_SEEDS").ok();
    let asked = asked.as_deref().and_then(|range| range.split_once(".."));
    asked.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?)).unwrap_or(0..count)
}

fn attempt(seed: u64, lies: bool) -> std::thread::Result<Counts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run(seed, lies))))
}

#[test]
fn a_disk_that_does_not_sync_is_noticed() {
    let noticed = (0..40).filter(|seed| attempt(*seed, true).is_err()).count();
    println!("without syncs, {noticed} of 40 seeds find a broken promise");
    assert!(noticed > 15, "only {noticed} of 40 seeds noticed");
}

#[test]
fn what_was_promised_survives_power_losses() {
    let start = Instant::now();
    let mut sum = Counts::default();
    let seeds = seeds(250);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let counts = attempt(seed, false)
            .unwrap_or_else(|_| panic!("seed {seed} (run it alone with NATSUNE_SEEDS={seed}..{})", seed + 1));
        sum.crashes += counts.crashes;
        sum.publishes += counts.publishes;
        sum.confirmations += counts.confirmations;
        sum.compared += counts.compared;
    }
    println!("{count} seeds, {sum:?}, {:.1} s", start.elapsed().as_secs_f64());
    assert!(sum.crashes > count && sum.publishes > count * 10 && sum.confirmations > count && sum.compared > count * 5);
}
