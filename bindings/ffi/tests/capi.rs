//! The C ABI as C would use it: bytes and pointers, owned buffers, negative numbers, the last failure.
#![allow(unsafe_code, reason = "a C interface is called")]

mod common;

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::{LIMIT, World};
use natsune_ffi::capi::*;
use serde_json::json;

/// A buffer read and given back.
fn take_buffer(buffer: MaybeUninit<NatsuneBuffer>) -> Vec<u8> {
    // SAFETY: the call before succeeded, so it wrote a buffer; it is freed once, below.
    unsafe {
        let buffer = buffer.assume_init();
        let (ptr, len): (*const u8, usize) = std::ptr::read((&raw const buffer).cast());
        let bytes = std::slice::from_raw_parts(ptr, len).to_vec();
        natsune_buffer_free(buffer);
        bytes
    }
}

fn last_failure() -> Option<(u32, String)> {
    let mut out = MaybeUninit::uninit();
    // SAFETY: `out` is a place for one buffer.
    if unsafe { natsune_last_failure(out.as_mut_ptr()) } == 0 {
        return None;
    }
    let bytes = take_buffer(out);
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    Some((number(4), String::from_utf8(bytes[20..20 + number(8) as usize].to_vec()).expect("a code")))
}

fn publish(client: u64, subject: &[u8], payload: &[u8]) -> i32 {
    // SAFETY: slices that live during the call.
    unsafe {
        natsune_publish(
            client,
            subject.as_ptr(),
            subject.len(),
            std::ptr::null(),
            0,
            std::ptr::null(),
            0,
            payload.as_ptr(),
            payload.len(),
        )
    }
}

