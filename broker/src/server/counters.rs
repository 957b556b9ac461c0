//! Numbers of the whole server.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted by sessions as they go; what sessions count themselves is added when they end.
#[derive(Default)]
pub(crate) struct Counters {
    in_msgs: AtomicU64,
    in_bytes: AtomicU64,
    /// Of sessions that have ended.
    pub(super) ended_out_msgs: AtomicU64,
    pub(super) ended_out_bytes: AtomicU64,
    pub(super) total_connections: AtomicU64,
    slow_consumers: AtomicU64,
    stale_connections: AtomicU64,
    stalled_clients: AtomicU64,
    auth_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn received(&self, msgs: u64, bytes: u64) {
        self.in_msgs.fetch_add(msgs, Relaxed);
        self.in_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn slow_consumer(&self) {
        self.slow_consumers.fetch_add(1, Relaxed);
    }

    pub(crate) fn stale_connection(&self) {
        self.stale_connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn stalled_client(&self) {
        self.stalled_clients.fetch_add(1, Relaxed);
    }

    pub(crate) fn auth_failure(&self) {
        self.auth_failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Totals {
        Totals {
            in_msgs: self.in_msgs.load(Relaxed),
            in_bytes: self.in_bytes.load(Relaxed),
            out_msgs: self.ended_out_msgs.load(Relaxed),
            out_bytes: self.ended_out_bytes.load(Relaxed),
            total_connections: self.total_connections.load(Relaxed),
            slow_consumers: self.slow_consumers.load(Relaxed),
            stale_connections: self.stale_connections.load(Relaxed),
            stalled_clients: self.stalled_clients.load(Relaxed),
            auth_failures: self.auth_failures.load(Relaxed),
        }
    }
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) in_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_msgs: u64,
    pub(crate) out_bytes: u64,
    pub(crate) total_connections: u64,
    pub(crate) slow_consumers: u64,
    pub(crate) stale_connections: u64,
    pub(crate) stalled_clients: u64,
    pub(crate) auth_failures: u64,
}
