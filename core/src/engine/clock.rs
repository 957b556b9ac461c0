//! The deadlines of one client in one task: sleeps that work from any executor, and the time-outs of requests.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Engine;
use crate::options::bounded;

#[derive(Default)]
struct Sleepers {
    next: u64,
    map: BTreeMap<(Instant, u64), Waker>,
    /// The engine ended: nobody sleeps any more.
    over: bool,
}

/// Deadlines in order, and when the clock task will look at them next.
pub(crate) struct Clock {
    base: Instant,
    sleepers: Mutex<Sleepers>,
    /// Nanoseconds after `base` at which the task wakes by itself. Stored before the deadlines are looked at for the
    /// last time, read after one was added: so an earlier deadline is seen by one side or the other.
    armed: AtomicU64,
    bell: Notify,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock { base: Instant::now(), sleepers: Mutex::default(), armed: AtomicU64::new(u64::MAX), bell: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }

    /// To be called after a deadline was added somewhere, without its lock.
    pub(crate) fn added(&self, deadline: Instant) {
        if self.nanos(deadline) < self.armed.load(SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Waits until `deadline`, or until the engine ends.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep<'_> {
        Sleep { clock: self, deadline, id: 0 }
    }

    /// Wakes `waker` at `at` or when the engine ends: a sleep without a task. The number is for `clear_alarm`.
    pub(crate) fn set_alarm(&self, at: Instant, waker: Waker) -> u64 {
        let mut sleepers = self.lock();
        if sleepers.over {
            return 0;
        }
        sleepers.next += 1;
        let id = sleepers.next;
        sleepers.map.insert((at, id), waker);
        drop(sleepers);
        self.added(at);
        id
    }

    /// Forgets an alarm that may have rung already.
    pub(crate) fn clear_alarm(&self, at: Instant, id: u64) {
        let waker = self.lock().map.remove(&(at, id));
        // Its end may run anything: not under the lock.
        drop(waker);
    }

    /// `future`, unless `after` passes first.
    pub(crate) async fn timeout<T>(&self, after: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = None;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            // The clock is looked at only when there is something to wait for.
            let sleep = sleep.get_or_insert_with(|| self.sleep_until(Instant::now() + bounded(after)));
            Pin::new(sleep).poll(cx).map(|()| None)
        })
        .await
    }

    /// Ends all sleeps and the task.
    pub(crate) fn stop(&self) {
        let mut sleepers = self.lock();
        sleepers.over = true;
        let map = std::mem::take(&mut sleepers.map);
        drop(sleepers);
        map.into_values().for_each(Waker::wake);
        self.bell.notify_one();
    }

    fn is_over(&self) -> bool {
        self.lock().over
    }

    fn next(&self) -> Option<Instant> {
        self.lock().map.first_key_value().map(|((at, _), _)| *at)
    }

    fn fire(&self, now: Instant) {
        let mut due = Vec::new();
        let mut sleepers = self.lock();
        while let Some(entry) = sleepers.map.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        drop(sleepers);
        due.into_iter().for_each(Waker::wake);
    }
}

/// The clock task of an engine.
pub(crate) async fn run(engine: Arc<Engine>) {
    let clock = &engine.clock;
    while !clock.is_over() {
        let next = || [clock.next(), engine.requests.next_deadline()].into_iter().flatten().min();
        let first = next();
        clock.armed.store(first.map_or(u64::MAX, |at| clock.nanos(at)), SeqCst);
        if next() != first {
            continue;
        }
        match first {
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = clock.bell.notified() => {}
                }
            }
            None => clock.bell.notified().await,
        }
        let now = Instant::now();
        clock.fire(now);
        if engine.requests.expire(now) {
            engine.give_up_dead_requests();
        }
    }
}

/// A sleep; dropped early it leaves nothing behind.
pub(crate) struct Sleep<'a> {
    clock: &'a Clock,
    deadline: Instant,
    id: u64,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleepers = self.clock.lock();
        if sleepers.over || Instant::now() >= self.deadline {
            if self.id != 0 {
                sleepers.map.remove(&(self.deadline, self.id));
            }
            self.id = 0;
            return Poll::Ready(());
        }
        if self.id == 0 {
            sleepers.next += 1;
            self.id = sleepers.next;
        }
        let (deadline, clock) = (self.deadline, self.clock);
        match sleepers.map.get_mut(&(deadline, self.id)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                sleepers.map.insert((deadline, self.id), cx.waker().clone());
                drop(sleepers);
                clock.added(deadline);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if self.id != 0 {
            self.clock.lock().map.remove(&(self.deadline, self.id));
        }
    }
}
