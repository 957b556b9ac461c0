//! The task of one stream: it owns the index, the consumers and the order of everything that happens to them.
//!
//! A turn takes what waits in the mailbox, works it off, and hands the store at most two commits: one with the messages of a
//! batch of publishes, one with everything else (acknowledgements, removals, configuration). Answers that promise something
//! leave when the store has said yes. At most one batch of publishes is under way, so what a publish is checked against
//! ("expected last sequence", the duplicate window) is always decided: nothing depends on a message that may yet fail.

mod acks;
mod active;
mod admin;
mod atomic;
mod batch;
mod commit;
mod consumers;
mod counter;
mod deliver;
mod direct;
mod persist;
mod publish;
mod push;
mod removal;
mod restore;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::clock::{self, MILLISECOND, SECOND, Timestamp};
use super::consumer::Event;
use super::dedupe::Dedupe;
use super::expiry::Expiry;
use super::host::{Handle, Host};
use super::index::Index;
use super::info::{LostDoc, StateDoc};
use super::mailbox::{Committed, Item};
use super::puback::PubAcks;
use super::pull::Answer;
use super::stream_config::{Storage, StreamConfig};
use super::transform::Transform;
use crate::router::{Batch as WakeOnce, MatchCache};
use crate::store::{Location, Op, Store};
use active::Active;
pub use admin::precheck;
use atomic::Staged;
use batch::Batch;
pub use commit::store_error;
use commit::{Flight, Reply};
pub use persist::{stream_prefix, streams_keys};
pub use restore::{Record, Remains};

/// Items that have room at any time. What a burst needed beyond it is given back when it has been over for a while: there
/// may be thousands of streams.
const ROOM: usize = 256;
const BURST_OVER: i64 = SECOND;

/// A stream's task.
pub struct Stream {
    host: Arc<Host>,
    handle: Arc<Handle>,
    store: Store,
    config: Arc<StreamConfig>,
    index: Index,
    dedupe: Dedupe,
    expiry: Expiry,
    /// Messages the disk lost: their sequences, and a sum nobody can tell any more.
    lost: Vec<(u64, u64)>,
    last_msg_id: Bytes,
    transform: Option<Transform>,
    republish: Option<(Transform, bool)>,
    acks: PubAcks,
    consumers: BTreeMap<u64, Active>,
    next_consumer: u64,
    /// Publishes and calls in the order they came.
    backlog: VecDeque<Item>,
    batch: Option<Batch>,
    /// Batches whose last message has not come.
    staged: HashMap<Bytes, Staged>,
    flights: VecDeque<Flight>,
    /// What the next commit holds, and who waits for it.
    ops: Vec<Op>,
    replies: Vec<Reply>,
    removed: Vec<(u64, Location)>,
    /// Removals the store had no room for; they are tried again after a while.
    held_back: Vec<(u64, Location)>,
    /// Messages that are too old and wait for the marker that replaces them.
    marked: BTreeSet<u64>,
    /// Notes about roll-ups that are stored and can be forgotten with the next removal.
    rollups: usize,
    routes: MatchCache<()>,
    /// When which consumer wants attention.
    agenda: BTreeSet<(i64, u64)>,
    touched: Vec<u64>,
    /// Consumers that had their part of the last turn and could go on.
    unfinished: Vec<u64>,
    events: Vec<(u64, Event)>,
    answers: Vec<Answer>,
    now: i64,
    deadline: Option<i64>,
    retry_at: Option<i64>,
    /// When a burst last filled the queues; none when they are small again.
    burst: Option<i64>,
    /// Who waits for the end of the task.
    stopping: Option<oneshot::Sender<()>>,
    deleted: bool,
    changed: bool,
}

