//! Waiting until `take` would give something, without a task and without a limit on how many wait.
//!
//! Core's `poll_ready` has one slot. Behind it stands this list: the slot's waker finishes every id that waits. Each looks
//! again by itself, so a cancelled one owes nobody a wake.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::failure::R;
use crate::hub::lock;
use crate::outcome::Done;
use crate::queue::{Cancel, Completion, Queue};

/// The ids that wait on one object.
#[derive(Default)]
pub(crate) struct Ready {
    waiting: Mutex<Vec<Completion>>,
}

impl Ready {
    /// A new id that is done when `poll` is ready.
    pub(crate) fn start(
        self: &Arc<Self>,
        queue: &Queue,
        completion: Completion,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<()>,
    ) -> u64 {
        let id = completion.id();
        // In the list first: a wake between the two must find it.
        lock(&self.waiting).push(completion);
        let waker = Waker::from(Arc::clone(self));
        if poll(&mut Context::from_waker(&waker)).is_ready() {
            self.finish_all();
        } else {
            queue.attach(id, Cancel::Held(Box::new(Forget { ready: Arc::clone(self), id })));
        }
        id
    }

    /// Finishes every id that waits: with a wake, or because the object was closed.
    pub(crate) fn finish_all(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for completion in waiting {
            completion.done(Ok(Done::Unit));
        }
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.finish_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.finish_all();
    }
}

/// Takes a cancelled id out of the list.
struct Forget {
    ready: Arc<Ready>,
    id: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let mut waiting = lock(&self.ready.waiting);
        if let Some(at) = waiting.iter().position(|completion| completion.id() == self.id) {
            let completion = waiting.swap_remove(at);
            drop(waiting);
            completion.forget();
        }
    }
}

/// Opens an id in `queue` that is done when `poll` is ready.
pub(crate) fn start(queue: &Arc<Queue>, ready: &Arc<Ready>, poll: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> R<u64> {
    Ok(ready.start(queue, queue.open()?, poll))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::hub::{cancel, finish, hub, queue_close, queue_drain, queue_new};

    /// Something with the one slot of core's inbox.
    #[derive(Default)]
    struct Source(Mutex<(bool, Option<Waker>)>);

    impl Source {
        fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
            let mut slot = lock(&self.0);
            if slot.0 {
                return Poll::Ready(());
            }
            slot.1 = Some(cx.waker().clone());
            Poll::Pending
        }

        fn fill(&self) {
            let mut slot = lock(&self.0);
            slot.0 = true;
            let waker = slot.1.take();
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    #[test]
    fn several_wait_and_cancelled_ones_are_forgotten() {
        let (send, woken) = mpsc::channel();
        let number = queue_new(Box::new(move || send.send(()).unwrap_or(()))).expect("a queue");
        let queue = hub().expect("a hub").queue(number).expect("open");
        let (source, ready) = (Source::default(), Arc::new(Ready::default()));
        let ids: Vec<u64> = (0..3).map(|_| start(&queue, &ready, |cx| source.poll(cx)).expect("started")).collect();
        cancel(ids[1]);
        assert_eq!(lock(&ready.waiting).len(), 2);
        assert!(woken.try_recv().is_err());
        source.fill();
        woken.recv_timeout(Duration::from_secs(10)).expect("woken");
        let mut drained = Vec::new();
        queue_drain(number, &mut drained).expect("drained");
        assert_eq!(drained, [ids[0], ids[2]]);
        let at_once = start(&queue, &ready, |cx| source.poll(cx)).expect("started");
        drained.clear();
        queue_drain(number, &mut drained).expect("drained");
        assert_eq!(drained, [at_once], "level-triggered");
        for id in [ids[0], ids[2], at_once] {
            finish(id).expect("done");
        }
        assert!(lock(&ready.waiting).is_empty());
        queue_close(number);
    }

    #[test]
    fn closing_the_queue_empties_the_list() {
        let number = queue_new(Box::new(|| ())).expect("a queue");
        let queue = hub().expect("a hub").queue(number).expect("open");
        let (source, ready) = (Source::default(), Arc::new(Ready::default()));
        start(&queue, &ready, |cx| source.poll(cx)).expect("started");
        queue_close(number);
        assert!(lock(&ready.waiting).is_empty());
        source.fill();
    }
}
