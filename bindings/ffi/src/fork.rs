//! Notices a `fork` by a flag that the system sets in the child, never by asking for the pid.
#![allow(unsafe_code, reason = "registering a fork handler is a C call")]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process that loaded the library and this one.
static EPOCH: AtomicU32 = AtomicU32::new(0);
static REGISTER: Once = Once::new();

/// The epoch of this process: every handle, id and queue carries it.
#[inline]
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// Asks the system to tell forked children. Called before the first thread is made.
pub(crate) fn watch() {
    REGISTER.call_once(|| {
        #[cfg(unix)]
        // SAFETY: `in_child` is a plain function that lives as long as the library and, as it must, only touches an atomic.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    });
}

#[cfg(unix)]
extern "C" fn in_child() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
}
