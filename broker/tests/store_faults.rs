//! Full disks and failing ones: told at once, nothing acknowledged is lost, and no error is papered over.
use bytes::Bytes;
use natsune_broker::store::sim::{Fault, Inspected, Rng, SimDisk, Stepped, options};
use natsune_broker::store::{Location, Op, Options, Store, StoreError, Wait};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn append(seq: u64, size: usize) -> Op {
    let subject = Bytes::from_static(b"a.b");
    Op::Append { stream: 1, seq, ts: 1, subject, headers: Bytes::new(), payload: Bytes::from(vec![seq as u8; size]) }
}

fn put(store: &Store, ops: Vec<Op>) -> Result<Vec<Location>, StoreError> {
    let (told, answer) = channel();
    store.commit(ops, Wait::Durable, Box::new(move |result| told.send(result).unwrap()));
    answer.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}

fn small(disk: &SimDisk) -> Options {
    options(disk, 1 << 16)
}

#[test]
fn a_full_disk_is_told_at_once_and_works_again_by_itself() {
    let disk = SimDisk::new(1);
    let (store, _) = Store::open(small(&disk)).unwrap();
    disk.set_capacity(Some(2 << 20));
    let mut places = Vec::new();
    let mut seq = 0;
    let full = loop {
        seq += 1;
        let start = Instant::now();
        match put(&store, vec![append(seq, 1000)]) {
            Ok(at) => places.push((seq, at[0])),
            Err(error) => break (error, start.elapsed()),
        }
    };
    assert!(matches!(full.0, StoreError::Full), "{full:?}");
    assert!(full.1 < Duration::from_millis(100), "{full:?}");
    assert!(places.len() > 1000 && store.stats().full && store.stats().failed.is_none());
    // Reads, keys and notes go on.
    for (seq, at) in &places {
        assert_eq!(store.read(1, *seq, *at).unwrap().payload[0], *seq as u8);
    }
    for step in 0..20 {
        put(&store, vec![Op::Note { key: "k".into(), bytes: vec![step; 20].into() }]).unwrap();
    }
    put(&store, vec![Op::Put { key: "config".into(), value: "kept".into() }]).unwrap();
    assert!(matches!(put(&store, vec![append(seq, 1000)]), Err(StoreError::Full)));
    // Removing makes room, without a restart and without more disk.
    let (gone, kept) = places.split_at(places.len() / 2);
    put(&store, vec![Op::Remove { stream: 1, seqs: gone.to_vec() }]).unwrap();
    until("removing made no room", || {
        seq += 1;
        put(&store, vec![append(seq, 1000)]).is_ok()
    });
    for (seq, at) in kept {
        assert_eq!(store.read(1, *seq, *at).unwrap().payload[0], *seq as u8);
    }
    drop(store);
    let (store, recovered) = Inspected::open(&small(&disk)).unwrap();
    assert!(recovered.report.is_clean(), "{:?}", recovered.report);
    assert_eq!(recovered.keys[&b"k"[..]].notes.len(), 20);
    assert_eq!(recovered.keys[&b"config"[..]].value, "kept");
    let messages = &recovered.streams[&1].messages;
    assert_eq!(messages.len(), kept.len() + 1);
    assert!(messages.iter().all(|entry| store.read(1, entry.seq, entry.at).is_ok()));
}

