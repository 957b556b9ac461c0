//! What a store promises on a good day, in memory and on a real disk.
use bytes::Bytes;
use natsune_broker::store::{Fs, Location, Op, Options, RealFs, Recovered, Store, StoreError, Wait};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

type Answer = Result<Vec<Location>, StoreError>;

fn send(store: &Store, ops: Vec<Op>, wait: Wait) -> Receiver<Answer> {
    let (told, answer) = channel();
    store.commit(ops, wait, Box::new(move |result| drop(told.send(result))));
    answer
}

fn put(store: &Store, ops: Vec<Op>) -> Answer {
    send(store, ops, Wait::Durable).recv_timeout(Duration::from_secs(20)).unwrap()
}

fn append(stream: u64, seq: u64, payload: &[u8]) -> Op {
    let (subject, headers) = (Bytes::from_static(b"orders.new"), Bytes::from_static(b"NATS/1.0\r\nA: b\r\n\r\n"));
    Op::Append { stream, seq, ts: seq as i64 * 10, subject, headers, payload: Bytes::copy_from_slice(payload) }
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn open(dir: &std::path::Path) -> (Store, Recovered) {
    Store::open(Options { segment_bytes: 1 << 16, ..Options::new(dir) }).unwrap()
}

fn check_reads(store: &Store) {
    let places = put(store, vec![append(1, 1, b"one"), append(2, 1, b"other"), append(1, 2, &[9; 5000])]).unwrap();
    assert_eq!(places.len(), 3);
    let read = store.read(1, 2, places[2]).unwrap();
    assert_eq!((read.seq, read.ts, &read.subject[..], read.payload.len()), (2, 20, &b"orders.new"[..], 5000));
    assert_eq!(&read.headers[..], b"NATS/1.0\r\nA: b\r\n\r\n");
    assert_eq!(&store.read(2, 1, places[1]).unwrap().payload[..], b"other");
    // A place belongs to one message.
    assert!(store.read(1, 1, places[1]).is_err() && store.read(2, 2, places[1]).is_err());
    assert_eq!(store.stats().messages, 3);
    put(store, vec![Op::Remove { stream: 1, seqs: vec![(1, places[0]), (2, places[2])] }]).unwrap();
    assert_eq!(store.stats().messages, 1);
    put(store, vec![Op::DropStream { stream: 2 }]).unwrap();
    assert_eq!((store.stats().messages, store.stats().live_bytes), (0, 0));
    // After a drop, the number is free again.
    let places = put(store, vec![append(2, 1, b"again")]).unwrap();
    assert_eq!(&store.read(2, 1, places[0]).unwrap().payload[..], b"again");
}

#[test]
fn memory_and_disk_read_back() {
    check_reads(&Store::memory());
    let dir = tempfile::tempdir().unwrap();
    check_reads(&open(dir.path()).0);
}

#[test]
fn answers_come_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::memory(), open(dir.path()).0] {
        let (told, answers) = channel();
        for seq in 1..=2000u64 {
            let told = told.clone();
            let wait = if seq % 3 == 0 { Wait::Soon } else { Wait::Durable };
            store.commit(
                vec![append(1, seq, b"x")],
                wait,
                Box::new(move |result| told.send((seq, result.is_ok())).unwrap()),
            );
        }
        drop(told);
        let all: Vec<_> = answers.iter().collect();
        assert!(all.iter().map(|(seq, _)| *seq).eq(1..=2000) && all.iter().all(|(_, good)| *good));
        assert!(store.stats().batches < 2000, "commits are grouped");
    }
}

#[test]
fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovered) = open(dir.path());
    assert!(recovered.keys.is_empty() && recovered.streams.is_empty() && recovered.report.is_clean());
    let places = put(&store, (1..=5).map(|seq| append(7, seq, &[seq as u8; 100])).collect()).unwrap();
    put(
        &store,
        vec![
            Op::Put { key: key("a"), value: key("old") },
            Op::Note { key: key("a"), bytes: key("forgotten") },
            Op::Put { key: key("a"), value: key("new") },
            Op::Note { key: key("a"), bytes: key("first") },
            Op::Note { key: key("b"), bytes: key("alone") },
            Op::Put { key: key("c"), value: key("gone") },
            Op::Delete { key: key("c") },
            Op::Remove { stream: 7, seqs: vec![(2, places[1])] },
            Op::HighWater { stream: 8, seq: 40 },
        ],
    )
    .unwrap();
    put(&store, vec![Op::Note { key: key("a"), bytes: key("second") }]).unwrap();
    send(&store, vec![append(7, 6, b"soon")], Wait::Soon);
    store.close();
    assert!(matches!(put(&store, vec![append(7, 7, b"late")]), Err(StoreError::Closed)));
    drop(store);

    let (store, recovered) = open(dir.path());
    assert!(recovered.report.is_clean(), "{:?}", recovered.report);
    let names: Vec<_> = recovered.keys.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(recovered.keys[&b"a"[..]].value, "new");
    assert_eq!(recovered.keys[&b"a"[..]].notes, ["first", "second"]);
    assert_eq!(recovered.keys[&b"b"[..]].notes, ["alone"]);
    let stream = &recovered.streams[&7];
    assert_eq!(stream.last_seq, 6);
    assert_eq!(stream.messages.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
    assert_eq!((recovered.streams[&8].last_seq, recovered.streams[&8].messages.len()), (40, 0));
    for entry in &stream.messages {
        let read = store.read(7, entry.seq, entry.at).unwrap();
        assert_eq!((read.ts, &read.subject), (entry.ts, &entry.subject));
        assert_eq!(entry.bytes as usize, read.subject.len() + read.headers.len() + read.payload.len());
        assert_eq!(entry.headers as usize, read.headers.len());
    }
}

