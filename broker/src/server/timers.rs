//! The one clock for all sessions: a heap of who is to be looked at when, instead of a timer in each of them.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::shared::Shared;
use crate::session::{Reason, Session};

/// Rounds are at least this far apart: nothing here is more urgent, and sessions that are due together share one round.
const ROUND: Duration = Duration::from_millis(10);

/// With fewer entries than this nobody looks for those that are of no use any more.
const FEW: usize = 4096;

/// Who is due when.
#[derive(Default)]
pub(crate) struct Timers {
    heap: Mutex<Heap>,
    earlier: Notify,
}

#[derive(Default)]
struct Heap {
    entries: BinaryHeap<Entry>,
    /// Entries that were of use when the heap was cleaned last.
    useful: usize,
}

impl Heap {
    /// Takes out what is of no use: entries of sessions that are gone or were given an earlier one since. They are due only
    /// when pings are, each keeps the memory of its session, and a session leaves one behind whenever it wakes up.
    fn clean(&mut self) {
        let mut entries = std::mem::take(&mut self.entries).into_vec();
        let useful = |session: Arc<Session>, due| session.next_tick.load(Ordering::Acquire) == due;
        entries.retain(|entry| entry.session.upgrade().is_some_and(|session| useful(session, entry.due)));
        entries.sort_unstable_by_key(|entry| entry.session.as_ptr());
        entries.dedup_by_key(|entry| entry.session.as_ptr());
        self.useful = entries.len();
        self.entries = entries.into();
    }
}

struct Entry {
    due: u64,
    session: Weak<Session>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Order {
        other.due.cmp(&self.due)
    }
}

impl Timers {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the session at `due`, if it is not looked at before. Only the earliest entry of a session counts.
    pub(crate) fn schedule(&self, session: &Arc<Session>, due: u64) {
        if session.next_tick.fetch_min(due, Ordering::AcqRel) <= due {
            return;
        }
        let first = {
            let mut heap = self.heap();
            let first = heap.entries.peek().is_none_or(|entry| due < entry.due);
            heap.entries.push(Entry { due, session: Arc::downgrade(session) });
            if heap.entries.len() > FEW.max(heap.useful * 2) {
                heap.clean();
            }
            first
        };
        if first {
            self.earlier.notify_one();
        }
    }

    fn pop(&self, now: u64) -> Result<Entry, Option<u64>> {
        let entries = &mut self.heap().entries;
        match entries.peek() {
            Some(entry) if entry.due <= now => entries.pop().ok_or(None),
            Some(entry) => Err(Some(entry.due)),
            None => Err(None),
        }
    }

    /// Runs for as long as the server does.
    pub(super) async fn run(shared: Arc<Shared>) {
        let mut phase = shared.phase();
        loop {
            let next = loop {
                let now = shared.now_ms();
                let entry = match shared.timers.pop(now) {
                    Ok(entry) => entry,
                    Err(next) => break next,
                };
                let Some(session) = entry.session.upgrade() else { continue };
                let current =
                    session.next_tick.compare_exchange(entry.due, u64::MAX, Ordering::AcqRel, Ordering::Acquire);
                if current.is_err() {
                    continue;
                }
                // One session's trouble must not stop the clock of all others.
                match catch_unwind(AssertUnwindSafe(|| session.tick(now))) {
                    Ok(Some(due)) => shared.timers.schedule(&session, due),
                    Ok(None) => {}
                    Err(_) => {
                        session.close(Reason::InternalError, None);
                    }
                }
            };
            let wait = next.map(|due| Duration::from_millis(due.saturating_sub(shared.now_ms())).max(ROUND));
            let earlier = shared.timers.earlier.notified();
            tokio::select! {
                _ = phase.wait_for(|phase| phase.is_over()) => return,
                () = async {
                    match wait {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => std::future::pending().await,
                    }
                } => {}
                () = async { earlier.await; tokio::time::sleep(ROUND).await } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::log::Log;

    #[test]
    fn the_heap_does_not_grow_with_what_was() {
        let shared = Shared::new(Config::ephemeral(), "id".to_owned(), None, Log::off()).unwrap();
        let session = |cid| Session::new(&shared, cid, "127.0.0.1:1".parse().unwrap(), String::new());
        let timers = &shared.timers;
        let (often, once) = (session(0), session(1));
        timers.schedule(&once, 2_000_000);
        for n in 0..10 * FEW as u64 {
            // Woken up, looked at, and due in a long time again; and one that comes and goes.
            timers.schedule(&often, 1_000_000);
            timers.schedule(&often, n);
            let entry = timers.pop(n).ok().unwrap();
            assert!(entry.session.ptr_eq(&Arc::downgrade(&often)));
            often.next_tick.store(u64::MAX, Ordering::Release);
            timers.schedule(&session(2 + n), 1_000_000);
        }
        assert!(timers.heap().entries.len() <= FEW + 1);
        timers.schedule(&often, 1_000_000);
        timers.heap().clean();
        assert_eq!(timers.heap().entries.len(), 2, "one of each session that is there");
        assert_eq!(timers.pop(999_999).err(), Some(Some(1_000_000)));
        assert!(timers.pop(1_000_000).is_ok_and(|entry| entry.session.ptr_eq(&Arc::downgrade(&often))));
        assert!(timers.pop(2_000_000).is_ok_and(|entry| entry.session.ptr_eq(&Arc::downgrade(&once))));
    }
}
