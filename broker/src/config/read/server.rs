//! The top level of a configuration file.

use std::path::PathBuf;

use super::{Read, Reader};
use crate::config::syntax::{Entry, Node, Value};
use crate::config::{SocketSpec, TlsConfig};

impl Reader<'_> {
    pub(super) fn server(&mut self, root: &Node) -> Read {
        let mut tls_from = None;
        for entry in root.map()? {
            if entry.name() == "allow_non_tls" {
                tls_from = Some(entry.node.bool()?);
            } else {
                self.field(entry)?;
            }
        }
        if let (Some(allow), Some(tls)) = (tls_from, &mut self.config.tls) {
            *tls = TlsConfig { allow_non_tls: allow, ..tls.clone() };
        }
        Ok(())
    }

    fn field(&mut self, entry: &Entry) -> Read {
        let node = &entry.node;
        let config = &mut self.config;
        match entry.name().as_str() {
            "listen" => {
                let (host, port) = listen(node)?;
                config.host = host.or(config.host.take());
                config.port = port;
            }
            "port" => config.port = node.port()?,
            "host" | "net" => config.host = Some(node.text()?.to_owned()).filter(|host| !host.is_empty()),
            "client_advertise" => {
                config.client_advertise = Some(node.text()?.to_owned()).filter(|text| !text.is_empty())
            }
            "server_name" => config.server_name = Some(server_name(node)?),
            "http" => {
                let (host, port) = listen(node)?;
                config.http = Some(SocketSpec { host, port });
            }
            "http_port" | "monitor_port" => {
                // As nats-server, 0 turns it off.
                config.http =
                    (node.int()? != 0).then(|| node.port()).transpose()?.map(|port| SocketSpec { host: None, port });
            }
            "jetstream" => self.jetstream(node)?,
            "store_dir" | "storedir" => self.store_dir = Some(PathBuf::from(node.text()?)),
            "authorization" => self.authorization(node)?,
            "accounts" => self.accounts(node)?,
            "no_auth_user" => config.auth.no_auth_user = Some(node.text()?.to_owned()),
            "system_account" | "system" => config.auth.system_account = Some(node.text()?.to_owned()),
            "operator" | "operators" | "root" | "roots" | "root_operator" | "root_operators" => self.operators(node)?,
            "resolver" | "account_resolver" | "accounts_resolver" => self.resolver(node)?,
            "resolver_preload" => self.resolver_preload(node)?,
            "tls" => self.tls(node)?,
            "namespaces" => self.namespaces(node)?,
            "insecure" => config.insecure = node.bool()?,
            "max_payload" => config.limits.max_payload = node.at_least(1)?,
            "max_control_line" => config.limits.max_control_line = node.at_least(1)?,
            "max_connections" | "max_conn" => {
                // As on nats-server, 0 means nobody.
                config.limits.max_connections =
                    node.limit()?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            }
            "max_pending" => config.limits.max_pending = node.at_least(1)?,
            "max_subscriptions" | "max_subs" => {
                config.limits.max_subscriptions =
                    node.limit()?.filter(|n| *n > 0).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
            }
            "ping_interval" => config.ping_interval = node.duration()?,
            // As on nats-server, 0 leaves the default: it would end everybody at the first ping.
            "ping_max" => match node.at_least(0)? {
                0 => {}
                count => config.ping_max = u32::try_from(count).unwrap_or(u32::MAX),
            },
            "write_deadline" => config.write_deadline = node.duration()?,
            "lame_duck_duration" => config.lame_duck_duration = node.duration()?,
            "lame_duck_grace_period" => config.lame_duck_grace_period = node.duration()?,
            "no_header_support" => config.no_header_support = node.bool()?,
            "server_tags" => config.server_tags = tags(node)?,
            "pid_file" | "pidfile" => config.pid_file = Some(PathBuf::from(node.text()?)),
            "ports_file_dir" => config.ports_file_dir = Some(PathBuf::from(node.text()?)),
            "debug" => config.log.debug = node.bool()?,
            "trace" | "trace_verbose" => config.log.trace = node.bool()?,
            "logtime" => config.log.time = node.bool()?,
            "logtime_utc" => {
                if !node.bool()? {
                    self.warn(format!("{}: times in the log are always UTC", entry.at));
                }
            }
            "log_file" | "logfile" => config.log.file = Some(PathBuf::from(node.text()?)),
            name if CLOSED.contains(&name) => {
                if !node.is_empty() {
                    entry.unsupported()?;
                }
            }
            name if NOT_SERVED.contains(&name) => self.warn(format!("{}: {:?} is not served", entry.at, entry.key)),
            _ => entry.unknown()?,
        }
        Ok(())
    }
}

/// Known settings that decide who may see what: to leave them out in silence would open doors.
const CLOSED: &[&str] = &[
    "mappings",
    "maps",
    "trusted",
    "trusted_keys",
    "resolver_pinned_accounts",
    "proxies",
    "default_sentinel",
    "no_system_account",
    "default_js_domain",
];

/// Known settings of things that are not here: a file with them still starts a single node.
const NOT_SERVED: &[&str] = &[
    "cluster",
    "gateway",
    "leaf",
    "leafnodes",
    "mqtt",
    "websocket",
    "ws",
    "https",
    "https_port",
    "http_base_path",
    "syslog",
    "remote_syslog",
    "prof_port",
    "prof_block_rate",
    "logfile_size_limit",
    "log_size_limit",
    "logfile_max_num",
    "log_max_num",
    "connect_error_reports",
    "reconnect_error_reports",
    "disable_sublist_cache",
    "no_sublist_cache",
    "max_traced_msg_len",
    "max_sub_tokens",
    "max_subscription_tokens",
    "max_closed_clients",
    "ocsp",
    "ocsp_cache",
    "resolver_tls",
    "trace_headers",
    "server_metadata",
    "no_fast_producer_stall",
    "feature_flags",
    "msg_trace",
    "proxy_protocol",
    "write_timeout",
    "lazy",
];

/// `host:port`, `:port`, or a port.
fn listen(node: &Node) -> Read<(Option<String>, u16)> {
    let Value::Text(text) = &node.value else { return Ok((None, node.port()?)) };
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = match port {
        "-1" => Some(0),
        digits => digits.parse::<u16>().ok(),
    };
    // `::1` without brackets is a mistake: its last part would be taken for the port.
    match port {
        Some(port) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
            Ok((Some(host.to_owned()).filter(|host| !host.is_empty()), port))
        }
        _ => Err(node.error("expected \"host:port\" or a port")),
    }
}

fn server_name(node: &Node) -> Read<String> {
    let name = node.text()?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        Err(node.error("a server name is one word"))
    } else {
        Ok(name.to_owned())
    }
}

fn tags(node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::Text(text) => Ok(text.split([',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()),
        _ => node.texts(),
    }
}
