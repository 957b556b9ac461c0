//! The blocks of server-wide settings: `jetstream`, `tls`, `namespaces`.

use std::path::PathBuf;

use super::{Read, Reader};
use crate::config::syntax::{Node, Value};
use crate::config::{HandshakeFirst, JetStreamConfig, NamespacesConfig, SyncMode, TlsConfig};

impl Reader<'_> {
    pub(super) fn jetstream(&mut self, node: &Node) -> Read {
        let Value::Map(entries) = &node.value else {
            let old = self.config.jetstream.take();
            self.config.jetstream =
                if node.switch()? { old.or_else(|| Some(JetStreamConfig::default())) } else { None };
            return Ok(());
        };
        let mut jetstream = self.config.jetstream.take().unwrap_or_default();
        let mut enabled = true;
        for entry in entries {
            let node = &entry.node;
            match entry.name().as_str() {
                "enabled" | "enable" => enabled = node.switch()?,
                "store_dir" | "storedir" => jetstream.store_dir = Some(PathBuf::from(node.text()?)),
                "max_memory_store" | "max_mem_store" | "max_mem" => jetstream.max_memory = node.limit()?,
                "max_file_store" | "max_file" => jetstream.max_file = node.limit()?,
                "domain" => jetstream.domain = Some(domain(node)?).filter(|name| !name.is_empty()),
                "sync" | "sync_interval" => {
                    jetstream.sync = match &node.value {
                        Value::Text(text) if text.eq_ignore_ascii_case("always") => SyncMode::Always,
                        _ => SyncMode::Interval(node.duration()?),
                    }
                }
                "strict" => jetstream.strict = Some(node.bool()?),
                "limits" => {
                    for entry in node.map()? {
                        match entry.name().as_str() {
                            "max_ack_pending" => jetstream.max_ack_pending = entry.node.limit()?,
                            "max_ha_assets"
                            | "max_request_batch"
                            | "duplicate_window"
                            | "batch"
                            | "default_max_consumers" => {
                                self.warn(format!("{}: {:?} is not served", entry.at, entry.key));
                            }
                            _ => entry.unknown()?,
                        }
                    }
                }
                // Data would lie on the disk in clear although its encryption was asked for.
                "key" | "ek" | "encryption_key" | "prev_key" | "prev_ek" | "prev_encryption_key" | "cipher" | "tpm" => {
                    entry.unsupported()?
                }
                "unique_tag"
                | "max_outstanding_catchup"
                | "request_queue_limit"
                | "info_queue_limit"
                | "max_buffered_msgs"
                | "max_buffered_size"
                | "extension_hint"
                | "meta_compact"
                | "meta_compact_size"
                | "meta_compact_sync" => {
                    self.warn(format!("{}: {:?} is not served", entry.at, entry.key));
                }
                _ => entry.unknown()?,
            }
        }
        self.config.jetstream = enabled.then_some(jetstream);
        Ok(())
    }

    pub(super) fn tls(&mut self, node: &Node) -> Read {
        let mut tls = TlsConfig::default();
        for entry in node.map()? {
            let value = &entry.node;
            match entry.name().as_str() {
                "cert_file" => tls.cert_file = PathBuf::from(value.text()?),
                "key_file" => tls.key_file = PathBuf::from(value.text()?),
                "ca_file" => tls.ca_file = Some(PathBuf::from(value.text()?)),
                "verify" => tls.verify = value.bool()?,
                "timeout" => tls.timeout = Some(value.duration()?),
                "handshake_first" | "first" | "immediate" => tls.handshake_first = handshake_first(value)?,
                "min_version" => {
                    tls.min_tls13 = match value.text()?.trim_start_matches(['v', 'V']) {
                        "1.2" => false,
                        "1.3" => true,
                        _ => return Err(value.error("expected \"1.2\" or \"1.3\"; older versions are not safe")),
                    }
                }
                // Only safe suites and curves are built in, so leaving the choice out weakens nothing.
                "cipher_suites" | "curve_preferences" | "connection_rate_limit" | "ocsp_peer" => {
                    self.warn(format!("{}: {:?} is not served", entry.at, entry.key))
                }
                "verify_and_map"
                | "map"
                | "pinned_certs"
                | "cert_store"
                | "cert_match"
                | "cert_match_by"
                | "certs"
                | "certificates"
                | "verify_cert_and_check_known_urls"
                | "insecure" => {
                    if !matches!(value.value, Value::Bool(false)) && !value.is_empty() {
                        entry.unsupported()?;
                    }
                }
                _ => entry.unknown()?,
            }
        }
        if tls.cert_file.as_os_str().is_empty() || tls.key_file.as_os_str().is_empty() {
            return Err(node.error("tls needs cert_file and key_file"));
        }
        tls.allow_non_tls = self.config.tls.take().is_some_and(|tls| tls.allow_non_tls);
        self.config.tls = Some(tls);
        Ok(())
    }

    pub(super) fn namespaces(&mut self, node: &Node) -> Read {
        let mut dir = None;
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    match entry.name().as_str() {
                        "dir" => dir = Some(PathBuf::from(entry.node.text()?)),
                        _ => entry.unknown()?,
                    }
                }
            }
            Value::Text(text) => dir = Some(PathBuf::from(text)),
            _ => {
                if !node.bool()? {
                    self.config.namespaces = None;
                    return Ok(());
                }
            }
        }
        self.config.namespaces = Some(dir.map_or_else(NamespacesConfig::default, |dir| NamespacesConfig { dir }));
        Ok(())
    }
}

fn domain(node: &Node) -> Read<String> {
    let name = node.text()?;
    if name.is_empty() || natsune_protocol::subject::is_valid_name(name) {
        Ok(name.to_owned())
    } else {
        Err(node.error("a domain is one word without `.`, `*` and `>`"))
    }
}

/// How long `auto` waits for a client that speaks TLS from the first byte.
const AUTO: std::time::Duration = std::time::Duration::from_millis(50);

fn handshake_first(node: &Node) -> Read<HandshakeFirst> {
    Ok(match &node.value {
        Value::Bool(true) => HandshakeFirst::Yes,
        Value::Bool(false) => HandshakeFirst::No,
        Value::Text(text) if text.eq_ignore_ascii_case("auto") => HandshakeFirst::After(AUTO),
        _ => HandshakeFirst::After(node.duration()?),
    })
}
