//! The pulling side of `consume`: books, answers, silence, and the connection that comes and goes.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::Instant;

use super::channel::{Request, final_error};
use super::options::{ConsumeOptions, Priority};
use super::{Accounting, Alarm, Channel, Handed, Plan, Pull, Told, Verdict};
use crate::client::{Client, RequestHandle};
use crate::error::{Code, Error, Result};
use crate::inbox::{Filter, Inbox, Sifted};
use crate::jetstream::documents::ConsumerInfo;
use crate::jetstream::{Consumer, JetStream};
use crate::message::Message;

/// The pulling side; the inbox holds it as its filter.
pub(crate) struct Flow {
    me: Weak<Flow>,
    js: JetStream,
    stream: String,
    consumer: String,
    channel: Channel,
    plan: Plan,
    priority: Option<Priority>,
    inbox: OnceLock<Weak<Inbox>>,
    alarm: Alarm,
    state: Mutex<Books>,
}

struct Books {
    books: Accounting,
    handed: Handed,
    down: bool,
    /// Stopped, drained, or ended: nothing is asked for any more.
    over: bool,
    checking: bool,
    pin: Option<String>,
}

/// What to do after the lock.
#[derive(Default)]
struct Todo {
    pull: Option<(Pull, String)>,
    check: bool,
    look_at: Option<Instant>,
}

/// A consumer that pushes cannot be pulled.
pub(super) fn push_based(info: &ConsumerInfo, name: &str) -> Option<Error> {
    info.config.deliver_subject.as_ref().map(|_| {
        let text = format!("{name} is a push consumer: subscribe to its deliver subject, or make a pull consumer");
        Error::new(Code::InvalidArgument, text)
    })
}

impl Flow {
    /// Subscribes to the answers and sends the first pull.
    pub fn open(consumer: &Consumer, options: &ConsumeOptions) -> Result<(Arc<Flow>, Arc<Inbox>)> {
        let plan = options.plan()?;
        let (js, stream, name) = (consumer.jetstream(), consumer.stream_name(), consumer.name());
        let flow = Arc::new_cyclic(|me| Flow {
            me: me.clone(),
            js: js.clone(),
            stream: stream.to_owned(),
            consumer: name.to_owned(),
            channel: Channel::new(js, stream, name),
            plan,
            priority: options.priority.clone(),
            inbox: OnceLock::new(),
            alarm: Alarm::default(),
            state: Mutex::new(Books {
                books: Accounting::new(plan, Instant::now()),
                handed: Handed::default(),
                down: true,
                over: false,
                checking: false,
                pin: None,
            }),
        });
        let inbox = flow.channel.open(Arc::clone(&flow) as Arc<dyn Filter>)?;
        let _ = flow.inbox.set(Arc::downgrade(&inbox));
        // Registered before it is asked: a connection that comes now tells it.
        flow.lock().down = !js.client().engine().wire.is_live();
        flow.go_on();
        Ok((flow, inbox))
    }

    pub fn client(&self) -> &Client {
        self.js.client()
    }

    /// What failures are about.
    pub fn what(&self) -> String {
        format!("consumer {} of stream {}", self.consumer, self.stream)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pulls if a pull is due.
    fn go_on(&self) {
        let todo = self.lock().todo(&self.priority);
        self.act(todo);
    }

    fn act(&self, todo: Todo) {
        if let Some((pull, more)) = todo.pull {
            let Pull { id, messages, bytes } = pull;
            let Plan { expires, heartbeat, .. } = self.plan;
            self.channel.send(Request { id, messages, bytes, expires, heartbeat, no_wait: false }, &more);
        }
        self.alarm.set(self.js.client(), todo.look_at, || {
            self.me.upgrade().map_or_else(|| Waker::noop().clone(), Waker::from)
        });
        if todo.check {
            self.check();
        }
    }

    /// Messages are handed out, and `done` of those before are handled.
    pub fn handed_out(&self, messages: &[Message], done: usize) {
        let mut state = self.lock();
        if messages.is_empty() && state.handed.len() == 0 {
            return;
        }
        let (count, bytes) = state.handed.done(done);
        messages.iter().for_each(|m| state.handed.add(m.size()));
        state.books.handled(count, bytes);
        let todo = state.todo(&self.priority);
        drop(state);
        self.act(todo);
    }

    /// Nothing is asked for any more.
    pub fn over(&self) {
        self.lock().over = true;
        self.alarm.clear(self.js.client());
    }

    fn fail(&self, error: Error) {
        self.over();
        if let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) {
            self.js.client().engine().end_inbox(&inbox, Some(error));
        }
    }

