//! Pull requests that wait for messages: who is next, who is done, who is told what. Pure; the clock is passed in.

use std::collections::VecDeque;

use serde::Deserialize;

use super::clock::format_duration;
use super::consumer_config::{ConsumerConfig, PriorityPolicy};
use super::json::null_is_default;

/// A status message for one requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its inbox.
    pub reply: String,
    /// The header block.
    pub head: String,
}

/// The status line alone.
pub fn status(reply: &str, line: impl std::fmt::Display) -> Answer {
    Answer { reply: reply.to_owned(), head: format!("NATS/1.0 {line}\r\n\r\n") }
}

/// What a request says about priorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The group.
    pub group: String,
    /// The pin the requester was given.
    pub id: String,
    /// Overflow: this many messages must be pending.
    pub min_pending: i64,
    /// Overflow: or this many acknowledgements.
    pub min_ack_pending: i64,
    /// Prioritized: lower comes first.
    pub priority: i64,
}

/// One waiting request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its inbox.
    pub reply: String,
    /// Messages still wanted.
    pub batch: i64,
    /// Bytes still wanted; 0 is no limit.
    pub bytes: i64,
    /// Messages it got.
    pub delivered: u64,
    /// When it ends.
    pub expires: Option<i64>,
    /// It ends when there is nothing (more).
    pub no_wait: bool,
    /// Pause after which it is told that the server lives.
    pub heartbeat: i64,
    next_heartbeat: i64,
    /// Priorities.
    pub group: Group,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "null_is_default")]
    expires: i64,
    #[serde(deserialize_with = "null_is_default")]
    batch: i64,
    #[serde(deserialize_with = "null_is_default")]
    max_bytes: i64,
    #[serde(deserialize_with = "null_is_default")]
    no_wait: bool,
    #[serde(deserialize_with = "null_is_default")]
    idle_heartbeat: i64,
    #[serde(deserialize_with = "null_is_default")]
    group: String,
    #[serde(deserialize_with = "null_is_default")]
    id: String,
    #[serde(deserialize_with = "null_is_default")]
    min_pending: i64,
    #[serde(deserialize_with = "null_is_default")]
    min_ack_pending: i64,
    #[serde(deserialize_with = "null_is_default")]
    priority: i64,
}

impl Request {
    /// Reads a request: a document, a number, or nothing for one message.
    pub fn parse(reply: &str, body: &[u8], now: i64) -> Result<Request, String> {
        let body = body.trim_ascii();
        let document = match body.first() {
            None => Document { batch: 1, ..Default::default() },
            Some(b'{') => serde_json::from_slice(body).map_err(|e| e.to_string())?,
            Some(_) => {
                let batch = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
                Document { batch, ..Default::default() }
            }
        };
        if document.idle_heartbeat > 0 && document.idle_heartbeat.saturating_mul(2) > document.expires {
            return Err("heartbeat value too large".into());
        }
        Ok(Request {
            reply: reply.to_owned(),
            // Whatever is less than one asks for one.
            batch: document.batch.max(-1),
            bytes: document.max_bytes,
            delivered: 0,
            expires: (document.expires != 0).then(|| now.saturating_add(document.expires)),
            no_wait: document.no_wait,
            heartbeat: document.idle_heartbeat.max(0),
            next_heartbeat: now.saturating_add(document.idle_heartbeat),
            group: Group {
                group: document.group,
                id: document.id,
                min_pending: document.min_pending,
                min_ack_pending: document.min_ack_pending,
                priority: document.priority,
            },
        })
    }

    fn ended(&self, line: &str) -> Answer {
        Answer {
            reply: self.reply.clone(),
            head: format!(
                "NATS/1.0 {line}\r\nNats-Pending-Messages: {}\r\nNats-Pending-Bytes: {}\r\n\r\n",
                self.batch.max(0),
                self.bytes
            ),
        }
    }
}

/// The client that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// What it must send along.
    pub id: String,
    /// Since when.
    pub since: i64,
    until: i64,
}

/// What the consumer has to say for the choice of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Messages not delivered yet, the one at hand included.
    pub pending: u64,
    /// Outstanding acknowledgements.
    pub ack_pending: usize,
    /// Messages that wait for their redelivery.
    pub queued: usize,
}

/// Who gets the message at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The inbox.
    pub reply: String,
    /// After this message the batch is complete but bytes were left: tell them.
    pub completed: Option<Answer>,
    /// The pin to send along.
    pub pin: Option<String>,
}

/// All waiting requests of a consumer.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    queue: VecDeque<Request>,
    max: usize,
    policy: PriorityPolicy,
    pin_time: i64,
    pin: Option<Pin>,
    /// When somebody last asked.
    pub last: i64,
    checked: i64,
    /// Advisories about pins: pinned or not, and why not.
    pub pins: Vec<PinChange>,
}

