//! The store without a disk: the same ops, the same order of acknowledgements, nothing kept after the process.
use super::types::{Location, Op, Stats, StoreError, Stored};
use super::writer::{Engine, Idle, Request, finish};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Messages a store has room for at any time.
const ROOM: usize = 1 << 14;

#[derive(Default)]
struct Messages {
    by_id: HashMap<u64, (u64, Stored)>,
    next_id: u64,
    bytes: u64,
    commits: u64,
    batches: u64,
}

/// The messages, shared by the writer and the readers.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Messages>>);

fn id_of(at: Location) -> u64 {
    u64::from(at.segment) << 32 | u64::from(at.offset)
}

fn weight(stored: &Stored) -> u64 {
    (stored.subject.len() + stored.headers.len() + stored.payload.len()) as u64
}

impl Messages {
    fn remove(&mut self, id: u64) {
        if let Some((_, stored)) = self.by_id.remove(&id) {
            self.bytes = self.bytes.saturating_sub(weight(&stored));
        }
    }

    fn apply(&mut self, ops: Vec<Op>) -> Vec<Location> {
        let mut places = Vec::new();
        for op in ops {
            match op {
                Op::Append { stream, seq, ts, subject, headers, payload } => {
                    let stored = Stored { seq, ts, subject, headers, payload };
                    let id = self.next_id;
                    self.next_id += 1;
                    self.bytes += weight(&stored);
                    places.push(Location {
                        segment: (id >> 32) as u32,
                        offset: id as u32,
                        len: weight(&stored) as u32,
                    });
                    self.by_id.insert(id, (stream, stored));
                }
                Op::Remove { stream, seqs } => {
                    for (seq, at) in seqs {
                        let id = id_of(at);
                        if self.by_id.get(&id).is_some_and(|(of, stored)| *of == stream && stored.seq == seq) {
                            self.remove(id);
                        }
                    }
                }
                Op::DropStream { stream } => {
                    let gone: Vec<u64> =
                        self.by_id.iter().filter(|(_, (of, _))| *of == stream).map(|(id, _)| *id).collect();
                    gone.into_iter().for_each(|id| self.remove(id));
                }
                // Nothing is recovered from memory, so there is nobody to keep these for.
                Op::Put { .. } | Op::Note { .. } | Op::Delete { .. } | Op::HighWater { .. } => {}
            }
        }
        // A map keeps the room of its largest day: what most of it is no longer needed for is given back.
        if self.by_id.capacity() > ROOM && self.by_id.len() < self.by_id.capacity() / 8 {
            self.by_id.shrink_to((self.by_id.len() * 2).max(ROOM / 8));
        }
        places
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, stream: u64, seq: u64, at: Location) -> Result<Stored, StoreError> {
        match self.lock().by_id.get(&id_of(at)) {
            Some((of, stored)) if *of == stream && stored.seq == seq => Ok(stored.clone()),
            _ => Err(StoreError::NotFound { stream, seq }),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let held = self.lock();
        Stats {
            live_bytes: held.bytes,
            messages: held.by_id.len() as u64,
            commits: held.commits,
            batches: held.batches,
            ..Stats::default()
        }
    }
}

impl Engine for Memory {
    fn turn(&mut self, requests: Vec<Request>) -> Idle {
        if requests.is_empty() {
            return Idle::Wait;
        }
        let mut finished = Vec::with_capacity(requests.len());
        let mut held = self.lock();
        held.batches += 1;
        for request in requests {
            held.commits += 1;
            let places = held.apply(request.ops);
            finished.push((request.done, places));
        }
        drop(held);
        for (done, places) in finished {
            finish(done, Ok(places));
        }
        Idle::Wait
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_room_of_many_messages_is_given_back() {
        let mut held = Messages::default();
        let empty = Bytes::new;
        let append = |seq| Op::Append { stream: 1, seq, ts: 0, subject: empty(), headers: empty(), payload: empty() };
        let places = held.apply((0..200_000).map(append).collect());
        let seqs: Vec<(u64, Location)> = (0..).zip(places).skip(100).collect();
        for part in seqs.chunks(1000) {
            held.apply(vec![Op::Remove { stream: 1, seqs: part.to_vec() }]);
        }
        assert_eq!(held.by_id.len(), 100);
        assert!(held.by_id.capacity() <= ROOM, "{}", held.by_id.capacity());
    }
}
