//! The hot lane as a C ABI, for Swift (and anything that speaks C). The header is `include/natsune.h`.
//!
//! Every function may be called from any thread. A negative result is a failure (minus the place of its code); what it was
//! stays for `natsune_last_failure` on the same thread. Arguments are borrowed for the call, results are owned buffers.
#![allow(unsafe_code, reason = "the C ABI takes pointers from foreign code")]
#![allow(
    clippy::missing_safety_doc,
    reason = "said once, in the header: a pointer is valid for its length during the call"
)]
#![allow(clippy::too_many_arguments, reason = "flat arguments are what crosses for a few nanoseconds")]

use std::ffi::c_void;
use std::ptr;

use crate::failure::{Failure, R, guard_quiet, inject_panic};
use crate::lane::{self, number, pack_ack, publish_options, signed};
use crate::{control, handles, hot, hub};

/// Owned bytes. Give them back with `natsune_buffer_free`, once.
#[repr(C)]
#[derive(Debug)]
pub struct NatsuneBuffer {
    ptr: *mut u8,
    len: usize,
    cap: usize,
}

impl NatsuneBuffer {
    fn new(bytes: Vec<u8>) -> NatsuneBuffer {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        NatsuneBuffer { ptr: bytes.as_mut_ptr(), len: bytes.len(), cap: bytes.capacity() }
    }
}

/// The context pointer of a wake function, which the caller made fit for any thread.
struct Context(*mut c_void);
// SAFETY: the header demands that wake function and context may be used from any thread.
unsafe impl Send for Context {}
// SAFETY: as above; calls are serialised by the queue's own lock besides.
unsafe impl Sync for Context {}

impl Context {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// Borrowed bytes for the time of a call; null or empty is no bytes.
unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if ptr.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller of the C ABI promises `len` readable bytes at `ptr` for the time of the call.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// The same where null is absence and differs from empty.
unsafe fn optional<'a>(ptr: *const u8, len: usize) -> Option<&'a [u8]> {
    if ptr.is_null() {
        return None;
    }
    // SAFETY: not null, so the promise of `bytes` holds.
    Some(unsafe { bytes(ptr, len) })
}

unsafe fn text<'a>(ptr: *const u8, len: usize, what: &str) -> R<&'a str> {
    // SAFETY: passed on from the caller.
    hot::subject_text(unsafe { bytes(ptr, len) }, what)
}

/// Writes an owned buffer where the caller wants it.
unsafe fn put(out: *mut NatsuneBuffer, bytes: Vec<u8>) -> R<i64> {
    if out.is_null() {
        return Err(Failure::invalid("no place was given for the result"));
    }
    // SAFETY: not null, and the caller promises a place for one buffer. What was there is not read.
    unsafe { ptr::write(out, NatsuneBuffer::new(bytes)) };
    Ok(0)
}

/// Wake function of a queue: short, does not block, does not call back into the library.
pub type NatsuneWake = extern "C" fn(context: *mut c_void);

/// A completion queue. `wake(context)` is called from a foreign thread, once each time the queue goes from drained to
/// non-empty, and never after `natsune_queue_close` returned.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_queue_new(wake: Option<NatsuneWake>, context: *mut c_void) -> i64 {
    let context = Context(context);
    number(|| {
        let wake = wake.ok_or_else(|| Failure::invalid("a queue needs a wake function"))?;
        hub::queue_new(Box::new(move || wake(context.get()))).map(signed)
    })
}

/// Takes at most `capacity` finished ids; gives how many. When it gave `capacity`, call again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_queue_drain(queue: u64, ids: *mut u64, capacity: usize) -> i64 {
    number(|| {
        if ids.is_null() || capacity == 0 {
            return Err(Failure::invalid("no place was given for the ids"));
        }
        // SAFETY: not null, and the caller promises place for `capacity` initialised numbers.
        let ids = unsafe { std::slice::from_raw_parts_mut(ids, capacity) };
        hub::queue_drain_some(queue, ids).map(|count| count as i64)
    })
}

/// Cancels everything in flight and closes the queue.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_queue_close(queue: u64) {
    hub::queue_close(queue);
}

/// Stops the work of an id; it never comes out of the queue afterwards.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_cancel(id: u64) {
    hub::cancel(id);
}

/// Closes whatever is behind the handle, without waiting.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_close_handle(handle: u64) {
    handles::close_handle(handle);
}