/// Young stores have small segments, and what is left of the last one must do for the copies that free the others.
#[test]
fn a_small_disk_gives_room_back_as_well() {
    for (megabytes, size) in [(6, 900), (12, 20_000), (40, 200_000)] {
        let disk = SimDisk::new(megabytes);
        let options = options(&disk, 16 << 20);
        let (store, _) = Store::open(options.clone()).unwrap();
        put(&store, vec![Op::Put { key: "config".into(), value: vec![1; 500].into() }]).unwrap();
        disk.set_capacity(Some(megabytes << 20));
        let (mut places, mut seq) = (Vec::new(), 1);
        until(&format!("{megabytes} MB: never full"), || {
            match put(&store, vec![append(seq, size)]) {
                Ok(at) => {
                    places.push((seq, at[0]));
                    seq += 1;
                }
                // A smaller segment may still find its place after the larger one that was wanted did not.
                Err(StoreError::Full) => return store.stats().full,
                Err(other) => panic!("{megabytes} MB: {other}"),
            }
            false
        });
        assert!(places.len() > 20, "{megabytes} MB: {:?}", store.stats());
        // Every tenth stays, so that each segment holds something to be copied.
        let (kept, gone): (Vec<_>, Vec<_>) = places.into_iter().partition(|(seq, _)| seq % 10 == 0);
        put(&store, vec![Op::Remove { stream: 1, seqs: gone }]).unwrap();
        until(&format!("{megabytes} MB: removing made no room"), || put(&store, vec![append(seq, size)]).is_ok());
        store.close();
        let (store, recovered) = Inspected::open(&options).unwrap();
        assert!(recovered.report.is_clean(), "{:?}", recovered.report);
        assert_eq!(recovered.keys[&b"config"[..]].value.len(), 500);
        let messages = &recovered.streams[&1].messages;
        assert_eq!(messages.len(), kept.len() + 1);
        assert!(messages.iter().all(|entry| store.read(1, entry.seq, entry.at).is_ok()));
    }
}

/// A program that the store is part of may use up its file descriptors. That passes, and takes nothing with it.
#[test]
fn a_process_without_file_descriptors_is_waited_for() {
    let disk = SimDisk::new(7);
    let (store, _) = Store::open(small(&disk)).unwrap();
    let mut places = Vec::new();
    for seq in 1..=600 {
        places.push((seq, put(&store, vec![append(seq, 1000)]).unwrap()[0]));
    }
    disk.set_exhausted(true);
    let mut seq = 600;
    until("segments were made without a file descriptor", || {
        seq += 1;
        match put(&store, vec![append(seq, 1000)]) {
            Ok(at) => places.push((seq, at[0])),
            Err(error) => {
                assert!(matches!(error, StoreError::Full), "{error}");
                return true;
            }
        }
        false
    });
    assert_eq!(store.stats().failed, None);
    put(&store, vec![Op::Put { key: "config".into(), value: "kept".into() }]).unwrap();
    // Cleaning must open old segments: it waits as well.
    let (kept, gone): (Vec<_>, Vec<_>) = places.into_iter().partition(|(seq, _)| seq % 10 == 0);
    put(&store, vec![Op::Remove { stream: 1, seqs: gone }]).unwrap();
    assert!(matches!(put(&store, vec![append(seq, 1000)]), Err(StoreError::Full)));
    let before = store.stats().cleaned;
    disk.set_exhausted(false);
    until("writing did not go on", || put(&store, vec![append(seq, 1000)]).is_ok());
    until("cleaning did not go on", || store.stats().cleaned > before + 3);
    drop(store);
    let (store, recovered) = Inspected::open(&small(&disk)).unwrap();
    assert!(recovered.report.is_clean(), "{:?}", recovered.report);
    assert_eq!(recovered.keys[&b"config"[..]].value, "kept");
    let messages = &recovered.streams[&1].messages;
    assert_eq!(messages.len(), kept.len() + 1);
    assert!(messages.iter().all(|entry| store.read(1, entry.seq, entry.at).is_ok()));
}

