//! Turns records, in log order, into keys and streams; knows what damage took.
use super::batch::Run;
use super::ranges::Ranges;
use super::record::{Body, Head, Kind, MOVED, TWIN, decode_ranges};
use super::types::{Entry, KeyState, Location, Recovered, RecoveredStream, Report};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Where a key's record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub lsn: u64,
    pub segment: u32,
    pub len: u32,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    pub put: Option<(Spot, Bytes)>,
    pub notes: Vec<(Spot, Bytes)>,
    deleted: u64,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub last_seq: u64,
    /// The segment with the newest record that tells `last_seq`.
    pub high_at: u32,
    /// By sequence; a removed one has `at.len == 0` until the list is compacted.
    messages: Vec<Entry>,
    removed: usize,
    /// Moved by cleaning: older than what surrounds them in the log.
    late: HashMap<u64, Entry>,
    lost: Ranges,
    /// What records of an earlier start already tell about `lost`.
    pub told: Ranges,
    pub told_at: Vec<Spot>,
    /// Damage that could not be named, up to the last append.
    epoch: u64,
    slack: u64,
}

/// Equal subjects share their bytes.
#[derive(Debug, Default)]
struct Subjects {
    known: HashSet<Bytes>,
    last: Bytes,
}

impl Subjects {
    fn get(&mut self, subject: &[u8]) -> Bytes {
        if self.last == subject {
            return self.last.clone();
        }
        let shared = match self.known.get(subject) {
            Some(shared) => shared.clone(),
            None => {
                let shared = Bytes::copy_from_slice(subject);
                // Past this the subjects are as good as unique, and a set of them only costs memory.
                if self.known.len() < 1 << 16 {
                    self.known.insert(shared.clone());
                }
                shared
            }
        };
        self.last = shared.clone();
        shared
    }
}

/// The state while a log is read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub keys: HashMap<Bytes, Key>,
    pub streams: HashMap<u64, Stream>,
    /// Stream numbers that were dropped: log sequence number and segment.
    pub dropped: HashMap<u64, (u64, u32)>,
    subjects: Subjects,
    /// Grows with damage that could not be named.
    epoch: u64,
    /// By how much any stream may have gone on inside of that damage.
    slack: u64,
    /// Records of the batch before that have a second copy.
    twins: HashSet<u64>,
    /// Damaged records whose second copy has not come (yet).
    orphans: u64,
    pub report: Report,
}

impl Stream {
    fn find(&self, seq: u64) -> Result<usize, usize> {
        match self.messages.last() {
            Some(last) if last.seq < seq => Err(self.messages.len()),
            _ => self.messages.binary_search_by_key(&seq, |entry| entry.seq),
        }
    }

    fn append(&mut self, entry: Entry) {
        match self.find(entry.seq) {
            Err(at) if at == self.messages.len() => self.messages.push(entry),
            // The original and a copy of it: the later one stays when the older segment goes.
            Ok(at) => {
                if let Some(held) = self.messages.get_mut(at) {
                    self.removed -= usize::from(held.at.len == 0);
                    *held = entry;
                }
            }
            Err(_) => drop(self.late.insert(entry.seq, entry)),
        }
    }

    fn remove(&mut self, first: u64, last: u64) {
        let from = self.messages.partition_point(|entry| entry.seq < first);
        let to = from + self.messages.get(from..).map_or(0, |rest| rest.partition_point(|entry| entry.seq <= last));
        for entry in self.messages.get_mut(from..to).unwrap_or_default() {
            self.removed += usize::from(entry.at.len != 0);
            entry.at.len = 0;
        }
        if last - first < 16 {
            (first..=last).for_each(|seq| drop(self.late.remove(&seq)));
        } else if !self.late.is_empty() {
            self.late.retain(|seq, _| *seq < first || *seq > last);
        }
        if self.removed > 4096 && self.removed * 2 > self.messages.len() {
            self.messages.retain(|entry| entry.at.len != 0);
            self.removed = 0;
        }
        if !self.lost.is_empty() {
            self.lost.remove(first, last);
            self.told.remove(first, last);
        }
    }

