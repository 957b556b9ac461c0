//! One connection: reads operations, checks rights, calls the router; its outbox is what others append to.
//!
//! A session is one task. The task reads, writes what others left to it, and waits; everything that other threads do to a
//! session (deliver, close, ping) goes through the outbox's lock and, if need be, a wake of the task. An idle session holds
//! no buffers.

mod connect;
mod info;
mod ops;
mod outbox;
mod reader;
mod reason;
mod replies;
mod sink;
mod tick;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::task::Poll;
use std::time::SystemTime;

use futures_util::task::AtomicWaker;
use natsune_protocol::encode;
use tokio::net::tcp::OwnedWriteHalf;

pub use info::Info;
use outbox::Outbox;
pub(crate) use reader::{Input, Opened, serve};
pub use reason::Reason;

use crate::auth::{ConnectDoc, Identity};
use crate::router::hash::SubjectHash;
use crate::router::{Batch, Sub};
use crate::server::Shared;

/// One connection.
pub struct Session {
    /// Its number; no other session of this server ever has it.
    pub cid: u64,
    /// Where it comes from.
    pub addr: SocketAddr,
    /// When it began.
    pub start: SystemTime,
    pub(crate) shared: Arc<Shared>,
    me: Weak<Session>,
    waker: AtomicWaker,
    outbox: Mutex<Outbox>,
    subs: Mutex<Subs>,
    nonce: String,
    identity: RwLock<Option<Arc<Identity>>>,
    about: OnceLock<About>,
    authenticated: AtomicBool,
    /// Protocol 1 and up: takes INFO at any time.
    async_info: AtomicBool,
    /// TLS version and cipher.
    pub(crate) tls: OnceLock<(&'static str, String)>,
    in_msgs: AtomicU64,
    in_bytes: AtomicU64,
    last_in: AtomicU64,
    /// When the current unfinished operation began; 0: there is none.
    partial_since: AtomicU64,
    partial_bytes: AtomicU64,
    pings_out: AtomicU32,
    ping_due: AtomicU64,
    /// When the last of our pings went out, in microseconds of the server's clock; 0: answered.
    ping_sent_us: AtomicU64,
    rtt_us: AtomicU64,
    /// Buffers may be held: a tick is going to look.
    warm: AtomicBool,
    /// The task is asked to give its buffers back.
    cool_down: AtomicBool,
    opened_ms: AtomicU64,
    /// When the clock looks at it next; `u64::MAX`: it is not in the heap.
    pub(crate) next_tick: AtomicU64,
}

/// The session's subscriptions by their id; the seed keeps peers from choosing ids that collide.
type Subs = HashSet<BySid, SubjectHash>;

/// A subscription that is looked up by its id.
struct BySid(Arc<Sub>);

impl Borrow<[u8]> for BySid {
    fn borrow(&self) -> &[u8] {
        &self.0.sid
    }
}

impl Hash for BySid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sid.hash(state);
    }
}

impl PartialEq for BySid {
    fn eq(&self, other: &BySid) -> bool {
        self.0.sid == other.0.sid
    }
}

impl Eq for BySid {}

/// What the client said of itself.
pub struct About {
    /// Its name.
    pub name: String,
    /// Its language.
    pub lang: String,
    /// Its library's version.
    pub version: String,
}

