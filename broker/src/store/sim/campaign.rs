//! Random work, random crashes, and the question whether everything acknowledged is still there.
use super::disk::{Fault, SimDisk};
use super::model::{Model, state_of};
use super::rng::Rng;
use super::{Stepped, options};
use crate::store::reader::lock;
use crate::store::types::{Location, Op, StoreError, Wait};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How a campaign goes.
#[derive(Debug, Clone, Copy)]
pub struct Crashes {
    /// Starts of the store.
    pub rounds: u64,
    /// The most groups per start.
    pub steps: u64,
    /// The disk says that it synced, and did not.
    pub lies: bool,
    /// I/O errors and full disks happen as well.
    pub faults: bool,
}

impl Default for Crashes {
    fn default() -> Crashes {
        Crashes { rounds: 4, steps: 30, lies: false, faults: false }
    }
}

/// What a campaign did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Power losses.
    pub crashes: u64,
    /// Commits that were acknowledged as durable.
    pub acknowledged: u64,
    /// Commits that failed.
    pub failed: u64,
    /// Messages compared after a start.
    pub compared: u64,
    /// Segments deleted by cleaning.
    pub cleaned: u64,
    /// Records moved by cleaning.
    pub moved: u64,
}

type Answer = Result<Vec<Location>, StoreError>;

struct Run {
    rng: Rng,
    model: Model,
    outcome: Outcome,
    places: BTreeMap<(u64, u64), Location>,
    /// The last sequence given to each stream, also to messages that failed.
    used: BTreeMap<u64, u64>,
    faults: bool,
}

/// Runs a campaign; the error says what was wrong.
pub fn crashes(seed: u64, how: Crashes) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(rng.number());
    disk.set_lies(how.lies);
    let segment = rng.pick(&[4096, 8192, 16384, 65536]).copied().unwrap_or(4096);
    let options = options(&disk, segment);
    let mut run = Run {
        rng,
        model: Model::default(),
        outcome: Outcome::default(),
        places: BTreeMap::new(),
        used: BTreeMap::new(),
        faults: how.faults,
    };
    for _ in 0..how.rounds {
        // Now and then the power goes out while the store is being opened.
        let mut tries = if run.rng.chance(20) { run.rng.below(3) } else { 0 };
        let (store, recovered) = loop {
            if tries > 0 {
                disk.fault(run.rng.below(6), Fault::PowerLoss);
            }
            match Stepped::open(options.clone()) {
                Ok(opened) if !disk.is_down() => {
                    disk.heal();
                    break opened;
                }
                Err(error) if !disk.is_down() => return Err(format!("open: {error}")),
                _ => {}
            }
            run.outcome.crashes += 1;
            disk.crash();
            tries = tries.saturating_sub(1);
        };
        if !recovered.report.is_clean() {
            return Err(format!("damage reported where there is none: {:?}", recovered.report));
        }
        let found = state_of(&recovered, |stream, seq, at| store.store.read(stream, seq, at))?;
        run.model.adopt(&found)?;
        run.places.clear();
        for (number, stream) in &recovered.streams {
            run.outcome.compared += stream.messages.len() as u64;
            run.places.extend(stream.messages.iter().map(|entry| ((*number, entry.seq), entry.at)));
        }
        run.used = found.streams.iter().map(|(number, (last, _))| (*number, *last)).collect();
        let crash_in = run.rng.below(200);
        if run.rng.chance(70) {
            disk.fault(crash_in, Fault::PowerLoss);
        }
        if how.faults && run.rng.chance(50) {
            let fault = if run.rng.chance(50) { Fault::Io } else { Fault::Full };
            disk.fault(run.rng.below(120), fault);
        }
        for _ in 0..run.rng.below(how.steps) + 1 {
            run.step(&store, &disk)?;
            if disk.is_down() {
                break;
            }
        }
        let stats = store.store.stats();
        run.outcome.cleaned += stats.cleaned;
        run.outcome.moved += stats.moved;
        match run.rng.below(4) {
            0 if !disk.is_down() => {
                disk.heal();
                store.close();
                if run.rng.chance(50) {
                    disk.crash();
                }
            }
            1 if !disk.is_down() => {
                drop(store);
                disk.kill();
            }
            _ => {
                drop(store);
                run.outcome.crashes += 1;
                disk.crash();
            }
        }
    }
    Ok(run.outcome)
}

