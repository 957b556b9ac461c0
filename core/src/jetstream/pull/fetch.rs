//! `next` and `fetch`: the desk of a consumer handle, wired to the client.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::channel::{Request, final_error};
use super::desk::{Action, Ask, Desk, End, Item};
use super::options::{FetchOptions, bounded};
use super::{Alarm, Channel, Told};
use crate::error::{Code, Error, Result};
use crate::inbox::{Filter, Inbox, Sifted};
use crate::jetstream::JetStream;
use crate::jetstream::documents::ConsumerInfo;
use crate::jetstream::message::JsMessage;
use crate::message::Message;

impl Item for Message {
    fn bytes(&self) -> u64 {
        self.size() as u64
    }
}

/// Who is told that a call is finished.
enum Notify {
    Waker(Waker),
    Call(Box<dyn FnOnce() + Send>),
}

impl Notify {
    fn tell(self) {
        match self {
            Notify::Waker(waker) => waker.wake(),
            Notify::Call(call) => call(),
        }
    }
}

/// The desk of all clones of one consumer handle. Its inbox is opened by the first call.
pub(crate) struct Pool {
    me: Weak<Pool>,
    js: JetStream,
    stream: String,
    consumer: String,
    channel: Channel,
    alarm: Alarm,
    state: Mutex<Inner>,
}

struct Inner {
    desk: Desk<Message>,
    inbox: Option<Arc<Inbox>>,
    waiting: HashMap<u64, Notify>,
    /// The last inbox ended with this.
    ended: Option<Error>,
}

