//! What must fit together in a configuration, whoever wrote it.

use std::collections::HashSet;

use super::document::is_loopback;
use super::{Config, ConfigError, NamespacesConfig};

impl Default for NamespacesConfig {
    fn default() -> Self {
        NamespacesConfig { dir: "data/namespaces".into() }
    }
}

impl Config {
    /// Looks for what cannot work together. Reading a file or flags does this; do it again after changing a document by hand.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_users()?;
        self.check_operator()?;
        self.check_limits()?;
        self.check_listen()
    }

    fn check_users(&self) -> Result<(), ConfigError> {
        let auth = &self.auth;
        let mut names = HashSet::new();
        for user in auth.users.iter().chain(auth.accounts.iter().flat_map(|account| &account.users)) {
            let name = user.nkey.as_ref().unwrap_or(&user.name);
            if !names.insert(name) {
                return Err(ConfigError::new(format!("user {name:?} is there twice")));
            }
        }
        if let Some(name) = auth.no_auth_user.as_ref().filter(|name| !names.contains(name)) {
            return Err(ConfigError::new(format!(
                "no_auth_user: {name:?} is neither a user nor an nkey of this configuration"
            )));
        }
        if let Some(name) = &auth.system_account {
            let known = auth.accounts.iter().any(|account| account.name == *name)
                || !auth.operators.is_empty()
                || name == "$SYS";
            if !known {
                return Err(ConfigError::new(format!("system_account: there is no account {name:?}")));
            }
            if auth.no_auth_user.is_some()
                && auth.accounts.iter().any(|account| {
                    account.name == *name
                        && account
                            .users
                            .iter()
                            .any(|user| Some(user.nkey.as_ref().unwrap_or(&user.name)) == auth.no_auth_user.as_ref())
                })
            {
                return Err(ConfigError::new("no_auth_user may not be a user of the system account"));
            }
        }
        Ok(())
    }

    fn check_operator(&self) -> Result<(), ConfigError> {
        let auth = &self.auth;
        if auth.operators.is_empty() {
            return if auth.resolver_preload.is_empty() {
                Ok(())
            } else {
                Err(ConfigError::new("resolver_preload needs an operator"))
            };
        }
        if auth.token.is_some()
            || !auth.users.is_empty()
            || auth.accounts.iter().any(|account| !account.users.is_empty())
        {
            return Err(ConfigError::new("an operator and users or tokens of the configuration cannot stand together"));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        if limits.max_payload > limits.max_pending {
            return Err(ConfigError::new(format!(
                "max_payload ({}) cannot be higher than max_pending ({})",
                limits.max_payload, limits.max_pending
            )));
        }
        if limits.max_payload > i32::MAX as usize || limits.max_control_line > i32::MAX as usize {
            return Err(ConfigError::new("max_payload and max_control_line end at 2147483647"));
        }
        if self.lame_duck_grace_period >= self.lame_duck_duration {
            return Err(ConfigError::new("lame_duck_grace_period must be shorter than lame_duck_duration"));
        }
        if self.ping_interval.is_zero() || self.write_deadline.is_zero() {
            return Err(ConfigError::new("ping_interval and write_deadline cannot be 0"));
        }
        Ok(())
    }

    /// Without authentication everybody who reaches the port may do everything, so it is only opened to this machine.
    fn check_listen(&self) -> Result<(), ConfigError> {
        if self.requires_auth() || self.insecure || is_loopback(self.listen_host()) {
            return Ok(());
        }
        Err(ConfigError::new(format!(
            "refusing to listen on {:?} while nobody has to authenticate: configure users, a token or namespaces, listen on 127.0.0.1, or say --insecure",
            self.listen_host()
        )))
    }
}
