//! Who may connect: `authorization`, `accounts`, their users, and the operator's tokens.

use super::permissions::permissions;
use super::{Read, Reader};
use crate::config::syntax::{Entry, Node, Value};
use crate::config::{AccountConfig, AccountJetStreamConfig, UserConfig};

impl Reader<'_> {
    pub(super) fn authorization(&mut self, node: &Node) -> Read {
        let mut name = None;
        let mut password = None;
        for entry in node.map()? {
            let node = &entry.node;
            match entry.name().as_str() {
                "user" | "username" => name = Some(node.text()?.to_owned()),
                "pass" | "password" => password = Some(node.secret()?),
                "token" => self.config.auth.token = Some(node.secret()?),
                "timeout" => self.config.auth.timeout = Some(node.duration()?),
                "users" => self.config.auth.users = users(node)?,
                "permission" | "permissions" | "default_permission" | "default_permissions" => {
                    self.config.auth.default_permissions = Some(permissions(node)?)
                }
                "auth_callout" | "auth_hook" | "proxy_required" => entry.unsupported()?,
                _ => entry.unknown()?,
            }
        }
        if name.is_none() && password.is_some() {
            return Err(node.error("a password needs a user"));
        }
        if let Some(name) = name {
            if !self.config.auth.users.is_empty() {
                return Err(node.error("one user and a list of users cannot stand together"));
            }
            self.config.auth.users.push(UserConfig { name, password, ..UserConfig::default() });
        }
        if self.config.auth.token.is_some() && !self.config.auth.users.is_empty() {
            return Err(node.error("a token and users cannot stand together"));
        }
        Ok(())
    }

    pub(super) fn accounts(&mut self, node: &Node) -> Read {
        if let Value::Array(names) = &node.value {
            for name in names {
                self.account(AccountConfig { name: name.text()?.to_owned(), ..AccountConfig::default() }, name)?;
            }
            return Ok(());
        }
        for entry in node.map()? {
            // Accounts are also the scope of variables: one that was used and is no block is none.
            if entry.used.get() && !matches!(entry.node.value, Value::Map(_)) {
                continue;
            }
            let mut account = AccountConfig { name: entry.key.clone(), ..AccountConfig::default() };
            for entry in entry.node.map()? {
                self.account_field(&mut account, entry)?;
            }
            self.account(account, &entry.node)?;
        }
        Ok(())
    }

    fn account(&mut self, account: AccountConfig, node: &Node) -> Read {
        let valid = !account.name.is_empty() && !account.name.chars().any(|c| c.is_whitespace() || c.is_control());
        if !valid {
            return Err(node.error("the name of an account is empty or holds blanks"));
        }
        if self.config.auth.accounts.iter().any(|other| other.name == account.name) {
            return Err(node.error(format!("account {:?} is there twice", account.name)));
        }
        self.config.auth.accounts.push(account);
        Ok(())
    }

    fn account_field(&mut self, account: &mut AccountConfig, entry: &Entry) -> Read {
        let node = &entry.node;
        match entry.name().as_str() {
            "users" => account.users = users(node)?,
            "jetstream" => account.jetstream = jetstream(node)?,
            "default_permissions" => account.default_permissions = Some(permissions(node)?),
            "limits" => {
                for entry in node.map()? {
                    match entry.name().as_str() {
                        "max_connections" | "max_conn" => account.max_connections = entry.node.limit()?,
                        "max_subscriptions" | "max_subs" => account.max_subscriptions = entry.node.limit()?,
                        "max_payload" | "max_pay" => account.max_payload = entry.node.limit()?,
                        "max_leafnodes" | "max_leafs" => {}
                        _ => entry.unknown()?,
                    }
                }
            }
            // An account's own key means nothing without gateways; the rest would open or close doors.
            "nkey" => {}
            "exports" | "imports" | "mappings" | "maps" if node.is_empty() => {}
            "exports" | "imports" | "mappings" | "maps" => entry.unsupported()?,
            "msg_trace" | "trace_dest" | "cluster_traffic" => {
                self.warn(format!("{}: {:?} is not served", entry.at, entry.key))
            }
            _ => entry.unknown()?,
        }
        Ok(())
    }

    pub(super) fn operators(&mut self, node: &Node) -> Read {
        for text in node.texts()? {
            let token = if text.starts_with("eyJ") {
                text
            } else {
                // The path is looked for beside the file first, then where the server was started.
                let beside = self.source.read(&self.folder.join(&text));
                let content = beside.or_else(|_| self.source.read(std::path::Path::new(&text)));
                let content = content
                    .map_err(|error| node.error(format!("cannot read the operator's token {text:?}: {error}")))?;
                let token = content.split_ascii_whitespace().find(|word| word.starts_with("eyJ"));
                token.ok_or_else(|| node.error(format!("there is no token in {text:?}")))?.to_owned()
            };
            self.config.auth.operators.push(token);
        }
        Ok(())
    }

    pub(super) fn resolver(&mut self, node: &Node) -> Read {
        let kind = match &node.value {
            Value::Map(entries) => match entries.iter().find(|entry| entry.name() == "type") {
                Some(entry) => entry.node.text()?,
                None => return Err(node.error("a resolver needs a type")),
            },
            _ => node.text()?,
        };
        if kind.eq_ignore_ascii_case("memory") || kind.eq_ignore_ascii_case("mem") {
            Ok(())
        } else {
            Err(node.error("this resolver is not supported yet: use MEMORY with resolver_preload"))
        }
    }

    pub(super) fn resolver_preload(&mut self, node: &Node) -> Read {
        for entry in node.map()? {
            self.config.auth.resolver_preload.push((entry.key.clone(), entry.node.text()?.to_owned()));
        }
        Ok(())
    }
}