impl Pool {
    pub fn new(js: &JetStream, stream: &str, consumer: &str) -> Arc<Pool> {
        Arc::new_cyclic(|me| Pool {
            me: me.clone(),
            js: js.clone(),
            stream: stream.to_owned(),
            consumer: consumer.to_owned(),
            channel: Channel::new(js, stream, consumer),
            alarm: Alarm::default(),
            state: Mutex::new(Inner { desk: Desk::new(), inbox: None, waiting: HashMap::new(), ended: None }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the desk, then does what it says.
    fn with<T>(&self, change: impl FnOnce(&mut Inner, Instant, &mut Vec<Action>) -> T) -> T {
        let mut actions = Vec::new();
        let mut told = Vec::new();
        let mut state = self.lock();
        let result = change(&mut state, Instant::now(), &mut actions);
        actions.retain(|action| match action {
            Action::Wake(ticket) => {
                told.extend(state.waiting.remove(ticket));
                false
            }
            _ => true,
        });
        let look_at = state.desk.look_at();
        drop(state);
        for action in actions {
            match action {
                Action::Pull { id, messages, bytes, expires } => {
                    let no_wait = expires.is_zero();
                    let request = Request { id, messages, bytes, expires, heartbeat: Duration::ZERO, no_wait };
                    self.channel.send(request, "");
                }
                Action::Check => self.check(),
                Action::Wake(_) => {}
            }
        }
        let waker = || self.me.upgrade().map_or_else(|| Waker::noop().clone(), Waker::from);
        self.alarm.set(self.js.client(), look_at, waker);
        told.into_iter().for_each(Notify::tell);
        result
    }

    /// A call begins. `notify` is told when it is finished, possibly before this returns.
    fn enter(&self, ask: Ask, notify: Option<Notify>) -> Result<u64> {
        self.open()?;
        Ok(self.with(|state, now, out| {
            let ticket = state.desk.enter(now, ask, out);
            if let Some(notify) = notify {
                state.waiting.insert(ticket, notify);
            }
            ticket
        }))
    }

    fn open(&self) -> Result<()> {
        if self.lock().inbox.is_some() {
            return Ok(());
        }
        let Some(me) = self.me.upgrade() else { return Ok(()) };
        // Not under the lock: the engine has its own.
        let inbox = self.channel.open(me)?;
        let engine = self.js.client().engine();
        let mut state = self.lock();
        if state.inbox.is_some() {
            // Another call was faster.
            drop(state);
            engine.unsubscribe(&inbox);
            return Ok(());
        }
        state.inbox = Some(inbox);
        drop(state);
        let up = engine.wire.is_live();
        self.with(|state, now, out| state.desk.linked(now, up, out));
        Ok(())
    }

    /// The handle is gone.
    pub fn close(&self) {
        self.alarm.clear(self.js.client());
        let inbox = self.lock().inbox.take();
        if let Some(inbox) = inbox {
            self.js.client().engine().unsubscribe(&inbox);
        }
    }

    /// Messages that came for nobody yet.
    pub fn leftover(&self) -> usize {
        self.lock().desk.leftover()
    }

    pub fn give_back(&self, messages: Vec<JsMessage>) {
        let messages = messages.into_iter().filter(|m| !m.is_settled()).map(JsMessage::into_message).collect();
        self.with(|state, now, out| state.desk.give_back(now, messages, out));
    }

    /// Asks whether the consumer is still there.
    fn check(&self) {
        let me = self.me.clone();
        let what = format!("consumer {} of stream {}", self.consumer, self.stream);
        let consumer = self.consumer.clone();
        let done = move |result: Result<ConsumerInfo>| {
            let Some(pool) = me.upgrade() else { return };
            let error = match result {
                Ok(info) => super::flow::push_based(&info, &consumer),
                Err(e) if matches!(e.code(), Code::NotFound | Code::Unavailable) => Some(e),
                Err(_) => None,
            };
            pool.with(|state, now, out| state.desk.checked(now, error, out));
        };
        let tail = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        match self.js.start_api(&tail, &(), what, done) {
            Ok(handle) => handle.detach(),
            Err(_) => self.with(|state, now, out| state.desk.checked(now, None, out)),
        }
    }
}

impl Filter for Pool {
    fn sift(&self, messages: &mut Vec<Message>) -> Sifted {
        self.with(|state, now, out| {
            let mut came = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match self.channel.read(&message) {
                    Told::Message => came.push(message),
                    Told::Heartbeat | Told::Nothing => {}
                    Told::Status { id, verdict, pending, code, text } => {
                        // In the order in which it was said.
                        state.desk.arrived(now, came.drain(..), out);
                        let failure = final_error(&verdict, code, &text, &self.consumer);
                        let pending = pending.map(|(messages, _)| messages);
                        state.desk.ended(now, End { id, verdict, pending, failure }, out);
                    }
                }
            }
            state.desk.arrived(now, came, out);
        });
        Sifted::Open
    }

    fn linked(&self, up: bool) {
        self.with(|state, now, out| state.desk.linked(now, up, out));
    }

    fn refused(&self, subject: &str, error: &Error) {
        if self.channel.asks(subject) {
            self.with(|state, _, out| state.desk.close(error, out));
        }
    }

    fn ended(&self, error: Option<&Error>) {
        let error =
            error.cloned().unwrap_or_else(|| Error::new(Code::Closed, "the client or the consumer handle is closed"));
        self.with(|state, _, out| {
            state.inbox = None;
            state.ended = Some(error.clone());
            state.desk.close(&error, out);
        });
    }
}

impl Wake for Pool {
    fn wake(self: Arc<Self>) {
        self.alarm.rang();
        self.with(|state, now, out| state.desk.tick(now, out));
    }
}

/// One owner for all clones of a consumer handle; the last one closes the desk.
pub(crate) struct PoolOwner(pub Arc<Pool>);

impl Drop for PoolOwner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A `fetch` under way: a future of its messages. Dropping it at any moment loses nothing: what it had received goes to the next one.
#[must_use = "await it for the messages; dropping it cancels the fetch"]
pub struct Fetch {
    owner: Arc<PoolOwner>,
    ticket: Option<u64>,
}

impl Fetch {
    pub(crate) fn start(
        owner: &Arc<PoolOwner>,
        options: &FetchOptions,
        done: Option<Box<dyn FnOnce() + Send>>,
    ) -> Result<Fetch> {
        if options.max_messages == 0 || options.max_bytes == Some(0) {
            return Err(Error::new(Code::InvalidArgument, "max_messages and max_bytes must be at least 1"));
        }
        let timeout = bounded(options.timeout.unwrap_or_else(|| owner.0.js.timeout()));
        let wait = (!options.no_wait && !timeout.is_zero()).then_some(timeout);
        let ask = Ask { messages: options.max_messages, bytes: options.max_bytes.unwrap_or(0), wait };
        let ticket = owner.0.enter(ask, done.map(Notify::Call))?;
        Ok(Fetch { owner: Arc::clone(owner), ticket: Some(ticket) })
    }

    /// The messages, once it is finished; `None` before that, and after they were given.
    pub fn take(&mut self) -> Option<Result<Vec<JsMessage>>> {
        let ticket = self.ticket?;
        let pool = &self.owner.0;
        let mut state = pool.lock();
        let outcome = state.desk.collect(ticket)?;
        // It may have finished before its waker was there.
        let waiting = state.waiting.remove(&ticket);
        drop(state);
        drop(waiting);
        self.ticket = None;
        let client = pool.js.client();
        Some(outcome.map(|messages| messages.into_iter().map(|m| JsMessage::new(m, client.clone())).collect()))
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("consumer", &self.owner.0.consumer).finish_non_exhaustive()
    }
}

impl Future for Fetch {
    type Output = Result<Vec<JsMessage>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        let Some(ticket) = self.ticket else {
            return Poll::Ready(Err(Error::new(Code::InvalidArgument, "this fetch was taken already")));
        };
        self.owner.0.lock().waiting.insert(ticket, Notify::Waker(cx.waker().clone()));
        // It may have finished before the waker was there.
        match self.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.owner.0.with(|state, now, out| {
                state.waiting.remove(&ticket);
                state.desk.leave(now, ticket, out);
            });
        }
    }
}