#[test]
fn the_folder_is_ours_alone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/store");
    let (store, _) = open(&folder);
    put(&store, vec![append(1, 1, b"x")]).unwrap();
    assert!(matches!(Store::open(Options::new(&folder)), Err(StoreError::Locked)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for file in folder.read_dir().unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    drop(store);
    assert_eq!(open(&folder).1.streams[&1].last_seq, 1);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, b"precious").unwrap();
    for name in ["super", "lock", "00000001.log"] {
        let folder = dir.path().join(name).join("store");
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&outside, folder.join(name)).unwrap();
        assert!(Store::open(Options::new(&folder)).is_err(), "{name}");
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"precious");
}

#[test]
fn what_cannot_be_read_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    put(&store, vec![append(1, 1, b"x")]).unwrap();
    drop(store);
    let log = dir.path().join("00000001.log");
    let before = std::fs::metadata(&log).unwrap().len();
    std::fs::write(dir.path().join("super"), vec![0; 9000]).unwrap();
    std::fs::write(&log, vec![1; before as usize]).unwrap();
    assert!(matches!(Store::open(Options::new(dir.path())), Err(StoreError::Unreadable(_))));
    assert_eq!(std::fs::read(&log).unwrap(), vec![1; before as usize]);
}

#[test]
fn large_and_impossible_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    // Larger than any segment.
    let places = put(&store, vec![append(1, 1, &vec![5; 3 << 20]), append(1, 2, b"after")]).unwrap();
    assert_eq!(store.read(1, 1, places[0]).unwrap().payload.len(), 3 << 20);
    let long = Op::Put { key: Bytes::from(vec![b'k'; 70_000]), value: Bytes::new() };
    assert!(matches!(put(&store, vec![long]), Err(StoreError::TooLarge)));
    // Empty commits are answered like others.
    assert!(put(&store, vec![]).unwrap().is_empty());
    put(&store, vec![append(1, 3, b"goes on")]).unwrap();
    drop(store);
    let (store, recovered) = open(dir.path());
    let stream = &recovered.streams[&1];
    assert_eq!((stream.last_seq, stream.messages.len()), (3, 3));
    assert_eq!(store.read(1, 1, stream.messages[0].at).unwrap().payload, vec![5; 3 << 20]);
}

/// A queue's messages come and go: the disk holds what is alive and not much more, and commits never wait long.
#[test]
fn a_queue_leaves_little_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (mut held, mut slowest, mut most) = (Vec::new(), Duration::ZERO, 0);
    for round in 0..600u64 {
        let mut ops: Vec<Op> = (0..32).map(|step| append(1, round * 32 + step + 1, &[3; 1000])).collect();
        let gone = if held.len() > 200 { held.drain(..32).collect() } else { Vec::new() };
        ops.push(Op::Remove { stream: 1, seqs: gone });
        let start = Instant::now();
        let places = put(&store, ops).unwrap();
        slowest = slowest.max(start.elapsed());
        held.extend(places.into_iter().enumerate().map(|(step, at)| (round * 32 + step as u64 + 1, at)));
        let stats = store.stats();
        most = most.max(stats.disk_bytes);
    }
    let stats = store.stats();
    println!("20 MB through 64 KiB segments: at most {most} bytes, slowest commit {slowest:?}, {stats:?}");
    // Four segments of dead bytes, what is alive, the active segment: far below the 20 MB that went through.
    assert!(most < 1 << 20 && stats.cleaned > 200, "{most} bytes, {stats:?}");
    for (seq, at) in &held {
        assert_eq!(store.read(1, *seq, *at).unwrap().payload.len(), 1000);
    }
    drop(store);
    let (_, recovered) = open(dir.path());
    assert!(recovered.report.is_clean(), "{:?}", recovered.report);
    assert_eq!(recovered.streams[&1].last_seq, 600 * 32);
    assert!(recovered.streams[&1].messages.iter().map(|entry| entry.seq).eq(held.iter().map(|(seq, _)| *seq)));
}

