//! Wakers that wait for one condition. All of them are woken: each looks again, so a cancelled one owes nobody a wake.

use std::task::Waker;

/// The waiters of one condition, kept under that condition's lock.
#[derive(Default)]
pub(crate) struct Waiters {
    next: u64,
    /// Nearly always one waiter: no allocation for it.
    first: Option<(u64, Waker)>,
    more: Vec<(u64, Waker)>,
}

/// Wakers taken out from under the lock.
#[must_use]
pub(crate) struct Wakes(Option<(u64, Waker)>, Vec<(u64, Waker)>);

impl Wakes {
    pub(crate) const fn none() -> Wakes {
        Wakes(None, Vec::new())
    }

    /// To be called without the lock: a waker may run anything.
    pub(crate) fn wake(self) {
        if let Some((_, waker)) = self.0 {
            waker.wake();
        }
        for (_, waker) in self.1 {
            waker.wake();
        }
    }
}

impl Waiters {
    /// Registers `waker` under `id`, or under a new id when it is 0. A waiter has one entry however often it polls.
    pub(crate) fn register(&mut self, id: &mut u64, waker: &Waker) {
        if *id != 0
            && let Some((_, old)) = self.first.iter_mut().chain(self.more.iter_mut()).find(|(have, _)| have == id)
        {
            old.clone_from(waker);
            return;
        }
        self.next += 1;
        *id = self.next;
        let entry = (*id, waker.clone());
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.more.push(entry);
        }
    }

    /// Forgets a waiter that was cancelled or does not wait any more.
    pub(crate) fn remove(&mut self, id: u64) {
        if self.first.as_ref().is_some_and(|(have, _)| *have == id) {
            self.first = self.more.pop();
        } else if let Some(at) = self.more.iter().position(|(have, _)| *have == id) {
            self.more.swap_remove(at);
        }
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self) -> Wakes {
        if self.first.is_none() {
            return Wakes::none();
        }
        Wakes(self.first.take(), std::mem::take(&mut self.more))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }
}
