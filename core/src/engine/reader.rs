//! From bytes to inboxes: parse what one read brought, sort it by subscription, hand each its share under one lock.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use natsune_protocol::{Limits, Parser, ServerOp};

use super::hash::IdMap;
use super::requests::Done;
use super::wire::MUX_SID;
use super::{Engine, READ_CHUNK};
use crate::error::{Code, Error, Result};
use crate::inbox::Inbox;
use crate::message::{Chunk, Message};

/// From this size on a read buffer is shared as it is; below, what was read is copied and the buffer used again.
const SHARE_FROM: usize = 16 << 10;

/// An operation that is no message.
pub(crate) enum Control<'a> {
    Ping,
    Pong,
    Info(&'a [u8]),
    Err(&'a str),
}

/// The messages of one subscription in one read.
struct Group {
    sid: u64,
    inbox: Option<Arc<Inbox>>,
    bytes: usize,
    messages: Vec<Message>,
}

/// The reading half of a connection, without its socket.
pub(crate) struct Reader {
    buf: Vec<u8>,
    parser: Parser,
    groups: Vec<Group>,
    /// Groups in use; the others keep their room for the next read.
    used: usize,
    index: IdMap<usize>,
    replies: Vec<Message>,
    finished: Vec<(Done, Message)>,
}

impl Reader {
    /// `already`: what came with the INFO line.
    pub(crate) fn new(already: Vec<u8>) -> Reader {
        Reader {
            buf: already,
            parser: Parser::new(Limits::client()),
            groups: Vec::new(),
            used: 0,
            index: IdMap::default(),
            replies: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// The buffer to read into and how many bytes it may grow by: one chunk, or to the end of one larger message, so that
    /// no small message pins a large one's memory.
    pub(crate) fn room(&mut self, engine: &Engine) -> (&mut Vec<u8>, usize) {
        let mut want = if self.buf.is_empty() { 0 } else { self.parser.want() };
        if want == self.buf.len() + 1 && want > READ_CHUNK {
            // A very long line, whose end nobody knows: not byte by byte.
            want = self.buf.len() + 4096;
        }
        let size = want.max(READ_CHUNK);
        if self.buf.capacity() < size {
            if want <= READ_CHUNK {
                let mut fresh = engine.spare_chunk();
                fresh.extend_from_slice(&self.buf);
                self.buf = fresh;
            } else {
                // A peer's word about a size is not a reason to take the memory at once.
                let step = size.min((self.buf.len() * 2).max(1 << 20));
                self.buf.reserve_exact(step.saturating_sub(self.buf.len()));
            }
        }
        let room = size.min(self.buf.capacity()).saturating_sub(self.buf.len()).max(1);
        (&mut self.buf, room)
    }

    /// Handles what is complete: how many messages were handed out.
    pub(crate) fn feed(
        &mut self,
        engine: &Engine,
        mut control: impl FnMut(Control<'_>) -> Result<()>,
    ) -> Result<usize> {
        let broken = |e: natsune_protocol::ParseError| {
            Error::new(Code::Connection, format!("the server sent what is not the NATS protocol: {e}"))
        };
        if self.parser.server_op(&self.buf).map_err(broken)?.is_none() {
            return Ok(0);
        }
        let data = if self.buf.len() < SHARE_FROM {
            let data = self.buf.clone();
            self.buf.clear();
            data
        } else {
            std::mem::replace(&mut self.buf, engine.spare_chunk())
        };
        let chunk = Chunk::new(data, engine.this.clone());
        let data = chunk.data();
        let (mut at, mut last, mut delivered) = (0, (0u64, 0usize), 0);
        let result = loop {
            let rest = data.get(at..).unwrap_or_default();
            let (op, used) = match self.parser.server_op(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(e) => break Err(broken(e)),
            };
            at += used;
            match op {
                ServerOp::Msg(msg) => {
                    let message = Message::in_chunk(&chunk, msg.subject, msg.reply, msg.headers, msg.payload);
                    if msg.sid == MUX_SID {
                        self.replies.push(message);
                        continue;
                    }
                    let group = if last.0 == msg.sid { last.1 } else { self.group(msg.sid) };
                    last = (msg.sid, group);
                    if let Some(group) = self.groups.get_mut(group) {
                        group.bytes += message.size();
                        group.messages.push(message);
                    }
                    continue;
                }
                ServerOp::Unreadable { sid } => {
                    engine.counters.unreadable.fetch_add(1, Relaxed);
                    // After those that came before it: it may be the one that ends the subscription.
                    delivered += self.deliver(engine, data.len());
                    last = (0, 0);
                    if let Some(inbox) = engine.inbox(sid)
                        && inbox.skip()
                    {
                        engine.forget(&inbox);
                    }
                    continue;
                }
                ServerOp::Ok => continue,
                _ => {}
            }
            // What came before a PONG or an -ERR is handed out before it is acted on.
            delivered += self.deliver(engine, data.len());
            last = (0, 0);
            let acted = match op {
                ServerOp::Ping => control(Control::Ping),
                ServerOp::Pong => control(Control::Pong),
                ServerOp::Info(json) => control(Control::Info(json)),
                ServerOp::Err(text) => control(Control::Err(text)),
                ServerOp::Msg(_) | ServerOp::Unreadable { .. } | ServerOp::Ok => Ok(()),
            };
            if let Err(e) = acted {
                break Err(e);
            }
        };
        delivered += self.deliver(engine, data.len());
        self.buf.extend_from_slice(data.get(at..).unwrap_or_default());
        result.map(|()| delivered)
    }

    /// The group of a subscription in this read.
    fn group(&mut self, sid: u64) -> usize {
        if let Some(at) = self.index.get(&sid) {
            return *at;
        }
        let at = self.used;
        self.used += 1;
        self.index.insert(sid, at);
        match self.groups.get_mut(at) {
            Some(group) => (group.sid, group.bytes) = (sid, 0),
            None => self.groups.push(Group { sid, inbox: None, bytes: 0, messages: Vec::new() }),
        }
        at
    }

    fn deliver(&mut self, engine: &Engine, chunk_len: usize) -> usize {
        let mut count = self.replies.len();
        if self.used > 0 {
            let groups = self.groups.get_mut(..self.used).unwrap_or_default();
            engine.inboxes_of(groups.iter_mut().map(|g| (g.sid, &mut g.inbox)));
            for group in groups {
                count += group.messages.len();
                let Some(inbox) = group.inbox.take() else {
                    // An ended subscription's rest.
                    group.messages.clear();
                    continue;
                };
                if group.bytes * 4 < chunk_len && chunk_len > 4096 {
                    // A few messages among many others: they must not pin the chunk while they wait.
                    Message::regroup(&mut group.messages, group.bytes);
                }
                engine.push(&inbox, &mut group.messages);
            }
            self.used = 0;
            self.index.clear();
            // Thousands of subscriptions in one read are rare; their groups are not kept.
            self.groups.truncate(256);
        }
        if count > 0 {
            engine.counters.in_messages.fetch_add(count as u64, Relaxed);
        }
        if !self.replies.is_empty() {
            engine.requests.answer(&mut self.replies, &mut self.finished);
        }
        count
    }
}
