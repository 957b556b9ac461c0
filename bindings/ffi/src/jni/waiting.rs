//! Queues that a thread of the JVM waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::failure::{Failure, R, guard_quiet};
use crate::hub::{self, lock};

/// Whether a queue went from drained to non-empty since somebody last waited for it.
#[derive(Default)]
struct Bell {
    rang: Mutex<bool>,
    some: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rang) = true;
        self.some.notify_one();
    }
}

static BELLS: Mutex<BTreeMap<u64, Arc<Bell>>> = Mutex::new(BTreeMap::new());

fn bell(queue: u64) -> R<Arc<Bell>> {
    lock(&BELLS).get(&queue).cloned().ok_or_else(|| Failure::closed("the queue is closed"))
}

pub(super) fn queue_new() -> R<u64> {
    let bell = Arc::new(Bell::default());
    let wake = Arc::clone(&bell);
    let queue = hub::queue_new(Box::new(move || wake.ring()))?;
    lock(&BELLS).insert(queue, bell);
    Ok(queue)
}

/// Blocks this thread until the queue has something to drain, or is closed.
pub(super) fn queue_wait(queue: u64) -> R<()> {
    let bell = bell(queue)?;
    let mut rang = lock(&bell.rang);
    while !*rang {
        rang = bell.some.wait(rang).unwrap_or_else(PoisonError::into_inner);
    }
    *rang = false;
    Ok(())
}

pub(super) fn queue_close(queue: u64) {
    hub::queue_close(queue);
    guard_quiet(|| {
        if let Some(bell) = lock(&BELLS).remove(&queue) {
            bell.ring();
        }
    });
}
