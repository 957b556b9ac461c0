//! A forked child: clear failures, no lock of the parent touched, and a new start is possible.
#![allow(unsafe_code, reason = "fork is a C call")]
#![cfg(unix)]

mod common;

use common::{Queue, World, connect, publish};
use natsune_ffi::R;
use serde_json::json;

/// Ends the child at once, with what it found.
fn leave(ok: bool) -> ! {
    // SAFETY: ends this process without running anything of it.
    unsafe { libc::_exit(if ok { 0 } else { 1 }) }
}

fn forked<T>(result: R<T>) -> bool {
    result.is_err_and(|failure| failure.code == "closed" && failure.message.contains("forked child"))
}

#[test]
fn a_child_is_told_and_can_connect_again() {
    let world = World::new();
    let (queue, client, url) = (world.queue.number, world.client, world.url.clone());
    let sub = world.queue.handle(client, "client.subscribe", json!({"subject": "f"})).expect("subscribed");
    let id = natsune_ffi::start(queue, client, "client.closed", "").expect("started");
    // Threads of this process hold locks of the library now and then, while it forks again and again.
    let busy: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    publish(client, "f", b"x").expect("accepted");
                    natsune_ffi::close_handle(u64::MAX >> 20);
                }
            })
        })
        .collect();
    for round in 0..20 {
        // SAFETY: the child calls functions of the library, which is what is tested, then ends without unwinding.
        match unsafe { libc::fork() } {
            0 => {
                let mut ok = forked(publish(client, "f", b"x"));
                ok &= forked(natsune_ffi::take(sub, 1, 1, 0));
                ok &= forked(natsune_ffi::start_ready(queue, sub));
                ok &= forked(natsune_ffi::start(queue, client, "client.flush", ""));
                ok &= forked(natsune_ffi::info(client, "stats"));
                ok &= forked(natsune_ffi::queue_drain(queue, &mut Vec::new()));
                ok &= forked(natsune_ffi::finish(id));
                ok &= forked(natsune_ffi::start_request(queue, client, b"f", &[], b"", 0));
                ok &= forked(natsune_ffi::settle(client, b"f", 0, 1, None));
                natsune_ffi::cancel(id);
                natsune_ffi::close_handle(sub);
                natsune_ffi::close_handle(client);
                natsune_ffi::queue_close(queue);
                if round == 19 {
                    let own = Queue::new();
                    let child = connect(&own, &url);
                    ok &= child != client && own.number != queue;
                    ok &= publish(child, "f", b"from the child").is_ok();
                    ok &= own
                        .document(child, "client.flush", json!({}))
                        .is_ok_and(|counts| counts["flushed"] == json!(1));
                    ok &= forked(publish(client, "f", b"x"));
                }
                leave(ok);
            }
            child => {
                assert!(child > 0, "fork failed");
                let mut status = 0;
                // SAFETY: waits for our own child and writes its status to a live place.
                let waited = unsafe { libc::waitpid(child, &mut status, 0) };
                assert!(
                    waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                    "round {round}: {status}"
                );
            }
        }
    }
    for thread in busy {
        thread.join().expect("the parent is not disturbed");
    }
    publish(client, "f", b"last").expect("the parent goes on");
    world.queue.document(client, "client.flush", json!({})).expect("flushed");
}
