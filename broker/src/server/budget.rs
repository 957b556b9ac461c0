//! A bound on what waits for all clients together: many slow ones must not use up the machine's memory.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is counted at a time: small amounts cost nothing, and are not worth counting.
pub(crate) const STEP: usize = 1024 * 1024;
/// Never less than this.
const LEAST: usize = 256 * 1024 * 1024;

/// Bytes waiting in large outboxes.
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// A quarter of the machine's memory.
    pub(super) fn new() -> Budget {
        Budget { used: AtomicUsize::new(0), limit: (memory().unwrap_or(0) / 4).max(LEAST) }
    }

    /// Counts bytes in; false: there are too many now.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<usize>().ok()?.checked_mul(1024)
}
