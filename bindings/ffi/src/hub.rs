//! The runtime, and what carries time across the boundary: completion queues and the ids in flight.
//!
//! Everything that waits is an id. When it is done, the id is pushed into its queue under one lock, and the queue's owner
//! is woken once per drain. No foreign code runs on our threads but that one wake.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

use crate::failure::{Failure, R, guard, guard_quiet};
use crate::fork;
use crate::handles::Table;
use crate::outcome::{Done, Outcome};
use crate::queue::{Cancel, Queue};

/// The most ids that may be in flight in one queue; then starting is `busy`.
pub const MAX_IN_FLIGHT: usize = 1 << 20;
/// The most queues at a time.
pub const MAX_QUEUES: usize = 1 << QUEUE_BITS;

/// Numbers that cross stay below 2^53, so that every language can hold them in its plain number.
/// A queue or an id: epoch (5 bits), queue (12 bits), sequence (36 bits). A queue's own number takes one sequence of it.
const SEQUENCE_BITS: u32 = 36;
const QUEUE_BITS: u32 = 12;
const EPOCH_BITS: u32 = 5;
pub(crate) const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// Called when a queue goes from drained to non-empty. It may only set a descriptor or post an event.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A lock that a panic elsewhere does not close: our state is whole at every unlock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that one process (since its last fork) holds.
pub(crate) struct Hub {
    pub(crate) runtime: Runtime,
    pub(crate) handles: Table,
    queues: RwLock<Queues>,
    epoch: u32,
}

#[derive(Default)]
struct Queues {
    slots: Vec<QueueSlot>,
    free: Vec<usize>,
}

#[derive(Default)]
struct QueueSlot {
    queue: Option<Arc<Queue>>,
    /// Where the next queue in this slot goes on counting, so that no number comes twice.
    next: u64,
}

/// One hub for each epoch: a child never touches a lock that a thread of its parent may have held.
static HUBS: [OnceLock<R<Hub>>; 1 << EPOCH_BITS] = [const { OnceLock::new() }; 1 << EPOCH_BITS];

/// The hub of this process; the runtime is made on first use.
pub(crate) fn hub() -> R<&'static Hub> {
    let epoch = fork::epoch();
    let slot = HUBS.get(epoch as usize).ok_or_else(|| Failure::closed("too many nested forks to connect again"))?;
    slot.get_or_init(|| Hub::new(epoch)).as_ref().map_err(Clone::clone)
}

/// The hub if this number was given out by this process; `closed` when it comes from before a fork.
pub(crate) fn hub_of(number: u64) -> R<&'static Hub> {
    if number >> (SEQUENCE_BITS + QUEUE_BITS) != u64::from(fork::epoch()) && number != 0 {
        return Err(Failure::forked());
    }
    hub()
}

