//! The writer thread: takes everything that queued while the last group was synced and hands it to the engine as one.
use super::types::{Done, Location, Op, StoreError, Wait};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most bytes of ops in one group: bounds how long the first of them waits for the last.
pub(super) const GROUP_BYTES: usize = 4 << 20;

/// One commit on its way.
pub(super) struct Request {
    pub ops: Vec<Op>,
    pub weight: usize,
    pub wait: Wait,
    pub done: Done,
}

/// What the engine wants when nothing is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing to do until the next commit.
    Wait,
    /// Call again at once unless a commit came.
    Again,
    /// Call again after this long unless a commit came.
    After(Duration),
}

/// What writes groups. Each request's `done` is called exactly once, in order.
pub(super) trait Engine: Send {
    /// Writes a group; an empty one means that there is time for background work. Says what to do if nothing comes.
    fn turn(&mut self, requests: Vec<Request>) -> Idle;
    fn close(&mut self);
}

/// Calls back. A panic in there is the caller's and must not take the store with it.
pub(super) fn finish(done: Done, result: Result<Vec<Location>, StoreError>) {
    let _ = catch_unwind(AssertUnwindSafe(move || done(result)));
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    weight: usize,
    closing: bool,
    closed: bool,
}

/// The queue between callers and the writer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, request: Request) {
        let mut waiting = self.lock();
        if waiting.closing {
            drop(waiting);
            return finish(request.done, Err(StoreError::Closed));
        }
        waiting.weight += request.weight;
        waiting.requests.push_back(request);
        let first = waiting.requests.len() == 1;
        drop(waiting);
        if first {
            self.arrived.notify_one();
        }
    }

    pub(super) fn weight(&self) -> u64 {
        self.lock().weight as u64
    }

    /// The next group, without waiting.
    pub(super) fn take(&self) -> Vec<Request> {
        Queue::take_from(&mut self.lock())
    }

    fn take_from(waiting: &mut Waiting) -> Vec<Request> {
        let mut group = Vec::with_capacity(waiting.requests.len());
        let mut weight = 0;
        while let Some(request) = waiting.requests.pop_front() {
            if !group.is_empty() && weight + request.weight > GROUP_BYTES {
                waiting.requests.push_front(request);
                break;
            }
            weight += request.weight;
            group.push(request);
        }
        waiting.weight = waiting.weight.saturating_sub(weight);
        group
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_all();
    }

    /// Waits as the engine asked; an empty group means "go on with idle work". `None` means closed and empty.
    fn next(&self, idle: Idle) -> Option<Vec<Request>> {
        let mut waiting = self.lock();
        loop {
            if !waiting.requests.is_empty() {
                return Some(Queue::take_from(&mut waiting));
            }
            if waiting.closing {
                waiting.closed = true;
                return None;
            }
            match idle {
                Idle::Again => return Some(Vec::new()),
                Idle::Wait => waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Idle::After(pause) => {
                    let (held, timeout) =
                        self.arrived.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner);
                    waiting = held;
                    if timeout.timed_out() && waiting.requests.is_empty() && !waiting.closing {
                        return Some(Vec::new());
                    }
                }
            }
        }
    }
}

/// Starts the thread that owns the engine.
pub(super) fn spawn(name: &str, queue: Arc<Queue>, mut engine: Box<dyn Engine>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut idle = Idle::Again;
        while let Some(group) = queue.next(idle) {
            idle = engine.turn(group);
        }
        engine.close();
    })
}
