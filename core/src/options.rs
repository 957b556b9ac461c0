//! ConnectOptions: one document, decoded once, the same names and defaults in every language.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Messages that an inbox keeps before it drops.
pub const DEFAULT_PENDING_MESSAGES: usize = 524_288;
/// Bytes that an inbox keeps before it drops.
pub const DEFAULT_PENDING_BYTES: usize = 64 << 20;

/// Everything that `connect` can be told. Durations are float seconds in the document.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The server pool, `nats://host:port` or `tls://host:port`; empty means `nats://localhost:4222`.
    pub servers: Vec<String>,
    /// The name that the server shows for this connection.
    pub name: Option<String>,
    /// User name, with `password`.
    pub user: Option<String>,
    /// Password of `user`.
    #[serde(deserialize_with = "secret")]
    pub password: Option<String>,
    /// A token instead of user and password.
    #[serde(deserialize_with = "secret")]
    pub token: Option<String>,
    /// The seed of a user NKey (`SU...`).
    #[serde(deserialize_with = "secret")]
    pub nkey_seed: Option<String>,
    /// Path of a credentials file, read again at each connect.
    pub creds_file: Option<PathBuf>,
    /// The text of a credentials file.
    #[serde(deserialize_with = "secret")]
    pub creds_text: Option<String>,
    /// How TLS is done. Any field set means that nothing secret goes out in clear.
    pub tls: TlsOptions,
    /// For each attempt: name lookup, TCP, TLS and handshake together.
    #[serde(with = "seconds")]
    pub connect_timeout: Duration,
    /// False: the client closes when its connection breaks.
    pub reconnect: bool,
    /// The first delay between attempts; doubles with full jitter, and starts anew after a connection that lasted longer
    /// than the longest delay.
    #[serde(with = "seconds")]
    pub reconnect_delay: Duration,
    /// The longest delay between attempts.
    #[serde(with = "seconds")]
    pub reconnect_delay_max: Duration,
    /// Attempts after a break before the client closes; none means for ever.
    pub max_reconnects: Option<u64>,
    /// How often a silent server is pinged.
    #[serde(with = "seconds")]
    pub ping_interval: Duration,
    /// Unanswered intervals before the connection counts as broken.
    pub max_pings_out: u32,
    /// A write that makes no progress for this long breaks the connection.
    #[serde(with = "seconds")]
    pub write_timeout: Duration,
    /// Bytes of the outbound buffer from which publishing waits.
    pub outbound_mark: usize,
    /// Bytes of the outbound buffer from which publishing is refused with `busy`.
    pub outbound_limit: usize,
    /// How long `publish` waits for room.
    #[serde(with = "seconds")]
    pub publish_timeout: Duration,
    /// How long `request` waits for its answer, and `flush` for its PONG.
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// How long `subscribe` waits for the server's confirmation.
    #[serde(with = "seconds")]
    pub subscribe_timeout: Duration,
    /// How long `drain` may take.
    #[serde(with = "seconds")]
    pub drain_timeout: Duration,
    /// False: publishing while disconnected fails with `connection` at once.
    pub buffer_while_disconnected: bool,
    /// `connect` gives a client even when no server answered, and goes on in the background.
    pub retry_on_failed_connect: bool,
    /// The server does not send us what we published ourselves.
    pub no_echo: bool,
    /// Where reply subjects begin.
    pub inbox_prefix: String,
    /// Servers that the cluster tells about are not added to the pool.
    pub ignore_discovered_servers: bool,
    /// Servers are tried in the order given instead of a random one.
    pub keep_server_order: bool,
    /// Messages that each subscription keeps unless it says otherwise.
    pub pending_messages: usize,
    /// Bytes that each subscription keeps unless it says otherwise.
    pub pending_bytes: usize,
}

/// How TLS is done.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsOptions {
    /// TLS or nothing, also for `nats://` and for discovered servers.
    pub required: bool,
    /// Certificates to trust instead of the system's, as PEM text.
    pub ca_pem: Option<String>,
    /// Certificates to trust instead of the system's, as a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate chain, as a PEM file.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, as a PEM file.
    pub key_file: Option<PathBuf>,
    /// Our own certificate chain, as PEM text.
    pub cert_pem: Option<String>,
    /// The key of our certificate, as PEM text.
    #[serde(deserialize_with = "secret")]
    pub key_pem: Option<String>,
    /// TLS from the first byte; the server must be configured for it.
    pub handshake_first: bool,
    /// The name to expect in the server's certificate instead of the URL's host.
    pub server_name: Option<String>,
}

