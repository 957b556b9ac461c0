//! Who a client is and what it may do.
//!
//! [`Auth`] answers two questions: who is this (`authenticate`), and would it still be let in (`still_valid`). It owns the
//! accounts of the router: it makes them from the configuration and from the namespaces, and removes them again.

mod connect;
mod error;
mod identity;
mod operator;
mod origin;
mod password;
mod permissions;
mod realm;
mod settings;
mod signature;
mod simple;
mod state;
mod template;
mod throttle;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

pub use connect::{ConnectDoc, PeerContext};
pub use error::AuthError;
pub use identity::{Identity, UserLimits};
pub use permissions::{Permissions, Responses};

use crate::config::{Config, ConfigError};
use crate::log::Log;
use crate::namespaces::{Glance, Namespaces, Snapshot};
use crate::router::{Account, AccountSettings, Router};
use password::Passwords;
use simple::Simple;
use state::State;
use throttle::Throttle;

/// How often the folder of the namespaces is looked at.
const GLANCE: Duration = Duration::from_millis(200);

/// Authentication and accounts of one server.
pub struct Auth {
    router: Arc<Router>,
    log: Log,
    namespaces: Option<Namespaces>,
    state: RwLock<Arc<State>>,
    /// Held while a new state is built: changes happen one after the other.
    building: Mutex<Building>,
    passwords: Passwords,
    throttle: Throttle,
    changes: watch::Sender<u64>,
    listeners: Mutex<Vec<Listener>>,
}

type Listener = Box<dyn Fn(AccountEvent) + Send + Sync>;

/// What happened to an account.
#[derive(Clone, Debug)]
pub enum AccountEvent {
    /// It is there, new or with changed settings.
    Present(Arc<Account>),
    /// Its namespace was deleted: whatever belongs to it has to go, then [`Auth::forget`] is to be called; until then each
    /// start says so again. The account is not in the router any more.
    Removed(Arc<Account>),
}

/// What a new state is built from.
struct Building {
    config: Config,
    glance: Option<Glance>,
    snapshot: Option<Snapshot>,
    /// Deleted namespaces that were told.
    deleted: HashSet<String>,
    /// The last trouble with the folder, so that it is logged once.
    trouble: Option<String>,
}

/// Looks at the operators and accounts of a configuration without starting anything.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    let config = Config { namespaces: None, ..config.clone() };
    Auth::new(&config, Arc::new(Router::new()), Log::off()).map(drop)
}

impl Auth {
    /// Reads the namespaces, and makes all accounts in the router.
    pub fn new(config: &Config, router: Arc<Router>, log: Log) -> Result<Arc<Auth>, ConfigError> {
        let namespaces = config.namespaces.as_ref().map(|namespaces| Namespaces::open(&namespaces.dir)).transpose();
        let trouble = |error| ConfigError::new(format!("namespaces: {error}"));
        let namespaces = namespaces.map_err(trouble)?;
        let mut building =
            Building { config: config.clone(), glance: None, snapshot: None, deleted: HashSet::new(), trouble: None };
        if let Some(namespaces) = &namespaces {
            building.glance = Some(namespaces.glance());
            building.snapshot = Some(namespaces.snapshot().map_err(trouble)?);
        }
        let snapshot = building.snapshot.as_ref();
        building.deleted = snapshot.map(|snapshot| snapshot.deleted.iter().cloned().collect()).unwrap_or_default();
        let state = State::build(config, Arc::new(Simple::new(config)), snapshot, None, &router, &log)?;
        let auth = Arc::new(Auth {
            router,
            log,
            namespaces,
            state: RwLock::new(Arc::new(state)),
            building: Mutex::new(building),
            passwords: Passwords::new(),
            throttle: Throttle::default(),
            changes: watch::channel(0).0,
            listeners: Mutex::default(),
        });
        if let Some(namespaces) = &auth.namespaces {
            let weak = Arc::downgrade(&auth);
            namespaces.on_change(move || {
                if let Some(auth) = weak.upgrade() {
                    auth.refresh();
                }
            });
        }
        Ok(auth)
    }

