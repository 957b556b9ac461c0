//! The process dies at any moment (`kill -9`): nothing acknowledged is lost, repeated or out of order.
#![cfg(unix)]
use bytes::Bytes;
use natsune_broker::store::{Location, Op, Options, Store, Wait};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

const FOLDER: &str = "NATSUNE_STORE_KILL_FOLDER";
/// Messages a writer keeps.
const KEPT: usize = 500;

fn open(folder: &Path) -> (Store, natsune_broker::store::Recovered) {
    Store::open(Options { segment_bytes: 1 << 17, ..Options::new(folder) }).unwrap()
}

fn payload(seq: u64) -> Bytes {
    Bytes::from(vec![seq as u8; 100 + (seq % 400) as usize])
}

/// The part that is killed: goes on after the last sequence and says what was acknowledged. Not a test by itself.
#[test]
#[ignore = "the child of the test below"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (store, recovered) = open(Path::new(&folder));
    let stream = recovered.streams.get(&1).cloned().unwrap_or_default();
    let mut held: VecDeque<(u64, Location)> = stream.messages.iter().map(|entry| (entry.seq, entry.at)).collect();
    let mut seq = stream.last_seq;
    let (told, answers) = channel();
    let mut out = std::io::stdout().lock();
    let mut waiting = 0;
    loop {
        while waiting < 64 {
            seq += 1;
            let (subject, payload) = (Bytes::from_static(b"s"), payload(seq));
            let mut ops = vec![Op::Append { stream: 1, seq, ts: 1, subject, headers: Bytes::new(), payload }];
            if held.len() > KEPT {
                ops.push(Op::Remove { stream: 1, seqs: held.pop_front().into_iter().collect() });
            }
            let (told, mine) = (told.clone(), seq);
            store.commit(ops, Wait::Durable, Box::new(move |result| drop(told.send((mine, result)))));
            waiting += 1;
        }
        let (done, result) = answers.recv().unwrap();
        held.push_back((done, result.unwrap()[0]));
        waiting -= 1;
        writeln!(out, "acknowledged {done}").unwrap();
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_dies() {
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 1..=12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let Some(seq) = line.strip_prefix("acknowledged ").and_then(|seq| seq.parse::<u64>().ok()) else {
                continue;
            };
            acknowledged.push(seq);
            // Killed in the middle of it; what it still said before it died is read to the end.
            if acknowledged.len() as u64 == 150 + round * 37 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let (store, recovered) = open(dir.path());
        assert!(recovered.report.is_clean(), "round {round}: {:?}", recovered.report);
        let stream = &recovered.streams[&1];
        assert!(acknowledged.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        let last = *acknowledged.last().unwrap();
        assert!(stream.last_seq >= last, "round {round}: {last} was acknowledged, the log ends at {}", stream.last_seq);
        // Without a hole, up to the end.
        let first = stream.messages.first().unwrap().seq;
        assert!(stream.messages.iter().map(|entry| entry.seq).eq(first..=stream.last_seq), "round {round}");
        assert!(stream.messages.len() >= KEPT.min(last as usize), "round {round}");
        for entry in &stream.messages {
            assert_eq!(store.read(1, entry.seq, entry.at).unwrap().payload, payload(entry.seq));
        }
        total += acknowledged.len();
    }
    println!("12 kills, {total} acknowledged, 0 lost");
}