impl TlsOptions {
    /// Whether anything here asks for TLS.
    pub fn is_wanted(&self) -> bool {
        self.required
            || self.handshake_first
            || self.ca_pem.is_some()
            || self.ca_file.is_some()
            || self.cert_file.is_some()
            || self.key_file.is_some()
            || self.cert_pem.is_some()
            || self.key_pem.is_some()
            || self.server_name.is_some()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            servers: Vec::new(),
            name: None,
            user: None,
            password: None,
            token: None,
            nkey_seed: None,
            creds_file: None,
            creds_text: None,
            tls: TlsOptions::default(),
            connect_timeout: Duration::from_secs(5),
            reconnect: true,
            reconnect_delay: Duration::from_millis(100),
            reconnect_delay_max: Duration::from_secs(5),
            max_reconnects: None,
            ping_interval: Duration::from_secs(10),
            max_pings_out: 2,
            write_timeout: Duration::from_secs(20),
            outbound_mark: 1 << 20,
            outbound_limit: 64 << 20,
            publish_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            subscribe_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            buffer_while_disconnected: true,
            retry_on_failed_connect: false,
            no_echo: false,
            inbox_prefix: "_INBOX".to_owned(),
            ignore_discovered_servers: false,
            keep_server_order: false,
            pending_messages: DEFAULT_PENDING_MESSAGES,
            pending_bytes: DEFAULT_PENDING_BYTES,
        }
    }
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    /// Reads the JSON document of the bindings; unknown fields are an error that names them.
    pub fn from_json(document: &str) -> Result<ConnectOptions> {
        serde_json::from_str(document)
            .map_err(|e| Error::new(Code::InvalidArgument, format!("connect options are not valid: {e}")))
    }

    /// The same with waits that can be added to any moment.
    pub(crate) fn bounded(mut self) -> ConnectOptions {
        for wait in [
            &mut self.connect_timeout,
            &mut self.reconnect_delay,
            &mut self.reconnect_delay_max,
            &mut self.ping_interval,
            &mut self.write_timeout,
            &mut self.publish_timeout,
            &mut self.request_timeout,
            &mut self.subscribe_timeout,
            &mut self.drain_timeout,
        ] {
            *wait = bounded(*wait);
        }
        self
    }

    /// Refuses what cannot work, before anything is dialled.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |text: &str| Err(Error::new(Code::InvalidArgument, text));
        let ways = [
            self.user.is_some() || self.password.is_some(),
            self.token.is_some(),
            self.nkey_seed.is_some(),
            self.creds_file.is_some(),
            self.creds_text.is_some(),
        ];
        if ways.iter().filter(|w| **w).count() > 1 {
            return bad("give one way to authenticate: user and password, token, nkey_seed, creds_file or creds_text");
        }
        if self.password.is_some() && self.user.is_none() {
            return bad("password without user");
        }
        if self.connect_timeout.is_zero() || self.ping_interval.is_zero() || self.write_timeout.is_zero() {
            return bad("connect_timeout, ping_interval and write_timeout must be longer than zero");
        }
        if self.max_pings_out == 0 {
            return bad("max_pings_out must be at least 1");
        }
        if self.outbound_mark == 0 || self.outbound_limit < self.outbound_mark {
            return bad("outbound_limit must be at least outbound_mark, and both more than zero");
        }
        if self.outbound_limit > 1 << 31 {
            return bad("outbound_limit must be at most 2 GiB");
        }
        if self.pending_messages == 0 || self.pending_bytes == 0 {
            return bad("pending_messages and pending_bytes must be more than zero");
        }
        if self.reconnect_delay_max < self.reconnect_delay {
            return bad("reconnect_delay_max must be at least reconnect_delay");
        }
        if !natsune_protocol::subject::is_valid_publish(&self.inbox_prefix) {
            return bad("inbox_prefix must be a subject without wildcards");
        }
        let tls = &self.tls;
        if tls.ca_pem.is_some() && tls.ca_file.is_some() {
            return bad("give ca_pem or ca_file, not both");
        }
        if (tls.cert_pem.is_some() && tls.cert_file.is_some()) || (tls.key_pem.is_some() && tls.key_file.is_some()) {
            return bad("give the certificate and its key as text or as files, not both");
        }
        if (tls.cert_pem.is_some() || tls.cert_file.is_some()) != (tls.key_pem.is_some() || tls.key_file.is_some()) {
            return bad("a client certificate needs its key, and a key its certificate");
        }
        Ok(())
    }
}

