//! The short way out: what somebody waits for, while nothing else is to be written, is written on the caller's thread. A
//! request that is alone then costs no wake-up of the driver. Publishes do not go this way: they are to be batched.

use std::io::Write;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::{Phase, State, Wire, release};

/// The most that is written this way: the lock is held meanwhile.
const MOST: usize = 16 << 10;

impl Wire {
    /// Unlocks after writing the buffer, if the driver is idle and the socket takes it at once; else wakes the driver.
    pub(super) fn release_now(&self, mut guard: MutexGuard<'_, State>) {
        let state = &mut *guard;
        // An armed driver has written everything: what is in the buffer was appended by this caller.
        let idle = state.phase == Phase::Live && state.driver.is_some() && !state.blocked && !state.kick;
        if idle
            && (1..=MOST).contains(&state.buf.len())
            && let Some(mut socket) = state.direct.as_ref()
        {
            // A failure is the driver's to find: it tries the same.
            let taken = socket.write(&state.buf).unwrap_or(0);
            self.direct_bytes.fetch_add(taken as u64, Relaxed);
            if taken == state.buf.len() {
                state.wrote_directly();
                // The first unconfirmed publish: the driver has to look at its clock.
                if state.since.is_none() && state.chunk_start > state.ping_mark {
                    state.since = Some(Instant::now());
                    if let Some(waker) = state.driver.take() {
                        drop(guard);
                        waker.wake();
                    }
                }
                return;
            }
            state.ahead = taken;
        }
        release(guard);
    }
}

impl State {
    /// The whole buffer is with the socket, as if it had been a chunk of the driver's.
    fn wrote_directly(&mut self) {
        self.unpinged += self.buf.len();
        self.buf.clear();
        (self.chunk_start, self.chunk_end) = (self.seq, self.seq);
        (self.controls, self.pongs, self.pings_unsent, self.ping_end) = (false, 0, 0, 0);
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
