//! Listens, accepts and shuts down; wires the rooms together.

pub(crate) mod budget;
mod counters;
mod files;
mod listen;
mod room;
mod shared;
mod streams;
mod timers;
mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natsune_credentials::KeyPair;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::config::{Config, ConfigError};
use crate::jetstream::JetStream;
use crate::log::Log;
use crate::monitor;
use crate::namespaces::Namespaces;
use crate::session::Reason;
use files::Files;
use shared::Phase;
pub(crate) use shared::Shared;
use timers::Timers;

/// How long sessions may take to end when the server does.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long the store may take to end: as long as a slow disk needs, not as long as a dead one.
const STORE_CLOSES: Duration = Duration::from_secs(30);
/// In lame duck mode clients are closed in this many steps at most.
const LAME_DUCK_STEP: Duration = Duration::from_millis(10);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration does not work.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The port is taken, or the address is not this machine's.
    #[error("Error listening on port: {address}, {source}")]
    Listen {
        /// What was to be listened on.
        address: String,
        /// Why it was not.
        source: std::io::Error,
    },
    /// Certificates or keys are missing or wrong.
    #[error("{0}")]
    Tls(String),
    /// The store of JetStream cannot be opened.
    #[error("JetStream store {path}: {reason}")]
    Store {
        /// Where it is.
        path: String,
        /// Why it cannot be opened.
        reason: String,
    },
    /// A file could not be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Whether a server could start with this configuration, as far as that can be told without starting one: users, operators,
/// certificates and keys.
pub fn check(config: &Config) -> Result<(), Error> {
    config.check()?;
    crate::auth::check(config)?;
    config.tls.as_ref().map(tls::acceptor).transpose().map_err(Error::Tls)?;
    Ok(())
}

/// A running server. Dropping it ends it too, without waiting; [`Broker::shutdown`] waits.
pub struct Broker {
    shared: Arc<Shared>,
    files: Files,
    jetstream: Option<JetStream>,
    runtime: Handle,
}

impl Broker {
    /// Starts a server on the current tokio runtime. It listens when this returns.
    pub async fn start(config: Config) -> Result<Broker, Error> {
        config.check()?;
        let log = Log::start(&config.log).map_err(|source| Error::File {
            path: config.log.file.as_ref().map_or_else(String::new, |file| file.display().to_string()),
            source,
        })?;
        let started = Broker::start_with(config, log.clone()).await;
        if let Err(error) = &started {
            let text = error.to_string();
            let _ = tokio::task::spawn_blocking(move || log.fatal(format_args!("{text}"))).await;
        }
        started
    }

    async fn start_with(config: Config, log: Log) -> Result<Broker, Error> {
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose().map_err(Error::Tls)?;
        let id = KeyPair::new_server().public_key();
        let shared = Shared::new(config, id, acceptor, log)?;
        let config = shared.config();
        greet(&shared, &config);
        let started = Broker::open(&shared, &config).await;
        if started.is_err() {
            shared.enter(Phase::Over);
        }
        started
    }

    /// The monitor first, so that it can say what takes so long; then the store; the port for clients last.
    async fn open(shared: &Arc<Shared>, config: &Config) -> Result<Broker, Error> {
        if let Some(spec) = &config.http {
            let listeners = bind(monitor_host(config, spec.host.as_deref()), spec.port).await?;
            if let Some(address) = listeners.first().and_then(|listener| listener.local_addr().ok()) {
                let _ = shared.monitor_address.set(address);
                shared.log.info(format_args!("Starting http monitor on {address}"));
            }
            for listener in listeners {
                tokio::spawn(monitor::serve(shared.clone(), listener));
            }
        }
        let jetstream = streams::start(shared, config).await?;
        let mut broker =
            Broker { shared: shared.clone(), files: Files::default(), jetstream, runtime: Handle::current() };
        match broker.listen(config).await {
            Ok(()) => Ok(broker),
            Err(error) => {
                broker.close_jetstream().await;
                Err(error)
            }
        }
    }