/// 0: accepted; 1: accepted under pressure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_publish(
    client: u64,
    subject: *const u8,
    subject_len: usize,
    reply: *const u8,
    reply_len: usize,
    headers: *const u8,
    headers_len: usize,
    payload: *const u8,
    payload_len: usize,
) -> i32 {
    number(|| {
        // SAFETY: passed on from the caller, all four for the time of the call.
        let (subject, reply, headers, payload) = unsafe {
            (
                bytes(subject, subject_len),
                optional(reply, reply_len),
                bytes(headers, headers_len),
                bytes(payload, payload_len),
            )
        };
        hot::publish_unguarded(client, subject, reply, headers, payload).map(i64::from)
    }) as i32
}

/// 0: accepted; 1: there is no room below the mark, and nothing was accepted (go on with `natsune_start_publish`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_offer(
    client: u64,
    subject: *const u8,
    subject_len: usize,
    reply: *const u8,
    reply_len: usize,
    headers: *const u8,
    headers_len: usize,
    payload: *const u8,
    payload_len: usize,
) -> i32 {
    number(|| {
        // SAFETY: passed on from the caller, all four for the time of the call.
        let (subject, reply, headers, payload) = unsafe {
            (
                bytes(subject, subject_len),
                optional(reply, reply_len),
                bytes(headers, headers_len),
                bytes(payload, payload_len),
            )
        };
        hot::offer_unguarded(client, subject, reply, headers, payload).map(|accepted| i64::from(!accepted))
    }) as i32
}

/// Publishes when there is room, after at most `publish_timeout`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_start_publish(
    queue: u64,
    client: u64,
    subject: *const u8,
    subject_len: usize,
    reply: *const u8,
    reply_len: usize,
    headers: *const u8,
    headers_len: usize,
    payload: *const u8,
    payload_len: usize,
) -> i64 {
    number(|| {
        // SAFETY: passed on from the caller, all four for the time of the call.
        let (subject, reply, headers, payload) = unsafe {
            (
                bytes(subject, subject_len),
                optional(reply, reply_len),
                bytes(headers, headers_len),
                bytes(payload, payload_len),
            )
        };
        hot::start_publish(queue, client, subject, reply, headers, payload).map(signed)
    })
}

/// Starts a request; finish it with `natsune_finish_messages`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_start_request(
    queue: u64,
    client: u64,
    subject: *const u8,
    subject_len: usize,
    headers: *const u8,
    headers_len: usize,
    payload: *const u8,
    payload_len: usize,
    timeout_ms: u64,
) -> i64 {
    number(|| {
        // SAFETY: passed on from the caller, all three for the time of the call.
        let (subject, headers, payload) =
            unsafe { (bytes(subject, subject_len), bytes(headers, headers_len), bytes(payload, payload_len)) };
        hot::start_request(queue, client, subject, headers, payload, timeout_ms).map(signed)
    })
}

/// Starts an acknowledged publish (`options`: packed fields); finish it with `natsune_finish_ack`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_start_js_publish(
    queue: u64,
    jetstream: u64,
    subject: *const u8,
    subject_len: usize,
    headers: *const u8,
    headers_len: usize,
    payload: *const u8,
    payload_len: usize,
    options: *const u8,
    options_len: usize,
) -> i64 {
    number(|| {
        // SAFETY: passed on from the caller, all four for the time of the call.
        let (subject, headers, payload, options) = unsafe {
            (
                bytes(subject, subject_len),
                bytes(headers, headers_len),
                bytes(payload, payload_len),
                bytes(options, options_len),
            )
        };
        let options = publish_options(options)?;
        hot::js_publish(queue, jetstream, subject, headers, payload, options).map(signed)
    })
}

/// Takes a packed batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_take(
    handle: u64,
    max_messages: u32,
    max_bytes: u32,
    done: u32,
    out: *mut NatsuneBuffer,
) -> i32 {
    number(|| {
        let packed = hot::take_from(handle, max_messages, max_bytes, done)?.pack();
        // SAFETY: passed on from the caller.
        unsafe { put(out, packed) }
    }) as i32
}

/// An id that is done when `natsune_take` would give something.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_start_ready(queue: u64, handle: u64) -> i64 {
    number(|| hot::start_ready(queue, handle).map(signed))
}

/// An id that is done when the client's outbound buffer is below its mark.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_start_wait_writable(queue: u64, client: u64) -> i64 {
    number(|| control::wait_writable(queue, client).map(signed))
}

