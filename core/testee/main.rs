//! The Rust testee: does through the public crate what the runner says, one JSON line in, one out.
//! See `bindings/conformance/TESTEE.md`.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a program, not a library")]

mod documents;
mod jetstream;
mod local;
mod messages;

use natsune::{Client, Error, Event, Message, Subscription};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::task::AbortHandle;

/// What went wrong: a failure of the crate, or of this program.
pub enum Problem {
    Nats(Error),
    Foreign(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Nats(error)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Foreign(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        Problem::Foreign(text.to_owned())
    }
}

pub type Outcome = Result<Value, Problem>;

/// What `next` and `collect` iterate.
pub enum Source {
    Subscription(AsyncMutex<Subscription>, natsune::SubscriptionControl),
    Consumption(natsune::jetstream::Consumption),
    Reader(natsune::jetstream::StreamReader),
}

/// The events of one client, collected.
#[derive(Default)]
pub struct Collected {
    pub events: Mutex<Vec<Event>>,
    pub news: Notify,
}

/// An object that the runner named.
#[derive(Clone)]
pub enum Object {
    Client(Client, Arc<Collected>),
    Source(Arc<Source>),
    Consumer(natsune::jetstream::Consumer),
    Message(Message),
    JsMessage(Arc<natsune::jetstream::JsMessage>),
    Broker(Arc<local::LocalBroker>),
}

#[derive(Default)]
pub struct Testee {
    objects: Mutex<HashMap<String, Object>>,
    tasks: Mutex<HashMap<u64, AbortHandle>>,
}

/// One request.
pub struct Request {
    pub op: String,
    pub makes: Option<String>,
    pub on: Option<String>,
    pub args: Map<String, Value>,
}

impl Request {
    pub fn text(&self, name: &str) -> Result<&str, Problem> {
        self.args.get(name).and_then(Value::as_str).ok_or_else(|| format!("{} wants `{name}`", self.op).into())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.args.get(name).and_then(Value::as_u64)
    }

    pub fn seconds(&self, name: &str) -> Option<Duration> {
        self.args.get(name).and_then(Value::as_f64).map(Duration::from_secs_f64)
    }
}

impl Testee {
    pub fn keep(&self, name: &Option<String>, object: Object) {
        if let (Some(name), Ok(mut objects)) = (name, self.objects.lock()) {
            objects.insert(name.clone(), object);
        }
    }

    pub fn object(&self, request: &Request) -> Result<Object, Problem> {
        let name = request.on.as_deref().unwrap_or_default();
        let objects = self.objects.lock().map_err(|error| error.to_string())?;
        objects.get(name).cloned().ok_or_else(|| format!("no object is called {name:?}").into())
    }

    pub fn client(&self, request: &Request) -> Result<Client, Problem> {
        match self.object(request)? {
            Object::Client(client, _) => Ok(client),
            _ => Err("not a client".into()),
        }
    }

    pub fn forget(&self, name: &str) {
        if let Ok(mut objects) = self.objects.lock() {
            objects.remove(name);
        }
    }

    fn cancel(&self, request: &Request) -> Outcome {
        let tasks = self.tasks.lock().map_err(|error| error.to_string())?;
        if let Some(task) = request.number("target").and_then(|target| tasks.get(&target)) {
            task.abort();
        }
        Ok(json!({}))
    }

    async fn run(self: &Arc<Testee>, request: &Request) -> Outcome {
        match request.op.as_str() {
            "cancel" => self.cancel(request),
            "drop" => {
                self.forget(request.on.as_deref().unwrap_or_default());
                Ok(json!({}))
            }
            op if op.starts_with("broker_") => local::run(self, request).await,
            op if jetstream::OPS.contains(&op) => jetstream::run(self, request).await,
            _ => messages::run(self, request).await,
        }
    }
}

fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn answer(number: u64, outcome: Outcome) -> Value {
    match outcome {
        Ok(ok) => json!({"n": number, "ok": ok}),
        Err(Problem::Nats(error)) => json!({"n": number, "err": {
            "code": error.code().as_str(), "message": error.message(), "retryable": error.retryable(),
            "applied": error.applied().as_str(), "detail": error.detail(),
        }}),
        Err(Problem::Foreign(text)) => json!({"n": number, "err": {"code": "foreign", "message": text}}),
    }
}

fn parse(line: &str) -> Option<(u64, Request)> {
    let mut fields: Map<String, Value> = serde_json::from_str(line).ok()?;
    let number = fields.get("n")?.as_u64()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let (op, makes, on) = (text("op")?, text("as"), text("on"));
    let mut args = match fields.remove("args") {
        Some(Value::Object(args)) => args,
        _ => Map::new(),
    };
    args.retain(|_, value| !value.is_null());
    Some((number, Request { op, makes, on, args }))
}

#[tokio::main]
async fn main() {
    let testee = Arc::new(Testee::default());
    say(&json!({"hello": {"language": "rust", "version": env!("CARGO_PKG_VERSION")}}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((number, request)) = parse(&line) else { continue };
        let here = testee.clone();
        let task = tokio::spawn(async move { here.run(&request).await });
        if let Ok(mut tasks) = testee.tasks.lock() {
            tasks.insert(number, task.abort_handle());
        }
        tokio::spawn(async move {
            match task.await {
                Ok(outcome) => say(&answer(number, outcome)),
                Err(error) if error.is_cancelled() => {
                    say(&json!({"n": number, "err": {"code": "cancelled", "message": ""}}))
                }
                Err(error) => say(&answer(number, Err(Problem::Foreign(error.to_string())))),
            }
        });
    }
    std::process::exit(0);
}