impl Run {
    /// One group of commits, some background work, a few reads.
    fn step(&mut self, store: &Stepped, disk: &SimDisk) -> Result<(), String> {
        let mut waiting = Vec::new();
        let mut latest = self.model.latest();
        for _ in 0..self.rng.below(5) + 1 {
            let ops: Vec<Op> = (0..self.rng.below(6) + 1)
                .filter_map(|_| {
                    let op = self.op(&latest)?;
                    latest.apply(&op);
                    Some(op)
                })
                .collect();
            let wait = if self.rng.chance(75) { Wait::Durable } else { Wait::Soon };
            let answer: Arc<Mutex<Option<Answer>>> = Arc::default();
            let told = answer.clone();
            store.store.commit(ops.clone(), wait, Box::new(move |result| *lock(&told) = Some(result)));
            waiting.push((ops, wait, answer));
        }
        store.step();
        let (mut safe, mut failed) = (0, false);
        for (ops, wait, answer) in waiting {
            let Some(answer) = lock(&answer).take() else { return Err("a commit was not answered".into()) };
            match answer {
                Ok(places) => {
                    if failed {
                        return Err("a commit succeeded after one that failed for good".into());
                    }
                    let mut places = places.into_iter();
                    for op in &ops {
                        match op {
                            Op::Append { stream, seq, .. } => {
                                let at = places.next().ok_or("an append without a place")?;
                                self.places.insert((*stream, *seq), at);
                            }
                            Op::DropStream { stream } => self.places.retain(|(of, _), _| of != stream),
                            _ => {}
                        }
                    }
                    if places.next().is_some() {
                        return Err("a place without an append".into());
                    }
                    self.model.open.push(ops);
                    if wait == Wait::Durable {
                        safe = self.model.open.len();
                        self.outcome.acknowledged += 1;
                    }
                }
                // Nothing was written.
                Err(StoreError::Full) => self.outcome.failed += 1,
                Err(_) => {
                    failed = true;
                    self.outcome.failed += 1;
                    self.model.open.push(ops);
                }
            }
        }
        self.model.settle(safe);
        for _ in 0..self.rng.below(4) {
            store.idle();
        }
        if !failed && !disk.is_down() {
            self.read_some(store, disk)?;
        }
        Ok(())
    }

    fn read_some(&mut self, store: &Stepped, disk: &SimDisk) -> Result<(), String> {
        let latest = self.model.latest();
        for _ in 0..3 {
            let Some((number, (_, messages))) =
                latest.streams.iter().nth(self.rng.below(latest.streams.len() as u64) as usize)
            else {
                continue;
            };
            let Some((seq, held)) = messages.iter().nth(self.rng.below(messages.len() as u64) as usize) else {
                continue;
            };
            let Some(at) = self.places.get(&(*number, *seq)) else { continue };
            match store.store.read(*number, *seq, *at) {
                Ok(read)
                    if (read.ts, &read.subject[..], &read.headers[..], &read.payload[..])
                        == (held.0, &held.1[..], &held.2[..], &held.3[..]) => {}
                Ok(_) => return Err(format!("wrong data for message {seq} of stream {number}")),
                Err(_) if disk.is_down() => return Ok(()),
                Err(error) => return Err(format!("read: {error}")),
            }
        }
        Ok(())
    }

    fn bytes(&mut self, most: u64) -> Bytes {
        let len = self.rng.below(most + 1) as usize;
        // Zeros look like a hole in a file; they must not be taken for one.
        let fill = if self.rng.chance(30) { 0 } else { self.rng.number() as u8 };
        Bytes::from((0..len).map(|at| if fill == 0 { 0 } else { fill.wrapping_add(at as u8) }).collect::<Vec<_>>())
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("key-{}", self.rng.below(5)))
    }

    fn op(&mut self, latest: &super::model::State) -> Option<Op> {
        let stream = self.rng.below(3);
        Some(match self.rng.below(100) {
            0..50 => {
                let seq = self.used.get(&stream).copied().unwrap_or(0) + 1;
                self.used.insert(stream, seq);
                let size = if self.rng.chance(3) {
                    20_000
                } else if self.rng.chance(10) {
                    3000
                } else {
                    300
                };
                let (subject, headers, payload) =
                    (Bytes::from(format!("s.{}", self.rng.below(4))), self.bytes(40), self.bytes(size));
                Op::Append { stream, seq, ts: self.rng.number() as i64, subject, headers, payload }
            }
            50..78 => {
                let (_, messages) = latest.streams.get(&stream)?;
                let all = self.rng.chance(5);
                let from = self.rng.below(messages.len() as u64) as usize;
                let count = if all { usize::MAX } else { self.rng.below(6) as usize + 1 };
                let seqs: Vec<(u64, Location)> = messages
                    .keys()
                    .skip(if all || self.rng.chance(60) { 0 } else { from })
                    .take(count)
                    .filter_map(|seq| Some((*seq, *self.places.get(&(stream, *seq))?)))
                    .collect();
                (!seqs.is_empty()).then_some(Op::Remove { stream, seqs })?
            }
            78..85 => Op::Put { key: self.key(), value: self.bytes(200) },
            85..95 => Op::Note { key: self.key(), bytes: self.bytes(60) },
            95..97 => Op::Delete { key: self.key() },
            97..98 => {
                // When commits can fail one by one, this may not happen, and then the sequences stay used.
                if !self.faults {
                    self.used.remove(&stream);
                }
                self.places.retain(|(of, _), _| *of != stream);
                Op::DropStream { stream }
            }
            _ => {
                let seq = self.used.get(&stream).copied().unwrap_or(0) + self.rng.below(10);
                self.used.insert(stream, seq);
                Op::HighWater { stream, seq }
            }
        })
    }
}
