//! One alarm of the client's clock: no task, no timer of its own.

use std::sync::{Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::client::Client;

/// The earliest moment at which its owner wants to look at the clock. It may ring too early, never too late.
#[derive(Default)]
pub(crate) struct Alarm(Mutex<Option<(Instant, u64)>>);

impl Alarm {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings at `at` or before. An earlier one that is set stays: its owner looks at the clock and sets the next.
    pub fn set(&self, client: &Client, at: Option<Instant>, waker: impl FnOnce() -> Waker) {
        let Some(at) = at else { return };
        let clock = &client.engine().clock;
        let mut slot = self.lock();
        match *slot {
            Some((have, _)) if have <= at => {}
            old => {
                // Under our lock, so that an alarm that rings meanwhile finds its entry to clear.
                let id = clock.set_alarm(at, waker());
                *slot = Some((at, id));
                drop(slot);
                if let Some((have, id)) = old {
                    clock.clear_alarm(have, id);
                }
            }
        }
    }

    /// It rang: another one can be set.
    pub fn rang(&self) {
        *self.lock() = None;
    }

    /// Forgets it.
    pub fn clear(&self, client: &Client) {
        let old = self.lock().take();
        if let Some((at, id)) = old {
            client.engine().clock.clear_alarm(at, id);
        }
    }
}
