//! The pulling side of a stream reader: an ordered consumer, made anew from the next sequence whenever something is lost.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::engine::requests::unique;
use crate::error::{Code, Error, Result};
use crate::inbox::{Filter, Inbox, Sifted};
use crate::jetstream::ack::Metadata;
use crate::jetstream::documents::ConsumerInfo;
use crate::jetstream::pull::{Accounting, Alarm, Bound, Channel, Handed, Plan, Pull, Request, Told, Verdict};
use crate::jetstream::{JetStream, Stream};
use crate::message::Message;

/// Bytes under way or not handled yet.
const AHEAD: u64 = 8 << 20;
/// A request that does not wait is answered at once; twice this long without a word and it is lost. Each time that nothing comes of
/// it, the server gets twice the time, because it may just be slow.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The server forgets a reader that does not read for so long; it is made anew then.
const INACTIVE: Duration = Duration::from_secs(60);

/// Tells whether the first consumer could be made.
type Started = oneshot::Receiver<Result<()>>;

/// The pulling side; the inbox holds it as its filter.
pub(crate) struct Pump {
    me: Weak<Pump>,
    js: JetStream,
    stream: String,
    /// One for all consumers: each has its own subject to ask.
    channel: Channel,
    alarm: Alarm,
    inbox: OnceLock<Weak<Inbox>>,
    state: Mutex<Progress>,
}

struct Progress {
    books: Accounting,
    handed: Handed,
    /// The sequence to go on from; 0: the first there is.
    next: u64,
    /// The consumer that is read, once it is made.
    consumer: Option<Arc<str>>,
    /// Its next delivery.
    place: u64,
    /// The attempt that is under way, or the last one: what others give does not count.
    attempt: u64,
    making: bool,
    down: bool,
    over: bool,
    delay: Duration,
    patience: Duration,
    /// When to make a consumer anew.
    again: Option<Instant>,
    started: Option<oneshot::Sender<Result<()>>>,
}

#[derive(Default)]
struct Todo {
    pull: Option<(Pull, Arc<str>)>,
    make: Option<(u64, u64)>,
    gone: Option<Arc<str>>,
    look_at: Option<Instant>,
}

impl Pump {
    /// Subscribes and makes the first consumer; whether that works is told once.
    pub fn open(stream: &Stream, start: u64) -> Result<(Arc<Pump>, Arc<Inbox>, Started)> {
        let js = stream.jetstream();
        let most = AHEAD.max(js.client().max_payload() as u64).min(1 << 40);
        let plan = Plan::new(Bound::Bytes(most), LONGEST_PATIENCE * 2, PATIENCE);
        let (send, started) = oneshot::channel();
        let pump = Arc::new_cyclic(|me| Pump {
            me: me.clone(),
            js: js.clone(),
            stream: stream.name().to_owned(),
            channel: Channel::new(js, stream.name(), "reader"),
            alarm: Alarm::default(),
            inbox: OnceLock::new(),
            state: Mutex::new(Progress {
                books: Accounting::new(plan, Instant::now()),
                handed: Handed::default(),
                next: start,
                consumer: None,
                place: 1,
                attempt: 0,
                making: false,
                down: true,
                over: false,
                delay: FIRST_DELAY,
                patience: PATIENCE,
                again: None,
                started: Some(send),
            }),
        });
        let inbox = pump.channel.open(Arc::clone(&pump) as Arc<dyn Filter>)?;
        let _ = pump.inbox.set(Arc::downgrade(&inbox));
        // Registered before it is asked: a connection that comes now tells it.
        pump.change(|state| state.down = !js.client().engine().wire.is_live());
        Ok((pump, inbox, started))
    }

