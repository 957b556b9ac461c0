//! What all parts of one running server share.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use natsune_protocol::Limits;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::budget::Budget;
use super::counters::{Counters, Totals};
use super::room;
use super::timers::Timers;
use crate::COMPATIBLE_VERSION;
use crate::auth::{Auth, AuthError, ConnectDoc};
use crate::config::{Config, ConfigError, HandshakeFirst};
use crate::log::Log;
use crate::monitor::Report;
use crate::router::Router;
use crate::session::{Info, Reason, Session};

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    Running,
    /// Taking no new clients, asking the others to go elsewhere.
    LameDuck,
    /// Ending.
    Over,
}

impl Phase {
    pub(crate) fn is_over(self) -> bool {
        self == Phase::Over
    }
}

/// One running server.
pub(crate) struct Shared {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) start: SystemTime,
    started: Instant,
    config: RwLock<(Arc<Config>, SystemTime)>,
    pub(crate) router: Arc<Router>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) log: Log,
    pub(crate) counters: Counters,
    pub(crate) budget: Budget,
    pub(crate) timers: Timers,
    pub(super) tls: RwLock<Option<TlsAcceptor>>,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    /// Sessions at a time that there are descriptors for.
    room: usize,
    /// Sessions that have not said who they are, oldest first; those that have are skipped.
    unknown: Mutex<VecDeque<Weak<Session>>>,
    next_cid: AtomicU64,
    phase: watch::Sender<Phase>,
    pub(super) address: OnceLock<SocketAddr>,
    pub(super) monitor_address: OnceLock<SocketAddr>,
    pub(crate) jetstream: AtomicBool,
    report: OnceLock<Arc<dyn Report>>,
    /// Told whenever a session has gone.
    pub(super) session_left: Notify,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        id: String,
        tls: Option<TlsAcceptor>,
        log: Log,
    ) -> Result<Arc<Shared>, ConfigError> {
        let router = Arc::new(Router::new());
        let auth = Auth::new(&config, router.clone(), log.clone())?;
        let name = config.server_name.clone().unwrap_or_else(|| id.clone());
        Ok(Arc::new(Shared {
            id,
            name,
            start: SystemTime::now(),
            started: Instant::now(),
            config: RwLock::new((Arc::new(config), SystemTime::now())),
            router,
            auth,
            log,
            counters: Counters::default(),
            budget: Budget::new(),
            timers: Timers::default(),
            tls: RwLock::new(tls),
            sessions: Mutex::default(),
            room: room::for_sessions(),
            unknown: Mutex::default(),
            // The numbers before are for the server's own parts.
            next_cid: AtomicU64::new(5),
            phase: watch::Sender::new(Phase::Running),
            address: OnceLock::new(),
            monitor_address: OnceLock::new(),
            jetstream: AtomicBool::new(false),
            report: OnceLock::new(),
            session_left: Notify::new(),
        }))
    }

    /// The settings of now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// When they were read.
    pub(crate) fn config_loaded(&self) -> SystemTime {
        self.config.read().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(super) fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(config), SystemTime::now());
    }

    /// Milliseconds since the server began.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Microseconds since the server began.
    pub(crate) fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to a later phase; false when it is there already.
    pub(super) fn enter(&self, phase: Phase) -> bool {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            if later {
                *now = phase;
            }
            later
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase.borrow().is_over()
    }

    /// What INFO says to everybody.
    pub(crate) fn info(&self) -> Info {
        let config = self.config();
        let (host, port) = self.advertised(&config);
        let tls = config.tls.as_ref();
        let optional = tls.is_some_and(|tls| tls.allow_non_tls);
        Info {
            server_id: self.id.clone(),
            server_name: self.name.clone(),
            version: COMPATIBLE_VERSION,
            proto: 1,
            git_commit: concat!("natsune-", env!("CARGO_PKG_VERSION")),
            go: "rust",
            host,
            port,
            headers: !config.no_header_support,
            auth_required: self.auth.auth_required(),
            tls_required: tls.is_some() && !optional,
            tls_verify: tls.is_some_and(|tls| tls.verify),
            tls_available: tls.is_some()
                && (optional || tls.is_some_and(|tls| tls.handshake_first != HandshakeFirst::No)),
            max_payload: config.limits.max_payload,
            jetstream: self.jetstream.load(Ordering::Relaxed),
            domain: config.jetstream.as_ref().and_then(|jetstream| jetstream.domain.clone()),
            ldm: *self.phase.borrow() == Phase::LameDuck,
            api_lvl: 5,
            ..Info::default()
        }
    }

    fn advertised(&self, config: &Config) -> (String, u16) {
        let port = self.address.get().map_or(config.port, SocketAddr::port);
        match &config.client_advertise {
            Some(advertised) => match advertised.rsplit_once(':') {
                Some((host, said)) => (host.trim_matches(['[', ']']).to_owned(), said.parse().unwrap_or(port)),
                None => (advertised.clone(), port),
            },
            None => (config.listen_host().to_owned(), port),
        }
    }

    /// What JetStream tells the monitor; `None`: it is off.
    pub(crate) fn report(&self) -> Option<&Arc<dyn Report>> {
        self.report.get()
    }

    pub(super) fn set_report(&self, report: Arc<dyn Report>) {
        let _ = self.report.set(report);
    }

    /// Host and port of the monitor, 0 when there is none.
    pub(crate) fn monitor(&self) -> (String, u16) {
        self.monitor_address
            .get()
            .map_or_else(|| (String::new(), 0), |address| (address.ip().to_string(), address.port()))
    }

    pub(crate) fn wire_limits(&self) -> Limits {
        let limits = &self.config().limits;
        Limits { control_line: limits.max_control_line, payload: limits.max_payload, ..Limits::broker() }
    }

    pub(crate) fn auth_required(&self) -> bool {
        self.auth.auth_required()
    }

    pub(crate) fn is_system_account(&self, name: &str) -> bool {
        self.auth.system_account().name == name
    }

    fn sessions_lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sessions, in the order of their numbers.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> = self.sessions_lock().values().cloned().collect();
        sessions.sort_unstable_by_key(|session| session.cid);
        sessions
    }

    /// How many sessions there are.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions_lock().len()
    }

    /// How many sessions there may be: as configured, and not more than there are descriptors for.
    pub(super) fn most_sessions(&self) -> usize {
        self.config().limits.max_connections.min(self.room)
    }

    /// A session for a new connection; `Err`: there are as many as there may be.
    pub(super) fn open_session(self: &Arc<Self>, addr: SocketAddr) -> Result<Arc<Session>, Arc<Session>> {
        let cid = self.next_cid.fetch_add(1, Ordering::Relaxed);
        let nonce = if self.auth.nonce_required() { Auth::new_nonce() } else { String::new() };
        let session = Session::new(self, cid, addr, nonce);
        self.counters.total_connections.fetch_add(1, Ordering::Relaxed);
        let most = self.most_sessions();
        {
            let mut sessions = self.sessions_lock();
            if sessions.len() >= most {
                return Err(session);
            }
            sessions.insert(cid, session.clone());
        }
        if self.auth_required() {
            self.bound_unknown(&session);
        }
        Ok(session)
    }

    /// At most a twentieth of the connections may be unknown, and half of those there is room for: past that, the oldest
    /// unknown one goes.
    fn bound_unknown(&self, session: &Arc<Session>) {
        let most = (self.config().limits.max_connections / 20).max(16).min(self.room / 2);
        let oldest = {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.push_back(Arc::downgrade(session));
            while unknown.front().is_some_and(|first| !still_unknown(first)) {
                unknown.pop_front();
            }
            if unknown.len() > most {
                // Those that became known in the middle are only taken out when it matters.
                unknown.retain(still_unknown);
            }
            if unknown.len() > most { unknown.pop_front() } else { None }
        };
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.close(Reason::AuthenticationTimeout, Some("Authentication Timeout"));
        }
    }

    pub(crate) fn session_ended(&self, session: &Session) {
        let removed = self.sessions_lock().remove(&session.cid);
        if removed.is_none() {
            return;
        }
        if let Some(identity) = session.identity() {
            identity.account.connection_closed();
        }
        let numbers = session.snapshot();
        self.counters.ended_out_msgs.fetch_add(numbers.out_msgs, Ordering::Relaxed);
        self.counters.ended_out_bytes.fetch_add(numbers.out_bytes, Ordering::Relaxed);
        let reason = session.closing().map_or("Client Closed", Reason::text);
        self.log.debug(format_args!("{session} - Client connection closed: {reason}"));
        self.session_left.notify_waiters();
    }

    pub(crate) fn auth_failed(&self, session: &Session, doc: &ConnectDoc, error: AuthError) {
        self.counters.auth_failure();
        let user = doc.user.as_deref().or(doc.nkey.as_deref()).unwrap_or("N/A");
        let text = error.reason().unwrap_or(error.text());
        self.log.error(format_args!("{session} - authentication error - User {user:?}: {text}"));
    }

    /// Totals, those of live sessions included.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.counters.snapshot();
        for session in self.sessions() {
            let numbers = session.snapshot();
            totals.out_msgs += numbers.out_msgs;
            totals.out_bytes += numbers.out_bytes;
        }
        totals
    }
}

fn still_unknown(session: &Weak<Session>) -> bool {
    session.upgrade().is_some_and(|session| session.identity().is_none() && session.closing().is_none())
}
