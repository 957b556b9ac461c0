//! One account: a subject space of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::sub::{Delivery, Sink, Sub};
use super::trie::{Matched, Trie};
use super::watch::{Heard, Watchers};

/// What an account may do with JetStream. -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountJetStream {
    /// Whether the account has JetStream at all.
    pub enabled: bool,
    /// Bytes in memory streams.
    pub max_memory: i64,
    /// Bytes in file streams.
    pub max_file: i64,
    /// Number of streams.
    pub max_streams: i64,
    /// Number of consumers.
    pub max_consumers: i64,
    /// Largest `max_ack_pending` of a consumer.
    pub max_ack_pending: i64,
    /// Largest `max_bytes` of one memory stream.
    pub memory_max_stream_bytes: i64,
    /// Largest `max_bytes` of one file stream.
    pub store_max_stream_bytes: i64,
    /// Whether each stream must say its `max_bytes`.
    pub max_bytes_required: bool,
}

impl Default for AccountJetStream {
    fn default() -> Self {
        AccountJetStream {
            enabled: false,
            max_memory: -1,
            max_file: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            store_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// What an account may do. -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// JetStream.
    pub jetstream: AccountJetStream,
    /// Connections at a time.
    pub max_connections: i64,
    /// Subscriptions of one connection.
    pub max_subscriptions: i64,
    /// Bytes of one message.
    pub max_payload: i64,
}

impl Default for AccountSettings {
    fn default() -> Self {
        AccountSettings {
            jetstream: AccountJetStream::default(),
            max_connections: -1,
            max_subscriptions: -1,
            max_payload: -1,
        }
    }
}

/// One account: subscriptions of one never see messages of another.
pub struct Account {
    /// Its name: `$G`, a configured name, or an account's public key.
    pub name: String,
    /// A number that no other account of this server ever had.
    pub id: u64,
    settings: RwLock<Arc<AccountSettings>>,
    trie: RwLock<Trie>,
    generation: AtomicU64,
    connections: AtomicI64,
    watchers: Watchers,
}

thread_local! {
    // Publishes without a cache of their own reuse one result per thread; taken while in use, so a nested publish makes its own.
    static SCRATCH: Cell<Matched> = Cell::new(Matched::default());
}

impl Account {
    pub(super) fn new(name: &str, id: u64, settings: AccountSettings) -> Account {
        Account {
            name: name.to_owned(),
            id,
            settings: RwLock::new(Arc::new(settings)),
            trie: RwLock::new(Trie::default()),
            generation: AtomicU64::new(1),
            connections: AtomicI64::new(0),
            watchers: Watchers::default(),
        }
    }

    /// Its limits of now; a reload may change them.
    pub fn settings(&self) -> Arc<AccountSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes its limits.
    pub fn set_settings(&self, settings: AccountSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// What it may do with JetStream.
    pub fn jetstream(&self) -> AccountJetStream {
        self.settings().jetstream.clone()
    }

    /// Adds a subscription. The subject must be a valid filter; anything else is simply never matched.
    pub fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
        sid: impl AsRef<[u8]>,
        sink: Arc<dyn Sink>,
    ) -> Arc<Sub> {
        let sub = Arc::new(Sub::new(subject, queue, sid.as_ref(), sink));
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        trie.insert(&sub);
        self.generation.fetch_add(1, Ordering::Release);
        drop(trie);
        self.watchers.tell(subject);
        sub
    }

    /// Lets `heard` be called whenever somebody begins to listen on this subject.
    pub fn watch_interest(&self, subject: &str, heard: &Heard) {
        self.watchers.add(subject, heard.clone());
    }

    /// The end of a watch.
    pub fn unwatch_interest(&self, subject: &str, heard: &Heard) {
        self.watchers.remove(subject, heard);
    }

    /// Removes a subscription; a second time is nothing.
    pub fn unsubscribe(&self, sub: &Arc<Sub>) {
        if sub.close() {
            let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
            trie.remove(sub);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Removes many under one lock: the end of a session with many subscriptions.
    pub fn unsubscribe_all<'a>(&self, subs: impl IntoIterator<Item = &'a Arc<Sub>>) {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        for sub in subs {
            if sub.close() {
                trie.remove(sub);
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Delivers to every matching subscription and one of each queue group; says how many took it.
    pub fn publish(&self, msg: &Delivery<'_>) -> usize {
        let mut matched = SCRATCH.take();
        self.find(msg.subject, &mut matched);
        let taken = matched.deliver(msg);
        matched.clear();
        SCRATCH.set(matched);
        taken
    }

    /// A subscription without a queue group of this one sink (the address of the object behind its `Arc`) that matches the subject.
    pub fn find_of(&self, subject: &str, sink: *const ()) -> Option<Arc<Sub>> {
        let mut matched = SCRATCH.take();
        self.find(subject, &mut matched);
        let found = matched.of(sink);
        matched.clear();
        SCRATCH.set(matched);
        found
    }

    /// Whether anybody would get a message on this subject.
    pub fn has_interest(&self, subject: &str) -> bool {
        self.trie.read().unwrap_or_else(PoisonError::into_inner).has_interest(subject)
    }

    /// How many subscriptions a message on this subject would match, all members of queue groups included.
    pub fn interest(&self, subject: &str) -> usize {
        let mut matched = Matched::default();
        self.find(subject, &mut matched);
        matched.len()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.trie.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Changes with every subscribe and unsubscribe: a match result of the same generation is still right.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces `matched` by the subscriptions of this subject.
    pub fn find(&self, subject: &str, matched: &mut Matched) {
        matched.clear();
        self.trie.read().unwrap_or_else(PoisonError::into_inner).find(subject, matched);
    }

    /// Connections at the moment.
    pub fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection in, unless the account has its limit of them.
    pub fn connection_opened(&self) -> bool {
        let max = self.settings().max_connections;
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        if max >= 0 && before >= max {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Counts a connection out.
    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}