/// Settles a message; gives the new state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_settle(
    client: u64,
    ack_subject: *const u8,
    ack_subject_len: usize,
    state: u8,
    verb: u8,
    argument: *const u8,
    argument_len: usize,
) -> i32 {
    number(|| {
        // SAFETY: passed on from the caller, both for the time of the call.
        let (subject, argument) = unsafe { (bytes(ack_subject, ack_subject_len), optional(argument, argument_len)) };
        let argument = argument.map(|argument| hot::subject_text(argument, "argument")).transpose()?;
        hot::settle(client, subject, state, verb, argument).map(i64::from)
    }) as i32
}

/// Acknowledges and waits; finish it with `natsune_finish_number`, which gives the new state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_start_ack_sync(
    queue: u64,
    client: u64,
    ack_subject: *const u8,
    ack_subject_len: usize,
    state: u8,
    timeout_ms: u64,
) -> i64 {
    number(|| {
        // SAFETY: passed on from the caller for the time of the call.
        let subject = unsafe { bytes(ack_subject, ack_subject_len) };
        hot::start_ack_sync(queue, client, subject, state, timeout_ms).map(signed)
    })
}

/// The result of an operation that gives nothing (0), yes or no, a number or a handle.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_finish_number(id: u64) -> i64 {
    number(|| hub::finish_done(id)?.into_number().map(signed))
}

/// The result of an operation that gives messages, as a packed batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_finish_messages(id: u64, out: *mut NatsuneBuffer) -> i32 {
    number(|| {
        let taken = hub::finish_done(id)?.into_taken()?;
        // SAFETY: passed on from the caller.
        unsafe { put(out, taken.pack()) }
    }) as i32
}

/// The result of an acknowledged publish, packed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_finish_ack(id: u64, out: *mut NatsuneBuffer) -> i32 {
    number(|| {
        let ack = hub::finish_done(id)?.into_ack()?;
        // SAFETY: passed on from the caller.
        unsafe { put(out, pack_ack(&ack)) }
    }) as i32
}

/// The result of an operation that gives a document, as JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_finish_document(id: u64, out: *mut NatsuneBuffer) -> i32 {
    number(|| {
        let json = hub::finish_done(id)?.into_json()?;
        // SAFETY: passed on from the caller.
        unsafe { put(out, json.into_bytes()) }
    }) as i32
}

/// Starts a verb of the control lane with a JSON document.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_start(
    queue: u64,
    target: u64,
    verb: *const u8,
    verb_len: usize,
    document: *const u8,
    document_len: usize,
) -> i64 {
    number(|| {
        // SAFETY: passed on from the caller, both for the time of the call.
        let (verb, document) = unsafe { (text(verb, verb_len, "verb")?, text(document, document_len, "document")?) };
        control::start(queue, target, verb, document).map(signed)
    })
}

/// Asks a handle something that needs no waiting; the answer is JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_info(handle: u64, what: *const u8, what_len: usize, out: *mut NatsuneBuffer) -> i32 {
    number(|| {
        // SAFETY: passed on from the caller for the time of the call.
        let what = unsafe { text(what, what_len, "question")? };
        let json = control::info(handle, what)?;
        // SAFETY: passed on from the caller.
        unsafe { put(out, json.into_bytes()) }
    }) as i32
}

/// Takes this thread's last failure, packed. 1: there was one; 0: none, and `out` is untouched.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_last_failure(out: *mut NatsuneBuffer) -> i32 {
    match lane::last_failure() {
        Some(packed) if !out.is_null() => {
            // SAFETY: not null, and the caller promises a place for one buffer.
            unsafe { ptr::write(out, NatsuneBuffer::new(packed)) };
            1
        }
        _ => 0,
    }
}

/// Frees a buffer that was given out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn natsune_buffer_free(buffer: NatsuneBuffer) {
    guard_quiet(|| {
        if !buffer.ptr.is_null() {
            // SAFETY: the three parts come from `NatsuneBuffer::new`, and the caller promises to give them back once.
            drop(unsafe { Vec::from_raw_parts(buffer.ptr, buffer.len, buffer.cap) });
        }
    });
}

/// How many handles are open, for tests.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_open_handles() -> u64 {
    handles::open_handles() as u64
}

/// Makes the next call on this thread panic inside, for tests: it must come out as the failure `internal`.
#[unsafe(no_mangle)]
pub extern "C" fn natsune_inject_panic() {
    inject_panic();
}
