//! A million operations in each direction, header blocks included, without one allocation.
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use natsune_protocol::{ClientOp, Limits, Parser, ServerOp, encode, header_get, header_lines, status_of, subject};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[allow(unsafe_code, reason = "a global allocator cannot be written without it")]
// SAFETY: every call is passed on unchanged to the system allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const OPS: usize = 1_000_000;
const BLOCK: &[u8] = b"NATS/1.0 503 No Responders\r\nA: 1\r\nNats-Msg-Id: 42\r\n\r\n";

/// Alone in its file: another test's allocations would be counted too.
#[test]
fn a_million_operations_in_each_direction_allocate_nothing() {
    let mut wire = Vec::with_capacity(4096);
    let mut server = Parser::new(Limits::client());
    let mut client = Parser::new(Limits::broker());
    let mut seen = [0usize; 2];
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    // The counter works.
    black_box(Box::new(before));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before + 1);

    let mut round = 0usize;
    while seen[0] < OPS || seen[1] < OPS {
        round += 1;
        let payload = &[b'x'; 64][..round % 64];
        wire.clear();
        encode::msg(&mut wire, "orders.eu.1234", b"17", Some("_INBOX.abc.1"), Some(BLOCK), payload);
        encode::msg(&mut wire, "orders.eu.1234", b"17", None, None, payload);
        encode::ping(&mut wire);
        encode::pong(&mut wire);
        encode::ok(&mut wire);
        encode::err(&mut wire, "Permissions Violation for Publish to \"a\"");
        encode::info(&mut wire, b"{\"server_id\":\"x\"}");
        let mut at = 0;
        while at < wire.len() {
            // In two pieces: an incomplete operation must not cost an allocation either.
            let half = at + (wire.len() - at) / 2;
            let (op, used) = match server.server_op(&wire[at..half]).unwrap() {
                Some(done) => done,
                None => server.server_op(&wire[at..]).unwrap().unwrap(),
            };
            if let ServerOp::Msg(msg) = op
                && let Some(block) = msg.headers
            {
                assert_eq!(header_get(block, "Nats-Msg-Id"), Some("42"));
                assert_eq!(status_of(block), Some((503, "No Responders")));
                assert_eq!(header_lines(block).count(), 2);
            }
            at += used;
            seen[0] += 1;
        }

        wire.clear();
        encode::pub_(&mut wire, "orders.eu.1234", Some("_INBOX.abc.1"), Some(BLOCK), payload);
        encode::pub_(&mut wire, "orders.eu.1234", None, None, payload);
        encode::sub(&mut wire, "orders.*.>", Some("workers"), round as u64);
        encode::unsub(&mut wire, round as u64, Some(9));
        encode::ping(&mut wire);
        encode::pong(&mut wire);
        encode::connect(&mut wire, b"{\"verbose\":false}");
        let mut at = 0;
        while at < wire.len() {
            let half = at + (wire.len() - at) / 2;
            let (op, used) = match client.client_op(&wire[at..half]).unwrap() {
                Some(done) => done,
                None => client.client_op(&wire[at..]).unwrap().unwrap(),
            };
            if let ClientOp::Pub(publish) = op {
                assert!(subject::is_valid_publish(publish.subject) && subject::is_literal(publish.subject));
                assert!(subject::matches("orders.*.>", publish.subject));
                assert!(subject::is_subset("orders.*.a", "orders.>") && subject::overlaps("orders.*", "*.eu"));
            }
            at += used;
            seen[1] += 1;
        }
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before + 1, "after {seen:?} operations");
}
