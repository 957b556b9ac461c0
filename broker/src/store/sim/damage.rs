//! Damaged stores: what may be lost, what must be told, and that nothing wrong is ever served.
use super::disk::SimDisk;
use super::model::{Held, State, Stored, state_of};
use super::rng::Rng;
use super::{Inspected, Stepped, options};
use crate::store::reader::lock;
use crate::store::types::{Location, Op, StoreError, Wait};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How the store's process ended before the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Closed,
    /// The process died, the machine did not.
    Killed,
    /// The power went out.
    PowerLoss,
}

/// A small store and everything that was ever put into it.
#[derive(Clone)]
pub struct Sample {
    /// Its disk; damage a `fork` of it.
    pub disk: SimDisk,
    /// What it holds.
    pub expected: State,
    segment: u64,
    history: BTreeMap<(u64, u64), BTreeSet<Stored>>,
    keys: BTreeMap<Vec<u8>, BTreeSet<Held>>,
    removes: Vec<BTreeSet<(u64, u64)>>,
}

/// How much of what an examined store should hold is not there, or is there though it was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages lost.
    pub missing: Vec<(u64, u64)>,
    /// Removed messages that came back.
    pub returned: Vec<(u64, u64)>,
    /// Keys that differ.
    pub keys: usize,
    /// Lost messages that `lost` does not tell.
    pub untold: usize,
    /// Streams that would use a sequence twice.
    pub reused: usize,
    /// Whether the report said that something is wrong.
    pub reported: bool,
    /// The store refused to open.
    pub refused: bool,
}

impl Verdict {
    /// Damage cost no more than one record.
    pub fn is_at_most_one_record(&self, sample: &Sample) -> bool {
        let returned: BTreeSet<_> = self.returned.iter().copied().collect();
        let one_remove = returned.is_empty() || sample.removes.iter().any(|removed| returned.is_subset(removed));
        let kinds =
            usize::from(!self.missing.is_empty()) + usize::from(!returned.is_empty()) + usize::from(self.keys > 0);
        !self.refused && one_remove && kinds <= 1 && self.missing.len() <= 1 && self.keys <= 1
    }

    /// Nothing is missing and nothing returned.
    pub fn is_intact(&self) -> bool {
        !self.refused && self.missing.is_empty() && self.returned.is_empty() && self.keys == 0
    }
}

