//! What one environment (the main thread, or one worker) holds: its queue and its handles. All of it ends with it.

use std::cell::RefCell;
use std::collections::HashSet;

use bytes::BufMut;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, Result};
use napi_derive::napi;

use crate::failure::checked;
use crate::values::Bytes;

thread_local! {
    /// The open handles of this thread's environment: a worker that is terminated runs no JavaScript any more.
    static HANDLES: RefCell<HashSet<u64>> = RefCell::default();
}

/// Remembers a new handle.
pub(crate) fn keep(handle: u64) -> f64 {
    HANDLES.with_borrow_mut(|handles| handles.insert(handle));
    number(handle)
}

/// A number as JavaScript has it; all of ours are below 2^53.
#[inline]
pub(crate) fn number(number: u64) -> f64 {
    number as f64
}

/// A completion queue. `wake` is called, with nothing, when it goes from drained to non-empty; it keeps no process alive.
#[napi(catch_unwind)]
pub fn queue_new(env: Env, wake: Function<'_, (), ()>) -> Result<f64> {
    let wake = wake.build_threadsafe_function::<()>().callee_handled::<false>().weak::<true>().build()?;
    let queue = checked(natsune_ffi::queue_new(Box::new(move || {
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    })))?;
    // Runs before the thread-safe function goes, which was made before.
    env.add_env_cleanup_hook((), move |()| {
        natsune_ffi::queue_close(queue);
        for handle in HANDLES.take() {
            natsune_ffi::close_handle(handle);
        }
    })?;
    Ok(number(queue))
}

/// Writes finished ids to the Float64Array `out` and says how many; a full one means: call again.
#[napi(catch_unwind)]
pub fn queue_drain(queue: f64, out: Bytes<'_>) -> Result<u32> {
    let mut ids = [0; 512];
    let mut room = out.room(0);
    let most = (room.len() / 8).min(ids.len());
    let places = ids.get_mut(..most).unwrap_or_default();
    let count = checked(natsune_ffi::queue_drain_some(queue as u64, places))?;
    for id in places.iter().take(count) {
        room.put_f64_ne(number(*id));
    }
    Ok(count as u32)
}

/// Cancels everything in flight and closes the queue.
#[napi(catch_unwind)]
pub fn queue_close(queue: f64) {
    natsune_ffi::queue_close(queue as u64);
}

/// Closes whatever the handle stands for, without waiting; again is nothing.
#[napi(catch_unwind)]
pub fn close_handle(handle: f64) {
    let handle = handle as u64;
    HANDLES.with_borrow_mut(|handles| handles.remove(&handle));
    natsune_ffi::close_handle(handle);
}

/// How many handles the process has open: tests look for leaks with it.
#[napi(catch_unwind)]
pub fn open_handles() -> u32 {
    u32::try_from(natsune_ffi::open_handles()).unwrap_or(u32::MAX)
}
