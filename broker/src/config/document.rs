//! The configuration document: every setting of the broker with its default. Plain data, no I/O.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use natsune_credentials::Secret;

/// Everything a broker can be told. `Config::default()` is what an empty configuration file means.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name shown in INFO and `/varz`; `None`: the server's own id.
    pub server_name: Option<String>,
    /// Address to listen on as written by the user; see [`Config::listen_host`] for what `None` means.
    pub host: Option<String>,
    /// Client port; 0 picks a free one (`-1` in files and flags means the same).
    pub port: u16,
    /// Host and port that clients are told instead of the ones listened on.
    pub client_advertise: Option<String>,
    /// Monitoring over HTTP; `None`: no monitoring port.
    pub http: Option<SocketSpec>,
    /// JetStream; `None`: off.
    pub jetstream: Option<JetStreamConfig>,
    /// Who may connect, and with which rights.
    pub auth: AuthConfig,
    /// TLS for clients.
    pub tls: Option<TlsConfig>,
    /// Sizes and counts that bound what a client may do.
    pub limits: Limits,
    /// How often the server pings a quiet client.
    pub ping_interval: Duration,
    /// Unanswered pings after which a client is stale.
    pub ping_max: u32,
    /// How long one write to a client may take.
    pub write_deadline: Duration,
    /// Time over which lame duck mode spreads the closing of connections.
    pub lame_duck_duration: Duration,
    /// Time lame duck mode waits before it closes the first connection.
    pub lame_duck_grace_period: Duration,
    /// Refuse message headers (INFO says `headers: false`).
    pub no_header_support: bool,
    /// Free tags shown in `/varz`.
    pub server_tags: Vec<String>,
    /// File that receives the process id, without a newline.
    pub pid_file: Option<PathBuf>,
    /// Folder that receives `<program>_<pid>.ports`.
    pub ports_file_dir: Option<PathBuf>,
    /// What is logged, and where.
    pub log: LogConfig,
    /// Namespaces and credentials kept in a folder; `None`: off.
    pub namespaces: Option<NamespacesConfig>,
    /// Allow listening beyond this machine although nobody has to authenticate.
    pub insecure: bool,
    /// The file this document was read from.
    pub config_file: Option<PathBuf>,
    /// What was accepted but does nothing here; logged at start.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server_name: None,
            host: None,
            port: 4222,
            client_advertise: None,
            http: None,
            jetstream: None,
            auth: AuthConfig::default(),
            tls: None,
            limits: Limits::default(),
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            no_header_support: false,
            server_tags: Vec::new(),
            pid_file: None,
            ports_file_dir: None,
            log: LogConfig::default(),
            namespaces: None,
            insecure: false,
            config_file: None,
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// For tests and embedding: a free loopback port, JetStream in memory, no logging.
    pub fn ephemeral() -> Config {
        Config { port: 0, jetstream: Some(JetStreamConfig::default()), log: LogConfig::off(), ..Config::default() }
    }

    /// The address to listen on: as configured, else everywhere when clients must authenticate, else this machine only.
    pub fn listen_host(&self) -> &str {
        match &self.host {
            Some(host) => host,
            None if self.requires_auth() => "0.0.0.0",
            None => "127.0.0.1",
        }
    }

    /// True when a client without credentials is turned away.
    pub fn requires_auth(&self) -> bool {
        // A certificate is no condition where clients may come without TLS.
        let by_certificate = self.tls.as_ref().is_some_and(|tls| tls.verify && !tls.allow_non_tls);
        self.auth.is_configured() || self.namespaces.is_some() || by_certificate
    }
}

/// A listening address of a secondary service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSpec {
    /// Address as written; `None`: the same as for clients.
    pub host: Option<String>,
    /// Port; 0 picks a free one.
    pub port: u16,
}

