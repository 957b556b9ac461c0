//! The way to a pull consumer: requests out, and the answers told apart.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::status::{Verdict, classify, failure};
use crate::client::Client;
use crate::engine::requests::unique;
use crate::error::{Code, Error, Result};
use crate::inbox::{Filter, Inbox};
use crate::jetstream::JetStream;
use crate::message::Message;

/// One pull request, as the server reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub id: u64,
    pub messages: u64,
    /// 0: not limited.
    pub bytes: u64,
    /// Zero: for ever.
    pub expires: Duration,
    pub heartbeat: Duration,
    pub no_wait: bool,
}

/// What came, by its meaning.
pub(crate) enum Told {
    Message,
    /// A sign of life.
    Heartbeat,
    /// The request `id` is over; `pending`: messages and bytes that it did not deliver.
    Status {
        id: u64,
        verdict: Verdict,
        pending: Option<(u64, u64)>,
        code: u16,
        text: String,
    },
    /// Neither: of no interest.
    Nothing,
}

/// A subject to be answered at, and the subject to ask.
pub(crate) struct Channel {
    client: Client,
    ask: String,
    /// Reply subjects are this and the number of the request.
    prefix: String,
}

impl Channel {
    pub fn new(js: &JetStream, stream: &str, consumer: &str) -> Channel {
        let client = js.client().clone();
        let prefix = format!("{}.{}.", client.options().inbox_prefix, unique());
        Channel { client, ask: js.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}")), prefix }
    }

    /// Whether this is where requests go.
    pub fn asks(&self, subject: &str) -> bool {
        self.ask == subject
    }

    /// Subscribes to the answers. They pass through `filter` before they are queued; nothing is ever dropped, because no more comes
    /// than was asked for.
    pub fn open(&self, filter: Arc<dyn Filter>) -> Result<Arc<Inbox>> {
        self.client.engine().subscribe_filtered(&format!("{}*", self.prefix), filter)
    }

    /// Sends a request behind everything published so far. `more` is further fields of the JSON.
    pub fn send(&self, request: Request, more: &str) {
        self.send_to(&self.ask, request, more);
    }

    /// The same, to another consumer.
    pub fn send_to(&self, ask: &str, request: Request, more: &str) {
        let Request { id, messages, bytes, expires, heartbeat, no_wait } = request;
        let reply = format!("{}{id}", self.prefix);
        let mut body = format!("{{\"batch\":{messages}");
        if !expires.is_zero() {
            let _ = write!(body, ",\"expires\":{}", expires.as_nanos());
        }
        if bytes > 0 {
            let _ = write!(body, ",\"max_bytes\":{bytes}");
        }
        if !heartbeat.is_zero() {
            let _ = write!(body, ",\"idle_heartbeat\":{}", heartbeat.as_nanos());
        }
        if no_wait {
            body.push_str(",\"no_wait\":true");
        }
        body.push_str(more);
        body.push('}');
        // Fails when the client is closed, which ends the inbox, or without a connection, after which everything is asked anew.
        let _ = self.client.publish_control(ask, Some(&reply), None, body.as_bytes());
    }

    /// What a message is.
    pub fn read(&self, message: &Message) -> Told {
        // Everything that a consumer delivers has a subject to be settled at; nothing that a server says has one.
        if message.reply().is_some() {
            return Told::Message;
        }
        let Some(status) = message.status() else { return Told::Nothing };
        let id = message.subject().strip_prefix(self.prefix.as_str()).and_then(|id| id.parse().ok());
        match (classify(status.code, &status.text), id) {
            (Verdict::Heartbeat, _) => Told::Heartbeat,
            (_, None) => Told::Nothing,
            (verdict, Some(id)) => {
                let number = |name| message.header(name).and_then(|n| n.trim().parse().ok());
                let pending = number("Nats-Pending-Messages").map(|n| (n, number("Nats-Pending-Bytes").unwrap_or(0)));
                Told::Status { id, verdict, pending, code: status.code, text: status.text }
            }
        }
    }
}

/// What a final status is to the caller.
pub(crate) fn final_error(verdict: &Verdict, code: u16, text: &str, consumer: &str) -> Option<Error> {
    match verdict {
        Verdict::Gone => Some(failure(Code::NotFound, code, text, consumer)),
        Verdict::Refused(why) => Some(failure(*why, code, text, consumer)),
        Verdict::TooBig => Some(
            Error::new(
                Code::LimitExceeded,
                format!("the next message of consumer {consumer} is larger than max_bytes allows: raise max_bytes"),
            )
            .with_status(code),
        ),
        _ => None,
    }
}
