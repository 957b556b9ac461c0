//! Power losses at random points: everything acknowledged is there afterwards, and nothing that never was.
use bytes::Bytes;
use natsune_broker::store::sim::{Crashes, Fault, Inspected, Model, SimDisk, Stepped, crashes, options, state_of};
use natsune_broker::store::{Location, Op, Store, Wait};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// `NATSUNE_SEEDS=first..last` runs other seeds than the usual ones.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("NATSUNE_SEEDS").ok();
    let asked = asked.as_deref().and_then(|range| range.split_once(".."));
    asked.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?)).unwrap_or(0..count)
}

fn campaign(name: &str, seeds: std::ops::Range<u64>, how: Crashes) {
    let start = Instant::now();
    let (mut crashed, mut acknowledged, mut compared, mut cleaned, mut moved, mut failed) = (0, 0, 0, 0, 0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match crashes(seed, how) {
            Ok(outcome) => {
                crashed += outcome.crashes;
                acknowledged += outcome.acknowledged;
                compared += outcome.compared;
                cleaned += outcome.cleaned;
                moved += outcome.moved;
                failed += outcome.failed;
            }
            Err(error) => panic!("{name}, seed {seed}: {error}"),
        }
    }
    println!(
        "{name}: {count} seeds, {crashed} power losses, {acknowledged} commits acknowledged, {failed} failed, \
         {compared} messages compared, {moved} moved, {cleaned} segments cleaned, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(
        crashed > count / 2 && acknowledged > count && compared > count && cleaned > count / 10 && moved > count / 10
    );
}

#[test]
fn acknowledged_commits_survive_power_losses() {
    campaign("power loss", seeds(1000), Crashes::default());
}

#[test]
fn acknowledged_commits_survive_faults_and_power_losses() {
    campaign("faults", seeds(500), Crashes { faults: true, ..Crashes::default() });
}

#[test]
fn the_campaign_notices_a_missing_sync() {
    let how = Crashes { lies: true, ..Crashes::default() };
    let caught = (0..100).filter(|seed| crashes(*seed, how).is_err()).count();
    println!("without syncs, {caught} of 100 seeds find a violation");
    assert!(caught > 50, "only {caught} of 100 seeds noticed");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..20 {
        assert_eq!(crashes(seed, Crashes::default()), crashes(seed, Crashes::default()), "seed {seed}");
    }
}

