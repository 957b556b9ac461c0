//! Namespaces and their credentials, kept in a folder that several processes may change at the same time.
//!
//! A namespace is an account; its credentials have all rights in it and none elsewhere. The folder holds an operator made at
//! first use, who signs the accounts. A change takes the folder's lock, writes one file whole, and counts the generation up;
//! a running broker looks at the generation several times a second. So a change holds from the moment its file is in place,
//! whoever made it, and after a crash there is the state before or after it.

mod cli;
mod error;
mod files;
mod names;
mod record;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use natsune_credentials::jwt::{self, UserClaims};
use natsune_credentials::{Creds, KeyPair, Secret};
use serde::Serialize;
use time::OffsetDateTime;

pub use cli::{run_credentials, run_namespace};
pub use error::NamespaceError;
use files::{Lock, Mark};
use record::{CredentialsRecord, NamespaceRecord, OperatorRecord};

type Result<T> = std::result::Result<T, NamespaceError>;

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// The account's public key.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Credentials of a namespace, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CredentialsInfo {
    /// A UUID.
    pub id: String,
    /// Their name.
    pub name: String,
    /// The name of their namespace.
    pub namespace: String,
    /// The id of their namespace.
    pub namespace_id: String,
    /// The user's public key.
    pub public_key: String,
    /// When they were made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The namespaces of one folder. Clones share it.
#[derive(Clone)]
pub struct Namespaces {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    /// Records by id, good as long as their file has the same mark.
    cache: Mutex<HashMap<String, (Mark, Arc<NamespaceRecord>)>>,
    /// Told after a change by this process.
    listener: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

/// What a broker needs of the folder.
pub(crate) struct Snapshot {
    /// The operator's token.
    pub(crate) operator: String,
    /// Ids and tokens of the accounts.
    pub(crate) accounts: Vec<(String, String)>,
    /// Files that cannot be used; the accounts in them stay as they were.
    pub(crate) damaged: Vec<(String, NamespaceError)>,
    /// Namespaces deleted whose data may still be there.
    pub(crate) deleted: Vec<String>,
}

/// The state of the folder as far as a glance can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Its text: marks of files made in the same moment can be equal.
    generation: Option<String>,
    folders: [Option<Mark>; 2],
}

impl Snapshot {
    /// True when a broker would do the same with both.
    pub(crate) fn is_same(&self, other: &Snapshot) -> bool {
        let damaged = |snapshot: &Snapshot| {
            snapshot.damaged.iter().map(|(id, error)| (id.clone(), error.to_string())).collect::<Vec<_>>()
        };
        (&self.operator, &self.accounts, &self.deleted) == (&other.operator, &other.accounts, &other.deleted)
            && damaged(self) == damaged(other)
    }
}

impl Glance {
    /// A change this short ago may share its time stamp with another one.
    pub(crate) fn is_recent(&self) -> bool {
        self.folders.iter().flatten().any(|mark| mark.is_recent())
    }
}

