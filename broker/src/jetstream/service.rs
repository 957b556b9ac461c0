//! JetStream of one server: which accounts have it, what was found on disk, how it ends.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::account;
use super::clock::Timestamp;
use super::consumer_check::ServerLimits;
use super::host::{Handle, Host, Server};
use super::limits::Usage;
use super::mailbox::{Item, MAX_CALLS};
use super::sinks::{Acks, Api};
use super::stream::{Record, Remains, stream_prefix, streams_keys};
use super::stream_config::Storage;
use crate::config::{JetStreamConfig, SyncMode};
use crate::router::{Account, Sink};
use crate::store::{KeyState, Options, Recovered, Report as StoreReport, Store, StoreError};

/// Settings that do not come from the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `jetstream` block of the configuration.
    pub config: JetStreamConfig,
    /// The server's name, shown as the leader of streams.
    pub server_name: String,
}

/// JetStream of one server. Clones share it.
#[derive(Clone)]
pub struct JetStream {
    inner: Arc<Inner>,
}

struct Inner {
    server: Arc<Server>,
    config: JetStreamConfig,
    hosts: RwLock<HashMap<u64, Arc<Host>>>,
    /// What was found on disk and belongs to accounts that have not been enabled (yet).
    found: Mutex<Recovered>,
    report: StoreReport,
    /// Streams that are on disk and can not be understood: they stay there, and the health check says so.
    unreadable: Mutex<Vec<String>>,
}

impl std::fmt::Debug for JetStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JetStream").field("server", &self.inner.server.name).finish_non_exhaustive()
    }
}

/// A number of bytes nobody reaches.
const NO_LIMIT: u64 = i64::MAX as u64;

impl JetStream {
    /// Opens the store of a configuration and starts. Needs a tokio runtime; reads the whole store, so call it where
    /// blocking is allowed.
    pub fn open(settings: Settings) -> Result<JetStream, StoreError> {
        let file = match &settings.config.store_dir {
            None => None,
            Some(dir) => {
                let mut options = Options::new(Path::new(dir).join("jetstream"));
                options.sync = settings.config.sync == SyncMode::Always;
                Some(Store::open(options)?)
            }
        };
        Ok(JetStream::start(settings, file))
    }

    /// Starts with an opened store; without one everything lives in memory. Needs a tokio runtime.
    pub fn start(settings: Settings, file: Option<(Store, Recovered)>) -> JetStream {
        let memory = Store::memory();
        let durable = file.is_some();
        let (file, found) = file.unwrap_or_else(|| (memory.clone(), Recovered::default()));
        let Settings { config, server_name } = settings;
        let server = Arc::new(Server {
            name: server_name,
            domain: config.domain.clone(),
            file,
            durable,
            memory,
            max_memory: config.max_memory.unwrap_or(NO_LIMIT),
            max_file: config.max_file.unwrap_or(NO_LIMIT),
            limits: ServerLimits {
                max_ack_pending: config.max_ack_pending.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(0),
                ..ServerLimits::default()
            },
            usage: Usage::default(),
            api_total: AtomicU64::new(0),
            api_errors: AtomicU64::new(0),
            batches: AtomicUsize::new(0),
            runtime: tokio::runtime::Handle::current(),
            closing: AtomicBool::new(false),
        });
        let report = found.report.clone();
        let inner = Inner {
            server,
            config,
            hosts: RwLock::default(),
            found: Mutex::new(found),
            report,
            unreadable: Mutex::default(),
        };
        JetStream { inner: Arc::new(inner) }
    }

    /// Serves an account: its API, and the streams it had. A second time is nothing. An account without JetStream is to be
    /// enabled too: its API says that there is none.
    pub fn enable_account(&self, account: &Arc<Account>) {
        let mut hosts = self.inner.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if hosts.contains_key(&account.id) || self.inner.server.closing.load(Ordering::Relaxed) {
            return;
        }
        let (calls, received) = mpsc::channel(MAX_CALLS);
        let host = Arc::new(Host {
            account: account.clone(),
            server: self.inner.server.clone(),
            streams: RwLock::default(),
            unreadable: Mutex::default(),
            usage: Usage::default(),
            api: Default::default(),
            calls,
            subs: Mutex::default(),
        });
        self.restore(&host);
        self.inner.server.runtime.spawn(account::manage(host.clone(), received));
        let mut subs = Vec::new();
        let mut listen = |subject: &str, sink: Arc<dyn Sink>| {
            subs.push(account.subscribe(subject, None, Bytes::new(), sink));
        };
        let mut prefixes = vec!["$JS.API.".to_owned()];
        prefixes.extend(self.inner.server.domain.iter().map(|domain| format!("$JS.{domain}.API.")));
        for prefix in prefixes {
            listen(&format!("{prefix}>"), Arc::new(Api { host: host.clone(), prefix }));
        }
        listen("$JS.ACK.>", Arc::new(Acks { host: host.clone() }));
        listen("$JS.FC.>", Arc::new(Acks { host: host.clone() }));
        *host.subs.lock().unwrap_or_else(PoisonError::into_inner) = subs;
        hosts.insert(account.id, host);
    }