/// A step of a short workload; each is one commit.
#[derive(Clone, Copy)]
enum Do {
    Append(u64, usize),
    Remove(u64),
    Put(&'static str),
    Note(&'static str),
    Delete,
    Drop,
}

fn op(step: Do, places: &HashMap<u64, Location>) -> Op {
    match step {
        Do::Append(seq, size) => Op::Append {
            stream: 1,
            seq,
            ts: 1,
            subject: Bytes::from_static(b"a"),
            headers: Bytes::new(),
            payload: Bytes::from(vec![seq as u8; size]),
        },
        Do::Remove(seq) => Op::Remove { stream: 1, seqs: vec![(seq, places[&seq])] },
        Do::Put(value) => Op::Put { key: "k".into(), value: value.into() },
        Do::Note(bytes) => Op::Note { key: "k".into(), bytes: bytes.into() },
        Do::Delete => Op::Delete { key: "k".into() },
        Do::Drop => Op::DropStream { stream: 1 },
    }
}

/// Runs the steps until the power goes out at the given change of the disk. Whether it went out.
fn run(disk: &SimDisk, steps: &[Do], at: u64, model: &mut Model) -> bool {
    disk.fault(at, Fault::PowerLoss);
    let Ok((store, _)) = Stepped::open(options(disk, 4096)) else { return true };
    let mut places = HashMap::new();
    for step in steps {
        let op = op(*step, &places);
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        store.store.commit(
            vec![op.clone()],
            Wait::Durable,
            Box::new(move |result| *told.lock().unwrap() = Some(result)),
        );
        store.step();
        model.open.push(vec![op]);
        match (answer.lock().unwrap().take().expect("answered"), step) {
            (Ok(at), Do::Append(seq, _)) => drop(places.insert(*seq, at[0])),
            (Ok(_), _) => {}
            (Err(_), _) => return true,
        }
        model.settle(model.open.len());
        for _ in 0..6 {
            store.idle();
        }
        if disk.is_down() {
            return true;
        }
    }
    store.close();
    disk.is_down()
}

/// Short workloads, the power going out at every single change of the disk, many times each with other sectors lost, and
/// once more at every change while the store is opened afterwards.
#[test]
fn every_crash_point_of_short_workloads() {
    use Do::*;
    let workloads: [&[Do]; 5] = [
        &[Append(1, 100), Append(2, 3000), Append(3, 10)],
        &[Put("one"), Note("a"), Put("two"), Note("b"), Delete, Note("c")],
        &[Append(1, 2000), Remove(1), Append(2, 2000), Append(3, 2000), Remove(3), Append(4, 2500)],
        &[Append(1, 10), Append(2, 2500), Remove(2), Append(3, 2500), Remove(3), Append(4, 2500)],
        &[Append(7, 500), Put("x"), Drop, Append(1, 900), Note("y"), Append(2, 20_000)],
    ];
    let (mut points, mut crashes) = (0, 0);
    for (number, steps) in workloads.iter().enumerate() {
        for at in 0.. {
            let mut down = false;
            for seed in 0..24 {
                let (disk, mut model) = (SimDisk::new(seed * 1000 + at), Model::default());
                down = run(&disk, steps, at, &mut model);
                disk.crash();
                crashes += 1;
                // Opening is interrupted as well, in a third of the cases.
                if seed % 3 == 0 {
                    disk.fault(seed / 3, Fault::PowerLoss);
                    let _ = Stepped::open(options(&disk, 4096));
                    disk.crash();
                }
                let what = format!("workload {number}, change {at}, seed {seed}");
                let (store, recovered) = Inspected::open(&options(&disk, 4096)).unwrap();
                assert!(recovered.report.is_clean(), "{what}: {:?}", recovered.report);
                let found = state_of(&recovered, |stream, seq, at| store.read(stream, seq, at));
                model
                    .adopt(&found.unwrap_or_else(|error| panic!("{what}: {error}")))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            points += 1;
            if !down {
                break;
            }
        }
    }
    println!("{points} crash points, {crashes} power losses");
    assert!(points > 100);
}

/// The store with its threads, several callers at once, the power going out somewhere: what was acknowledged is there.
#[test]
fn callers_on_many_threads_lose_nothing_acknowledged() {
    for seed in 0..60u64 {
        let disk = SimDisk::new(seed);
        let (store, _) = Store::open(options(&disk, 8192)).unwrap();
        disk.fault(20 + seed * 7, Fault::PowerLoss);
        let acknowledged = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for stream in 0..3u64 {
                let (store, acknowledged) = (store.clone(), &acknowledged);
                scope.spawn(move || {
                    for seq in 1..=200u64 {
                        let (told, answer) = std::sync::mpsc::channel();
                        let op = Op::Append {
                            stream,
                            seq,
                            ts: 1,
                            subject: "s".into(),
                            headers: Bytes::new(),
                            payload: Bytes::from(vec![seq as u8; 50 + seq as usize]),
                        };
                        store.commit(vec![op], Wait::Durable, Box::new(move |result| drop(told.send(result))));
                        match answer.recv().expect("answered") {
                            Ok(places) => {
                                acknowledged.lock().unwrap().push((stream, seq));
                                if seq % 3 != 0 {
                                    let op = Op::Remove { stream, seqs: vec![(seq, places[0])] };
                                    store.commit(vec![op], Wait::Soon, Box::new(|_| {}));
                                }
                            }
                            Err(_) => return,
                        }
                    }
                });
            }
        });
        drop(store);
        disk.crash();
        let (store, recovered) = Inspected::open(&options(&disk, 8192)).unwrap();
        assert!(recovered.report.is_clean(), "seed {seed}: {:?}", recovered.report);
        for (stream, seq) in acknowledged.into_inner().unwrap() {
            let found = &recovered.streams[&stream];
            assert!(found.last_seq >= seq, "seed {seed}");
            match found.messages.iter().find(|entry| entry.seq == seq) {
                Some(entry) => {
                    let payload = store.read(stream, seq, entry.at).unwrap().payload;
                    assert_eq!(payload, vec![seq as u8; 50 + seq as usize], "seed {seed}");
                }
                None => assert_ne!(seq % 3, 0, "seed {seed}: message {seq} of stream {stream} is lost"),
            }
        }
    }
}