impl Hub {
    fn new(epoch: u32) -> R<Hub> {
        fork::watch();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("natsune")
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))?;
        Ok(Hub { runtime, handles: Table::new(epoch), queues: RwLock::default(), epoch })
    }

    pub(crate) fn spawn<F>(&self, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(future).abort_handle()
    }

    /// The open queue with exactly this number.
    pub(crate) fn queue(&self, number: u64) -> R<Arc<Queue>> {
        let queue = self.queue_of(number)?;
        if queue.number() == number { Ok(queue) } else { Err(Failure::closed("the queue is closed")) }
    }

    /// The open queue that this id was (or may have been) started in.
    fn queue_of(&self, number: u64) -> R<Arc<Queue>> {
        let index = ((number >> SEQUENCE_BITS) as usize) & (MAX_QUEUES - 1);
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues
            .slots
            .get(index)
            .and_then(|slot| slot.queue.clone())
            .ok_or_else(|| Failure::closed("the queue is closed"))
    }

    fn add_queue(&self, wake: Wake) -> R<u64> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let index = match queues.free.pop() {
            Some(index) => index,
            None if queues.slots.len() < MAX_QUEUES => {
                // Slot 0 stays empty in epoch 0, so that no number is 0.
                if queues.slots.is_empty() {
                    queues.slots.push(QueueSlot::default());
                }
                queues.slots.push(QueueSlot::default());
                queues.slots.len() - 1
            }
            None => return Err(Failure::new("busy", format!("{MAX_QUEUES} completion queues are open; close one"))),
        };
        let slot = queues.slots.get_mut(index).ok_or_else(|| Failure::internal("a queue's slot is missing"))?;
        let base = (u64::from(self.epoch) << (SEQUENCE_BITS + QUEUE_BITS)) | ((index as u64) << SEQUENCE_BITS);
        let own = slot.next.wrapping_add(1) & SEQUENCE_MASK;
        let number = base | own;
        slot.queue = Some(Arc::new(Queue::new(number, base, own + 1, wake)));
        slot.next = own;
        Ok(number)
    }

    fn remove_queue(&self, number: u64) {
        let Ok(queue) = self.queue(number) else { return };
        let next = queue.close();
        let index = ((number >> SEQUENCE_BITS) as usize) & (MAX_QUEUES - 1);
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = queues.slots.get_mut(index)
            && slot.queue.as_ref().is_some_and(|open| open.number() == number)
        {
            slot.queue = None;
            slot.next = next;
            queues.free.push(index);
        }
    }
}

/// A new completion queue. `wake` is called once when the queue goes from drained to non-empty; it must be short, must not
/// block and must not call back into this crate. It is never called after [`queue_close`] returned.
pub fn queue_new(wake: Wake) -> R<u64> {
    guard(|| hub()?.add_queue(wake))
}

/// Takes all finished ids (appended to `out`) and arms the wake again.
pub fn queue_drain(queue: u64, out: &mut Vec<u64>) -> R<()> {
    guard(|| {
        hub_of(queue)?.queue(queue)?.drain(usize::MAX, &mut |id| out.push(id))?;
        Ok(())
    })
}

/// Takes at most `out.len()` finished ids and says how many. A full `out` means: call again (only then is it armed).
pub fn queue_drain_some(queue: u64, out: &mut [u64]) -> R<usize> {
    guard(|| {
        let limit = out.len();
        let mut places = out.iter_mut();
        hub_of(queue)?.queue(queue)?.drain(limit, &mut |id| {
            if let Some(place) = places.next() {
                *place = id;
            }
        })
    })
}

/// Cancels everything in flight and closes the queue. Closing twice, or in a forked child, does nothing.
pub fn queue_close(queue: u64) {
    guard_quiet(|| {
        if let Ok(hub) = hub_of(queue) {
            hub.remove_queue(queue);
        }
    });
}

/// Stops the work of an id and forgets it: the id is never drained afterwards. Unknown ids are ignored.
pub fn cancel(id: u64) {
    guard_quiet(|| {
        if let Ok(queue) = hub_of(id).and_then(|hub| hub.queue_of(id)) {
            queue.cancel(id);
        }
    });
}

/// Takes the result of a drained id; documents come as JSON. An id is finished once.
pub fn finish(id: u64) -> R<Outcome> {
    guard(|| finish_done(id)?.into_outcome())
}

/// The typed form of [`finish`] behind the other lanes.
pub(crate) fn finish_done(id: u64) -> R<Done> {
    hub_of(id)?.queue_of(id)?.finish(id)
}

/// Starts a future of the control lane; its result finishes the id.
pub(crate) fn start_future<F>(queue: u64, make: impl FnOnce(&'static Hub) -> R<F>) -> R<u64>
where
    F: Future<Output = R<Done>> + Send + 'static,
{
    let hub = hub_of(queue)?;
    let queue = hub.queue(queue)?;
    let completion = queue.open()?;
    let future = match make(hub) {
        Ok(future) => future,
        Err(failure) => {
            completion.forget();
            return Err(failure);
        }
    };
    let id = completion.id();
    let task = hub.spawn(async move { completion.done(future.await) });
    queue.attach(id, Cancel::Task(task));
    Ok(id)
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
