//! 64 threads call anything with anything for a while: no panic, no hang, and nothing stays open.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{LIMIT, World};
use serde_json::json;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

#[test]
fn random_calls_from_many_threads() {
    const THREADS: u64 = 64;
    let time = std::env::var("NATSUNE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let world = World::new();
    let (url, before) = (world.url.clone(), natsune_ffi::open_handles());
    let end = Instant::now() + Duration::from_secs(time);
    // Queues and handles that any thread may use, close, or find closed.
    static QUEUES: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    static HANDLES: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            let url = url.clone();
            std::thread::spawn(move || {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9));
                let mut ids: Vec<u64> = Vec::new();
                while Instant::now() < end {
                    CALLS.fetch_add(1, Ordering::Relaxed);
                    let queue = QUEUES[dice.roll(QUEUES.len())].load(Ordering::Relaxed);
                    let place = &HANDLES[dice.roll(HANDLES.len())];
                    let handle = place.load(Ordering::Relaxed);
                    let subject = format!("t.{}", dice.roll(4));
                    let started = match dice.roll(40) {
                        0 => {
                            let made = natsune_ffi::queue_new(Box::new(|| ())).expect("a queue");
                            natsune_ffi::queue_close(QUEUES[dice.roll(QUEUES.len())].swap(made, Ordering::Relaxed));
                            continue;
                        }
                        1 => {
                            natsune_ffi::close_handle(place.swap(0, Ordering::Relaxed));
                            continue;
                        }
                        2 => natsune_ffi::start(queue, 0, "connect", &json!({ "servers": [url] }).to_string()),
                        3..6 => natsune_ffi::start(
                            queue,
                            handle,
                            "client.subscribe",
                            &json!({ "subject": subject }).to_string(),
                        ),
                        6 => natsune_ffi::start(queue, handle, "client.flush", ""),
                        7 => natsune_ffi::start(queue, handle, "client.closed", ""),
                        8 => natsune_ffi::start(queue, handle, "events", ""),
                        9 => natsune_ffi::start(queue, handle, "sub.drain", ""),
                        10 => natsune_ffi::start(queue, handle, "sub.unsubscribe", r#"{"after":5}"#),
                        11..14 => natsune_ffi::start_ready(queue, handle),
                        14..18 => natsune_ffi::start_request(queue, handle, subject.as_bytes(), &[], b"ask", 200),
                        18 => natsune_ffi::start_js_publish(queue, handle, subject.as_bytes(), &[], b"x", None),
                        19 => {
                            let _ = natsune_ffi::take_events(handle, 10);
                            continue;
                        }
                        20 => {
                            let _ = natsune_ffi::info(handle, "stats");
                            continue;
                        }
                        21 => {
                            if let Some(id) = ids.pop() {
                                natsune_ffi::cancel(id);
                            }
                            continue;
                        }
                        22..28 => {
                            let mut done = Vec::new();
                            let _ = natsune_ffi::queue_drain(queue, &mut done);
                            for id in done {
                                if let Ok(natsune_ffi::Outcome::Handle(made)) = natsune_ffi::finish(id) {
                                    let old = HANDLES[dice.roll(HANDLES.len())].swap(made, Ordering::Relaxed);
                                    natsune_ffi::close_handle(old);
                                }
                            }
                            continue;
                        }
                        28..34 => {
                            let _ = natsune_ffi::take(handle, 100, 1 << 20, dice.roll(100) as u32);
                            continue;
                        }
                        _ => {
                            let _ = natsune_ffi::publish(handle, subject.as_bytes(), None, &[], b"hello");
                            continue;
                        }
                    };
                    match started {
                        Ok(id) => ids.push(id),
                        Err(failure) => {
                            let expected = ["closed", "invalid_argument", "busy", "connection"];
                            assert!(expected.contains(&failure.code), "{failure}");
                        }
                    }
                    if ids.len() > 100 {
                        natsune_ffi::cancel(ids.swap_remove(0));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panicked");
    }
    for queue in &QUEUES {
        natsune_ffi::queue_close(queue.load(Ordering::Relaxed));
    }
    for handle in &HANDLES {
        natsune_ffi::close_handle(handle.load(Ordering::Relaxed));
    }
    // What was on its way when its queue closed still finishes, and closes what it made.
    let deadline = Instant::now() + LIMIT;
    while natsune_ffi::open_handles() > before {
        assert!(Instant::now() < deadline, "{} handles stay open", natsune_ffi::open_handles() - before);
        std::thread::yield_now();
    }
    assert!(CALLS.load(Ordering::Relaxed) > 10_000);
}
