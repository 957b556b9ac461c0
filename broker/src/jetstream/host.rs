//! What a stream's task shares with the rest: the server's settings, its account, its handle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;

use super::api::{self, Call, Verb};
use super::clock::Timestamp;
use super::consumer_check::ServerLimits;
use super::errors::ApiError;
use super::info::StateDoc;
use super::limits::{AccountLimits, Usage};
use super::mailbox::Mailbox;
use super::stream_config::{Storage, StreamConfig};
use crate::router::{Account, Delivery, Sub};
use crate::store::{Store, StoreError};

/// Settings and counters of the whole JetStream.
#[derive(Debug)]
pub struct Server {
    /// The server's name, shown as leader.
    pub name: String,
    /// The domain.
    pub domain: Option<String>,
    /// For file streams.
    pub file: Store,
    /// Whether file streams outlive the process.
    pub durable: bool,
    /// For memory streams.
    pub memory: Store,
    /// Bytes all memory streams may use together.
    pub max_memory: u64,
    /// Bytes all file streams may use together.
    pub max_file: u64,
    /// Other limits.
    pub limits: ServerLimits,
    /// What is in use.
    pub usage: Usage,
    /// API calls so far.
    pub api_total: AtomicU64,
    /// API calls that were answered with an error.
    pub api_errors: AtomicU64,
    /// Batches that are not committed yet.
    pub batches: AtomicUsize,
    /// Where tasks run.
    pub runtime: tokio::runtime::Handle,
    /// Everything is shutting down.
    pub closing: AtomicBool,
}

impl Server {
    /// The store of a kind of stream.
    pub fn store(&self, storage: Storage) -> &Store {
        match storage {
            Storage::File => &self.file,
            Storage::Memory => &self.memory,
        }
    }

    /// Whether the store still takes changes. One that is refused anyway must not seem to have happened until the next start.
    pub fn takes_changes(&self, storage: Storage) -> Result<(), StoreError> {
        if self.store(storage).stats().failed.is_some() { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// The bytes all streams of a kind may use together.
    pub fn max(&self, storage: Storage) -> u64 {
        match storage {
            Storage::File => self.max_file,
            Storage::Memory => self.max_memory,
        }
    }
}

/// One account's JetStream.
pub struct Host {
    /// The account.
    pub account: Arc<Account>,
    /// Server-wide settings.
    pub server: Arc<Server>,
    /// The streams by name.
    pub streams: RwLock<HashMap<String, Arc<Handle>>>,
    /// Names of streams on disk that can not be understood.
    pub unreadable: Mutex<Vec<String>>,
    /// Bytes in use.
    pub usage: Usage,
    /// API calls and errors of this account.
    pub api: (AtomicU64, AtomicU64),
    /// Calls for the account's manager.
    pub calls: tokio::sync::mpsc::Sender<Box<Call>>,
    /// The account's subscriptions.
    pub subs: Mutex<Vec<Arc<Sub>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("account", &self.account.name).finish_non_exhaustive()
    }
}

impl Host {
    /// A stream.
    pub fn stream(&self, name: &str) -> Option<Arc<Handle>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All streams, by name.
    pub fn all_streams(&self) -> Vec<Arc<Handle>> {
        let mut all: Vec<_> = self.streams.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The account's limits of now.
    pub fn limits(&self) -> AccountLimits {
        let limits = self.account.jetstream();
        AccountLimits {
            max_memory: limits.max_memory,
            max_storage: limits.max_file,
            max_streams: limits.max_streams,
            max_consumers: limits.max_consumers,
            max_ack_pending: limits.max_ack_pending,
            memory_max_stream_bytes: limits.memory_max_stream_bytes,
            storage_max_stream_bytes: limits.store_max_stream_bytes,
            max_bytes_required: limits.max_bytes_required,
        }
    }

    /// Sends bytes to an inbox.
    pub fn send(&self, to: &str, payload: &[u8]) {
        if !to.is_empty() {
            self.account.publish(&Delivery { subject: to, reply: None, headers: None, payload, origin: 0 });
        }
    }

    /// Sends a status to an inbox.
    pub fn send_head(&self, to: &str, head: &str) -> usize {
        let headers = Some(head.as_bytes());
        self.account.publish(&Delivery { subject: to, reply: None, headers, payload: b"", origin: 0 })
    }

    /// Answers an API call.
    pub fn answer(&self, verb: Verb, to: &str, result: Result<Vec<u8>, ApiError>) {
        match result {
            Ok(answer) => self.send(to, &answer),
            Err(error) => {
                self.api.1.fetch_add(1, Ordering::Relaxed);
                self.server.api_errors.fetch_add(1, Ordering::Relaxed);
                self.send(to, &api::failure(verb, &error));
            }
        }
    }

    /// Tells whoever listens that something happened.
    pub fn advise<T: Serialize>(&self, subject: &str, kind: &str, event: impl FnOnce() -> T) {
        #[derive(Serialize)]
        struct Advisory<'a, T> {
            #[serde(rename = "type")]
            kind: String,
            id: String,
            timestamp: Timestamp,
            #[serde(flatten)]
            event: T,
            #[serde(skip_serializing_if = "Option::is_none")]
            domain: Option<&'a str>,
        }
        if self.account.has_interest(subject) {
            let advisory = Advisory {
                kind: format!("io.nats.jetstream.advisory.v1.{kind}"),
                id: super::ids::unique(),
                timestamp: Timestamp::now(),
                event: event(),
                domain: self.server.domain.as_deref(),
            };
            self.send(subject, &super::json::encode(&advisory));
        }
    }
}

/// What others know of a stream without asking its task.
#[derive(Debug)]
pub struct Handle {
    /// Its name.
    pub name: String,
    /// Its number in the store.
    pub id: u64,
    /// When it was made.
    pub created: Timestamp,
    /// How to reach its task.
    pub mailbox: Mailbox,
    /// Its configuration.
    pub config: RwLock<Arc<StreamConfig>>,
    /// The numbers of its consumers.
    pub consumers: RwLock<HashMap<String, u64>>,
    /// What it holds.
    pub state: Mutex<StateDoc>,
    /// Its subscriptions.
    pub subs: Mutex<Vec<Arc<Sub>>>,
    /// Why it is read-only, if it is.
    pub trouble: Mutex<Option<String>>,
}

impl Handle {
    /// A handle for a new task.
    pub fn new(id: u64, created: Timestamp, config: StreamConfig) -> Handle {
        Handle {
            name: config.name.clone(),
            id,
            created,
            mailbox: Mailbox::default(),
            config: RwLock::new(Arc::new(config)),
            consumers: RwLock::default(),
            state: Mutex::default(),
            subs: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// The configuration of now.
    pub fn config(&self) -> Arc<StreamConfig> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of a consumer.
    pub fn consumer(&self, name: &str) -> Option<u64> {
        self.consumers.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, StateDoc> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