    /// The namespaces, when they are configured.
    pub fn namespaces(&self) -> Option<&Namespaces> {
        self.namespaces.as_ref()
    }

    /// Puts another configuration in force, except for the folder of the namespaces; sessions that it does not admit are told
    /// through [`Auth::subscribe_changes`]. On an error nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let mut config = config.clone();
        config.namespaces = building.config.namespaces.clone();
        self.rebuild(&building, &config, Arc::new(Simple::new(&config)))?;
        building.config = config;
        Ok(())
    }

    /// Looks after the folder of the namespaces, for as long as it is polled.
    pub async fn watch(self: Arc<Self>) {
        if self.namespaces.is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(GLANCE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let auth = Arc::clone(&self);
            // Disks can be slow, and the runtime must not be.
            let _ = tokio::task::spawn_blocking(move || auth.refresh()).await;
        }
    }

    /// Takes changes of the namespaces over, if there are any.
    pub fn refresh(&self) {
        self.look(true);
    }

    /// `closely`: also read the folder when its time stamps could hide a change.
    fn look(&self, closely: bool) {
        let Some(namespaces) = &self.namespaces else { return };
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let glance = namespaces.glance();
        if building.glance.as_ref() == Some(&glance) && !(closely && glance.is_recent()) {
            return;
        }
        match namespaces.snapshot() {
            Ok(snapshot) if building.snapshot.as_ref().is_some_and(|old| old.is_same(&snapshot)) => {}
            Ok(snapshot) => {
                building.snapshot = Some(snapshot);
                let simple = Arc::clone(&self.state().simple);
                if let Err(error) = self.rebuild(&building, &building.config, simple) {
                    self.trouble(&mut building, error.to_string());
                    return;
                }
                self.remove_deleted(&mut building);
            }
            Err(error) => {
                // An unreadable folder is no deletion: everybody keeps what they had.
                self.trouble(&mut building, error.to_string());
                return;
            }
        }
        building.trouble = None;
        building.glance = Some(glance);
    }

    fn trouble(&self, building: &mut Building, text: String) {
        if building.trouble.as_ref() != Some(&text) {
            self.log.error(format_args!("namespaces: {text}"));
            building.trouble = Some(text);
        }
    }

    /// Builds the state, puts it in force and tells everybody.
    fn rebuild(&self, building: &Building, config: &Config, simple: Arc<Simple>) -> Result<(), ConfigError> {
        let old = self.state();
        let before: Vec<_> = old.accounts.values().map(|account| (account.id, account.settings())).collect();
        let new =
            Arc::new(State::build(config, simple, building.snapshot.as_ref(), Some(&old), &self.router, &self.log)?);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        for account in new.accounts.values() {
            let known = before.iter().any(|(id, settings)| *id == account.id && **settings == *account.settings());
            if !known {
                self.announce(&AccountEvent::Present(Arc::clone(account)));
            }
        }
        self.changes.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// Namespaces deleted since the last time lose their account and all that is in it.
    fn remove_deleted(&self, building: &mut Building) {
        let deleted = building.snapshot.as_ref().map(|snapshot| snapshot.deleted.clone()).unwrap_or_default();
        for id in deleted {
            if building.deleted.insert(id.clone()) {
                self.announce(&AccountEvent::Removed(self.taken_out(&id)));
            }
        }
    }

    /// The account of a deleted namespace, out of the router; an empty one when it was deleted before this start.
    fn taken_out(&self, id: &str) -> Arc<Account> {
        let account = self.router.create_account(id, AccountSettings::default());
        self.router.remove_account(id);
        account
    }

    /// The data of a deleted namespace is gone for good.
    pub fn forget(&self, account: &str) {
        if let Some(Err(error)) = self.namespaces.as_ref().map(|namespaces| namespaces.forget(account)) {
            self.log.warn(format_args!("namespaces: {error}"));
        }
    }

    /// True when INFO must carry a nonce.
    pub fn nonce_required(&self) -> bool {
        let state = self.state();
        state.operators.is_some() || state.simple.has_nkeys()
    }

    /// A nonce for one connection's INFO: 128 random bits.
    pub fn new_nonce() -> String {
        data_encoding::BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>())
    }

    /// True when INFO must say that clients have to authenticate.
    pub fn auth_required(&self) -> bool {
        !self.state().simple.admits_anonymous()
    }

    /// Time a client has to authenticate.
    pub fn timeout(&self) -> Duration {
        self.state().timeout
    }

    /// The account of the server's own subjects.
    pub fn system_account(&self) -> Arc<Account> {
        let state = self.state();
        state.accounts.get(&state.system).cloned().unwrap_or_else(|| self.router.system_account())
    }

    /// Who a client is that begins with another verb than CONNECT; `None`: it must authenticate.
    pub fn anonymous(&self, peer: &PeerContext) -> Option<Identity> {
        let state = self.state();
        state.simple.anonymous(peer).and_then(|admitted| state.identity(admitted).ok())
    }

    /// Who a client is. The answer to wrong passwords comes later and later, so that guessing is slow.
    pub async fn authenticate(&self, connect: &ConnectDoc, peer: &PeerContext) -> Result<Identity, AuthError> {
        let state = self.state();
        if let (Some(token), true) =
            (connect.jwt.as_deref().filter(|token| !token.is_empty()), state.operators.is_some())
        {
            return self.by_token(token, connect, peer);
        }
        // Keys cannot be guessed, passwords and tokens can.
        let guessable = [&connect.pass, &connect.auth_token].into_iter().flatten().any(|text| !text.is_empty());
        let address = peer.addr.map(|addr| addr.ip()).filter(|_| guessable);
        if address.is_some_and(|address| !self.throttle.admits(address)) {
            return Err(AuthError::Violation("too many failures from this address"));
        }
        let admitted = state.simple.authenticate(connect, peer, &self.passwords).await;
        match admitted {
            Some(admitted) => state.identity(admitted),
            None => {
                if let Some(address) = address {
                    self.throttle.punish(address).await;
                }
                Err(AuthError::Violation("wrong or missing credentials"))
            }
        }
    }

    fn by_token(&self, token: &str, connect: &ConnectDoc, peer: &PeerContext) -> Result<Identity, AuthError> {
        // Perhaps its namespace was made a moment ago, or its credentials deleted: what was answered to whoever did that
        // holds at once. Two looks at a folder cost less than checking one signature.
        self.look(false);
        let state = self.state();
        match &state.operators {
            Some(operators) => state.identity(operators.authenticate(token, connect, peer, now())?),
            None => Err(AuthError::Violation("tokens of users are not accepted here")),
        }
    }

    /// Changes whenever somebody admitted before may no longer be: then ask [`Auth::still_valid`].
    pub fn subscribe_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The text to close a session with when it would not be let in again.
    pub fn still_valid(&self, identity: &Identity) -> Option<&'static str> {
        self.state().refuses(identity, now()).map(AuthError::text)
    }

    /// Tells `listener` of every account there is and of deleted ones not forgotten yet, and of each change from now on.
    /// It is called while clients wait for the change, so it must only take note.
    pub fn watch_accounts(&self, listener: impl Fn(AccountEvent) + Send + Sync + 'static) {
        let building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        for account in self.state().accounts.values() {
            listener(AccountEvent::Present(Arc::clone(account)));
        }
        for id in &building.deleted {
            listener(AccountEvent::Removed(self.taken_out(id)));
        }
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    fn announce(&self, event: &AccountEvent) {
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(event.clone());
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