impl Sample {
    /// Makes a store of about `bytes` with some of everything in it.
    pub fn new(seed: u64, segment: u64, bytes: u64, end: End) -> Result<Sample, String> {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.number());
        let (store, _) = Stepped::open(options(&disk, segment)).map_err(|error| error.to_string())?;
        let mut sample = Sample {
            disk: disk.clone(),
            expected: State::default(),
            segment,
            history: BTreeMap::new(),
            keys: BTreeMap::new(),
            removes: Vec::new(),
        };
        let mut places: BTreeMap<(u64, u64), Location> = BTreeMap::new();
        let mut written = 0;
        while written < bytes {
            let mut fresh = Vec::new();
            for _ in 0..rng.below(3) + 1 {
                let ops: Vec<Op> = (0..rng.below(5) + 1).map(|_| sample.op(&mut rng, &places)).collect();
                written += ops.iter().map(|op| op.weight() as u64 - 64).sum::<u64>();
                let appended: Vec<(u64, u64)> = ops
                    .iter()
                    .filter_map(|op| if let Op::Append { stream, seq, .. } = op { Some((*stream, *seq)) } else { None })
                    .collect();
                let answer = Arc::new(Mutex::new(Vec::new()));
                let told = answer.clone();
                let done = move |result: Result<Vec<Location>, StoreError>| *lock(&told) = result.unwrap_or_default();
                store.store.commit(ops, Wait::Durable, Box::new(done));
                fresh.push((appended, answer));
            }
            store.step();
            for (appended, answer) in fresh {
                places.extend(appended.into_iter().zip(lock(&answer).drain(..)));
            }
        }
        match end {
            End::Closed => store.close(),
            End::Killed => disk.kill(),
            End::PowerLoss => disk.crash(),
        }
        Ok(sample)
    }

    fn op(&mut self, rng: &mut Rng, places: &BTreeMap<(u64, u64), Location>) -> Op {
        let stream = rng.below(3);
        let (last, held) = self.expected.streams.get(&stream).cloned().unwrap_or_default();
        let text = |rng: &mut Rng, most: u64| {
            let (len, fill) = (rng.below(most), rng.number() as u8);
            Bytes::from((0..len).map(|at| fill.wrapping_mul(at as u8 | 1)).collect::<Vec<_>>())
        };
        let removable: Vec<(u64, Location)> =
            held.keys().filter_map(|seq| Some((*seq, *places.get(&(stream, *seq))?))).collect();
        let key = Bytes::from(format!("key-{}", rng.below(4)));
        let op = match rng.below(20) {
            0..3 if !removable.is_empty() => {
                let from = rng.below(removable.len() as u64) as usize;
                let seqs: Vec<_> = removable.iter().copied().skip(from).take(rng.below(3) as usize + 1).collect();
                self.removes.push(seqs.iter().map(|(seq, _)| (stream, *seq)).collect());
                Op::Remove { stream, seqs }
            }
            3 => Op::Put { key, value: text(rng, 200) },
            4..6 => Op::Note { key, bytes: text(rng, 40) },
            6 if rng.chance(30) => Op::Delete { key },
            7 if rng.chance(30) => Op::HighWater { stream, seq: last + rng.below(5) },
            _ => {
                let (subject, headers) = (Bytes::from(format!("subject.{stream}")), text(rng, 20));
                Op::Append { stream, seq: last + 1, ts: rng.number() as i64, subject, headers, payload: text(rng, 300) }
            }
        };
        self.expected.apply(&op);
        match &op {
            Op::Append { stream, seq, ts, subject, headers, payload } => {
                let content = (*ts, subject.to_vec(), headers.to_vec(), payload.to_vec());
                self.history.entry((*stream, *seq)).or_default().insert(content);
            }
            Op::Put { key, .. } | Op::Note { key, .. } | Op::Delete { key } => {
                let held = self.expected.keys.get(key.as_ref()).cloned().unwrap_or_default();
                self.keys.entry(key.to_vec()).or_default().insert(held);
            }
            _ => {}
        }
        op
    }

    /// The store's files.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.disk.files().into_iter().filter(|(path, bytes)| !bytes.is_empty() && !path.ends_with("lock")).collect()
    }

    /// Opens a damaged copy and compares. An error means that something wrong was served.
    pub fn examine(&self, disk: &SimDisk) -> Result<Verdict, String> {
        let opened = Inspected::open(&options(disk, self.segment));
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(StoreError::Unreadable(_)) => {
                return Ok(Verdict { refused: true, reported: true, ..Verdict::default() });
            }
            Err(error) => return Err(format!("open: {error}")),
        };
        let found = state_of(&recovered, |stream, seq, at| store.read(stream, seq, at))?;
        let mut verdict = Verdict { reported: !recovered.report.is_clean(), ..Verdict::default() };
        for (number, (_, messages)) in &found.streams {
            for (seq, content) in messages {
                if !self.history.get(&(*number, *seq)).is_some_and(|known| known.contains(content)) {
                    return Err(format!("message {seq} of stream {number} was never like this"));
                }
                if !self.expected.streams.get(number).is_some_and(|(_, held)| held.contains_key(seq)) {
                    verdict.returned.push((*number, *seq));
                }
            }
        }
        for (number, (last, messages)) in &self.expected.streams {
            let held = found.streams.get(number);
            let lost = recovered.streams.get(number).map(|stream| stream.lost.as_slice()).unwrap_or_default();
            for seq in messages.keys().filter(|seq| !held.is_some_and(|(_, held)| held.contains_key(seq))) {
                verdict.missing.push((*number, *seq));
                verdict.untold += usize::from(!lost.iter().any(|(first, last)| first <= seq && seq <= last));
            }
            verdict.reused += usize::from(held.map_or(0, |(last, _)| *last) < *last);
        }
        for (key, held) in &found.keys {
            let notes =
                self.keys.get(key).map(|known| known.iter().flat_map(|(_, notes)| notes).collect::<BTreeSet<_>>());
            let values = self.keys.get(key).map(|known| known.iter().map(|(value, _)| value).collect::<BTreeSet<_>>());
            let known = values.is_some_and(|values| held.0.is_empty() || values.contains(&held.0))
                && notes.is_some_and(|notes| held.1.iter().all(|note| notes.contains(note)));
            if !known {
                return Err(format!("key {key:?} was never like this"));
            }
        }
        let names: BTreeSet<_> = self.expected.keys.keys().chain(found.keys.keys()).collect();
        verdict.keys = names.into_iter().filter(|key| self.expected.keys.get(*key) != found.keys.get(*key)).count();
        Ok(verdict)
    }

    /// Goes on with a damaged copy: new messages get new sequences, and all of it is there after another start.
    pub fn carry_on(&self, disk: &SimDisk) -> Result<(), String> {
        let open = || Stepped::open(options(disk, self.segment)).map_err(|error| error.to_string());
        let (store, recovered) = open()?;
        let before = state_of(&recovered, |stream, seq, at| store.store.read(stream, seq, at))?;
        let mut after = before.clone();
        for number in 0..3 {
            let last = before.streams.get(&number).map_or(0, |(last, _)| *last);
            let payload = Bytes::from_static(b"carried on");
            let op = Op::Append {
                stream: number,
                seq: last + 1,
                ts: 1,
                subject: Bytes::from_static(b"new"),
                headers: Bytes::new(),
                payload,
            };
            after.apply(&op);
            let answer = Arc::new(Mutex::new(None));
            let told = answer.clone();
            store.store.commit(vec![op], Wait::Durable, Box::new(move |result| *lock(&told) = Some(result.is_ok())));
            store.step();
            if *lock(&answer) != Some(true) {
                return Err("a damaged store does not take messages".into());
            }
        }
        (0..8).for_each(|_| store.idle());
        drop(store);
        disk.crash();
        let (store, recovered) = open()?;
        let found = state_of(&recovered, |stream, seq, at| store.store.read(stream, seq, at))?;
        if found.keys != after.keys {
            return Err("keys differ after another start".into());
        }
        for (number, (last, messages)) in &after.streams {
            let held = found.streams.get(number);
            if held.map(|(_, held)| held) != Some(messages) || held.is_none_or(|(found, _)| found < last) {
                return Err(format!("stream {number} differs after another start"));
            }
        }
        Ok(())
    }
}