    pub fn client(&self) -> &Client {
        self.js.client()
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Where a consumer is pulled.
    fn ask(&self, name: &str) -> String {
        self.js.api_subject(&format!("CONSUMER.MSG.NEXT.{}.{name}", self.stream))
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then does what follows.
    fn change<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        let mut state = self.lock();
        let before = state.consumer.clone();
        let result = change(&mut state);
        let mut todo = state.todo();
        if before.is_some() && (state.over || before != state.consumer) {
            todo.gone = before;
        }
        drop(state);
        self.act(todo);
        result
    }

    fn act(&self, todo: Todo) {
        if let Some(name) = todo.gone {
            self.forget(&name);
        }
        if let Some((Pull { id, messages, bytes }, name)) = todo.pull {
            let ask = self.ask(&name);
            let (expires, heartbeat) = (Duration::ZERO, Duration::ZERO);
            self.channel.send_to(&ask, Request { id, messages, bytes, expires, heartbeat, no_wait: true }, "");
        }
        if let Some((attempt, from)) = todo.make {
            self.make(attempt, from);
        }
        let waker = || self.me.upgrade().map_or_else(|| Waker::noop().clone(), Waker::from);
        self.alarm.set(self.client(), todo.look_at, waker);
    }

    /// Messages are handed out, and `done` of those before are handled.
    pub fn handed_out(&self, messages: &[Message], done: usize) {
        if messages.is_empty() && self.lock().handed.len() == 0 {
            return;
        }
        self.change(|state| {
            let (count, bytes) = state.handed.done(done);
            messages.iter().for_each(|m| state.handed.add(m.size()));
            state.books.handled(count, bytes);
        });
    }

    /// Makes a consumer that begins at `from`.
    fn make(&self, attempt: u64, from: u64) {
        let name = format!("read-{}", unique());
        let start = if from == 0 {
            json!({"deliver_policy": "all"})
        } else {
            json!({"deliver_policy": "by_start_sequence", "opt_start_seq": from})
        };
        let mut config = json!({
            "name": name, "ack_policy": "none", "max_deliver": 1, "mem_storage": true, "num_replicas": 1,
            "replay_policy": "instant", "inactive_threshold": INACTIVE.as_nanos() as u64,
        });
        if let (Some(config), Some(start)) = (config.as_object_mut(), start.as_object()) {
            config.extend(start.clone());
        }
        let body = json!({"stream_name": self.stream, "config": config, "action": "create"});
        let me = self.me.clone();
        let made = name.clone();
        let done = move |result: Result<ConsumerInfo>| {
            if let Some(pump) = me.upgrade() {
                pump.made(attempt, made, result);
            }
        };
        let tail = format!("CONSUMER.CREATE.{}.{name}", self.stream);
        let what = format!("reading stream {}", self.stream);
        match self.js.start_api(&tail, &body, what, done) {
            Ok(handle) => handle.detach(),
            Err(e) => self.made(attempt, name, Err(e)),
        }
    }

    fn made(&self, attempt: u64, name: String, result: Result<ConsumerInfo>) {
        let now = Instant::now();
        let end = self.change(|state| {
            if state.over || attempt != state.attempt {
                // Too late. One that was made all the same goes away by itself.
                return None;
            }
            state.making = false;
            match result {
                Ok(info) => {
                    state.tell(Ok(()));
                    state.delay = FIRST_DELAY;
                    if info.num_pending == 0 {
                        state.over = true;
                        state.consumer = Some(name.into());
                        return Some(None);
                    }
                    state.consumer = Some(name.into());
                    state.place = 1;
                    state.books.forget(now);
                    None
                }
                Err(e) if passes(&e) => {
                    state.later(now);
                    None
                }
                Err(e) => {
                    state.over = true;
                    state.tell(Err(e.clone()));
                    Some(Some(e))
                }
            }
        });
        if let Some(error) = end {
            if let Some(name) = self.lock().consumer.take() {
                self.forget(&name);
            }
            self.end(error);
        }
    }

    fn end(&self, error: Option<Error>) {
        self.alarm.clear(self.client());
        if let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) {
            self.client().engine().end_inbox(&inbox, error);
        }
    }

    /// Nobody wants more.
    pub fn leave(&self) {
        self.change(|state| state.over = true);
        self.alarm.clear(self.client());
    }

    /// Tells the server that a consumer is not needed any more; without an answer it goes away by itself.
    fn forget(&self, name: &str) {
        let tail = format!("CONSUMER.DELETE.{}.{name}", self.stream);
        if let Ok(handle) = self.js.start_api::<serde_json::Value>(&tail, &(), String::new(), |_| {}) {
            handle.detach();
        }
    }
}

/// Whether the same again may work.
fn passes(error: &Error) -> bool {
    matches!(error.code(), Code::Timeout | Code::Connection | Code::Unavailable | Code::NoResponders | Code::Busy)
}

impl Progress {
    fn todo(&mut self) -> Todo {
        if self.over {
            return Todo::default();
        }
        let now = Instant::now();
        let mut todo = Todo::default();
        if !self.down && self.consumer.is_none() && !self.making && self.again.is_none_or(|at| at <= now) {
            self.again = None;
            self.making = true;
            self.attempt += 1;
            todo.make = Some((self.attempt, self.next));
        }
        if let Some(name) = &self.consumer
            && !self.down
        {
            todo.pull = self.books.due(now).map(|pull| (pull, Arc::clone(name)));
        }
        let silence = if self.consumer.is_some() { self.books.look_at() } else { None };
        todo.look_at = [silence, self.again].into_iter().flatten().min().filter(|_| !self.down);
        todo
    }

