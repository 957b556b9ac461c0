//! What the configuration says about accounts, in the router's terms.

use crate::config::{AccountConfig, AccountJetStreamConfig};
use crate::router::{AccountJetStream, AccountSettings};

/// The router writes -1 for "no limit".
fn limit(value: Option<u64>) -> i64 {
    value.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX))
}

/// Settings of an account of the configuration file.
pub(super) fn of_config(config: &AccountConfig, jetstream_on: bool) -> AccountSettings {
    AccountSettings {
        jetstream: config.jetstream.filter(|_| jetstream_on).map(|limits| jetstream(&limits)).unwrap_or_default(),
        max_connections: limit(config.max_connections),
        max_subscriptions: limit(config.max_subscriptions),
        max_payload: limit(config.max_payload),
    }
}

/// Settings of `$G` when no accounts are configured: all that the server has.
pub(super) fn unlimited(jetstream_on: bool) -> AccountSettings {
    AccountSettings {
        jetstream: AccountJetStream { enabled: jetstream_on, ..AccountJetStream::default() },
        ..AccountSettings::default()
    }
}

fn jetstream(config: &AccountJetStreamConfig) -> AccountJetStream {
    AccountJetStream {
        enabled: true,
        max_memory: limit(config.max_memory),
        max_file: limit(config.max_file),
        max_streams: limit(config.max_streams),
        max_consumers: limit(config.max_consumers),
        max_ack_pending: limit(config.max_ack_pending),
        memory_max_stream_bytes: limit(config.memory_max_stream_bytes),
        store_max_stream_bytes: limit(config.store_max_stream_bytes),
        max_bytes_required: config.max_bytes_required,
    }
}