impl Namespaces {
    /// Opens the folder, and makes it with a new operator at first use.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Namespaces> {
        let dir = dir.into();
        files::make_whole(&dir)?;
        for inner in ["namespaces", "deleted"] {
            files::make_folder(&dir.join(inner))?;
        }
        let shared = Shared { dir, cache: Mutex::default(), listener: Mutex::default() };
        let namespaces = Namespaces { shared: Arc::new(shared) };
        if namespaces.read_operator()?.is_none() {
            let _lock = namespaces.lock()?;
            // Somebody else may have made it meanwhile; a second one would disown all accounts.
            if namespaces.read_operator()?.is_none() {
                if !files::list(&namespaces.dir().join("namespaces"), ".json")?.is_empty() {
                    let why = "it is gone, and only with it the namespaces here are good: put it back from a copy";
                    return Err(NamespaceError::Damaged(namespaces.operator_path(), why.to_owned()));
                }
                namespaces.write(&namespaces.operator_path(), &OperatorRecord::create()?)?;
            }
        }
        Ok(namespaces)
    }

    /// Opens the folder of namespaces that are there already.
    pub fn open_existing(dir: impl Into<PathBuf>) -> Result<Namespaces> {
        let dir = dir.into();
        if !dir.join(files::OPERATOR).exists() {
            return Err(NamespaceError::NotFound(format!("a folder of namespaces at {}", dir.display())));
        }
        Namespaces::open(dir)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Makes a namespace.
    pub fn create_namespace(&self, name: &str) -> Result<Namespace> {
        names::check("a namespace", name)?;
        let lock = self.lock()?;
        if self.records()?.iter().any(|record| record.name == name) {
            return Err(NamespaceError::AlreadyExists(format!("namespace {name:?}")));
        }
        let record = NamespaceRecord::create(name, &self.operator()?, now())?;
        self.write(&self.record_path(&record.id), &record)?;
        self.changed(lock)?;
        Ok(record.info())
    }

    /// All namespaces, oldest first.
    pub fn list_namespaces(&self) -> Result<Vec<Namespace>> {
        let mut found: Vec<Namespace> = self.records()?.iter().map(|record| record.info()).collect();
        found.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
        Ok(found)
    }

    /// Deletes a namespace, by name or id, with its credentials. A broker ends its sessions and deletes its streams.
    pub fn delete_namespace(&self, name: &str) -> Result<Namespace> {
        let lock = self.lock()?;
        let record = self.find(name)?;
        // The mark is the deletion: from then on the record counts no more, whether or not this process gets to deleting it, and
        // its streams are not left for nobody to delete.
        files::write(&self.deleted_path(&record.id), &record.name)?;
        let deleted = files::delete(&self.record_path(&record.id));
        self.changed(lock)?;
        deleted?;
        Ok(record.info())
    }

    /// Makes credentials with all rights in a namespace. The text is a `.creds` file; it is not kept and cannot be had again.
    pub fn create_credentials(&self, namespace: &str, name: &str) -> Result<(CredentialsInfo, Secret)> {
        names::check("credentials", name)?;
        let lock = self.lock()?;
        let mut record = NamespaceRecord::clone(&*self.find(namespace)?);
        if record.credentials.iter().any(|credentials| credentials.name == name) {
            return Err(NamespaceError::AlreadyExists(format!("credentials {name:?} of namespace {:?}", record.name)));
        }
        let key = KeyPair::new_user();
        let mut claims = UserClaims::new(key.public_key());
        claims.claims.name = name.to_owned();
        claims.nats.issuer_account = record.id.clone();
        let token = jwt::encode(&mut claims, &record.signing_key.key()?)?;
        let made = CredentialsRecord {
            id: uuid(),
            name: name.to_owned(),
            public_key: key.public_key(),
            created_at: now(),
            issued_at: claims.claims.iat,
        };
        let info = record.credentials_info(&made);
        let text = Creds { jwt: token, key }.format()?;
        record.credentials.push(made);
        self.write(&self.record_path(&record.id), &record)?;
        self.changed(lock)?;
        Ok((info, text))
    }

    /// The credentials of one namespace, oldest first; of all namespaces when none is named.
    pub fn list_credentials(&self, namespace: Option<&str>) -> Result<Vec<CredentialsInfo>> {
        let records = match namespace {
            Some(name) => vec![self.find(name)?],
            None => self.records()?,
        };
        let mut found: Vec<_> = records
            .iter()
            .flat_map(|record| record.credentials.iter().map(|credentials| record.credentials_info(credentials)))
            .collect();
        found.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
        Ok(found)
    }

    /// Deletes credentials, by name, id or public key. A broker ends their sessions.
    pub fn delete_credentials(&self, namespace: &str, name: &str) -> Result<CredentialsInfo> {
        let lock = self.lock()?;
        let mut record = NamespaceRecord::clone(&*self.find(namespace)?);
        let found = record
            .credentials
            .iter()
            .find(|credentials| {
                [&credentials.name, &credentials.id, &credentials.public_key].into_iter().any(|known| known == name)
            })
            .cloned();
        let found = found
            .ok_or_else(|| NamespaceError::NotFound(format!("credentials {name:?} of namespace {:?}", record.name)))?;
        record.revoke(&found, &self.operator()?, OffsetDateTime::now_utc().unix_timestamp())?;
        self.write(&self.record_path(&record.id), &record)?;
        self.changed(lock)?;
        Ok(record.credentials_info(&found))
    }

    /// Calls `listener` after each change by this process; others are seen by [`Namespaces::glance`].
    pub(crate) fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        *self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// Looks whether something may have changed; cheap enough for several times a second.
    pub(crate) fn glance(&self) -> Glance {
        Glance {
            generation: files::read(&self.generation_path()).ok().flatten().map(|text| text.to_string()),
            folders: ["namespaces", "deleted"].map(|folder| Mark::of(&self.dir().join(folder))),
        }
    }

    /// Reads what a broker needs.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let operator = self
            .read_operator()?
            .ok_or_else(|| NamespaceError::NotFound("the operator of the namespaces".to_owned()))?
            .jwt;
        let (records, damaged, deleted) = self.read_records()?;
        let accounts = records.iter().map(|record| (record.id.clone(), record.jwt.clone())).collect();
        Ok(Snapshot { operator, accounts, damaged, deleted })
    }

    /// Ids of namespaces deleted whose data may still be there.
    fn deleted(&self) -> Result<Vec<String>> {
        Ok(files::list(&self.dir().join("deleted"), "")?.into_iter().map(|(id, ..)| id).collect())
    }

    /// The data of a deleted namespace is gone.
    pub(crate) fn forget(&self, id: &str) -> Result<()> {
        // Names of accounts of the configuration are no names of files.
        if natsune_credentials::KeyKind::of(id) != Some(natsune_credentials::KeyKind::Account) {
            return Ok(());
        }
        let _lock = self.lock()?;
        // A record that a crash has left goes before the mark that makes it count no more.
        files::delete(&self.record_path(id))?;
        files::delete(&self.deleted_path(id)).map(drop)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::take(self.dir())
    }

    /// Counts the generation up and tells the listener, who may read the folder: so the lock ends before.
    fn changed(&self, lock: Lock) -> Result<()> {
        let path = self.generation_path();
        let last = files::read(&path).ok().flatten().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        files::write(&path, &last.wrapping_add(1).to_string())?;
        drop(lock);
        if let Some(listener) = &*self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener();
        }
        Ok(())
    }

    fn operator(&self) -> Result<KeyPair> {
        let record = self
            .read_operator()?
            .ok_or_else(|| NamespaceError::NotFound("the operator of the namespaces".to_owned()))?;
        record.key.key()
    }

    fn read_operator(&self) -> Result<Option<OperatorRecord>> {
        let path = self.operator_path();
        files::read(&path)?.map(|text| serde_json::from_str(&text).map_err(|error| damaged(&path, &error))).transpose()
    }

    /// All records; an unusable one is an error, so that its name cannot be given away.
    fn records(&self) -> Result<Vec<Arc<NamespaceRecord>>> {
        let (records, mut damaged, _) = self.read_records()?;
        match damaged.pop() {
            Some((_, error)) => Err(error),
            None => Ok(records),
        }
    }

    /// Records, those that are unusable, and the ids of deleted namespaces, which are in neither.
    #[allow(clippy::type_complexity)]
    fn read_records(&self) -> Result<(Vec<Arc<NamespaceRecord>>, Vec<(String, NamespaceError)>, Vec<String>)> {
        // Marks come and go meanwhile: one seen before or after counts.
        let before = self.deleted()?;
        let mut cache = self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = HashMap::new();
        let (mut records, mut unusable) = (Vec::new(), Vec::new());
        for (id, path, mark) in files::list(&self.dir().join("namespaces"), ".json")? {
            let read = match cache.get(&id).filter(|(known, _)| *known == mark) {
                Some((_, record)) => Ok(Some(Arc::clone(record))),
                None => read_record(&id, &path),
            };
            match read {
                Ok(Some(record)) => {
                    fresh.insert(id, (mark, Arc::clone(&record)));
                    records.push(record);
                }
                Ok(None) => {}
                Err(error) => unusable.push((id, error)),
            }
        }
        *cache = fresh;
        let deleted = self.deleted()?;
        let living = |id: &String| !before.contains(id) && !deleted.contains(id);
        records.retain(|record| living(&record.id));
        unusable.retain(|(id, _)| living(id));
        Ok((records, unusable, deleted))
    }

    fn find(&self, name: &str) -> Result<Arc<NamespaceRecord>> {
        let found = self.records()?.into_iter().find(|record| record.name == name || record.id == name);
        found.ok_or_else(|| NamespaceError::NotFound(format!("namespace {name:?}")))
    }

    fn write<T: Serialize>(&self, path: &Path, record: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(record).map_err(|error| damaged(path, &error))?;
        files::write(path, &zeroize::Zeroizing::new(text))
    }

    fn operator_path(&self) -> PathBuf {
        self.dir().join(files::OPERATOR)
    }

    fn generation_path(&self) -> PathBuf {
        self.dir().join("generation")
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.dir().join("namespaces").join(format!("{id}.json"))
    }

    fn deleted_path(&self, id: &str) -> PathBuf {
        self.dir().join("deleted").join(id)
    }
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespaces").field(&self.shared.dir).finish()
    }
}

