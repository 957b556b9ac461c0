//! What each operation of a client does.

use std::sync::atomic::Ordering;

use natsune_protocol::{ClientOp, Pub, encode, subject};

use super::BySid;
use super::reader::{Next, Reader};
use super::reason::Reason;
use crate::router::Delivery;

/// Tokens of a filter; more would only be a burden to everybody's matching.
const TOKENS: usize = 256;

/// Subjects the server answers under itself. As somebody's reply they would turn an answer into something else, say the
/// acknowledgement of a stored message into that of a delivered one, whatever the client may publish to.
fn is_reserved(reply: &str) -> bool {
    ["$JS.ACK.", "_R_.", "_GR_.", "$GR."].iter().any(|prefix| reply.len() > prefix.len() && reply.starts_with(prefix))
}

/// Before the account is known there is nothing else a client may say.
fn begins_connect(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(b'C' | b'c'))
}

impl Reader {
    /// What comes next while the client has not said who it is; `None`: CONNECT may be parsed.
    pub(super) fn not_yet_known(&self, rest: &[u8]) -> Option<Next> {
        if rest.is_empty() || begins_connect(rest) {
            return None;
        }
        if !self.session.shared.auth_required() {
            // Only when it is an operation at all: whatever else speaks to this port is told so by the parser.
            return matches!(rest.first(), Some(b'P' | b'p' | b'S' | b's' | b'U' | b'u' | b'H' | b'h' | b'I' | b'i'))
                .then_some(Next::Connect(None));
        }
        Some(Next::Close(Reason::AuthenticationViolation, Some("Authorization Violation")))
    }

    pub(super) fn operation(&mut self, op: ClientOp<'_>) -> Next {
        if self.traced {
            self.trace(&op);
        }
        match op {
            ClientOp::Pub(message) => {
                if message.headers.is_some() && !self.headers {
                    // "message headers not supported": nats-server closes without saying so.
                    return Next::Close(Reason::ProtocolViolation, None);
                }
                self.publish(message);
            }
            ClientOp::Ping => self.ping(),
            ClientOp::Pong => self.session.pong(),
            ClientOp::Sub { subject, queue, sid } => self.subscribe(subject, queue, sid),
            ClientOp::Unsub { sid, max } => self.unsubscribe(sid, max),
            ClientOp::Connect(doc) => return Next::Connect(Some(doc.to_vec())),
            // nats-server lets a peer that takes itself for a server talk, and so do we.
            ClientOp::Info(_) => {}
            ClientOp::Refused(text) => self.session.send_err(text),
        }
        Next::More
    }

    /// A protocol line for the log: never payloads, never what CONNECT says.
    #[cold]
    fn trace(&self, op: &ClientOp<'_>) {
        let (session, log) = (&self.session, &self.session.shared.log);
        match op {
            ClientOp::Connect(_) => log.trace(format_args!("{session} - <<- [CONNECT ***]")),
            ClientOp::Ping => log.trace(format_args!("{session} - <<- [PING]")),
            ClientOp::Pong => log.trace(format_args!("{session} - <<- [PONG]")),
            ClientOp::Pub(Pub { subject, reply, headers, payload }) => log.trace(format_args!(
                "{session} - <<- [{} {subject} {} {}]",
                if headers.is_some() { "HPUB" } else { "PUB" },
                reply.unwrap_or_default(),
                payload.len() + headers.map_or(0, <[u8]>::len)
            )),
            ClientOp::Sub { subject, queue, sid } => log.trace(format_args!(
                "{session} - <<- [SUB {subject} {} {}]",
                queue.unwrap_or_default(),
                sid.escape_ascii()
            )),
            ClientOp::Unsub { sid, max } => {
                log.trace(format_args!("{session} - <<- [UNSUB {} {}]", sid.escape_ascii(), max.unwrap_or(0)));
            }
            ClientOp::Info(_) => log.trace(format_args!("{session} - <<- [INFO]")),
            ClientOp::Refused(text) => log.trace(format_args!("{session} - <<- [{text}]")),
        }
    }

    /// `-ERR` for something the client may not do, and a line in the log.
    #[cold]
    fn forbidden(&self, text: &str) {
        self.session.shared.log.error(format_args!("{} - {text}", self.session));
        self.session.send_err(text);
    }

    fn ok(&self) {
        if self.verbose {
            self.session.send(encode::ok);
        }
    }