    /// Asks whether the consumer is still there. Silence alone does not tell a deleted one from a slow server.
    fn check(&self) {
        let me = self.me.clone();
        let what = self.what();
        let name = self.consumer.clone();
        let done = move |result: Result<ConsumerInfo>| {
            let Some(flow) = me.upgrade() else { return };
            flow.lock().checking = false;
            let error = match result {
                Ok(info) => push_based(&info, &name),
                Err(e) if e.code() == Code::NotFound => Some(e),
                Err(_) => None,
            };
            match error {
                Some(error) => flow.fail(error),
                None => flow.go_on(),
            }
        };
        let tail = format!("CONSUMER.INFO.{}.{}", self.stream, self.consumer);
        // Not sent: the next silence asks again.
        if self.js.start_api(&tail, &(), what, done).map(RequestHandle::detach).is_err() {
            self.lock().checking = false;
        }
    }
}

impl Books {
    fn todo(&mut self, priority: &Option<Priority>) -> Todo {
        if self.over {
            return Todo::default();
        }
        let pull = if self.down { None } else { self.books.due(Instant::now()) };
        let pull = pull.map(|pull| {
            let mut more = priority.as_ref().map(Priority::fields).unwrap_or_default();
            if let Some(pin) = &self.pin {
                more.push_str(&format!(",\"id\":{}", serde_json::Value::from(pin.as_str())));
            }
            (pull, more)
        });
        Todo { pull, check: false, look_at: self.books.look_at().filter(|_| !self.down) }
    }
}

impl Filter for Flow {
    fn sift(&self, messages: &mut Vec<Message>) -> Sifted {
        let now = Instant::now();
        let mut end = Sifted::Open;
        let mut check = false;
        let mut state = self.lock();
        messages.retain(|message| match self.channel.read(message) {
            Told::Message => {
                state.books.arrived(now, message.size() as u64);
                if self.priority.is_some()
                    && let Some(pin) = message.header("Nats-Pin-Id")
                    && state.pin.as_deref() != Some(pin)
                {
                    state.pin = Some(pin.to_owned());
                }
                true
            }
            Told::Heartbeat => {
                state.books.alive(now);
                false
            }
            Told::Status { id, verdict, pending, code, text } => {
                if state.books.is_current(id) && !state.over {
                    let error = final_error(&verdict, code, &text, &self.consumer);
                    match verdict {
                        Verdict::Gone | Verdict::Refused(_) => end = Sifted::End(error),
                        Verdict::TooBig => {
                            if state.books.too_big(now, pending) {
                                end = Sifted::End(error);
                            }
                        }
                        Verdict::NoResponders => {
                            state.books.ended_for_now(now, pending);
                            check = true;
                        }
                        Verdict::Later => state.books.ended_for_now(now, pending),
                        Verdict::Unpinned => {
                            state.pin = None;
                            state.books.ended(now, pending);
                        }
                        Verdict::Ended | Verdict::NoMessages => state.books.ended(now, pending),
                        Verdict::Heartbeat => {}
                    }
                }
                false
            }
            Told::Nothing => false,
        });
        if matches!(end, Sifted::End(_)) {
            state.over = true;
        }
        let mut todo = state.todo(&self.priority);
        todo.check = check && !state.over && !std::mem::replace(&mut state.checking, true);
        drop(state);
        self.act(todo);
        end
    }

    fn refused(&self, subject: &str, error: &Error) {
        if self.channel.asks(subject) {
            self.fail(error.clone());
        }
    }

    fn ended(&self, _error: Option<&Error>) {
        self.over();
    }

    fn linked(&self, up: bool) {
        let mut state = self.lock();
        state.down = !up;
        // Whatever was open went down with the connection.
        state.books.forget(Instant::now());
        // It may have been deleted meanwhile, and a pull on nothing gets no answer from some servers.
        let check = up && !state.over && !std::mem::replace(&mut state.checking, true);
        let mut todo = state.todo(&self.priority);
        todo.check = check;
        drop(state);
        self.act(todo);
    }
}

impl Wake for Flow {
    fn wake(self: Arc<Self>) {
        self.alarm.rang();
        let now = Instant::now();
        let mut state = self.lock();
        let mut check = false;
        if !state.down && !state.over && state.books.overdue(now) {
            state.books.forget(now);
            check = !std::mem::replace(&mut state.checking, true);
        }
        let mut todo = state.todo(&self.priority);
        todo.check = check;
        drop(state);
        self.act(todo);
    }
}
