//! What configuration and namespaces mean together: users, operators, accounts. Built anew as a whole at each change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::AuthError;
use super::identity::Identity;
use super::operator::Operators;
use super::realm::{Admitted, Proof};
use super::settings;
use super::simple::Simple;
use crate::config::{Config, ConfigError};
use crate::log::Log;
use crate::namespaces::Snapshot;
use crate::router::{Account, AccountSettings, DEFAULT_ACCOUNT, Router, SYSTEM_ACCOUNT};

/// Everything that decides who comes in.
pub(super) struct State {
    pub(super) simple: Arc<Simple>,
    pub(super) operators: Option<Operators>,
    pub(super) accounts: HashMap<String, Arc<Account>>,
    pub(super) system: String,
    pub(super) timeout: Duration,
}

/// The accounts a state wants, with their settings.
type Wanted = Vec<(String, AccountSettings)>;

impl State {
    /// Builds the state and makes its accounts in the router. Accounts that were checked before are taken from `old`.
    pub(super) fn build(
        config: &Config,
        simple: Arc<Simple>,
        snapshot: Option<&Snapshot>,
        old: Option<&State>,
        router: &Router,
        log: &Log,
    ) -> Result<State, ConfigError> {
        let (operators, operator_system) = operators(config, snapshot, old, log)?;
        let system =
            config.auth.system_account.clone().or(operator_system).unwrap_or_else(|| SYSTEM_ACCOUNT.to_owned());
        let mut wanted = configured(config, &system);
        if let Some(operators) = &operators {
            for (id, entry) in operators.accounts() {
                wanted.push((id.to_owned(), entry.settings(config.jetstream.is_some() && id != system)));
            }
        }
        let accounts = wanted.into_iter().map(|(name, settings)| {
            let known = old.and_then(|old| old.accounts.get(&name)).filter(|account| *account.settings() == settings);
            let account = known.cloned().unwrap_or_else(|| router.create_account(&name, settings));
            (name, account)
        });
        Ok(State { simple, operators, accounts: accounts.collect(), system, timeout: config.auth.timeout() })
    }

    /// The same, with the account looked up.
    pub(super) fn identity(&self, admitted: Admitted) -> Result<Identity, AuthError> {
        let account = self.accounts.get(&admitted.account).ok_or(AuthError::Violation("its account does not exist"))?;
        let Admitted { user, name, permissions, expires_at, public_key, limits, proof, .. } = admitted;
        Ok(Identity { account: Arc::clone(account), user, name, permissions, expires_at, public_key, limits, proof })
    }

    /// Why a session would not be let in again.
    pub(super) fn refuses(&self, identity: &Identity, now: i64) -> Option<AuthError> {
        let same_account =
            self.accounts.get(&identity.account.name).is_some_and(|account| Arc::ptr_eq(account, &identity.account));
        match &identity.proof {
            Proof::Jwt(proof) => match self.operators.as_ref().map(|operators| operators.still_admits(proof, now)) {
                Some(None) if same_account => None,
                Some(Some(error)) => Some(error),
                _ => Some(AuthError::AccountExpired),
            },
            proof if same_account && self.simple.still_admits(proof) => None,
            _ => Some(AuthError::Violation("its user was removed or changed")),
        }
    }
}

fn configured(config: &Config, system: &str) -> Wanted {
    let jetstream = config.jetstream.is_some();
    // With accounts of its own, a configuration says for each whether it has JetStream.
    let only_default =
        config.auth.accounts.iter().all(|account| account.name == system || account.name == DEFAULT_ACCOUNT);
    let mut wanted = vec![
        (DEFAULT_ACCOUNT.to_owned(), settings::unlimited(jetstream && only_default)),
        (SYSTEM_ACCOUNT.to_owned(), settings::unlimited(false)),
    ];
    for account in &config.auth.accounts {
        let mut settings = settings::of_config(account, jetstream);
        settings.jetstream.enabled &= account.name != system;
        settings.jetstream.enabled |= account.name == DEFAULT_ACCOUNT && jetstream && only_default;
        wanted.retain(|(name, _)| *name != account.name);
        wanted.push((account.name.clone(), settings));
    }
    wanted
}

/// Operators of the configuration and of the namespaces, with all their accounts, and the system account one of them names.
fn operators(
    config: &Config,
    snapshot: Option<&Snapshot>,
    old: Option<&State>,
    log: &Log,
) -> Result<(Option<Operators>, Option<String>), ConfigError> {
    if config.auth.operators.is_empty() && snapshot.is_none() {
        return Ok((None, None));
    }
    let now = super::now();
    let mut operators = Operators::default();
    let mut system = None;
    for token in &config.auth.operators {
        let claims = operators.trust(token, now)?;
        system = system.or_else(|| Some(claims.nats.system_account.clone()).filter(|id| !id.is_empty()));
    }
    if let Some(snapshot) = snapshot {
        operators.trust(&snapshot.operator, now)?;
    }
    let none = Operators::default();
    let known = old.and_then(|old| old.operators.as_ref()).unwrap_or(&none);
    for (id, token) in &config.auth.resolver_preload {
        let entry = operators
            .add_account(id, token, known, now)
            .map_err(|why| ConfigError::new(format!("resolver_preload: {id}: {why}")))?;
        if let Some(why) = entry.not_served() {
            log.warn(format_args!("account {id}: {why}"));
        }
    }
    for (id, token) in snapshot.map(|snapshot| snapshot.accounts.as_slice()).unwrap_or_default() {
        if let Err(why) = operators.add_account(id, token, known, now) {
            log.error(format_args!("namespace {id}: {why}"));
        }
    }
    for (id, error) in snapshot.map(|snapshot| snapshot.damaged.as_slice()).unwrap_or_default() {
        // Whoever could connect before still can; nobody loses a namespace through one bad file.
        let kept = operators.keep_account(id, known);
        log.error(format_args!(
            "namespace {id}: {error}{}",
            if kept { "; it stays as it was" } else { "; it cannot be used" }
        ));
    }
    Ok((Some(operators), system))
}
