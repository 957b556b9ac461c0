//! The queue and its ids, without a client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::queue::Completion;

/// A queue and how often it was woken; `recv` waits for a wake.
fn queue() -> (u64, mpsc::Receiver<()>) {
    let (send, receive) = mpsc::channel();
    let number = queue_new(Box::new(move || send.send(()).unwrap_or(()))).expect("a queue");
    (number, receive)
}

fn woken(receive: &mpsc::Receiver<()>) {
    receive.recv_timeout(Duration::from_secs(10)).expect("woken");
}

fn drained(number: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    queue_drain(number, &mut ids).expect("drained");
    ids
}

fn start_now(number: u64, value: u64) -> u64 {
    let completion = hub().expect("a hub").queue(number).expect("open").open().expect("an id");
    let id = completion.id();
    completion.done(Ok(Done::Number(value)));
    id
}

#[test]
fn numbers_fit_a_plain_number_of_every_language() {
    let (number, _wakes) = queue();
    let id = start_now(number, 1);
    assert!(number > 0 && number < 1 << 53 && id > 0 && id < 1 << 53 && id != number);
    queue_close(number);
}

#[test]
fn fills_quietly_wakes_once_drains_all() {
    let (number, wakes) = queue();
    let ids: Vec<u64> = (0..1000).map(|_| start_now(number, 1)).collect();
    woken(&wakes);
    assert!(wakes.try_recv().is_err(), "one wake for all of them");
    let mut some = [0u64; 300];
    assert_eq!(queue_drain_some(number, &mut some), Ok(300));
    start_now(number, 0);
    assert!(wakes.try_recv().is_err(), "not armed while something is left");
    let mut all = some.to_vec();
    all.extend(drained(number));
    assert_eq!(all.len(), 1001);
    assert_eq!(all[..1000], ids);
    start_now(number, 0);
    woken(&wakes);
    queue_close(number);
}

#[test]
fn an_id_is_finished_once_and_not_before_it_is_done() {
    let (number, _wakes) = queue();
    let completion = hub().expect("a hub").queue(number).expect("open").open().expect("an id");
    let id = completion.id();
    assert_eq!(finish(id).expect_err("in flight").code, "invalid_argument");
    completion.done(Ok(Done::Number(1)));
    assert_eq!(drained(number), [id]);
    assert!(matches!(finish(id), Ok(Outcome::Number(1))));
    assert_eq!(finish(id).expect_err("finished").code, "closed");
    assert_eq!(finish(0).expect_err("nonsense").code, "closed");
    assert_eq!(finish(u64::MAX).expect_err("nonsense").code, "closed");
    queue_close(number);
}

#[test]
fn a_cancelled_id_stops_its_work_and_never_comes() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (number, wakes) = queue();
    let stopped = Arc::new(AtomicUsize::new(0));
    let counts = Counts(Arc::clone(&stopped));
    let id = start_future(number, |_| {
        Ok(async move {
            let _counts = counts;
            std::future::pending::<R<Done>>().await
        })
    })
    .expect("started");
    cancel(id);
    cancel(id);
    cancel(12345);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while stopped.load(Ordering::SeqCst) == 0 {
        assert!(std::time::Instant::now() < deadline, "the task was not dropped");
        std::thread::yield_now();
    }
    assert!(wakes.try_recv().is_err());
    let done = start_now(number, 1);
    cancel(done);
    assert!(drained(number).is_empty(), "cancelled after it was done, before it was drained");
    queue_close(number);
}

#[test]
fn a_task_that_panics_finishes_with_internal() {
    let (number, wakes) = queue();
    let id = start_future(number, |_| {
        Ok(async {
            if true {
                panic!("injected by a test");
            }
            Ok(Done::Unit)
        })
    })
    .expect("started");
    woken(&wakes);
    assert_eq!(drained(number), [id]);
    assert_eq!(finish(id).expect_err("panicked").code, "internal");
    queue_close(number);
}

#[test]
fn a_closed_queue_is_closed_for_good() {
    let (number, wakes) = queue();
    let id = start_now(number, 1);
    woken(&wakes);
    let pending = hub().expect("a hub").queue(number).expect("open").open().expect("an id");
    queue_close(number);
    queue_close(number);
    pending.done(Ok(Done::Unit));
    assert!(wakes.try_recv().is_err(), "never woken after close");
    assert_eq!(queue_drain(number, &mut Vec::new()).expect_err("closed").code, "closed");
    assert_eq!(finish(id).expect_err("closed").code, "closed");
    let (next, _wakes) = queue();
    assert_ne!(next, number);
    assert_eq!(queue_drain(number, &mut Vec::new()).expect_err("still closed").code, "closed");
    assert!(finish(id).is_err());
    queue_close(next);
}

#[test]
fn ids_in_flight_are_bounded_and_places_are_reused_late() {
    let (number, _wakes) = queue();
    let owner = hub().expect("a hub").queue(number).expect("open");
    let all: Vec<Completion> = (0..MAX_IN_FLIGHT).map(|_| owner.open().expect("an id")).collect();
    assert_eq!(owner.open().map(|_| ()).expect_err("full").code, "busy");
    let first = all[0].id();
    for completion in all {
        completion.forget();
    }
    for _ in 0..100_000 {
        let completion = owner.open().expect("an id");
        assert_ne!(completion.id(), first);
        completion.forget();
    }
    queue_close(number);
}

#[test]
fn a_full_queue_is_drained_in_pieces() {
    let (number, wakes) = queue();
    for _ in 0..MAX_IN_FLIGHT {
        start_now(number, 1);
    }
    woken(&wakes);
    let (mut some, mut count) = ([0u64; 256], 0);
    loop {
        let got = queue_drain_some(number, &mut some).expect("drained");
        count += got;
        if got < some.len() {
            break;
        }
    }
    assert_eq!(count, MAX_IN_FLIGHT);
    queue_close(number);
}

#[test]
fn many_threads_lose_nothing() {
    let (number, wakes) = queue();
    const THREADS: usize = 16;
    const EACH: usize = 5_000;
    let producers: Vec<_> = (0..THREADS)
        .map(|_| std::thread::spawn(move || (0..EACH).map(|_| start_now(number, 1)).collect::<Vec<u64>>()))
        .collect();
    let mut seen = Vec::new();
    while seen.len() < THREADS * EACH {
        woken(&wakes);
        for id in drained(number) {
            assert!(matches!(finish(id), Ok(Outcome::Number(1))));
            seen.push(id);
        }
    }
    let mut made: Vec<u64> = producers.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    made.sort_unstable();
    seen.sort_unstable();
    assert_eq!(made, seen);
    queue_close(number);
}
