//! How fast the store commits, reads and opens on a real disk.
//!
//! `cargo run --release -p natsune-broker --example bench_store -- [folder] [--clean] [--open]`
//! Plain: commits of 1, 64 and 256 records of 290 B. `--open`: a million records of 256 B, opened again.
//! `--clean`: 10 GB pushed through a work queue.
use bytes::Bytes;
use natsune_broker::store::{Location, Op, Options, Store, Wait};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

type Places = (u64, Vec<Location>);

fn append(seq: u64, payload: &Bytes) -> Op {
    let subject = Bytes::from_static(b"orders.new.europe");
    Op::Append { stream: 1, seq, ts: seq as i64, subject, headers: Bytes::new(), payload: payload.clone() }
}

fn commit(store: &Store, ops: Vec<Op>, first: u64, told: &SyncSender<Places>) {
    let told = told.clone();
    let done = move |result: Result<Vec<Location>, _>| match result {
        Ok(places) => drop(told.send((first, places))),
        Err(error) => eprintln!("commit: {error}"),
    };
    store.commit(ops, Wait::Durable, Box::new(done));
}

/// Commits of `size` records, `outstanding` of them at a time, for some seconds.
fn speed(folder: &Path, size: u64, outstanding: u64, seconds: f64) {
    let dir = folder.join(format!("speed-{size}-{outstanding}"));
    let Ok((store, _)) = Store::open(Options::new(&dir)) else { return eprintln!("cannot open {}", dir.display()) };
    let (told, answers) = sync_channel(4096);
    let payload = Bytes::from(vec![7; 273]);
    let (mut seq, mut waiting, mut records) = (1, 0, 0);
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    while start.elapsed().as_secs_f64() < seconds {
        while waiting < outstanding {
            commit(&store, (seq..seq + size).map(|seq| append(seq, &payload)).collect(), seq, &told);
            (seq, waiting) = (seq + size, waiting + 1);
        }
        let sent = Instant::now();
        let Ok((_, places)) = answers.recv() else { return };
        slowest = slowest.max(sent.elapsed());
        (waiting, records) = (waiting - 1, records + places.len());
    }
    let (stats, seconds) = (store.stats(), start.elapsed().as_secs_f64());
    println!(
        "{size:>4} records per commit, {outstanding:>3} outstanding: {:>9.0} records/s, {:>6.0} syncs/s, {:>6.1} records per sync, slowest {:.1} ms",
        records as f64 / seconds,
        stats.syncs as f64 / seconds,
        records as f64 / stats.syncs.max(1) as f64,
        slowest.as_secs_f64() * 1000.0
    );
    drop(store);
    let _ = std::fs::remove_dir_all(dir);
}

fn drain(answers: &Receiver<Places>, all: &mut Vec<(u64, Location)>) -> bool {
    let Ok((first, places)) = answers.recv() else { return false };
    all.extend(places.into_iter().enumerate().map(|(step, at)| (first + step as u64, at)));
    true
}

/// Seconds of processor time this process used, where the system tells.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split(' ').filter_map(|field| field.parse().ok()).collect();
    // User and system time, in hundredths of a second.
    fields.iter().skip(10).take(2).sum::<f64>() / 100.0
}

fn opening(folder: &Path) {
    let dir = folder.join("opening");
    let Ok((store, _)) = Store::open(Options::new(&dir)) else { return };
    let (told, answers) = sync_channel(64);
    let (payload, mut all) = (Bytes::from(vec![7; 256]), Vec::new());
    for first in (1..=1_000_000).step_by(1000) {
        commit(&store, (first..first + 1000).map(|seq| append(seq, &payload)).collect(), first, &told);
        drain(&answers, &mut all);
    }
    println!("a million records of 256 B: {} MiB on disk", store.stats().disk_bytes >> 20);
    let start = Instant::now();
    for (seq, at) in all.iter().step_by(10) {
        if store.read(1, *seq, *at).is_err() {
            eprintln!("message {seq} cannot be read");
        }
    }
    println!("reads: {:.0}/s", all.len() as f64 / 10.0 / start.elapsed().as_secs_f64());
    drop(store);
    for _ in 0..3 {
        let (start, before) = (Instant::now(), processor());
        let Ok((store, recovered)) = Store::open(Options::new(&dir)) else { return };
        let (took, worked) = (start.elapsed().as_secs_f64(), processor() - before);
        let found: usize = recovered.streams.values().map(|stream| stream.messages.len()).sum();
        println!("opened with {found} messages in {took:.3} s, {worked:.2} s of processor time");
        drop(store);
    }
    let _ = std::fs::remove_dir_all(dir);
}

fn size_of(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
}

/// A queue of 1,000 messages that 10 GB go through.
fn cleaning(folder: &Path) {
    let dir = folder.join("cleaning");
    let Ok((store, _)) = Store::open(Options::new(&dir)) else { return };
    let (told, answers) = sync_channel(64);
    let (payload, mut all) = (Bytes::from(vec![7; 4096]), Vec::new());
    let (mut seq, mut pushed, mut most, mut slowest) = (1, 0u64, 0, Duration::ZERO);
    let start = Instant::now();
    while pushed < 10 << 30 {
        let sent = Instant::now();
        let gone = if all.len() > 1000 { all.drain(..256).collect() } else { Vec::new() };
        let mut ops: Vec<Op> = (seq..seq + 256).map(|seq| append(seq, &payload)).collect();
        ops.push(Op::Remove { stream: 1, seqs: gone });
        commit(&store, ops, seq, &told);
        (seq, pushed) = (seq + 256, pushed + 256 * 4096);
        if !drain(&answers, &mut all) {
            return;
        }
        slowest = slowest.max(sent.elapsed());
        if seq % 4096 == 1 {
            most = most.max(size_of(&dir));
        }
    }
    let stats = store.stats();
    println!(
        "10 GB through a queue in {:.1} s: at most {} MiB on disk, {} MiB at the end, {} segments deleted, {} records moved, slowest commit {:.0} ms",
        start.elapsed().as_secs_f64(),
        most >> 20,
        size_of(&dir) >> 20,
        stats.cleaned,
        stats.moved,
        slowest.as_secs_f64() * 1000.0
    );
    drop(store);
    let _ = std::fs::remove_dir_all(dir);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.iter().find(|argument| !argument.starts_with("--")).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join("natsune-bench-store"));
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    match () {
        () if has("--open") => opening(&folder),
        () if has("--clean") => cleaning(&folder),
        () => {
            for (size, outstanding) in [(1, 1), (1, 64), (1, 256), (64, 1), (256, 1), (256, 8)] {
                speed(&folder, size, outstanding, 5.0);
            }
        }
    }
}