    fn ping(&mut self) {
        self.session.send(encode::pong);
        if std::mem::take(&mut self.info_due) {
            let account = self.account.as_ref().map(|account| account.name.clone()).unwrap_or_default();
            self.session.send_info(|info| {
                info.connect_info = true;
                info.acc_is_sys = self.session.shared.is_system_account(&account);
                info.remote_account = account;
            });
        }
    }

    fn publish(&mut self, message: Pub<'_>) {
        let Some(account) = &self.account else { return };
        let session = &self.session;
        let size = message.payload.len() + message.headers.map_or(0, <[u8]>::len);
        self.batch_msgs += 1;
        self.batch_bytes += size as u64;
        if self.pedantic && !subject::is_valid_publish(message.subject) {
            // Reported, and delivered all the same: that is what nats-server does.
            session.send_err("Invalid Publish Subject");
        }
        let (restricted, permissions) = (self.restricted, &self.permissions);
        let entry = self.cache.get(account, message.subject, |subject| !restricted || permissions.can_publish(subject));
        if !entry.verdict && !session.may_answer(message.subject) {
            return self.forbidden(&format!("Permissions Violation for Publish to \"{}\"", message.subject));
        }
        if let Some(reply) = message.reply.filter(|reply| is_reserved(reply)) {
            return self.forbidden(&format!("Permissions Violation for Publish with Reply of \"{reply}\""));
        }
        if self.verbose {
            session.send(encode::ok);
        }
        let delivery = Delivery {
            subject: message.subject,
            reply: message.reply,
            headers: message.headers,
            payload: message.payload,
            origin: session.cid,
        };
        let taken = entry.matched().deliver(&delivery);
        if taken == 0
            && self.no_responders
            && let Some(reply) = message.reply
        {
            self.tell_no_responders(message.subject, reply);
        }
    }

    /// 503 on the client's own subscription for the reply; it does not count as a message of that subscription.
    #[cold]
    fn tell_no_responders(&self, subject: &str, reply: &str) {
        let session = &*self.session;
        let address = std::ptr::from_ref(session).cast();
        let Some(sub) = self.account.as_ref().and_then(|account| account.find_of(reply, address)) else { return };
        let headers = format!("NATS/1.0 503\r\nNats-Subject: {subject}\r\n\r\n");
        session.send(|out| encode::msg(out, reply, &sub.sid, None, Some(headers.as_bytes()), b""));
    }

    fn subscribe(&mut self, filter: &str, queue: Option<&str>, sid: &[u8]) {
        let Some(account) = &self.account else { return };
        let session = &self.session;
        if self.restricted && !self.permissions.can_subscribe(filter, queue) {
            let with_queue = queue.map_or_else(String::new, |queue| format!(" using queue \"{queue}\""));
            return self.forbidden(&format!("Permissions Violation for Subscription to \"{filter}\"{with_queue}"));
        }
        if self.max_subscriptions.is_some_and(|max| session.subs().len() as u64 >= max) {
            return self.forbidden("maximum subscriptions exceeded");
        }
        // A second subscription with the same id changes nothing, as on nats-server.
        if !session.subs().contains(sid)
            && let Some(me) = session.me.upgrade()
        {
            if !subject::is_valid_filter(filter) || filter.bytes().filter(|byte| *byte == b'.').count() >= TOKENS {
                return session.send_err("Invalid Subject");
            }
            let sub = account.subscribe(filter, queue, sid, me);
            session.subs().insert(BySid(sub));
        }
        self.ok();
    }

    fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>) {
        let found = self.session.subs().get(sid).map(|found| found.0.clone());
        if let Some(sub) = found {
            // Under the outbox's lock, like the counting of deliveries: none can slip in between.
            let over = {
                let _outbox = self.session.outbox();
                match max {
                    Some(max) if max > sub.delivered() => {
                        sub.set_max(max);
                        false
                    }
                    _ => true,
                }
            };
            if over {
                self.session.forget_sub(sid);
            }
        }
        self.ok();
    }
}

impl super::Session {
    fn may_answer(&self, subject: &str) -> bool {
        let now = self.shared.now_ms();
        self.outbox().replies.as_mut().is_some_and(|replies| replies.may_answer(subject, now))
    }

    /// Messages and bytes it has sent us.
    pub fn received(&self) -> (u64, u64) {
        (self.in_msgs.load(Ordering::Relaxed), self.in_bytes.load(Ordering::Relaxed))
    }
}
