//! INFO: what a server says about itself.

use serde::{Deserialize, Serialize};

/// What the server said last. Fields that this version does not know are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The server's id.
    pub server_id: String,
    /// The server's name.
    pub server_name: String,
    /// The server's version.
    pub version: String,
    /// The protocol version.
    pub proto: i64,
    /// Where it listens, as it sees itself.
    pub host: String,
    /// The port it listens on.
    pub port: u16,
    /// Whether it takes message headers.
    pub headers: bool,
    /// The largest message, headers included.
    pub max_payload: usize,
    /// Whether JetStream is on.
    pub jetstream: bool,
    /// This connection's number.
    pub client_id: u64,
    /// Our address as the server sees it.
    pub client_ip: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The JetStream domain.
    pub domain: String,
    /// Whether credentials are needed.
    pub auth_required: bool,
    /// Whether TLS is needed.
    pub tls_required: bool,
    /// Whether TLS is possible.
    pub tls_available: bool,
    /// Whether a client certificate is needed.
    pub tls_verify: bool,
    /// Other servers of the cluster.
    pub connect_urls: Vec<String>,
    /// Whether it will go away soon.
    #[serde(rename = "ldm")]
    pub lame_duck: bool,
    /// What to sign. Good for one connection only, and never shown.
    #[serde(skip_serializing)]
    pub nonce: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_missing_fields_are_fine() {
        let info: ServerInfo =
            serde_json::from_str(r#"{"server_id":"N","max_payload":1048576,"ldm":true,"xkey":"X","git_commit":"a"}"#)
                .unwrap();
        assert!(info.lame_duck && info.max_payload == 1 << 20 && info.connect_urls.is_empty());
    }
}