    fn raise(&mut self, seq: u64, segment: u32, slack: u64) {
        if seq >= self.last_seq {
            (self.last_seq, self.high_at, self.slack) = (seq, segment, slack);
        }
    }

    /// The messages that are left, in order.
    fn settle(&mut self) {
        self.messages.retain(|entry| entry.at.len != 0);
        self.removed = 0;
        if !self.late.is_empty() {
            self.messages.extend(self.late.drain().map(|(_, entry)| entry));
            self.messages.sort_unstable_by_key(|entry| entry.seq);
        }
        for range in self.lost.as_slice().to_vec() {
            // A copy of it turned up after all.
            let from = self.messages.partition_point(|entry| entry.seq < range.0);
            for entry in self.messages.get(from..).unwrap_or_default().iter().take_while(|entry| entry.seq <= range.1) {
                self.lost.remove(entry.seq, entry.seq);
            }
        }
    }
}

impl Replay {
    /// One good record. `body` was verified with `head`.
    pub(super) fn apply(&mut self, head: &Head, body: &Body<'_>, segment: u32) {
        self.report.records += 1;
        if head.kind.has_twin() {
            if head.is(TWIN) {
                if self.twins.contains(&head.lsn) {
                    return;
                }
                // The first copy is damaged, this one stands in.
                self.orphans = self.orphans.saturating_sub(1);
                self.report.harmless += 1;
            } else {
                self.twins.insert(head.lsn);
            }
        }
        let spot = Spot { lsn: head.lsn, segment, len: head.total };
        match head.kind {
            Kind::Append => self.append(head, body, segment),
            Kind::Remove => {
                if let Some(stream) = self.streams.get_mut(&head.stream) {
                    decode_ranges(body.rest)
                        .filter(|(first, last)| first <= last)
                        .for_each(|(a, b)| stream.remove(a, b));
                }
            }
            Kind::Put => {
                let value = Bytes::copy_from_slice(body.rest);
                let key = self.key(body.name);
                let newest = key.put.as_ref().map_or(0, |(spot, _)| spot.lsn).max(key.deleted);
                // The same record copied by cleaning lies in a newer segment.
                if head.lsn > newest || key.put.as_ref().is_some_and(|(spot, _)| spot.lsn == head.lsn) {
                    key.put = Some((spot, value));
                    key.notes.retain(|(note, _)| note.lsn > head.lsn);
                }
            }
            Kind::Note => {
                let delta = Bytes::copy_from_slice(body.rest);
                let key = self.key(body.name);
                let newest = key.put.as_ref().map_or(0, |(spot, _)| spot.lsn).max(key.deleted);
                if let Some(held) =
                    key.notes.iter_mut().rev().find(|(note, _)| note.lsn == head.lsn).filter(|_| head.is(MOVED))
                {
                    held.0 = spot;
                } else if head.lsn > newest {
                    key.notes.push((spot, delta));
                }
            }
            Kind::Delete => {
                let key = self.key(body.name);
                key.deleted = key.deleted.max(head.lsn);
                key.put = key.put.take().filter(|(spot, _)| spot.lsn > head.lsn);
                key.notes.retain(|(note, _)| note.lsn > head.lsn);
            }
            Kind::DropStream => {
                self.streams.remove(&head.stream);
                self.dropped.insert(head.stream, (head.lsn, segment));
            }
            Kind::HighWater => {
                let slack = self.slack;
                self.stream(head.stream).raise(head.seq, segment, slack);
            }
            Kind::Lost => {
                let stream = self.stream(head.stream);
                for (first, last) in decode_ranges(body.rest) {
                    stream.lost.insert(first, last);
                    stream.told.insert(first, last);
                }
                stream.told_at.retain(|told| told.lsn != spot.lsn);
                stream.told_at.push(spot);
            }
        }
    }

    fn key(&mut self, name: &[u8]) -> &mut Key {
        self.keys.entry(Bytes::copy_from_slice(name)).or_default()
    }

    fn stream(&mut self, stream: u64) -> &mut Stream {
        let (epoch, slack) = (self.epoch, self.slack);
        self.streams.entry(stream).or_insert_with(|| Stream { epoch, slack, ..Stream::default() })
    }

