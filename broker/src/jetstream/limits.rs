//! What an account may use, what it uses, and the sizes a stored message is counted with.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

use super::errors::{self, ApiError};
use super::stream_config::{Storage, StreamConfig};

/// Limits of one account; -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountLimits {
    /// Bytes in memory streams.
    pub max_memory: i64,
    /// Bytes in file streams.
    pub max_storage: i64,
    /// Number of streams.
    pub max_streams: i64,
    /// Consumers of one stream.
    pub max_consumers: i64,
    /// Outstanding acknowledgements of one consumer.
    pub max_ack_pending: i64,
    /// Bytes of one memory stream.
    pub memory_max_stream_bytes: i64,
    /// Bytes of one file stream.
    pub storage_max_stream_bytes: i64,
    /// Streams must state max_bytes.
    pub max_bytes_required: bool,
}

impl Default for AccountLimits {
    fn default() -> Self {
        AccountLimits {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// Bytes in use and reserved, of an account or of the whole server.
#[derive(Debug, Default)]
pub struct Usage {
    /// In memory streams.
    pub memory: AtomicU64,
    /// In file streams.
    pub file: AtomicU64,
    /// Promised to memory streams by max_bytes.
    pub reserved_memory: AtomicI64,
    /// Promised to file streams by max_bytes.
    pub reserved_file: AtomicI64,
}

impl Usage {
    fn used(&self, storage: Storage) -> &AtomicU64 {
        match storage {
            Storage::File => &self.file,
            Storage::Memory => &self.memory,
        }
    }

    fn reservation(&self, storage: Storage) -> &AtomicI64 {
        match storage {
            Storage::File => &self.reserved_file,
            Storage::Memory => &self.reserved_memory,
        }
    }

    /// Counts bytes that came in.
    pub fn add(&self, storage: Storage, bytes: u64) {
        self.used(storage).fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that went.
    pub fn sub(&self, storage: Storage, bytes: u64) {
        self.used(storage).fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub fn get(&self, storage: Storage) -> u64 {
        self.used(storage).load(Ordering::Relaxed)
    }

    /// Changes what is promised.
    pub fn reserve(&self, storage: Storage, bytes: i64) {
        self.reservation(storage).fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes promised.
    pub fn reserved(&self, storage: Storage) -> i64 {
        self.reservation(storage).load(Ordering::Relaxed)
    }
}

/// Whether a new or grown stream of `extra` promised bytes fits into the account and the server.
pub fn check_reservation(
    config: &StreamConfig,
    extra: i64,
    account: (&AccountLimits, &Usage),
    server: (u64, &Usage),
) -> Result<(), ApiError> {
    let storage = config.storage;
    let (limits, usage) = account;
    let limit = match storage {
        Storage::File => limits.max_storage,
        Storage::Memory => limits.max_memory,
    };
    let exceeded = |storage| match storage {
        Storage::File => errors::STORAGE_EXCEEDED,
        Storage::Memory => errors::MEMORY_EXCEEDED,
    };
    if limit >= 0 && usage.reserved(storage).saturating_add(extra) > limit {
        return Err(exceeded(storage));
    }
    let (max, server_usage) = server;
    if extra > 0 && server_usage.reserved(storage).saturating_add(extra) > i64::try_from(max).unwrap_or(i64::MAX) {
        return Err(exceeded(storage));
    }
    Ok(())
}

/// Whether one stream's max_bytes is what the account asks for.
pub fn check_max_bytes(config: &StreamConfig, limits: &AccountLimits) -> Result<(), ApiError> {
    let limit = match config.storage {
        Storage::File => limits.storage_max_stream_bytes,
        Storage::Memory => limits.memory_max_stream_bytes,
    };
    if limits.max_bytes_required && config.max_bytes <= 0 {
        return Err(errors::STREAM_MAX_BYTES_REQUIRED);
    }
    if limit > 0 && config.max_bytes > limit {
        return Err(errors::STREAM_MAX_BYTES_EXCEEDED);
    }
    Ok(())
}

/// The bytes a message counts for, the same numbers clients see from other servers.
pub fn message_size(storage: Storage, subject: usize, headers: usize, payload: usize) -> u64 {
    let size = match storage {
        Storage::File if headers == 0 => 30 + subject + payload,
        Storage::File => 34 + subject + headers + payload,
        Storage::Memory => 16 + subject + headers + payload,
    };
    size as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_held_against_account_and_server() {
        let limits = AccountLimits { max_storage: 100, ..Default::default() };
        let (usage, server) = (Usage::default(), Usage::default());
        let config = StreamConfig::default();
        assert!(check_reservation(&config, 100, (&limits, &usage), (1000, &server)).is_ok());
        usage.reserve(Storage::File, 60);
        assert_eq!(
            check_reservation(&config, 50, (&limits, &usage), (1000, &server)).unwrap_err(),
            errors::STORAGE_EXCEEDED
        );
        assert_eq!(
            check_reservation(&config, 40, (&limits, &usage), (30, &server)).unwrap_err(),
            errors::STORAGE_EXCEEDED
        );
        assert_eq!(message_size(Storage::File, 3, 0, 5), 38);
        assert_eq!(message_size(Storage::Memory, 3, 4, 5), 28);
    }
}
