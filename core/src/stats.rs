//! Counters of a client and of a subscription.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// What became of everything published. `published = flushed + unknown + dropped + pending`, in every snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishCounts {
    /// Accepted by `publish`, `try_publish`, `request` and the rest.
    pub published: u64,
    /// Processed by the server: written, and a PONG came for a PING behind it.
    pub flushed: u64,
    /// Taken by the socket up to the last byte, then the connection broke: the server may have it.
    pub unknown: u64,
    /// Given up: the client closed, a request ended before its message was sent, or the server that is there after a
    /// reconnect takes no message as large.
    pub dropped: u64,
    /// Still ours or not confirmed yet.
    pub pending: u64,
    /// Refused by the server for lack of permission (these count as flushed as well).
    pub rejected: u64,
}

impl PublishCounts {
    /// Whether nothing is missing.
    pub fn balanced(&self) -> bool {
        self.published == self.flushed + self.unknown + self.dropped + self.pending
    }
}

/// Counters of a client since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Messages received, also those that an inbox had no room for.
    pub in_messages: u64,
    /// Bytes read from the connection, as plain text.
    pub in_bytes: u64,
    /// Messages published.
    pub out_messages: u64,
    /// Bytes written to the connection, as plain text.
    pub out_bytes: u64,
    /// Messages dropped because an inbox was full.
    pub dropped_messages: u64,
    /// Frames skipped because their subject was not readable text.
    pub unreadable: u64,
    /// Successful connects, the first one included.
    pub connects: u64,
    /// Bytes that wait in the outbound buffer.
    pub buffered_bytes: u64,
    /// Requests that wait for their answer.
    pub requests_waiting: u64,
    /// Open subscriptions.
    pub subscriptions: u64,
    /// What became of what was published.
    pub publishes: PublishCounts,
}

/// Counters of one subscription since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStats {
    /// Messages that wait to be taken.
    pub pending: u64,
    /// Bytes that wait to be taken.
    pub pending_bytes: u64,
    /// Messages that came from the server.
    pub received: u64,
    /// Messages handed out.
    pub delivered: u64,
    /// Messages handed out and not yet reported as handled.
    pub unhandled: u64,
    /// Messages dropped because there was no room.
    pub dropped: u64,
}

/// The counters that the reader and writer keep.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) in_messages: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    pub(crate) out_bytes: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) connects: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}