    fn restore(&self, host: &Arc<Host>) {
        let mut found = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, state) in take_prefix(&mut found.keys, &stream_prefix(&host.account.name)) {
            match serde_json::from_slice::<Record>(&state.value) {
                Ok(record) => {
                    let mut remains = Remains {
                        messages: found.streams.remove(&record.id).unwrap_or_default(),
                        ..Remains::default()
                    };
                    for prefix in streams_keys(record.id) {
                        remains.keys.extend(take_prefix(&mut found.keys, &prefix));
                    }
                    account::launch(host, record, Some(remains));
                }
                Err(error) => {
                    let name = String::from_utf8_lossy(&key).replace('\0', " ");
                    let mut unreadable = self.inner.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
                    unreadable.push(format!("stream record{}: {error}", name.trim_start_matches('s')));
                    let stream = key.strip_prefix(&stream_prefix(&host.account.name)[..]).unwrap_or_default();
                    let stream = String::from_utf8_lossy(stream).into_owned();
                    host.unreadable.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                    // Back to where it was: nothing is given up because it is not understood.
                    found.keys.insert(key, state);
                }
            }
        }
    }

    /// An account is gone: its streams end. What they stored stays on disk.
    pub async fn account_removed(&self, account: &Arc<Account>) {
        let host = self.inner.hosts.write().unwrap_or_else(PoisonError::into_inner).remove(&account.id);
        if let Some(host) = host {
            end(&host).await;
        }
    }

    /// An account is deleted: its streams go with all they stored. True when nothing is left of them.
    pub async fn delete_account(&self, account: &Arc<Account>) -> bool {
        // What was found on disk has to be known to be deleted.
        self.enable_account(account);
        let host = self.inner.hosts.read().unwrap_or_else(PoisonError::into_inner).get(&account.id).cloned();
        let Some(host) = host else { return false };
        for stream in host.all_streams() {
            account::drop_stream(&host, &stream.name).await;
        }
        self.account_removed(account).await;
        let found = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = found.keys.keys().any(|key| key.starts_with(&stream_prefix(&account.name)));
        !unreadable && self.inner.server.file.stats().failed.is_none()
    }

    /// Ends all streams in order, syncs and closes the stores.
    pub async fn shutdown(&self) {
        self.inner.server.closing.store(true, Ordering::Relaxed);
        let hosts: Vec<Arc<Host>> =
            self.inner.hosts.write().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, host)| host).collect();
        for host in hosts {
            end(&host).await;
        }
        let server = self.inner.server.clone();
        let closed = tokio::task::spawn_blocking(move || {
            server.file.close();
            server.memory.close();
        });
        let _ = closed.await;
    }

    fn hosts(&self) -> Vec<Arc<Host>> {
        let mut hosts: Vec<Arc<Host>> =
            self.inner.hosts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        hosts.sort_unstable_by(|a, b| a.account.name.cmp(&b.account.name));
        hosts
    }

    /// What is wrong, if something is: for the health check.
    pub fn health(&self) -> Result<(), String> {
        if let Some(why) = self.inner.server.file.stats().failed {
            return Err(format!("the store is read-only: {why}"));
        }
        if let Some(first) = self.inner.unreadable.lock().unwrap_or_else(PoisonError::into_inner).first() {
            return Err(first.clone());
        }
        if !self.inner.report.is_clean() {
            let note = self.inner.report.notes.first().map_or("damage was found", String::as_str);
            return Err(format!("the store was damaged: {note}"));
        }
        for host in self.hosts() {
            for stream in host.all_streams() {
                if let Some(trouble) = &*stream.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
                    return Err(format!("stream {} of account {}: {trouble}", stream.name, host.account.name));
                }
            }
        }
        Ok(())
    }

    fn counts(&self) -> (usize, u64, u64, u64) {
        let (mut streams, mut consumers, mut messages, mut bytes) = (0, 0, 0, 0);
        for host in self.hosts() {
            for stream in host.all_streams() {
                let state = stream.state();
                streams += 1;
                consumers += state.consumer_count;
                messages += state.messages;
                bytes += state.bytes;
            }
        }
        (streams, consumers, messages, bytes)
    }

    fn usage(&self) -> Value {
        let server = &self.inner.server;
        json!({
            "memory": server.usage.get(Storage::Memory),
            "storage": server.usage.get(Storage::File),
            "reserved_memory": server.usage.reserved(Storage::Memory),
            "reserved_storage": server.usage.reserved(Storage::File),
            "accounts": self.hosts().iter().filter(|host| host.account.jetstream().enabled).count(),
            "ha_assets": 0,
            "api": {
                "level": super::stream_config::API_LEVEL,
                "total": server.api_total.load(Ordering::Relaxed),
                "errors": server.api_errors.load(Ordering::Relaxed),
            },
        })
    }

    fn settings_doc(&self) -> Value {
        let config = &self.inner.config;
        let mut document = json!({
            "max_memory": config.max_memory.unwrap_or(NO_LIMIT),
            "max_storage": config.max_file.unwrap_or(NO_LIMIT),
            "store_dir": config.store_dir.as_ref().map_or_else(String::new, |dir| dir.display().to_string()),
            "sync_interval": 0,
            "strict": config.strict.unwrap_or(true),
        });
        if let (Some(map), Some(domain)) = (document.as_object_mut(), &config.domain) {
            map.insert("domain".into(), domain.as_str().into());
        }
        if let (Some(map), SyncMode::Always) = (document.as_object_mut(), config.sync) {
            map.insert("sync_always".into(), true.into());
        }
        document
    }

    /// The `jetstream` block of `/varz`.
    pub fn varz(&self) -> Value {
        json!({"config": self.settings_doc(), "stats": self.usage(), "limits": {}})
    }

    /// The answer of `/jsz`, without what the server adds.
    pub fn jsz(&self) -> Value {
        let (streams, consumers, messages, bytes) = self.counts();
        let mut answer = self.usage();
        if let Some(map) = answer.as_object_mut() {
            map.insert("now".into(), json!(Timestamp::now()));
            map.insert("config".into(), self.settings_doc());
            map.insert("streams".into(), streams.into());
            map.insert("consumers".into(), consumers.into());
            map.insert("messages".into(), messages.into());
            map.insert("bytes".into(), bytes.into());
            let stats = self.inner.server.file.stats();
            map.insert(
                "store".into(),
                json!({
                    "disk_bytes": stats.disk_bytes, "live_bytes": stats.live_bytes, "segments": stats.segments,
                    "commits": stats.commits, "batches": stats.batches, "syncs": stats.syncs, "moved": stats.moved,
                    "cleaned": stats.cleaned, "full": stats.full, "failed": stats.failed,
                }),
            );
        }
        answer
    }
}

