//! JetStream without sockets: a router, an account, and clients that are sinks.
#![allow(dead_code)] // each test file uses a part of it

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use natsune_broker::config::JetStreamConfig;
use natsune_broker::jetstream::{JetStream, Settings};
use natsune_broker::router::{Account, AccountJetStream, AccountSettings, Delivery, Router, Sink, Sub};
use natsune_broker::store::{Recovered, Store};
use serde_json::Value;
use tokio::sync::mpsc;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A message as a client sees it.
#[derive(Debug, Clone)]
pub struct Msg {
    pub subject: String,
    pub reply: String,
    pub headers: String,
    pub payload: Bytes,
}

impl Msg {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The status line, `404 No Messages` for example; empty for a message.
    pub fn status(&self) -> String {
        let line = self.headers.lines().next().unwrap_or_default();
        line.strip_prefix("NATS/1.0").unwrap_or_default().trim().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        natsune_protocol::header_get(self.headers.as_bytes(), name).map(str::to_owned)
    }

    /// Stream sequence, consumer sequence, deliveries and pending of a delivered message.
    pub fn position(&self) -> (u64, u64, u64, u64) {
        let tokens: Vec<&str> = self.reply.split('.').collect();
        assert_eq!(tokens.len(), 9, "{}", self.reply);
        let number = |i: usize| tokens[i].parse::<u64>().expect("a number");
        (number(5), number(6), number(4), number(8))
    }
}

struct Port(mpsc::UnboundedSender<Msg>);

impl Sink for Port {
    fn deliver(&self, _sub: &Sub, msg: &Delivery<'_>) -> bool {
        let copy = Msg {
            subject: msg.subject.to_owned(),
            reply: msg.reply.unwrap_or_default().to_owned(),
            headers: String::from_utf8_lossy(msg.headers.unwrap_or_default()).into_owned(),
            payload: Bytes::copy_from_slice(msg.payload),
        };
        self.0.send(copy).is_ok()
    }
}

/// A subscription.
pub struct Inbox {
    account: Arc<Account>,
    sub: Arc<Sub>,
    received: mpsc::UnboundedReceiver<Msg>,
    pub subject: String,
}

impl Inbox {
    pub async fn next(&mut self) -> Msg {
        tokio::time::timeout(PATIENCE, self.received.recv()).await.expect("a message in time").expect("open")
    }

    pub async fn next_within(&mut self, time: Duration) -> Option<Msg> {
        tokio::time::timeout(time, self.received.recv()).await.ok().flatten()
    }

    pub fn try_next(&mut self) -> Option<Msg> {
        self.received.try_recv().ok()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.account.unsubscribe(&self.sub);
    }
}

/// JetStream with one account.
pub struct Bench {
    pub router: Arc<Router>,
    pub account: Arc<Account>,
    pub js: JetStream,
}

static NEXT: AtomicU64 = AtomicU64::new(1);

pub fn unique(prefix: &str) -> String {
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Bench {
    /// Everything in memory.
    pub fn memory() -> Bench {
        Bench::start(JetStreamConfig::default(), None)
    }

    /// On an opened store.
    pub fn on(store: (Store, Recovered)) -> Bench {
        Bench::start(JetStreamConfig::default(), Some(store))
    }

    pub fn start(config: JetStreamConfig, store: Option<(Store, Recovered)>) -> Bench {
        Bench::with_limits(config, store, AccountJetStream { enabled: true, ..Default::default() })
    }

    pub fn with_limits(
        config: JetStreamConfig,
        store: Option<(Store, Recovered)>,
        jetstream: AccountJetStream,
    ) -> Bench {
        let router = Arc::new(Router::new());
        let account = router.create_account("A", AccountSettings { jetstream, ..Default::default() });
        let js = JetStream::start(Settings { config, server_name: "bench".into() }, store);
        js.enable_account(&account);
        Bench { router, account, js }
    }

    pub fn subscribe(&self, subject: &str) -> Inbox {
        let (port, received) = mpsc::unbounded_channel();
        let sub = self.account.subscribe(subject, None, Bytes::from_static(b"1"), Arc::new(Port(port)));
        Inbox { account: self.account.clone(), sub, received, subject: subject.to_owned() }
    }

    pub fn inbox(&self) -> Inbox {
        self.subscribe(&unique("_INBOX."))
    }

    pub fn publish(&self, subject: &str, reply: Option<&str>, headers: &[(&str, &str)], payload: &[u8]) -> usize {
        let mut block = String::new();
        if !headers.is_empty() {
            block.push_str("NATS/1.0\r\n");
            for (name, value) in headers {
                block.push_str(&format!("{name}: {value}\r\n"));
            }
            block.push_str("\r\n");
        }
        let headers = (!block.is_empty()).then_some(block.as_bytes());
        self.account.publish(&Delivery { subject, reply, headers, payload, origin: 7 })
    }

    pub async fn request(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Msg {
        let mut inbox = self.inbox();
        let taken = self.publish(subject, Some(&inbox.subject), headers, payload);
        assert!(taken > 0, "nobody listens on {subject}");
        inbox.next().await
    }

    /// An API call; panics on nothing, errors are in the document.
    pub async fn api(&self, tail: &str, body: Value) -> Value {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).expect("json") };
        self.request(&format!("$JS.API.{tail}"), &[], &body).await.json()
    }

    /// An API call that must succeed.
    pub async fn must(&self, tail: &str, body: Value) -> Value {
        let answer = self.api(tail, body).await;
        assert!(answer.get("error").is_none(), "{tail}: {answer}");
        answer
    }

    /// The error code of an API call that must fail.
    pub async fn refused(&self, tail: &str, body: Value) -> u64 {
        let answer = self.api(tail, body).await;
        answer["error"]["err_code"].as_u64().unwrap_or_else(|| panic!("{tail}: {answer}"))
    }

    /// A publish that must be acknowledged: its sequence.
    pub async fn put(&self, subject: &str, payload: &[u8]) -> u64 {
        let ack = self.put_with(subject, &[], payload).await;
        ack["seq"].as_u64().filter(|seq| *seq > 0).unwrap_or_else(|| panic!("{ack}"))
    }

    /// The acknowledgement of a publish with headers.
    pub async fn put_with(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Value {
        self.request(subject, headers, payload).await.json()
    }

    pub async fn state(&self, stream: &str) -> Value {
        self.must(&format!("STREAM.INFO.{stream}"), Value::Null).await["state"].clone()
    }

    pub async fn consumer(&self, stream: &str, consumer: &str) -> Value {
        self.must(&format!("CONSUMER.INFO.{stream}.{consumer}"), Value::Null).await
    }

    /// Asks for messages and waits for `n` of them or the end of the request.
    pub async fn pull(&self, stream: &str, consumer: &str, request: Value) -> Vec<Msg> {
        let mut inbox = self.inbox();
        let wanted = request["batch"].as_u64().unwrap_or(1) as usize;
        let body = serde_json::to_vec(&request).expect("json");
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        assert!(self.publish(&subject, Some(&inbox.subject), &[], &body) > 0, "no consumer {consumer}");
        let mut got = Vec::new();
        while got.len() < wanted {
            let msg = inbox.next().await;
            let ended = !msg.status().is_empty() && msg.status() != "100 Idle Heartbeat";
            got.push(msg);
            if ended {
                break;
            }
        }
        got
    }

    pub fn ack(&self, msg: &Msg, body: &str) {
        self.publish(&msg.reply, None, &[], body.as_bytes());
    }

    pub async fn ack_sync(&self, msg: &Msg, body: &str) {
        self.request(&msg.reply, &[], body.as_bytes()).await;
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
