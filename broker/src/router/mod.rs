//! Who gets a message: accounts, their subscriptions, and the way from a publish to the sinks.
//!
//! The router knows neither sessions nor JetStream: both are [`Sink`]s. A publish never allocates and holds no lock while
//! it calls sinks, so a sink may subscribe, unsubscribe and publish again from within `deliver`.

mod account;
mod batch;
mod cache;
pub(crate) mod hash;
mod sub;
mod trie;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use account::{Account, AccountJetStream, AccountSettings};
pub use batch::{Batch, Flush};
pub use cache::{Cached, MatchCache};
pub use sub::{Delivery, Sid, Sink, Sub};
pub use trie::Matched;
pub(crate) use trie::has_empty_token;
pub use watch::Heard;

/// The account of clients when no accounts are configured.
pub const DEFAULT_ACCOUNT: &str = "$G";
/// The account of the server's own subjects.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// All accounts of one server.
pub struct Router {
    accounts: RwLock<HashMap<String, Arc<Account>>>,
    next_id: AtomicU64,
}

impl Default for Router {
    fn default() -> Self {
        Router::new()
    }
}

impl Router {
    /// A router with the default and the system account.
    pub fn new() -> Router {
        let router = Router { accounts: RwLock::new(HashMap::new()), next_id: AtomicU64::new(1) };
        router.create_account(DEFAULT_ACCOUNT, AccountSettings::default());
        router.create_account(SYSTEM_ACCOUNT, AccountSettings::default());
        router
    }

    /// The account of that name.
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The account clients get when nothing says otherwise.
    pub fn default_account(&self) -> Arc<Account> {
        self.create_account_if_missing(DEFAULT_ACCOUNT)
    }

    /// The account of the server's own subjects.
    pub fn system_account(&self) -> Arc<Account> {
        self.create_account_if_missing(SYSTEM_ACCOUNT)
    }

    /// Makes the account, or gives the one that is already there its new settings: subscriptions outlive a reload.
    pub fn create_account(&self, name: &str, settings: AccountSettings) -> Arc<Account> {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(name) {
            account.set_settings(settings);
            return account.clone();
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let account = Arc::new(Account::new(name, id, settings));
        accounts.insert(name.to_owned(), account.clone());
        account
    }

    /// Takes the account out of the router. Who still holds it keeps a working, unreachable account: ending its sessions is the caller's part.
    pub fn remove_account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// All accounts, in no order.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn create_account_if_missing(&self, name: &str) -> Arc<Account> {
        match self.account(name) {
            Some(account) => account,
            None => self.create_account(name, AccountSettings::default()),
        }
    }
}

#[cfg(test)]
mod tests;
