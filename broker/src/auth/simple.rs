//! Users of the configuration file: names with passwords, tokens, public NKeys, and the user of those who say nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::connect::{ConnectDoc, PeerContext};
use super::password::{Passwords, dummy_cost, same};
use super::permissions::Permissions;
use super::realm::{Admitted, Proof};
use super::signature;
use crate::config::{Config, Secret, UserConfig};
use crate::router::DEFAULT_ACCOUNT;

/// Everybody the configuration file names.
#[derive(Default)]
pub(super) struct Simple {
    users: HashMap<String, Arc<User>>,
    nkeys: HashMap<String, Arc<User>>,
    token: Option<Arc<Secret>>,
    no_auth: Option<Arc<User>>,
    /// Nobody has to authenticate.
    open: bool,
    dummy_cost: Option<u32>,
}

/// One user, as configured: a session stays valid as long as the same is still configured.
pub(super) struct User {
    config: UserConfig,
    account: String,
    rights: Arc<Permissions>,
}

impl User {
    fn is_same(&self, other: &User) -> bool {
        let (a, b) = (&self.config, &other.config);
        let password = |user: &UserConfig| user.password.as_ref().map(|password| password.expose().to_owned());
        let same = (&a.name, &a.nkey, &a.permissions, &a.allowed_connection_types)
            == (&b.name, &b.nkey, &b.permissions, &b.allowed_connection_types);
        same && self.account == other.account && password(a) == password(b)
    }

    /// A user without a name is known by its key.
    fn label(&self) -> &str {
        if self.config.name.is_empty() { self.config.nkey.as_deref().unwrap_or_default() } else { &self.config.name }
    }
}

impl Simple {
    pub(super) fn new(config: &Config) -> Simple {
        let auth = &config.auth;
        let mut simple = Simple {
            token: auth.token.clone().map(Arc::new),
            open: !config.auth.is_configured() && config.namespaces.is_none(),
            ..Simple::default()
        };
        for user in &auth.users {
            simple.add(user, DEFAULT_ACCOUNT, auth.default_permissions.as_ref());
        }
        for account in &auth.accounts {
            for user in &account.users {
                simple.add(user, &account.name, account.default_permissions.as_ref());
            }
        }
        simple.no_auth = auth
            .no_auth_user
            .as_ref()
            .and_then(|name| simple.users.get(name).or_else(|| simple.nkeys.get(name)).cloned());
        simple.dummy_cost = dummy_cost(simple.users.values().filter_map(|user| user.config.password.as_ref()));
        simple
    }

    fn add(&mut self, config: &UserConfig, account: &str, default: Option<&crate::config::PermissionsConfig>) {
        // The rights that count become part of the user, so that changed defaults are noticed too.
        let mut config = config.clone();
        config.permissions = config.permissions.or_else(|| default.cloned());
        let rights = Arc::new(config.permissions.as_ref().map_or_else(Permissions::all, Permissions::new));
        let user = Arc::new(User { account: account.to_owned(), rights, config });
        match &user.config.nkey {
            Some(key) => self.nkeys.insert(key.clone(), user),
            None => self.users.insert(user.config.name.clone(), user),
        };
    }

    /// True when a challenge must be in INFO.
    pub(super) fn has_nkeys(&self) -> bool {
        !self.nkeys.is_empty()
    }

    /// True when clients without credentials are let in, as a user or freely.
    pub(super) fn admits_anonymous(&self) -> bool {
        self.open || self.no_auth.is_some()
    }

    /// The client without credentials.
    pub(super) fn anonymous(&self, peer: &PeerContext) -> Option<Admitted> {
        if let Some(user) = &self.no_auth {
            return admit(user, peer);
        }
        self.open.then(|| Admitted::new(DEFAULT_ACCOUNT, String::new(), Arc::new(Permissions::all()), Proof::Open))
    }

    /// Checks what a client presented; `None`: turned away.
    pub(super) async fn authenticate(
        &self,
        connect: &ConnectDoc,
        peer: &PeerContext,
        passwords: &Passwords,
    ) -> Option<Admitted> {
        if self.open {
            return self.anonymous(peer);
        }
        if let Some(key) = present(&connect.nkey) {
            let user = self.nkeys.get(key)?;
            return if signature::check(key, &peer.nonce, connect.sig.as_deref()) { admit(user, peer) } else { None };
        }
        if let (Some(expected), Some(given)) = (&self.token, present(&connect.auth_token)) {
            let right = passwords.check(Some(expected), given, None).await;
            let token = Proof::Token(Arc::clone(expected));
            return right
                .then(|| Admitted::new(DEFAULT_ACCOUNT, "[token]".to_owned(), Arc::new(Permissions::all()), token));
        }
        if let Some(name) = present(&connect.user) {
            let user = self.users.get(name);
            // A user without a password is one that has the empty password.
            let empty = Secret::new(String::new());
            let expected = user.map(|user| user.config.password.as_ref().unwrap_or(&empty));
            let given = connect.pass.as_deref().unwrap_or_default();
            let right = passwords.check(expected, given, self.dummy_cost).await;
            return user.filter(|_| right).and_then(|user| admit(user, peer));
        }
        // Without operators a token of one says nothing, as on nats-server.
        let silent = present(&connect.auth_token).is_none() && present(&connect.pass).is_none();
        if silent { self.anonymous(peer) } else { None }
    }

    /// Whether who was admitted by this proof would be admitted again.
    pub(super) fn still_admits(&self, proof: &Proof) -> bool {
        match proof {
            Proof::Open => self.open,
            Proof::Token(token) => {
                self.token.as_ref().is_some_and(|now| same(now.expose().as_bytes(), token.expose().as_bytes()))
            }
            Proof::User(user) => {
                let now = match &user.config.nkey {
                    Some(key) => self.nkeys.get(key),
                    None => self.users.get(&user.config.name),
                };
                now.is_some_and(|now| now.is_same(user))
            }
            Proof::Jwt(_) => false,
        }
    }
}

/// Clients send empty strings for what they do not have.
fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

fn admit(user: &Arc<User>, peer: &PeerContext) -> Option<Admitted> {
    let kinds = &user.config.allowed_connection_types;
    if !kinds.is_empty() && !kinds.iter().any(|kind| kind.eq_ignore_ascii_case(peer.kind)) {
        return None;
    }
    let mut admitted =
        Admitted::new(&user.account, user.label().to_owned(), Arc::clone(&user.rights), Proof::User(Arc::clone(user)));
    admitted.public_key = user.config.nkey.clone();
    Some(admitted)
}