/// Changes one bit of a file.
pub fn flip(disk: &SimDisk, path: &Path, bit: usize) {
    disk.damage(path, |bytes| {
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    });
}

/// Damages files in one of many ways; says how.
pub fn mutate(disk: &SimDisk, files: &[(PathBuf, Vec<u8>)], rng: &mut Rng) -> String {
    let mut told = Vec::new();
    for _ in 0..rng.pick(&[1, 1, 1, 2, 4, 16]).copied().unwrap_or(1) {
        let Some((path, bytes)) = rng.pick(files) else { break };
        let len = bytes.len() as u64;
        let (at, count) = (rng.below(len) as usize, rng.below(600) as usize + 1);
        let kind = rng.below(12);
        let (noise, sector) = (rng.number(), (rng.below(len / 512 + 1) * 512) as usize);
        match kind {
            0..3 => flip(disk, path, at * 8 + (noise % 8) as usize),
            3 => disk.damage(path, |bytes| bytes.iter_mut().skip(at).take(count).for_each(|byte| *byte ^= noise as u8)),
            4 => disk.damage(path, |bytes| bytes.iter_mut().skip(at).take(count).for_each(|byte| *byte = 0)),
            5 => {
                disk.damage(path, |bytes| bytes.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0))
            }
            6 => disk.damage(path, |bytes| bytes.truncate(at)),
            7 => disk.damage(path, |bytes| bytes.resize(bytes.len() + count, noise as u8)),
            8 => disk.damage(path, |bytes| {
                // A sector that was written to the wrong place.
                let from = bytes.get(sector..).unwrap_or_default().iter().copied().take(512).collect::<Vec<_>>();
                bytes.iter_mut().skip(at / 512 * 512).zip(from).for_each(|(to, from)| *to = from);
            }),
            9 => disk.damage(path, |bytes| {
                // A field set to an extreme.
                bytes
                    .iter_mut()
                    .skip(at / 4 * 4)
                    .take(4)
                    .for_each(|byte| *byte = if noise % 2 == 0 { 255 } else { 127 });
            }),
            10 => {
                // Another file's bytes.
                if let Some((_, other)) = rng.pick(files) {
                    let part: Vec<u8> = other.iter().skip(sector).take(count).copied().collect();
                    disk.damage(path, |bytes| {
                        bytes.iter_mut().skip(sector).zip(part).for_each(|(to, from)| *to = from)
                    });
                }
            }
            _ => disk.lose(path),
        }
        told.push(format!("{kind} at {at} of {}", path.display()));
    }
    told.join(", ")
}
