//! Who a client turned out to be.

use std::sync::Arc;

use super::permissions::Permissions;
use super::realm::Proof;
use crate::router::Account;

/// An authenticated client.
#[derive(Clone)]
pub struct Identity {
    /// Its account.
    pub account: Arc<Account>,
    /// What `/connz` and logs call it: the user name, a public key, or `[token]`.
    pub user: String,
    /// The name in its JWT.
    pub name: Option<String>,
    /// What it may do.
    pub permissions: Arc<Permissions>,
    /// When its rights end, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// Its public NKey.
    pub public_key: Option<String>,
    /// Its own limits, those of the account included.
    pub limits: UserLimits,
    /// By what it was admitted; looked at again after each change.
    pub(super) proof: Proof,
}

/// Limits of one connection; `None`: the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserLimits {
    /// Most subscriptions.
    pub max_subscriptions: Option<u64>,
    /// Largest payload.
    pub max_payload: Option<u64>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("account", &self.account.name)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