type Call = (&'static str, Box<dyn Fn() -> i64>);

extern "C" fn count(context: *mut c_void) {
    // SAFETY: the context is the static counter of the test.
    unsafe { &*context.cast::<AtomicUsize>() }.fetch_add(1, Ordering::SeqCst);
}

fn drain(queue: u64) -> Vec<u64> {
    let mut ids = [0u64; 4];
    // SAFETY: an array of that size.
    let got = unsafe { natsune_queue_drain(queue, ids.as_mut_ptr(), ids.len()) };
    ids[..usize::try_from(got).expect("open")].to_vec()
}

#[test]
fn a_message_and_a_request_in_c() {
    static WAKES: AtomicUsize = AtomicUsize::new(0);
    let world = World::new();
    let client = world.client;
    let sub = world.queue.handle(client, "client.subscribe", json!({"subject": "c"})).expect("subscribed");
    let queue = natsune_queue_new(Some(count), (&raw const WAKES).cast_mut().cast()) as u64;
    let ready = natsune_start_ready(queue, sub);
    assert!(ready > 0);
    assert_eq!(publish(client, b"c", b"hello"), 0);
    let deadline = Instant::now() + LIMIT;
    while WAKES.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(drain(queue), [ready as u64]);
    assert_eq!(natsune_finish_number(ready as u64), 0);
    let mut out = MaybeUninit::uninit();
    // SAFETY: `out` is a place for one buffer.
    assert_eq!(unsafe { natsune_take(sub, 256, u32::MAX, 0, out.as_mut_ptr()) }, 0);
    let batch = take_buffer(out);
    assert_eq!((&batch[..4], &batch[48..]), (&[1, 0, 0, 0][..], &b"chello"[..]));

    // SAFETY: slices that live during the call.
    let id = unsafe {
        natsune_start_request(queue, client, b"none".as_ptr(), 4, std::ptr::null(), 0, std::ptr::null(), 0, 5000)
    };
    let deadline = Instant::now() + LIMIT;
    while drain(queue) != [id as u64] {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let mut out = MaybeUninit::uninit();
    // SAFETY: `out` is a place for one buffer, which stays unwritten on failure.
    assert_eq!(unsafe { natsune_finish_messages(id as u64, out.as_mut_ptr()) }, -7);
    assert_eq!(last_failure(), Some((0, "no_responders".to_owned())));
    assert_eq!(last_failure(), None, "it is taken");
    natsune_queue_close(queue);
    assert_eq!(natsune_start_ready(queue, sub), -5);
    natsune_close_handle(sub);
}

#[test]
fn nonsense_is_refused() {
    let world = World::new();
    assert_eq!(publish(0, b"a", b""), -5);
    assert_eq!(publish(world.client, b"", b""), -1);
    assert_eq!(publish(world.client, &[0xff], b""), -1);
    assert_eq!(natsune_queue_new(None, std::ptr::null_mut()), -1);
    // SAFETY: null places are what is tested.
    unsafe {
        assert_eq!(natsune_queue_drain(world.queue.number, std::ptr::null_mut(), 5), -1);
        assert_eq!(natsune_take(world.client, 1, 1, 0, std::ptr::null_mut()), -1);
        assert_eq!(natsune_last_failure(std::ptr::null_mut()), 0);
    }
    natsune_cancel(u64::MAX);
    natsune_close_handle(u64::MAX);
    natsune_queue_close(u64::MAX);
}

#[test]
fn a_panic_in_any_function_is_internal() {
    let world = World::new();
    let (queue, client) = (world.queue.number, world.client);
    let none: *const u8 = std::ptr::null();
    let place = || MaybeUninit::<NatsuneBuffer>::uninit();
    // SAFETY: no function gets to its arguments.
    let calls: Vec<Call> = unsafe {
        vec![
            ("natsune_queue_new", Box::new(|| natsune_queue_new(Some(count), std::ptr::null_mut()))),
            ("natsune_queue_drain", Box::new(move || natsune_queue_drain(queue, [0].as_mut_ptr(), 1))),
            ("natsune_publish", Box::new(move || natsune_publish(client, none, 0, none, 0, none, 0, none, 0).into())),
            ("natsune_offer", Box::new(move || natsune_offer(client, none, 0, none, 0, none, 0, none, 0).into())),
            (
                "natsune_start_publish",
                Box::new(move || natsune_start_publish(queue, client, none, 0, none, 0, none, 0, none, 0)),
            ),
            (
                "natsune_start_request",
                Box::new(move || natsune_start_request(queue, client, none, 0, none, 0, none, 0, 0)),
            ),
            (
                "natsune_start_js_publish",
                Box::new(move || natsune_start_js_publish(queue, client, none, 0, none, 0, none, 0, none, 0)),
            ),
            ("natsune_take", Box::new(move || natsune_take(client, 1, 1, 0, place().as_mut_ptr()).into())),
            ("natsune_start_ready", Box::new(move || natsune_start_ready(queue, client))),
            ("natsune_start_wait_writable", Box::new(move || natsune_start_wait_writable(queue, client))),
            ("natsune_settle", Box::new(move || natsune_settle(client, none, 0, 0, 1, none, 0).into())),
            ("natsune_start_ack_sync", Box::new(move || natsune_start_ack_sync(queue, client, none, 0, 0, 0))),
            ("natsune_finish_number", Box::new(|| natsune_finish_number(1))),
            ("natsune_finish_messages", Box::new(move || natsune_finish_messages(1, place().as_mut_ptr()).into())),
            ("natsune_finish_ack", Box::new(move || natsune_finish_ack(1, place().as_mut_ptr()).into())),
            ("natsune_finish_document", Box::new(move || natsune_finish_document(1, place().as_mut_ptr()).into())),
            ("natsune_start", Box::new(move || natsune_start(queue, client, none, 0, none, 0))),
            ("natsune_info", Box::new(move || natsune_info(client, none, 0, place().as_mut_ptr()).into())),
        ]
    };
    for (name, call) in &calls {
        natsune_inject_panic();
        assert_eq!(call(), -17, "{name}");
        assert_eq!(last_failure(), Some((1, "internal".to_owned())), "{name}");
    }
    for quiet in [natsune_queue_close, natsune_cancel, natsune_close_handle] {
        natsune_inject_panic();
        quiet(1);
    }
    let source = include_str!("../src/capi.rs");
    let header = include_str!("../include/natsune.h");
    let mut names = 0;
    for line in source.lines().filter(|line| line.contains("extern \"C\" fn natsune_")) {
        let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).expect("a name");
        names += 1;
        assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
        let quiet =
            ["queue_close", "cancel", "close_handle", "last_failure", "buffer_free", "open_handles", "inject_panic"];
        let walled = calls.iter().any(|(tested, _)| *tested == name);
        assert!(
            walled || quiet.iter().any(|quiet| name == format!("natsune_{quiet}")),
            "{name} has no test of its wall"
        );
    }
    assert_eq!(names, 25);
    assert_eq!(publish(client, b"a", b""), 0, "nothing was harmed");
}