    async fn listen(&mut self, config: &Config) -> Result<(), Error> {
        let shared = &self.shared;
        let listeners = bind(config.listen_host(), config.port).await?;
        let address = listeners.first().and_then(|listener| listener.local_addr().ok());
        let Some(address) = address else { return Err(ConfigError::new("no address to listen on").into()) };
        let _ = shared.address.set(address);
        self.files = Files::write(shared, config)?;
        for listener in listeners {
            tokio::spawn(listen::accept(shared.clone(), listener));
        }
        tokio::spawn(Timers::run(shared.clone()));
        tokio::spawn(recheck(shared.clone()));
        tokio::spawn(watch_namespaces(shared.clone()));
        if config.tls.is_some() {
            shared.log.info(format_args!("TLS required for client connections"));
        }
        let shown = shown(config.listen_host(), address.port());
        shared.log.info(format_args!("Listening for client connections on {shown}"));
        shared.log.info(format_args!("Server is ready"));
        Ok(())
    }

    /// Where clients connect to: an address they can dial.
    pub fn url(&self) -> String {
        let scheme = if self.shared.config().tls.is_some() { "tls" } else { "nats" };
        self.shared.address.get().map_or_else(String::new, |address| format!("{scheme}://{}", dialable(*address)))
    }

    /// Where the monitor answers, when there is one.
    pub fn monitor_url(&self) -> Option<String> {
        self.shared.monitor_address.get().map(|address| format!("http://{}", dialable(*address)))
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// The server's id.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The log, for what runs beside the server.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Opens the log file anew, after somebody moved it away.
    pub fn reopen_log(&self) {
        self.shared.log.reopen();
    }

    /// The accounts and their subscriptions: for parts that run beside the server.
    pub fn router(&self) -> Arc<crate::router::Router> {
        self.shared.router.clone()
    }

    /// The namespaces and their credentials, when they are configured. What is made here can be used at once.
    pub fn namespaces(&self) -> Option<&Namespaces> {
        self.shared.auth.namespaces()
    }

    /// Puts another configuration in force: users, accounts, rights, limits, certificates. Addresses and stores stay as they are.
    pub fn reload(&self, config: Config) -> Result<(), Error> {
        let config = with_what_stays(config, &self.shared.config());
        // With the address of now: what is open to the world must not lose its authentication.
        config.check()?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose().map_err(Error::Tls)?;
        self.shared.auth.reload(&config)?;
        *self.shared.tls.write().unwrap_or_else(std::sync::PoisonError::into_inner) = acceptor;
        self.shared.log.set_levels(config.log.debug, config.log.trace);
        self.shared.set_config(config);
        self.shared.log.info(format_args!("Reloaded server configuration"));
        Ok(())
    }

    /// Takes no new clients, asks the others to go elsewhere, closes them little by little; returns when all are gone.
    pub async fn lame_duck(&self) {
        if !self.shared.enter(Phase::LameDuck) {
            return;
        }
        let config = self.shared.config();
        self.shared.log.info(format_args!("Entering lame duck mode, stop accepting new clients"));
        let sessions = self.shared.sessions();
        for session in &sessions {
            session.send_info(|info| info.ldm = true);
        }
        if sessions.is_empty() {
            return;
        }
        let mut phase = self.shared.phase();
        let close_slowly = async {
            tokio::time::sleep(config.lame_duck_grace_period).await;
            let span = config.lame_duck_duration.saturating_sub(config.lame_duck_grace_period);
            let sessions = self.shared.sessions();
            let steps =
                (span.as_millis() / LAME_DUCK_STEP.as_millis()).clamp(1, sessions.len().max(1) as u128) as usize;
            let pause = span / u32::try_from(steps).unwrap_or(u32::MAX);
            for chunk in sessions.chunks(sessions.len().div_ceil(steps).max(1)) {
                for session in chunk {
                    session.close(Reason::ServerShutdown, None);
                }
                if self.shared.session_count() == 0 {
                    break;
                }
                tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
            }
        };
        tokio::select! {
            () = close_slowly => {}
            () = self.all_gone() => {}
            _ = phase.wait_for(|phase| phase.is_over()) => {}
        }
    }

    async fn all_gone(&self) {
        loop {
            // Listening before looking: the last one may leave in between.
            let left = self.shared.session_left.notified();
            if self.shared.session_count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Ends the server: what was acknowledged is on disk and no client is served any more when this returns. Takes a few
    /// seconds at most, unless the disk takes longer.
    pub async fn shutdown(mut self) {
        self.shared.log.info(format_args!("Initiating Shutdown..."));
        self.shared.enter(Phase::Over);
        // Before the clients go, so that they get the answers that are on their way.
        self.close_jetstream().await;
        self.stop();
        let _ = tokio::time::timeout(GOODBYE, self.all_gone()).await;
        self.files.remove();
        self.shared.log.info(format_args!("Server Exiting.."));
        let log = self.shared.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.flush()).await;
    }

    async fn close_jetstream(&mut self) {
        if let Some(jetstream) = self.jetstream.take()
            && tokio::time::timeout(STORE_CLOSES, jetstream.shutdown()).await.is_err()
        {
            self.shared.log.error(format_args!("JetStream does not end: the disk does not answer"));
        }
    }

    fn stop(&self) {
        self.shared.enter(Phase::Over);
        for session in self.shared.sessions() {
            session.close(Reason::ServerShutdown, None);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        self.files.remove();
        if let Some(jetstream) = self.jetstream.take() {
            self.runtime.spawn(async move { jetstream.shutdown().await });
        }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// The new configuration, but with what only a start can change as it is: all that is shown and checked is what is in force.
fn with_what_stays(config: Config, now: &Config) -> Config {
    Config {
        host: Some(now.listen_host().to_owned()),
        port: now.port,
        insecure: now.insecure,
        server_name: now.server_name.clone(),
        server_tags: now.server_tags.clone(),
        http: now.http.clone(),
        jetstream: now.jetstream.clone(),
        namespaces: now.namespaces.clone(),
        pid_file: now.pid_file.clone(),
        ports_file_dir: now.ports_file_dir.clone(),
        ..config
    }
}

/// The monitor has no logins: unless told where to listen, it goes no further than the clients were told to.
fn monitor_host<'a>(config: &'a Config, host: Option<&'a str>) -> &'a str {
    host.or(config.host.as_deref()).unwrap_or("127.0.0.1")
}

fn greet(shared: &Shared, config: &Config) {
    shared.log.info(format_args!("Starting natsune-broker"));
    shared.log.info(format_args!(
        "  Version:  {} (nats-server compatible {})",
        crate::VERSION,
        crate::COMPATIBLE_VERSION
    ));
    shared.log.info(format_args!("  Name:     {}", shared.name));
    shared.log.info(format_args!("  ID:       {}", shared.id));
    if let Some(file) = &config.config_file {
        shared.log.info(format_args!("Using configuration file: {}", file.display()));
    }
    for warning in &config.warnings {
        shared.log.warn(format_args!("{warning}"));
    }
    if shared.most_sessions() < config.limits.max_connections {
        shared.log.info(format_args!("Maximum connections limited to {} by open files", shared.most_sessions()));
    }
}

async fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, Error> {
    listen::bind(host, port).await.map_err(|source| Error::Listen { address: shown(host, port), source })
}

/// Notices namespaces and credentials that another process makes or deletes.
async fn watch_namespaces(shared: Arc<Shared>) {
    let mut phase = shared.phase();
    tokio::select! {
        _ = phase.wait_for(|phase| phase.is_over()) => {}
        () = shared.auth.clone().watch() => {}
    }
}

/// Ends the sessions that a change of users or accounts does not admit any more.
async fn recheck(shared: Arc<Shared>) {
    let mut changes = shared.auth.subscribe_changes();
    let mut phase = shared.phase();
    loop {
        tokio::select! {
            _ = phase.wait_for(|phase| phase.is_over()) => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        for session in shared.sessions() {
            let Some(identity) = session.identity() else { continue };
            if let Some(text) = shared.auth.still_valid(&identity) {
                let reason = Reason::of_revocation(text);
                session.close(reason, Some(text));
            }
        }
    }
}

/// An address as people write it.
fn shown(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An address that can be connected to: everywhere includes this machine.
fn dialable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // Bound for both families, so the older one is the safer one to name.
        IpAddr::V6(ip) if ip == Ipv6Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