impl NamespaceRecord {
    fn info(&self) -> Namespace {
        Namespace { id: self.id.clone(), name: self.name.clone(), created_at: self.created_at }
    }

    fn credentials_info(&self, credentials: &CredentialsRecord) -> CredentialsInfo {
        CredentialsInfo {
            id: credentials.id.clone(),
            name: credentials.name.clone(),
            namespace: self.name.clone(),
            namespace_id: self.id.clone(),
            public_key: credentials.public_key.clone(),
            created_at: credentials.created_at,
        }
    }
}

/// The record of a file, which must be named as it says.
fn read_record(id: &str, path: &Path) -> Result<Option<Arc<NamespaceRecord>>> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    let record: NamespaceRecord = serde_json::from_str(&text).map_err(|error| damaged(path, &error))?;
    if record.id != id {
        return Err(NamespaceError::Damaged(path.to_owned(), "it is the file of another namespace".to_owned()));
    }
    Ok(Some(Arc::new(record)))
}

/// The place in the text is told, not the text: there are keys in it.
fn damaged(path: &Path, error: &serde_json::Error) -> NamespaceError {
    let what = match error.classify() {
        serde_json::error::Category::Io => "cannot be read",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "not what is expected here, or of a newer version",
        serde_json::error::Category::Eof => "cut off",
    };
    NamespaceError::Damaged(path.to_owned(), format!("{what}, at line {} column {}", error.line(), error.column()))
}

/// Now, to the microsecond: what all clients of the API can read back unchanged.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.nanosecond() / 1000 * 1000).unwrap_or(now)
}

/// A random UUID (version 4).
fn uuid() -> String {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let parts: Vec<&str> =
        [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|range| hex.get(range)).collect();
    parts.join("-")
}