#[test]
fn more_disk_is_noticed() {
    let disk = SimDisk::new(2);
    let (store, _) = Store::open(small(&disk)).unwrap();
    disk.set_capacity(Some(1 << 20));
    let mut seq = 0;
    until("never full", || {
        seq += 1;
        put(&store, vec![append(seq, 1000)]).is_err()
    });
    disk.set_capacity(None);
    let start = Instant::now();
    until("more disk was not noticed", || put(&store, vec![append(seq, 1000)]).is_ok());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_failed_sync_ends_writing_but_not_reading() {
    let disk = SimDisk::new(3);
    let (store, _) = Stepped::open(small(&disk)).unwrap();
    let commit = |seq: u64| {
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        store.store.commit(
            vec![append(seq, 100)],
            Wait::Durable,
            Box::new(move |result| *told.lock().unwrap() = Some(result)),
        );
        answer
    };
    let good = commit(1);
    store.step();
    let at = good.lock().unwrap().take().unwrap().unwrap()[0];
    // The write goes through, the sync does not: everybody who waits for it is told.
    disk.fault(1, Fault::Io);
    let waiting = [commit(2), commit(3), commit(4)];
    store.step();
    for answer in waiting {
        assert!(matches!(answer.lock().unwrap().take(), Some(Err(StoreError::Failed))));
    }
    // The disk is fine again; the store does not try, because nobody knows what the failed sync left behind.
    let syncs = store.store.stats().syncs;
    let late = commit(5);
    store.step();
    assert!(matches!(late.lock().unwrap().take(), Some(Err(StoreError::Failed))));
    assert_eq!(store.store.stats().syncs, syncs);
    assert!(store.store.stats().failed.unwrap().contains("sync"));
    assert_eq!(store.store.read(1, 1, at).unwrap().payload, vec![1; 100]);
    store.close();
    disk.crash();
    let (_, recovered) = Inspected::open(&small(&disk)).unwrap();
    assert!(recovered.report.is_clean());
    assert_eq!(recovered.streams[&1].messages.first().map(|entry| entry.seq), Some(1));
}

/// The n-th change of the disk fails, for every n: everybody is answered, and what was acknowledged is there afterwards.
#[test]
fn every_single_operation_can_fail() {
    let mut injected = 0;
    for fault in [Fault::Io, Fault::Full] {
        for at in 0..250 {
            let disk = SimDisk::new(at);
            disk.fault(at, fault);
            let acknowledged = work(&disk, at);
            disk.heal();
            for crash in [false, true] {
                if crash {
                    disk.crash()
                } else {
                    disk.kill()
                }
                let (store, recovered) = Inspected::open(&options(&disk, 4096)).unwrap();
                assert!(recovered.report.is_clean(), "{fault:?} at {at}: {:?}", recovered.report);
                let stream = recovered.streams.get(&1).cloned().unwrap_or_default();
                for seq in &acknowledged {
                    let entry = stream.messages.iter().find(|entry| entry.seq == *seq);
                    let entry = entry.unwrap_or_else(|| panic!("{fault:?} at {at}: {seq} is lost, {stream:?}"));
                    assert!(store.read(1, *seq, entry.at).is_ok());
                }
            }
            injected += 1;
        }
    }
    println!("{injected} faults");
}

/// Some work; returns the sequences that were acknowledged and not removed.
fn work(disk: &SimDisk, seed: u64) -> Vec<u64> {
    let (mut rng, mut held) = (Rng::new(seed), Vec::<(u64, Location)>::new());
    let Ok((store, _)) = Stepped::open(options(disk, 4096)) else { return Vec::new() };
    for seq in 1..=60 {
        let mut ops = vec![append(seq, rng.below(400) as usize)];
        let gone = held.len() > 6;
        if gone {
            ops.push(Op::Remove { stream: 1, seqs: held.iter().take(3).copied().collect() });
        }
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        store.store.commit(ops, Wait::Durable, Box::new(move |result| *told.lock().unwrap() = Some(result)));
        store.step();
        store.idle();
        let result = answer.lock().unwrap().take().expect("answered");
        if gone && !matches!(result, Err(StoreError::Full)) {
            // Unless nothing was written, these may be gone.
            held.drain(..3);
        }
        held.extend(result.into_iter().flatten().map(|at| (seq, at)));
    }
    held.into_iter().map(|(seq, _)| seq).collect()
}
