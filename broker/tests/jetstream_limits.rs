//! Streams under limits against a naive model: which messages are there after every publish, delete and purge.

mod jetstream_support;

use std::collections::{BTreeMap, BTreeSet};

use jetstream_support::Bench;
use natsune_broker::store::sim::Rng;
use serde_json::{Value, json};

#[derive(Debug, Clone, Default)]
struct Limits {
    messages: Option<usize>,
    bytes: Option<u64>,
    per_subject: Option<usize>,
    refuse: bool,
    refuse_per_subject: bool,
    memory: bool,
}

impl Limits {
    fn random(rng: &mut Rng) -> Limits {
        let mut limits = Limits {
            messages: rng.chance(60).then(|| 1 + rng.below(8) as usize),
            bytes: rng.chance(40).then(|| 120 + rng.below(400)),
            per_subject: rng.chance(60).then(|| 1 + rng.below(3) as usize),
            refuse: rng.chance(40),
            refuse_per_subject: false,
            memory: rng.chance(50),
        };
        limits.refuse_per_subject = limits.refuse && limits.per_subject.is_some() && rng.chance(50);
        limits
    }

    fn config(&self) -> Value {
        json!({
            "name": "S", "subjects": ["s.*"], "storage": if self.memory { "memory" } else { "file" },
            "max_msgs": self.messages.map_or(-1, |n| n as i64), "max_bytes": self.bytes.map_or(-1, |n| n as i64),
            "max_msgs_per_subject": self.per_subject.map_or(-1, |n| n as i64),
            "discard": if self.refuse { "new" } else { "old" }, "discard_new_per_subject": self.refuse_per_subject,
            "allow_rollup_hdrs": true, "allow_direct": true,
        })
    }
}

/// Subject, payload length and headers length of each message.
#[derive(Debug, Default)]
struct Model {
    messages: BTreeMap<u64, (String, usize, usize)>,
    last: u64,
}

impl Model {
    fn size(limits: &Limits, message: &(String, usize, usize)) -> u64 {
        let (subject, payload, headers) = (message.0.len(), message.1, message.2);
        let size = match (limits.memory, headers) {
            (true, _) => 16 + subject + payload + headers,
            (false, 0) => 30 + subject + payload,
            (false, _) => 34 + subject + payload + headers,
        };
        size as u64
    }

    fn bytes(&self, limits: &Limits) -> u64 {
        self.messages.values().map(|message| Model::size(limits, message)).sum()
    }

    fn of(&self, subject: &str) -> Vec<u64> {
        self.messages.iter().filter(|(_, (s, _, _))| s == subject).map(|(seq, _)| *seq).collect()
    }

    /// The error a publish gets, or none.
    fn publish(
        &mut self,
        limits: &Limits,
        subject: &str,
        payload: usize,
        headers: usize,
        rollup: &str,
    ) -> Option<&'static str> {
        let message = (subject.to_owned(), payload, headers);
        if limits.refuse {
            let full = limits.per_subject.is_some_and(|most| self.of(subject).len() >= most);
            if full && limits.refuse_per_subject {
                return Some("maximum messages per subject exceeded");
            }
            if limits.messages.is_some_and(|most| self.messages.len() >= most) && !full {
                return Some("maximum messages exceeded");
            }
            if limits.bytes.is_some_and(|most| self.bytes(limits) + Model::size(limits, &message) > most) && !full {
                return Some("maximum bytes exceeded");
            }
        }
        self.last += 1;
        self.messages.insert(self.last, message);
        let last = self.last;
        match rollup {
            "sub" => self.messages.retain(|seq, (s, _, _)| *seq == last || s != subject),
            "all" => self.messages.retain(|seq, _| *seq == last),
            _ => {}
        }
        self.trim(limits);
        None
    }

    fn trim(&mut self, limits: &Limits) {
        if let Some(most) = limits.per_subject {
            let subjects: BTreeSet<String> = self.messages.values().map(|(s, _, _)| s.clone()).collect();
            for subject in subjects {
                let seqs = self.of(&subject);
                for seq in seqs.iter().take(seqs.len().saturating_sub(most)) {
                    self.messages.remove(seq);
                }
            }
        }
        while limits.messages.is_some_and(|most| self.messages.len() > most)
            || limits.bytes.is_some_and(|most| self.bytes(limits) > most)
        {
            self.messages.pop_first();
        }
    }

    fn purge(&mut self, filter: Option<&str>, until: u64, keep: usize) {
        let chosen: Vec<u64> = match filter {
            Some(subject) => self.of(subject),
            None => self.messages.keys().copied().collect(),
        };
        let mut chosen: Vec<u64> = chosen.into_iter().filter(|seq| until == 0 || *seq < until).collect();
        chosen.truncate(chosen.len().saturating_sub(keep));
        for seq in chosen {
            self.messages.remove(&seq);
        }
    }
}

async fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut limits = Limits::random(&mut rng);
    let bench = Bench::memory();
    bench.must("STREAM.CREATE.S", limits.config()).await;
    let mut model = Model::default();
    for step in 0..60 {
        let subject = format!("s.{}", rng.below(4));
        match rng.below(20) {
            0 => {
                let seq = 1 + rng.below(model.last + 1);
                let answer = bench.api("STREAM.MSG.DELETE.S", json!({"seq": seq})).await;
                assert_eq!(answer["success"] == true, model.messages.remove(&seq).is_some(), "seed {seed} step {step}");
            }
            1 => {
                let filter = rng.chance(60).then_some(subject.as_str());
                let (until, keep) = match rng.below(3) {
                    0 => (1 + rng.below(model.last + 1), 0),
                    1 => (0, rng.below(3)),
                    _ => (0, 0),
                };
                bench.must("STREAM.PURGE.S", json!({"filter": filter, "seq": until, "keep": keep})).await;
                if until != 1 {
                    model.purge(filter, until, keep as usize);
                }
            }
            2 => {
                let mut new = Limits::random(&mut rng);
                new.memory = limits.memory;
                bench.must("STREAM.UPDATE.S", new.config()).await;
                limits = new;
                model.trim(&limits);
            }
            _ => {
                let payload = vec![b'x'; rng.below(60) as usize];
                let rollup = if rng.chance(10) { *rng.pick(&["sub", "all"]).unwrap() } else { "" };
                let headers = [("Nats-Rollup", rollup)];
                let headers = if rollup.is_empty() { &[][..] } else { &headers[..] };
                let length = if rollup.is_empty() { 0 } else { 14 + 13 + rollup.len() };
                let ack = bench.put_with(&subject, headers, &payload).await;
                let expected = model.publish(&limits, &subject, payload.len(), length, rollup);
                assert_eq!(ack["error"]["description"].as_str(), expected, "seed {seed} step {step}: {limits:?}");
            }
        }
        let info = bench.must("STREAM.INFO.S", json!({"subjects_filter": ">", "deleted_details": true})).await;
        let state = &info["state"];
        let what = format!("seed {seed} step {step}: {limits:?} {state} {:?}", model.messages);
        assert_eq!(state["messages"], model.messages.len(), "{what}");
        assert_eq!(state["bytes"], model.bytes(&limits), "{what}");
        assert_eq!(state["last_seq"], model.last, "{what}");
        let first = model.messages.keys().next().copied();
        if model.last > 0 {
            assert_eq!(state["first_seq"], first.unwrap_or(model.last + 1), "{what}");
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (subject, _, _) in model.messages.values() {
            *counts.entry(subject).or_default() += 1;
        }
        let subjects = if counts.is_empty() { Value::Null } else { json!(counts) };
        assert_eq!(state.get("subjects").cloned().unwrap_or_default(), subjects, "{what}");
        let gone: Vec<u64> = first
            .map_or(Vec::new(), |first| (first..=model.last).filter(|seq| !model.messages.contains_key(seq)).collect());
        let deleted = if gone.is_empty() { Value::Null } else { json!(gone) };
        assert_eq!(state.get("deleted").cloned().unwrap_or_default(), deleted, "{what}");
    }
    bench.js.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_hold_what_the_model_holds() {
    for seed in 0..150 {
        run(seed).await;
    }
}