/// A client was pinned or unpinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// With this id.
    Pinned(String),
    /// For this reason.
    Unpinned(&'static str),
}

impl Waiting {
    /// An empty queue with the limits of a consumer.
    pub fn new(config: &ConsumerConfig, now: i64) -> Waiting {
        let mut waiting = Waiting { last: now, ..Waiting::default() };
        waiting.configure(config);
        waiting
    }

    /// Takes over a changed configuration.
    pub fn configure(&mut self, config: &ConsumerConfig) {
        self.max = usize::try_from(config.max_waiting).unwrap_or(0);
        self.policy = config.priority_policy;
        self.pin_time = config.priority_timeout;
        if self.policy != PriorityPolicy::PinnedClient {
            self.pin = None;
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether somebody waits who wants to be told that there is nothing.
    pub fn has_one_shot(&self) -> bool {
        self.queue.iter().any(|request| request.no_wait)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The pinned client.
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// Takes the pin away.
    pub fn unpin(&mut self, reason: &'static str) {
        if self.pin.take().is_some() {
            self.pins.push(PinChange::Unpinned(reason));
        }
    }

    /// Adds a request or says why not.
    pub fn add(
        &mut self,
        request: Request,
        config: &ConsumerConfig,
        load: Load,
        now: i64,
        interest: impl Fn(&str) -> bool,
        answers: &mut Vec<Answer>,
    ) {
        if let Err(line) = self.admit(&request, config, now) {
            answers.push(status(&request.reply, line));
            return;
        }
        if self.queue.len() >= self.max && now - self.checked > super::clock::SECOND {
            self.tidy(false, now, &interest, answers);
        }
        if request.no_wait {
            let there = load.pending + load.queued as u64;
            if there == 0 && request.expires.is_none() {
                self.last = now;
                answers.push(status(&request.reply, "404 No Messages"));
                return;
            }
            if there > 0 {
                self.tidy(false, now, &interest, answers);
                let wanted = self.queue.iter().fold(0i64, |sum, waiting| sum.saturating_add(waiting.batch));
                if i64::try_from(there).unwrap_or(i64::MAX) < wanted {
                    self.last = now;
                    answers.push(status(&request.reply, "408 Requests Pending"));
                    return;
                }
            }
        }
        if self.queue.len() >= self.max {
            // A client with a heartbeat finds out by itself; answering would only make it ask again at once.
            if request.heartbeat == 0 {
                answers.push(status(&request.reply, "409 Exceeded MaxWaiting"));
            }
            return;
        }
        self.last = now;
        self.insert(request);
    }

    fn insert(&mut self, request: Request) {
        if self.policy == PriorityPolicy::Prioritized {
            let at = self.queue.partition_point(|other| other.group.priority <= request.group.priority);
            self.queue.insert(at, request);
        } else {
            self.queue.push_back(request);
        }
    }

    fn admit(&mut self, request: &Request, config: &ConsumerConfig, now: i64) -> Result<(), String> {
        if config.max_batch > 0 && request.batch > config.max_batch {
            return Err(format!("409 Exceeded MaxRequestBatch of {}", config.max_batch));
        }
        if config.max_expires > 0 && request.expires.is_some_and(|at| at > now.saturating_add(config.max_expires)) {
            return Err(format!("409 Exceeded MaxRequestExpires of {}", format_duration(config.max_expires)));
        }
        if config.max_bytes > 0 && request.bytes > config.max_bytes {
            return Err(format!("409 Exceeded MaxRequestMaxBytes of {}", config.max_bytes));
        }
        let group = &request.group;
        let bad = |text: &str| Err(format!("400 Bad Request - {text}"));
        if (group.min_pending != 0 || group.min_ack_pending != 0) && self.policy != PriorityPolicy::Overflow {
            return bad("Not a Overflow Priority consumer");
        }
        if !group.id.is_empty() && self.policy != PriorityPolicy::PinnedClient {
            return bad("Not a Pinned Client Priority consumer");
        }
        if !(0..=9).contains(&group.priority) {
            return bad("Priority must be between 0 and 9");
        }
        if self.policy != PriorityPolicy::None {
            if group.group.is_empty() {
                return bad("Priority Group missing");
            }
            if !config.priority_groups.contains(&group.group) {
                return bad("Invalid Priority Group");
            }
            if let Some(pin) = &mut self.pin {
                if pin.id == group.id {
                    pin.until = now.saturating_add(self.pin_time);
                } else if !group.id.is_empty() {
                    return Err("423 Nats-Pin-Id mismatch".into());
                }
            }
        }
        Ok(())
    }

    /// The request that gets a message of `size` bytes. Requests found ended on the way are told.
    pub fn take(&mut self, size: usize, load: Load, now: i64, answers: &mut Vec<Answer>) -> Option<Taken> {
        let mut at = 0;
        while let Some(request) = self.queue.get(at) {
            if request.expires.is_some_and(|expires| expires <= now) {
                answers.push(request.ended("408 Request Timeout"));
                self.last = self.last.max(request.expires.unwrap_or(now));
                self.queue.remove(at);
                continue;
            }
            if self.policy == PriorityPolicy::PinnedClient {
                let right = self.pin.as_ref().map(|pin| pin.id == request.group.id);
                match (right, request.group.id.is_empty()) {
                    (Some(true), _) | (None, true) => {}
                    (Some(false), true) => {
                        at += 1;
                        continue;
                    }
                    // An old pin: it has to ask again without one.
                    (_, false) => {
                        answers.push(request.ended("423 Nats-Wrong-Pin-Id"));
                        self.queue.remove(at);
                        continue;
                    }
                }
            }
            if self.policy == PriorityPolicy::Overflow && !overflows(&request.group, load) {
                at += 1;
                continue;
            }
            if request.bytes > 0 && size as i64 > request.bytes {
                answers.push(request.ended("409 Message Size Exceeds MaxBytes"));
                self.queue.remove(at);
                continue;
            }
            return self.give(at, size, now);
        }
        None
    }

    fn give(&mut self, at: usize, size: usize, now: i64) -> Option<Taken> {
        let mut request = self.queue.remove(at)?;
        let mut pin = None;
        if self.policy == PriorityPolicy::PinnedClient {
            if self.pin.is_none() {
                let id = super::ids::unique();
                self.pins.push(PinChange::Pinned(id.clone()));
                request.group.id.clone_from(&id);
                self.pin = Some(Pin { id, since: now, until: now.saturating_add(self.pin_time) });
            }
            pin = Some(request.group.id.clone());
        }
        if request.bytes > 0 {
            request.bytes -= size as i64;
            if request.bytes == 0 {
                request.batch = 1;
            }
        }
        request.batch -= 1;
        request.delivered += 1;
        request.next_heartbeat = now.saturating_add(request.heartbeat);
        let reply = request.reply.clone();
        let mut completed = None;
        if request.batch > 0 {
            self.insert(request);
        } else if request.bytes > 0 {
            completed = Some(request.ended("409 Batch Completed"));
        }
        Some(Taken { reply, completed, pin })
    }

    /// A requester is gone.
    pub fn remove(&mut self, reply: &str) {
        self.queue.retain(|request| request.reply != reply);
    }

    /// Ends what is over, sends heartbeats, forgets requesters that are gone. `idle` says that there is nothing more to
    /// deliver at the moment.
    pub fn tidy(&mut self, idle: bool, now: i64, interest: impl Fn(&str) -> bool, answers: &mut Vec<Answer>) {
        self.checked = now;
        let mut last = self.last;
        self.queue.retain_mut(|request| {
            if let Some(expires) = request.expires.filter(|expires| *expires <= now) {
                answers.push(request.ended("408 Request Timeout"));
                last = last.max(expires);
                return false;
            }
            if idle && request.no_wait && (request.expires.is_none() || request.delivered > 0) {
                answers.push(status(&request.reply, "404 No Messages"));
                last = last.max(now);
                return false;
            }
            interest(&request.reply)
        });
        self.last = last;
        if self.pin.as_ref().is_some_and(|pin| pin.until <= now) {
            self.unpin("timeout");
        }
    }

    /// Tells quiet requesters that the server lives.
    pub fn heartbeats(&mut self, now: i64, head: impl Fn() -> String, answers: &mut Vec<Answer>) {
        for request in &mut self.queue {
            if request.heartbeat > 0 && request.next_heartbeat <= now {
                answers.push(Answer { reply: request.reply.clone(), head: head() });
                request.next_heartbeat = now.saturating_add(request.heartbeat);
            }
        }
    }

    /// When the next request ends, wants a heartbeat, or the pin ends.
    pub fn next_due(&self) -> Option<i64> {
        let requests = self.queue.iter().flat_map(|request| {
            [request.expires, (request.heartbeat > 0).then_some(request.next_heartbeat)].into_iter().flatten()
        });
        requests.chain(self.pin.as_ref().map(|pin| pin.until)).min()
    }

    /// Ends all of them with one line: the consumer is gone.
    pub fn end_all(&mut self, line: &str, answers: &mut Vec<Answer>) {
        for request in self.queue.drain(..) {
            answers.push(request.ended(line));
        }
    }
}

fn overflows(group: &Group, load: Load) -> bool {
    if group.min_pending <= 0 && group.min_ack_pending <= 0 {
        return true;
    }
    group.min_pending > 0 && group.min_pending as u64 <= load.pending
        || group.min_ack_pending > 0 && group.min_ack_pending as usize <= load.ack_pending
}

#[cfg(test)]
mod tests;