/// Shows that a secret is there, never what it is.
fn hidden(value: &Option<String>) -> Option<&'static str> {
    value.as_ref().map(|_| "(hidden)")
}

/// A URL without its user information. All up to the last `@` goes: a password that should have been escaped may hold a
/// slash, and what the URL then means to a parser is no reason to show a part of it.
pub(crate) fn redact(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(s, r)| (s, r));
    let host = rest.rsplit_once('@').map_or(rest, |(_, h)| h);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("servers", &self.servers.iter().map(|s| redact(s)).collect::<Vec<_>>())
            .field("name", &self.name)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("nkey_seed", &hidden(&self.nkey_seed))
            .field("creds_file", &self.creds_file)
            .field("creds_text", &hidden(&self.creds_text))
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("ping_interval", &self.ping_interval)
            .field("outbound_mark", &self.outbound_mark)
            .field("outbound_limit", &self.outbound_limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("required", &self.required)
            .field("ca_pem", &self.ca_pem.is_some())
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("cert_pem", &self.cert_pem.is_some())
            .field("key_pem", &hidden(&self.key_pem))
            .field("handshake_first", &self.handshake_first)
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// What an inbox does with a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The message that arrives is dropped.
    #[default]
    DropNew,
    /// The oldest message that waits is dropped.
    DropOld,
}

/// Longer than any wait here, and far from overflowing a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A wait that can be added to any moment.
pub(crate) fn bounded(wait: Duration) -> Duration {
    wait.min(LONGEST)
}

/// Text that an error must not repeat: serde would show a number that was meant as a password.
fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    match Option::<Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(Value::Other(_)) => Err(serde::de::Error::custom("a secret must be text")),
    }
}

/// Durations as float seconds: the form that all five languages can write.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(d.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let value = f64::deserialize(d)?;
        // A year is longer than any wait here, and keeps every deadline far from overflow.
        if value.is_finite() && (0.0..=31_536_000.0).contains(&value) {
            Ok(Duration::from_secs_f64(value))
        } else {
            Err(D::Error::custom("a duration is a number of seconds from 0 to 31536000"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_round_trips_and_refuses_unknown_fields() {
        let options = ConnectOptions::from_json(r#"{"servers":["nats://a"],"connect_timeout":0.25}"#).unwrap();
        assert_eq!(options.connect_timeout, Duration::from_millis(250));
        assert_eq!(options.ping_interval, Duration::from_secs(10));
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(ConnectOptions::from_json(&text).unwrap().connect_timeout, Duration::from_millis(250));
        let error = ConnectOptions::from_json(r#"{"sevrers":[]}"#).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().contains("sevrers"), "{error}");
        for bad in ["-1", "1e300", "\"5\""] {
            assert!(ConnectOptions::from_json(&format!("{{\"connect_timeout\":{bad}}}")).is_err());
        }
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let options = ConnectOptions {
            servers: vec!["nats://joe:hunter2@host:1".into(), "tok3n@host".into()],
            password: Some("hunter2".into()),
            token: Some("tok3n".into()),
            nkey_seed: Some("SUSEED".into()),
            creds_text: Some("CREDS".into()),
            tls: TlsOptions { key_pem: Some("KEYPEM".into()), ..TlsOptions::default() },
            ..ConnectOptions::default()
        };
        let text = format!("{options:?}");
        for secret in ["hunter2", "tok3n", "SUSEED", "CREDS", "KEYPEM"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_early() {
        assert!(ConnectOptions::default().check().is_ok());
        let two = ConnectOptions { token: Some("t".into()), user: Some("u".into()), ..ConnectOptions::default() };
        assert_eq!(two.check().unwrap_err().code(), Code::InvalidArgument);
        let marks = ConnectOptions { outbound_limit: 10, ..ConnectOptions::default() };
        assert!(marks.check().is_err());
        let half = TlsOptions { cert_pem: Some("x".into()), ..TlsOptions::default() };
        assert!(ConnectOptions { tls: half, ..ConnectOptions::default() }.check().is_err());
    }
}