    fn append(&mut self, head: &Head, body: &Body<'_>, segment: u32) {
        let subject = self.subjects.get(body.name);
        let entry = Entry {
            seq: head.seq,
            ts: head.ts,
            bytes: head.total.saturating_sub(super::record::HEAD),
            headers: head.headers_len,
            at: head.location(segment),
            subject,
        };
        let (epoch, slack) = (self.epoch, self.slack);
        let stream = self.stream(head.stream);
        if !head.is(MOVED) {
            // Something nameless went missing since this stream's last message: what it skipped is what that was.
            if stream.epoch != epoch && stream.last_seq > 0 && head.seq > stream.last_seq.saturating_add(1) {
                stream.lost.insert(stream.last_seq + 1, head.seq - 1);
            }
            stream.epoch = epoch;
            stream.raise(head.seq, segment, slack);
        } else if head.seq > stream.last_seq {
            (stream.last_seq, stream.high_at) = (head.seq, segment);
        }
        stream.append(entry);
    }

    /// A batch begins: second copies follow directly or not at all.
    pub(super) fn batch(&mut self, second: bool) {
        if !second {
            self.twins.clear();
            self.report.corrupt_records += std::mem::take(&mut self.orphans);
        }
    }

    /// A damaged record, known by its header or by its batch's marker.
    pub(super) fn lost(&mut self, run: &Run, second: bool, segment: u32) {
        if second {
            self.report.harmless += 1;
            return;
        }
        if run.kind.has_twin() {
            self.orphans += 1;
            return;
        }
        self.report.corrupt_records += 1;
        if run.kind == Kind::Append {
            let slack = self.slack;
            let stream = self.stream(run.stream);
            stream.lost.insert(run.seq, run.seq);
            stream.raise(run.seq, segment, slack);
        }
    }

    /// Damage that nothing names.
    pub(super) fn unnamed(&mut self, records: u64) {
        self.report.corrupt_records += records;
        self.epoch += 1;
    }

    /// Sequences may have gone on by this much inside of unnamed damage.
    pub(super) fn slacken(&mut self, by: u64) {
        self.slack = self.slack.saturating_add(by);
    }

    /// Ends the reading. Every stream's `last_seq` is now safe to continue from.
    pub(super) fn settle(&mut self) {
        self.batch(false);
        self.keys.retain(|_, key| key.put.is_some() || !key.notes.is_empty());
        for key in self.keys.values_mut() {
            key.notes.sort_by_key(|(spot, _)| spot.lsn);
        }
        let slack = self.slack;
        for stream in self.streams.values_mut() {
            stream.settle();
            stream.last_seq = stream.last_seq.saturating_add(slack.saturating_sub(stream.slack));
        }
    }

    /// Streams with sequences lost that no record tells yet.
    pub(super) fn untold_losses(&self) -> BTreeMap<u64, Vec<(u64, u64)>> {
        let untold = self.streams.iter().filter(|(_, stream)| stream.lost != stream.told);
        untold.map(|(number, stream)| (*number, stream.lost.as_slice().to_vec())).collect()
    }

    /// Streams that go on further than any record tells.
    pub(super) fn raised(&self) -> BTreeSet<u64> {
        self.streams.iter().filter(|(_, stream)| self.slack > stream.slack).map(|(number, _)| *number).collect()
    }

    /// The messages of each stream, for the bookkeeping of what is live.
    pub(super) fn messages(&self) -> impl Iterator<Item = (u64, Location)> + '_ {
        self.streams.iter().flat_map(|(number, stream)| stream.messages.iter().map(|entry| (*number, entry.at)))
    }

    pub(super) fn into_recovered(self) -> Recovered {
        let keys = self.keys.into_iter().map(|(name, key)| {
            let state = KeyState {
                value: key.put.map(|(_, value)| value).unwrap_or_default(),
                notes: key.notes.into_iter().map(|(_, delta)| delta).collect(),
            };
            (name.to_vec(), state)
        });
        let streams = self.streams.into_iter().map(|(number, stream)| {
            let lost = stream.lost.into_vec();
            (number, RecoveredStream { last_seq: stream.last_seq, messages: stream.messages, lost })
        });
        Recovered { keys: keys.collect(), streams: streams.collect(), report: self.report }
    }
}