/// Sizes and counts that bound what a client may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload with headers, in bytes.
    pub max_payload: usize,
    /// Longest protocol line, in bytes.
    pub max_control_line: usize,
    /// Most client connections at a time.
    pub max_connections: usize,
    /// Most bytes waiting for one slow client.
    pub max_pending: usize,
    /// Most subscriptions of one connection; `None`: no limit.
    pub max_subscriptions: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_payload: 1024 * 1024,
            max_control_line: 4096,
            max_connections: 65_536,
            max_pending: 64 * 1024 * 1024,
            max_subscriptions: None,
        }
    }
}

/// JetStream settings of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JetStreamConfig {
    /// Folder of the store; `None`: memory only (files asked for by clients live in memory too).
    pub store_dir: Option<PathBuf>,
    /// Bytes of memory storage for all accounts together; `None`: no limit.
    pub max_memory: Option<u64>,
    /// Bytes of file storage for all accounts together; `None`: no limit but the disk.
    pub max_file: Option<u64>,
    /// JetStream domain.
    pub domain: Option<String>,
    /// When a publish is acknowledged.
    pub sync: SyncMode,
    /// Refuse unknown fields in API requests.
    pub strict: Option<bool>,
    /// Most unacknowledged messages a consumer may ask for; `None`: no limit.
    pub max_ack_pending: Option<u64>,
}

/// When stored messages are synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Before the acknowledgement (commits of many publishers share one sync).
    #[default]
    Always,
    /// In the background, at this interval: the last moments can be lost with the power.
    Interval(Duration),
}

/// Who may connect. Empty: everybody, with all rights, in the account `$G`.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// Users of `authorization`, in the account `$G`.
    pub users: Vec<UserConfig>,
    /// The one token of `authorization`.
    pub token: Option<Secret>,
    /// Time to authenticate in; see [`AuthConfig::timeout`].
    pub timeout: Option<Duration>,
    /// Rights of the users of `$G` that have none of their own.
    pub default_permissions: Option<PermissionsConfig>,
    /// Accounts, each with its users.
    pub accounts: Vec<AccountConfig>,
    /// User that a client without credentials becomes.
    pub no_auth_user: Option<String>,
    /// Name of the system account (operator mode: its public key); default `$SYS`.
    pub system_account: Option<String>,
    /// Trusted operators, as JWT.
    pub operators: Vec<String>,
    /// Account JWTs by account public key.
    pub resolver_preload: Vec<(String, String)>,
}

impl AuthConfig {
    /// True when anything was configured that makes clients authenticate.
    pub fn is_configured(&self) -> bool {
        self.token.is_some()
            || !self.users.is_empty()
            || !self.operators.is_empty()
            || self.accounts.iter().any(|account| !account.users.is_empty())
    }

    /// Time a client has to authenticate. As on nats-server, 0 leaves the default: in no time nobody could.
    pub fn timeout(&self) -> Duration {
        self.timeout.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(2))
    }
}

/// An account of the configuration file.
#[derive(Debug, Clone, Default)]
pub struct AccountConfig {
    /// Name.
    pub name: String,
    /// Its users.
    pub users: Vec<UserConfig>,
    /// JetStream in this account; `None`: off.
    pub jetstream: Option<AccountJetStreamConfig>,
    /// Rights of its users that have none of their own.
    pub default_permissions: Option<PermissionsConfig>,
    /// Most connections; `None`: no limit.
    pub max_connections: Option<u64>,
    /// Most subscriptions of one connection; `None`: no limit.
    pub max_subscriptions: Option<u64>,
    /// Largest payload; `None`: the server's.
    pub max_payload: Option<u64>,
}

/// JetStream limits of an account; `None` in a field: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountJetStreamConfig {
    /// Bytes of memory storage.
    pub max_memory: Option<u64>,
    /// Bytes of file storage.
    pub max_file: Option<u64>,
    /// Number of streams.
    pub max_streams: Option<u64>,
    /// Number of consumers of one stream.
    pub max_consumers: Option<u64>,
    /// Largest `max_ack_pending` of a consumer.
    pub max_ack_pending: Option<u64>,
    /// Bytes of one stream in memory.
    pub memory_max_stream_bytes: Option<u64>,
    /// Bytes of one stream on disk.
    pub store_max_stream_bytes: Option<u64>,
    /// Streams must say `max_bytes`.
    pub max_bytes_required: bool,
}