    /// Something is lost: goes on from where it stands, with another consumer.
    fn renew(&mut self, now: Instant) {
        self.consumer = None;
        self.making = false;
        self.attempt += 1;
        self.books.forget(now);
    }

    fn later(&mut self, now: Instant) {
        self.renew(now);
        self.again = Some(now + self.delay);
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
    }

    fn tell(&mut self, result: Result<()>) {
        if let Some(started) = self.started.take() {
            let _ = started.send(result);
        }
    }

    /// Whether a message is the next one. True: it is, and it counts.
    fn accept(&mut self, now: Instant, message: &Message, last: &mut bool) -> bool {
        let Some(place) = message.reply().and_then(Metadata::parse) else { return false };
        if self.over || self.consumer.as_deref() != Some(place.consumer) {
            return false;
        }
        if place.consumer_sequence != self.place || place.stream_sequence < self.next {
            self.renew(now);
            return false;
        }
        self.place += 1;
        self.next = place.stream_sequence + 1;
        self.delay = FIRST_DELAY;
        if self.patience != PATIENCE {
            self.patience = PATIENCE;
            self.books.set_heartbeat(PATIENCE);
        }
        self.books.arrived(now, message.size() as u64);
        if place.num_pending == 0 {
            *last = true;
            self.over = true;
        }
        true
    }
}

impl Filter for Pump {
    fn sift(&self, messages: &mut Vec<Message>) -> Sifted {
        let now = Instant::now();
        let (mut last, mut failure) = (false, None);
        self.change(|state| {
            messages.retain(|message| match self.channel.read(message) {
                Told::Message => state.accept(now, message, &mut last),
                Told::Heartbeat => {
                    state.books.alive(now);
                    false
                }
                Told::Status { id, verdict, pending, code, text } => {
                    if state.over || state.consumer.is_none() || !state.books.is_current(id) {
                        return false;
                    }
                    match verdict {
                        // Nothing more is there: the rest was deleted before it was read.
                        Verdict::NoMessages => {
                            last = true;
                            state.over = true;
                        }
                        Verdict::Ended => state.books.ended(now, pending),
                        Verdict::TooBig if !state.books.too_big(now, pending) => {}
                        Verdict::Gone | Verdict::NoResponders | Verdict::Later | Verdict::Unpinned => state.later(now),
                        Verdict::TooBig | Verdict::Refused(_) => {
                            let text = format!("stream {} cannot be read: {}", self.stream, text.trim());
                            let code_of = if let Verdict::Refused(why) = verdict { why } else { Code::LimitExceeded };
                            failure = Some(Error::new(code_of, text).with_status(code));
                            state.over = true;
                        }
                        Verdict::Heartbeat => {}
                    }
                    false
                }
                Told::Nothing => false,
            });
        });
        if last || failure.is_some() {
            self.alarm.clear(self.client());
            return Sifted::End(failure);
        }
        Sifted::Open
    }

    fn linked(&self, up: bool) {
        let now = Instant::now();
        self.change(|state| {
            state.down = !up;
            if state.consumer.is_some() || up {
                // What was under way is lost.
                state.renew(now);
                state.again = None;
            }
        });
    }

    fn refused(&self, subject: &str, error: &Error) {
        let refused = self.change(|state| {
            let pulled = state.consumer.as_deref().is_some_and(|name| self.ask(name) == subject);
            state.over |= pulled;
            pulled
        });
        if refused {
            self.end(Some(error.clone()));
        }
    }

    fn ended(&self, error: Option<&Error>) {
        self.change(|state| {
            state.over = true;
            state.tell(Err(error.cloned().unwrap_or_else(|| Error::new(Code::Closed, "the client is closed"))));
        });
        self.alarm.clear(self.client());
    }
}

impl Wake for Pump {
    fn wake(self: Arc<Self>) {
        self.alarm.rang();
        let now = Instant::now();
        self.change(|state| {
            if !state.down && !state.over && state.consumer.is_some() && state.books.overdue(now) {
                state.renew(now);
                state.patience = (state.patience * 2).min(LONGEST_PATIENCE);
                state.books.set_heartbeat(state.patience);
            }
        });
    }
}