impl Session {
    pub(crate) fn new(shared: &Arc<Shared>, cid: u64, addr: SocketAddr, nonce: String) -> Arc<Session> {
        let now = shared.now_ms();
        let config = shared.config();
        let outbox = Outbox::new(now, config.limits.max_pending);
        Arc::new_cyclic(|me| Session {
            cid,
            addr,
            start: SystemTime::now(),
            shared: shared.clone(),
            me: me.clone(),
            waker: AtomicWaker::new(),
            outbox: Mutex::new(outbox),
            subs: Mutex::new(Subs::default()),
            nonce,
            identity: RwLock::new(None),
            about: OnceLock::new(),
            authenticated: AtomicBool::new(false),
            async_info: AtomicBool::new(false),
            tls: OnceLock::new(),
            in_msgs: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            last_in: AtomicU64::new(now),
            partial_since: AtomicU64::new(0),
            partial_bytes: AtomicU64::new(0),
            pings_out: AtomicU32::new(0),
            ping_due: AtomicU64::new(0),
            ping_sent_us: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
            warm: AtomicBool::new(true),
            cool_down: AtomicBool::new(false),
            opened_ms: AtomicU64::new(now),
            next_tick: AtomicU64::new(u64::MAX),
        })
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subs(&self) -> MutexGuard<'_, Subs> {
        self.subs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who it turned out to be; `None` before CONNECT.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the client said of itself.
    pub fn about(&self) -> Option<&About> {
        self.about.get()
    }

    /// Appends to the outbox, to be flushed at the end of this thread's batch or at once.
    pub(crate) fn send(&self, append: impl FnOnce(&mut Vec<u8>)) {
        let (newly_dirty, too_much, max_pending) = {
            let mut outbox = self.outbox();
            if outbox.closing.is_some() {
                return;
            }
            append(outbox.tail());
            // Answers count like messages: who asks without end and reads nothing must not use up the memory.
            let too_much = outbox.pending() > outbox.max_pending || !outbox.charge(&self.shared.budget);
            (!std::mem::replace(&mut outbox.dirty, true), too_much, outbox.max_pending)
        };
        if too_much {
            self.too_slow(Reason::SlowConsumerPendingBytes, format_args!("MaxPending of {max_pending} Exceeded"));
        }
        self.warm_up();
        if newly_dirty && let Some(me) = self.me.upgrade() {
            Batch::flush_later(me);
        }
    }

    /// `-ERR`; the connection stays.
    fn send_err(&self, text: &str) {
        self.send(|out| encode::err(out, text));
    }

    /// Ends the connection: the first reason counts, and its caller gets `true`. The text is sent as `-ERR` before it closes.
    pub fn close(&self, reason: Reason, text: Option<&str>) -> bool {
        {
            let mut outbox = self.outbox();
            if outbox.closing.is_some() {
                return false;
            }
            if let Some(text) = text {
                encode::err(outbox.tail(), text);
            }
            outbox.closing = Some(reason);
        }
        self.waker.wake();
        true
    }

    /// Why it ends or has ended.
    pub fn closing(&self) -> Option<Reason> {
        self.outbox().closing
    }

    /// Sends INFO again, as lame duck mode does.
    pub(crate) fn send_info(&self, change: impl FnOnce(&mut Info)) {
        if !self.async_info.load(Ordering::Relaxed) {
            return;
        }
        let mut info = self.info();
        change(&mut info);
        self.send(|out| info.append(out));
    }

    fn info(&self) -> Info {
        let mut info = self.shared.info();
        info.client_id = self.cid;
        info.client_ip = self.addr.ip().to_string();
        info.nonce = self.nonce.clone();
        if self.tls.get().is_some() && info.tls_available {
            // A client that has upgraded is not asked to do it again.
            info.tls_required = true;
        }
        info
    }

    /// Waits until somebody ends it; for the time before its task looks itself.
    pub(crate) async fn closed(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.closing().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The INFO line, for the time before the outbox is in use.
    pub(crate) fn info_line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        self.info().append(&mut line);
        line
    }

    /// Plain TCP: from now on everybody may write.
    pub(crate) fn set_writer(&self, writer: OwnedWriteHalf) {
        self.outbox().writer = Some(Arc::new(writer));
    }

    fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Acquire)
    }

    /// Takes a subscription away, also from within a delivery.
    fn forget_sub(&self, sid: &[u8]) {
        let removed = self.subs().take(sid).map(|found| found.0);
        if let (Some(sub), Some(identity)) = (removed, self.identity()) {
            identity.account.unsubscribe(&sub);
        }
    }

    /// Everything a monitor shows of it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (pending, out_msgs, out_bytes) = {
            let outbox = self.outbox();
            (outbox.pending(), outbox.out_msgs, outbox.out_bytes)
        };
        Snapshot {
            pending,
            out_msgs,
            out_bytes,
            in_msgs: self.in_msgs.load(Ordering::Relaxed),
            in_bytes: self.in_bytes.load(Ordering::Relaxed),
            subscriptions: self.subs().len(),
            idle_ms: self.shared.now_ms().saturating_sub(self.last_in.load(Ordering::Relaxed)),
            rtt_us: self.rtt_us.load(Ordering::Relaxed),
        }
    }

    /// The filters it is subscribed to.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Sub>> {
        self.subs().iter().map(|found| found.0.clone()).collect()
    }
}

/// Numbers of one session.
pub(crate) struct Snapshot {
    pub(crate) pending: usize,
    pub(crate) out_msgs: u64,
    pub(crate) out_bytes: u64,
    pub(crate) in_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) subscriptions: usize,
    pub(crate) idle_ms: u64,
    pub(crate) rtt_us: u64,
}

impl About {
    fn new(doc: &ConnectDoc) -> About {
        About {
            name: doc.name.clone().unwrap_or_default(),
            lang: doc.lang.clone().unwrap_or_default(),
            version: doc.version.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Session {
    /// As in the log of nats-server: address and number, and who it is once that is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - cid:{}", self.addr, self.cid)?;
        match self.identity() {
            Some(identity) if !identity.user.is_empty() => {
                write!(f, " - \"{}/user:{}\"", identity.account.name, identity.user)
            }
            _ => Ok(()),
        }
    }
}