/// A user: by name and password, or by public NKey.
#[derive(Debug, Clone, Default)]
pub struct UserConfig {
    /// Name; empty for an NKey user.
    pub name: String,
    /// Password, plain or bcrypt.
    pub password: Option<Secret>,
    /// Public NKey.
    pub nkey: Option<String>,
    /// Rights; `None`: the default ones, else all.
    pub permissions: Option<PermissionsConfig>,
    /// Kinds of connection allowed (`STANDARD`, `WEBSOCKET`, ...); empty: all.
    pub allowed_connection_types: Vec<String>,
}

/// Rights as written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionsConfig {
    /// Subjects that may be published to.
    pub publish: SubjectRule,
    /// Subjects that may be subscribed to, each with an optional queue (`"subject queue"`).
    pub subscribe: SubjectRule,
    /// Permission to answer requests without a publish right.
    pub allow_responses: Option<ResponsesConfig>,
}

/// Allow and deny lists of one direction. `allow: None` allows all; an empty list allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectRule {
    /// Allowed subjects.
    pub allow: Option<Vec<String>>,
    /// Denied subjects; they win.
    pub deny: Vec<String>,
}

/// How many answers, and for how long, may be sent to the reply subject of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponsesConfig {
    /// Number of answers; `None`: any number.
    pub max: Option<u64>,
    /// Time to answer in; `None`: for ever.
    pub expires: Option<Duration>,
}

impl Default for ResponsesConfig {
    fn default() -> Self {
        ResponsesConfig { max: Some(1), expires: Some(Duration::from_secs(120)) }
    }
}

/// TLS for clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Private key, PEM.
    pub key_file: PathBuf,
    /// Authorities that client certificates are checked against, PEM.
    pub ca_file: Option<PathBuf>,
    /// Require a client certificate.
    pub verify: bool,
    /// Time for the handshake; see [`TlsConfig::timeout`].
    pub timeout: Option<Duration>,
    /// Handshake before INFO.
    pub handshake_first: HandshakeFirst,
    /// Serve clients with and without TLS on the same port.
    pub allow_non_tls: bool,
    /// Refuse TLS 1.2.
    pub min_tls13: bool,
}

impl TlsConfig {
    /// Time a handshake may take; 0 leaves the default.
    pub fn timeout(&self) -> Duration {
        self.timeout.filter(|time| !time.is_zero()).unwrap_or(Duration::from_secs(2))
    }
}

/// Whether TLS starts before INFO is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandshakeFirst {
    /// INFO in clear, then the upgrade.
    #[default]
    No,
    /// Only TLS from the first byte.
    Yes,
    /// Wait this long for a handshake, else send INFO.
    After(Duration),
}

/// What is logged, and where. The default is what the binary does: INF and up, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// False: nothing is logged at all (embedded brokers).
    pub enabled: bool,
    /// Debug lines.
    pub debug: bool,
    /// Protocol trace lines.
    pub trace: bool,
    /// Time in each line.
    pub time: bool,
    /// File to append to; `None`: standard error.
    pub file: Option<PathBuf>,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { enabled: true, debug: false, trace: false, time: true, file: None }
    }
}

impl LogConfig {
    /// Logs nowhere.
    pub fn off() -> LogConfig {
        LogConfig { enabled: false, ..LogConfig::default() }
    }
}

/// Namespaces and their credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacesConfig {
    /// Folder with the operator's key, the namespaces and the credentials.
    pub dir: PathBuf,
}

/// True for an address that other machines cannot reach.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST))
}