impl crate::monitor::Report for JetStream {
    fn health(&self) -> Result<(), String> {
        JetStream::health(self)
    }

    fn varz(&self) -> Value {
        JetStream::varz(self)
    }

    fn jsz(&self) -> Value {
        JetStream::jsz(self)
    }
}

/// Takes all keys with a prefix.
fn take_prefix(keys: &mut BTreeMap<Vec<u8>, KeyState>, prefix: &[u8]) -> BTreeMap<Vec<u8>, KeyState> {
    let mut taken = keys.split_off(prefix);
    let after = taken.keys().find(|key| !key.starts_with(prefix)).cloned();
    if let Some(after) = after {
        keys.append(&mut taken.split_off(&after));
    }
    taken
}

/// Lets the streams of an account finish and forgets its subscriptions.
async fn end(host: &Arc<Host>) {
    let subs = std::mem::take(&mut *host.subs.lock().unwrap_or_else(PoisonError::into_inner));
    host.account.unsubscribe_all(&subs);
    let streams: Vec<Arc<Handle>> = host.all_streams();
    let mut waits = Vec::new();
    for stream in &streams {
        let (done, ended) = oneshot::channel();
        if stream.mailbox.push(Item::Stop(done)) {
            waits.push(ended);
        }
    }
    for ended in waits {
        let _ = ended.await;
    }
    host.streams.write().unwrap_or_else(PoisonError::into_inner).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_by_prefix() {
        let mut keys: BTreeMap<Vec<u8>, KeyState> =
            ["a", "b1", "b2", "c"].iter().map(|key| (key.as_bytes().to_vec(), KeyState::default())).collect();
        let taken = take_prefix(&mut keys, b"b");
        assert_eq!(taken.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"b1", b"b2"]);
        assert_eq!(keys.len(), 2);
        assert!(take_prefix(&mut keys, b"x").is_empty() && keys.len() == 2);
    }
}