fn users(node: &Node) -> Read<Vec<UserConfig>> {
    node.list()?.iter().map(user).collect()
}

fn user(node: &Node) -> Read<UserConfig> {
    let mut user = UserConfig::default();
    for entry in node.map()? {
        let node = &entry.node;
        match entry.name().as_str() {
            "user" | "username" => user.name = node.text()?.to_owned(),
            "pass" | "password" => user.password = Some(node.secret()?),
            "nkey" => user.nkey = Some(node.text()?.to_owned()),
            "permission" | "permissions" | "authorization" => user.permissions = Some(permissions(node)?),
            "allowed_connection_types" | "connection_types" | "clients" => {
                user.allowed_connection_types = connection_types(node)?
            }
            "account" | "proxy_required" => entry.unsupported()?,
            _ => entry.unknown()?,
        }
    }
    match &user.nkey {
        Some(key) if !is_user_key(key) => Err(node.error("not a valid public nkey of a user")),
        Some(_) if !user.name.is_empty() || user.password.is_some() => {
            Err(node.error("a user with an nkey has no name and no password"))
        }
        None if user.name.is_empty() => Err(node.error("a user needs a name or an nkey")),
        _ => Ok(user),
    }
}

fn connection_types(node: &Node) -> Read<Vec<String>> {
    const KNOWN: [&str; 6] = ["STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS"];
    let types: Vec<String> = node.texts()?.iter().map(|kind| kind.to_ascii_uppercase()).collect();
    match types.iter().find(|kind| !KNOWN.contains(&kind.as_str()) && *kind != "IN_PROCESS") {
        Some(kind) => Err(node.error(format!("{kind:?} is not a kind of connection"))),
        None => Ok(types),
    }
}

/// Public keys of users begin with U; the checksum in them finds typing errors.
fn is_user_key(key: &str) -> bool {
    natsune_credentials::KeyKind::of(key) == Some(natsune_credentials::KeyKind::User)
}

fn jetstream(node: &Node) -> Read<Option<AccountJetStreamConfig>> {
    let Value::Map(entries) = &node.value else {
        return Ok(node.switch()?.then(AccountJetStreamConfig::default));
    };
    let mut limits = AccountJetStreamConfig::default();
    let mut enabled = true;
    for entry in entries {
        let node = &entry.node;
        match entry.name().as_str() {
            "enabled" | "enable" => enabled = node.bool()?,
            "max_memory" | "max_mem" | "mem" | "memory" => limits.max_memory = node.limit()?,
            "max_store" | "max_file" | "max_disk" | "store" | "disk" => limits.max_file = node.limit()?,
            "max_streams" | "streams" => limits.max_streams = node.limit()?,
            "max_consumers" | "consumers" => limits.max_consumers = node.limit()?,
            "max_ack_pending" => limits.max_ack_pending = node.limit()?,
            "max_bytes_required" | "max_stream_bytes" | "max_bytes" => limits.max_bytes_required = node.bool()?,
            "mem_max_stream_bytes" | "memory_max_stream_bytes" => limits.memory_max_stream_bytes = node.limit()?,
            "disk_max_stream_bytes" | "store_max_stream_bytes" => limits.store_max_stream_bytes = node.limit()?,
            "cluster_traffic" => {}
            _ => entry.unknown()?,
        }
    }
    Ok(enabled.then_some(limits))
}