impl Stream {
    /// Runs until the stream is deleted or told to stop.
    pub async fn run(mut self) {
        let (mut items, mut committed) = (Vec::new(), Vec::new());
        self.now = clock::now();
        self.attend_all();
        self.publish_state();
        loop {
            let more = self.turn(&mut items, &mut committed);
            if self.is_over() {
                break;
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let handle = self.handle.clone();
            match self.deadline {
                None => handle.mailbox.filled().await,
                Some(deadline) => {
                    let pause = Duration::from_nanos(deadline.saturating_sub(clock::now()).max(0) as u64);
                    // Timers of tokio have milliseconds: never wake before the time.
                    let pause = tokio::time::sleep(pause.min(Duration::from_secs(3600)));
                    tokio::select! {
                        () = handle.mailbox.filled() => {}
                        () = pause => {}
                    }
                }
            }
        }
        self.end();
    }

    fn is_over(&self) -> bool {
        (self.stopping.is_some() && self.backlog.is_empty() || self.deleted) && self.flights.is_empty()
    }

    /// One round of work; true when there is more to do at once.
    fn turn(&mut self, items: &mut Vec<Item>, committed: &mut Vec<Committed>) -> bool {
        let _wake_once = WakeOnce::begin();
        self.now = clock::now();
        self.handle.mailbox.take(items, committed);
        if items.len() + self.backlog.len() > ROOM {
            self.burst = Some(self.now);
        }
        for id in std::mem::take(&mut self.unfinished) {
            self.touch(id);
        }
        for result in committed.drain(..) {
            self.on_committed(result);
        }
        for item in items.drain(..) {
            self.accept(item);
        }
        if !self.deleted {
            // In this order: what time brings may be something to publish.
            self.keep_agenda();
            self.work_off_backlog();
        }
        let more = self.deliver_all();
        self.tell();
        self.flush();
        self.publish_state();
        self.end_burst(items);
        self.deadline = self.next_deadline();
        more
    }

    /// Gives the room of a burst back.
    fn end_burst(&mut self, items: &mut Vec<Item>) {
        if self.burst.is_some_and(|at| at.saturating_add(BURST_OVER) <= self.now) {
            self.burst = None;
            items.shrink_to(ROOM);
            self.backlog.shrink_to(ROOM);
            self.handle.mailbox.shrink_to(ROOM);
        }
    }

    fn accept(&mut self, item: Item) {
        match item {
            Item::Ack(ack) => self.on_ack(ack),
            Item::Next { consumer, reply, body } => self.on_next(consumer, &reply, &body),
            Item::Flow { consumer, subject } => self.on_flow(consumer, &subject),
            Item::Listener(id) => self.on_listener(id),
            Item::Stop(done) => {
                // Nothing more comes in; what is here is finished.
                self.unsubscribe();
                self.stop_waiting("409 Server Shutdown");
                self.stopping = Some(done);
            }
            Item::Publish(_) | Item::Api(_) | Item::Update { .. } | Item::Delete { .. } => self.backlog.push_back(item),
        }
    }

    /// Publishes and calls, in order; stops where the order asks to wait for a commit.
    fn work_off_backlog(&mut self) {
        while self.batch.is_none() && !self.deleted {
            match self.backlog.front() {
                None => return,
                Some(Item::Publish(_)) => self.collect_batch(),
                Some(_) => match self.backlog.pop_front() {
                    Some(Item::Api(call)) => {
                        self.handle.mailbox.called();
                        self.on_call(*call);
                    }
                    Some(Item::Update { config, call, done }) => {
                        self.on_update(*config, *call);
                        let _ = done.send(());
                    }
                    Some(Item::Delete { call, done }) => {
                        self.stopping = Some(done);
                        self.on_delete(*call);
                    }
                    _ => {}
                },
            }
        }
    }

    /// Says what was found on the way: statuses to requesters, events to whoever listens.
    fn tell(&mut self) {
        for answer in self.answers.drain(..) {
            self.host.send_head(&answer.reply, &answer.head);
        }
        for (id, event) in std::mem::take(&mut self.events) {
            if let Some(active) = self.consumers.get(&id) {
                active.advise(&self.host, &self.handle.name, event);
            }
        }
    }

    fn touch(&mut self, id: u64) {
        if let Some(active) = self.consumers.get_mut(&id)
            && !active.touched
        {
            active.touched = true;
            self.touched.push(id);
        }
    }

    fn attend_all(&mut self) {
        let all: Vec<u64> = self.consumers.keys().copied().collect();
        all.into_iter().for_each(|id| self.touch(id));
    }

    /// Serves the consumers whose time has come, and the stream's own clocks.
    fn keep_agenda(&mut self) {
        while let Some((at, id)) = self.agenda.first().copied()
            && at <= self.now
        {
            self.agenda.remove(&(at, id));
            self.on_due(id);
        }
        self.expire_messages();
        self.expire_staged(false);
        self.forget_old_ids();
        if self.retry_at.is_some_and(|at| at <= self.now) {
            self.retry_at = None;
            for seq in std::mem::take(&mut self.marked) {
                self.expiry.again(seq, self.now);
            }
            self.removed.append(&mut self.held_back);
            self.attend_all();
        }
    }

    /// Message ids whose window is over, in memory and in the store.
    fn forget_old_ids(&mut self) {
        let old = self.dedupe.expire(self.now);
        if self.is_durable() {
            let id = self.handle.id;
            self.ops.extend(old.into_iter().map(|start| Op::Delete { key: persist::ids_key(id, start) }));
        }
    }

    fn next_deadline(&self) -> Option<i64> {
        let consumer = self.agenda.first().map(|(at, _)| *at);
        // Old ids hurt nobody: they are dropped in passing, at the latest when the oldest key is worth dropping.
        let ids = self.dedupe.next_due().map(|at| at.saturating_add(100 * MILLISECOND));
        let burst = self.burst.map(|at| at.saturating_add(BURST_OVER));
        [consumer, self.next_expiry(), ids, self.retry_at, self.next_staged_end(), burst].into_iter().flatten().min()
    }

    /// Whether keys are kept: not for streams that do not survive anyway.
    fn is_durable(&self) -> bool {
        self.config.storage == Storage::File && self.host.server.durable
    }

    fn state(&self) -> StateDoc {
        let first = self.index.first();
        // A stream that never held anything says 0, one that was emptied or told where to begin the sequence it goes on with.
        let untouched = self.index.last_seq() == 0 && self.config.first_seq == 0;
        StateDoc {
            messages: self.index.messages(),
            bytes: self.index.bytes(),
            first_seq: if untouched { 0 } else { self.index.first_seq() },
            first_ts: first.map_or(Timestamp::ZERO, |(_, meta)| Timestamp(meta.ts)),
            last_seq: self.index.last_seq(),
            last_ts: self.index.last_ts().map_or(Timestamp::ZERO, Timestamp),
            num_subjects: self.index.subjects.len() as u64,
            num_deleted: self.index.num_deleted(),
            lost: (!self.lost.is_empty()).then(|| LostDoc {
                msgs: self.lost.iter().flat_map(|(first, last)| *first..=*last).take(10_000).collect(),
                bytes: 0,
            }),
            consumer_count: self.consumers.len() as u64,
            ..StateDoc::default()
        }
    }

    /// What the stream holds before its task runs.
    pub fn first_state(&self) -> StateDoc {
        self.state()
    }

    fn publish_state(&mut self) {
        if std::mem::take(&mut self.changed) {
            *self.handle.state() = self.state();
        }
    }

    fn unsubscribe(&self) {
        let subs = std::mem::take(&mut *self.handle.subs.lock().unwrap_or_else(PoisonError::into_inner));
        self.host.account.unsubscribe_all(&subs);
    }

    /// The last act of the task.
    fn end(&mut self) {
        self.expire_staged(true);
        self.handle.mailbox.close();
        let mut left = (Vec::new(), Vec::new());
        self.handle.mailbox.take(&mut left.0, &mut left.1);
        for item in left.0 {
            match item {
                Item::Stop(done) => drop(done.send(())),
                Item::Api(call) | Item::Delete { call, .. } => {
                    self.host.answer(call.verb, &call.reply, Err(super::errors::STREAM_NOT_FOUND));
                }
                _ => {}
            }
        }
        for mut active in std::mem::take(&mut self.consumers).into_values() {
            self.unwatch(&mut active);
        }
        self.unsubscribe();
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }
}

impl Drop for Stream {
    /// A task that dies of a bug says so instead of leaving its clients waiting.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.handle.mailbox.close();
            let mut trouble = self.handle.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = Some("stopped by an internal error; what is stored is safe and back after a restart".into());
        }
    }
}