/// Places stay good while cleaning moves what they point at.
#[test]
fn moved_messages_are_found_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (mut held, mut seed): (HashMap<u64, Location>, u64) = (HashMap::new(), 1);
    for seq in 1..=6000u64 {
        let at = put_soon(&store, seq);
        held.insert(seq, at);
        // One of ten is kept, so that every segment has something to move.
        if seq > 100 && (seq - 100) % 10 != 0 {
            let gone = seq - 100;
            let at = held.remove(&gone).unwrap();
            send(&store, vec![Op::Remove { stream: 1, seqs: vec![(gone, at)] }], Wait::Soon);
        }
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        let seq = *held.keys().nth((seed >> 33) as usize % held.len()).unwrap();
        let read = store.read(1, seq, held[&seq]).unwrap();
        assert_eq!((read.seq, read.payload), (seq, Bytes::from(vec![seq as u8; 300])));
    }
    let stats = store.stats();
    assert!(stats.moved > 300 && stats.cleaned > 10, "{stats:?}");
    drop(store);
    let (store, recovered) = open(dir.path());
    let messages = &recovered.streams[&1].messages;
    assert_eq!(messages.len(), held.len());
    for entry in messages {
        assert_eq!(store.read(1, entry.seq, entry.at).unwrap().payload, vec![entry.seq as u8; 300]);
        assert!(held.contains_key(&entry.seq));
    }
}

fn put_soon(store: &Store, seq: u64) -> Location {
    let answer = send(store, vec![append(1, seq, &vec![seq as u8; 300])], Wait::Soon);
    answer.recv_timeout(Duration::from_secs(20)).unwrap().unwrap()[0]
}

#[test]
fn many_threads_and_a_panicking_caller() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.commit(vec![], Wait::Durable, Box::new(|_| panic!("a caller's mistake")));
    std::thread::scope(|scope| {
        for stream in 0..8u64 {
            let store = store.clone();
            scope.spawn(move || {
                for seq in 1..=50 {
                    let at = put(&store, vec![append(stream, seq, &[stream as u8; 64])]).unwrap()[0];
                    assert_eq!(store.read(stream, seq, at).unwrap().payload, vec![stream as u8; 64]);
                }
            });
        }
    });
    drop(store);
    let (_, recovered) = open(dir.path());
    assert!((0..8).all(|stream| recovered.streams[&stream].messages.len() == 50));
}

#[test]
fn without_syncs_it_still_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: false, segment_bytes: 1 << 16, ..Options::new(dir.path()) };
    let (store, _) = Store::open(options.clone()).unwrap();
    for seq in 1..=300 {
        put(&store, vec![append(1, seq, &[1; 500])]).unwrap();
    }
    assert!(store.stats().syncs < 10);
    // Left as a dead process leaves it: another store on a copy of the folder.
    let copy = tempfile::tempdir().unwrap();
    for file in dir.path().read_dir().unwrap().map(|file| file.unwrap()) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let (_, recovered) = open(copy.path());
    assert!(recovered.report.is_clean(), "{:?}", recovered.report);
    assert_eq!(recovered.streams[&1].messages.len(), 300);
}

/// A dropped store leaves no thread behind: whatever a thread of it would use is gone.
#[test]
fn a_store_that_is_only_dropped_ends_its_threads() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let options = || Options { segment_bytes: 1 << 16, fs: fs.clone(), ..Options::new(dir.path()) };
    let (store, _) = Store::open(options()).unwrap();
    put(&store, vec![append(1, 1, b"x")]).unwrap();
    drop(store);
    assert_eq!(Arc::strong_count(&fs), 1);
    // The last one goes on the writer's own thread, which cannot wait for itself.
    let (store, _) = Store::open(options()).unwrap();
    let (go, gone) = channel::<()>();
    let last = store.clone();
    let done = Box::new(move |_| {
        let _ = gone.recv();
        drop(last);
    });
    store.commit(vec![append(1, 2, b"y")], Wait::Durable, done);
    drop(store);
    go.send(()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while Arc::strong_count(&fs) > 1 {
        assert!(Instant::now() < end, "a thread of the store lives on");
        std::thread::yield_now();
    }
    let (_, found) = Store::open(options()).unwrap();
    assert_eq!(found.streams[&1].messages.len(), 2);
}

/// A process that is being started has copies of all open files for a moment: they must not keep the store locked.
#[cfg(unix)]
#[test]
fn a_closed_store_is_free_while_processes_are_started() {
    let dir = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
        }
        let opened: Vec<bool> = (0..300).map(|_| Store::open(Options::new(dir.path())).is_ok()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(opened.iter().all(|opened| *opened), "{} of 300", opened.iter().filter(|opened| **opened).count());
    });
}
