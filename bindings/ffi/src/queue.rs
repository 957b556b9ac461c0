//! One completion queue: what is in flight, what is done, who is woken, and how work is stopped.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use natsune::RequestHandle;
use natsune::jetstream::PublishHandle;
use tokio::task::AbortHandle;

use crate::failure::{Failure, R, guard_quiet};
use crate::hub::{MAX_IN_FLIGHT, SEQUENCE_MASK, Wake, lock};
use crate::outcome::Done;
use crate::ring::{Op, Ring};

/// What stops the work behind an id: dropping it (or aborting the task) frees everything.
pub(crate) enum Cancel {
    /// A task of the control lane.
    Task(AbortHandle),
    /// A request of the hot lane.
    Request(RequestHandle),
    /// An acknowledged publish.
    Publish(PublishHandle),
    /// Anything else; dropping it cancels.
    Held(Box<dyn Any + Send>),
}

impl Cancel {
    fn run(self) {
        match self {
            Cancel::Task(task) => task.abort(),
            Cancel::Request(request) => drop(request),
            Cancel::Publish(publish) => drop(publish),
            Cancel::Held(held) => drop(held),
        }
    }

    /// The work is done, there is nothing to stop.
    fn forget(self) {
        if let Cancel::Request(request) = self {
            request.detach();
        }
    }
}

/// One completion queue: the ids in flight, the ids that are done, and who is woken.
pub(crate) struct Queue {
    number: u64,
    base: u64,
    state: Mutex<State>,
    /// Its own lock: after `close` returned, the wake is never called again.
    wake: Mutex<Option<Wake>>,
}

struct State {
    ring: Ring,
    done: VecDeque<u64>,
    armed: bool,
    closed: bool,
}

impl Queue {
    /// A queue with this number; ids begin with `base` and go on counting from `next`.
    pub(crate) fn new(number: u64, base: u64, next: u64, wake: Wake) -> Queue {
        let state = State { ring: Ring::starting_at(next), done: VecDeque::new(), armed: true, closed: false };
        Queue { number, base, state: Mutex::new(state), wake: Mutex::new(Some(wake)) }
    }

    /// Its own number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A new id in flight. The completion must be called or dropped; dropped means `internal`.
    pub(crate) fn open(self: &Arc<Self>) -> R<Completion> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Failure::closed("the queue is closed"));
        }
        if state.ring.len() >= MAX_IN_FLIGHT {
            return Err(Failure::new("busy", format!("{MAX_IN_FLIGHT} operations wait in this queue; drain it first")));
        }
        let sequence = state.ring.insert();
        Ok(Completion { queue: Arc::clone(self), sequence, open: true })
    }

    /// Says how to stop the work of an id. When the id is gone already, the work is stopped at once.
    pub(crate) fn attach(&self, id: u64, cancel: Cancel) {
        let mut state = lock(&self.state);
        if let Some(op) = state.ring.get(id & SEQUENCE_MASK)
            && op.result.is_none()
        {
            op.cancel = Some(cancel);
            return;
        }
        drop(state);
        cancel.run();
    }

    fn complete(&self, sequence: u64, result: R<Done>) {
        let mut state = lock(&self.state);
        let Some(op) = state.ring.get(sequence) else {
            drop(state);
            if let Ok(done) = result {
                done.give_back();
            }
            return;
        };
        if op.result.is_some() {
            return;
        }
        op.result = Some(result.map_err(Box::new));
        let cancel = op.cancel.take();
        state.done.push_back(self.base | sequence);
        let wake = std::mem::replace(&mut state.armed, false);
        drop(state);
        if wake {
            self.wake();
        }
        if let Some(cancel) = cancel {
            cancel.forget();
        }
    }

    fn wake(&self) {
        if let Some(wake) = lock(&self.wake).as_ref() {
            guard_quiet(wake);
        }
    }

    pub(crate) fn drain(&self, limit: usize, out: &mut impl FnMut(u64)) -> R<usize> {
        let mut guarded = lock(&self.state);
        let state = &mut *guarded;
        if state.closed {
            return Err(Failure::closed("the queue is closed"));
        }
        let mut given = 0;
        while given < limit
            && let Some(id) = state.done.pop_front()
        {
            if state.ring.get(id & SEQUENCE_MASK).is_some() {
                out(id);
                given += 1;
            }
        }
        if state.done.is_empty() {
            state.armed = true;
            state.done.shrink_to(4096);
        }
        Ok(given)
    }

    pub(crate) fn finish(&self, id: u64) -> R<Done> {
        let mut state = lock(&self.state);
        match state.ring.get(id & SEQUENCE_MASK) {
            None => Err(Failure::closed("no operation has this id: it was finished or cancelled")),
            Some(op) if op.result.is_none() => {
                Err(Failure::invalid("the operation is still in flight: drain the queue first"))
            }
            Some(_) => {
                let op = state.ring.remove(id & SEQUENCE_MASK);
                drop(state);
                match op.and_then(|op| op.result) {
                    Some(result) => result.map_err(|failure| *failure),
                    None => Err(Failure::internal("the operation has no result")),
                }
            }
        }
    }

    pub(crate) fn cancel(&self, id: u64) {
        let op = lock(&self.state).ring.remove(id & SEQUENCE_MASK);
        if let Some(op) = op {
            op.stop();
        }
    }

    pub(crate) fn close(&self) -> u64 {
        let mut state = lock(&self.state);
        state.closed = true;
        let next = state.ring.next();
        let ring = std::mem::replace(&mut state.ring, Ring::starting_at(next));
        state.done = VecDeque::new();
        drop(state);
        drop(lock(&self.wake).take());
        for op in ring.into_ops() {
            op.stop();
        }
        next
    }
}

impl Op {
    fn stop(self) {
        if let Some(cancel) = self.cancel {
            cancel.run();
        }
        if let Some(Ok(done)) = self.result {
            done.give_back();
        }
    }
}

/// The duty to finish one id. Called once from any thread; dropping it uncalled finishes the id with `internal`.
pub(crate) struct Completion {
    queue: Arc<Queue>,
    sequence: u64,
    open: bool,
}

impl Completion {
    pub(crate) fn id(&self) -> u64 {
        self.queue.base | self.sequence
    }

    pub(crate) fn done(mut self, result: R<Done>) {
        self.open = false;
        self.queue.complete(self.sequence, result);
    }

    /// Forgets the id: the start itself failed and the caller gets the failure directly.
    pub(crate) fn forget(mut self) {
        self.open = false;
        drop(lock(&self.queue.state).ring.remove(self.sequence));
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.open {
            self.queue.complete(self.sequence, Err(Failure::internal("the operation ended without a result")));
        }
    }
}
