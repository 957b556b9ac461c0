//! Requests that wait for an answer: one reply subscription for all of them, no task and no timer per request.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::hash::{IdMap, digest};
use crate::error::{Applied, Code, Error, Result};
use crate::message::Message;

/// Who is told.
pub(crate) enum Done {
    Call(Box<dyn FnOnce(Result<Message>) + Send>),
    Send(oneshot::Sender<Result<Message>>),
}

impl Done {
    fn finish(self, result: Result<Message>) {
        match self {
            // A caller's panic must not take the connection down.
            Done::Call(call) => drop(catch_unwind(AssertUnwindSafe(|| call(result)))),
            Done::Send(send) => drop(send.send(result)),
        }
    }
}

struct Waiting {
    done: Done,
    deadline: Instant,
    subject: u64,
}

#[derive(Default)]
struct Table {
    next: u64,
    waiting: IdMap<Waiting>,
    deadlines: BTreeSet<(Instant, u64)>,
}

/// Requests for which the table keeps room when none waits any more.
const KEEP_ROOM: usize = 16 << 10;

impl Table {
    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.deadline, id));
        if self.waiting.is_empty() && self.waiting.capacity() > KEEP_ROOM {
            self.waiting = IdMap::default();
        }
        Some(waiting)
    }
}

/// The table of one client.
pub(crate) struct Requests {
    /// What all reply subjects begin with; the subscription adds `*`.
    prefix: String,
    table: Mutex<Table>,
}

/// The requests that waited at one moment.
pub(crate) struct Alive {
    ids: Vec<u64>,
    next: u64,
}

impl Alive {
    /// Whether a request waited then, or was made later.
    pub(crate) fn has(&self, id: u64) -> bool {
        id >= self.next || self.ids.binary_search(&id).is_ok()
    }
}

impl Requests {
    pub(crate) fn new(inbox: &str) -> Requests {
        Requests { prefix: format!("{inbox}."), table: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter of the one reply subscription.
    pub(crate) fn filter(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// Enters a request: its id, its reply subject, and whether no other one waits.
    pub(crate) fn insert(&self, subject: &str, deadline: Instant, done: Done) -> (u64, String, bool) {
        let mut reply = String::with_capacity(self.prefix.len() + 13);
        reply.push_str(&self.prefix);
        let mut table = self.lock();
        table.next += 1;
        let id = table.next;
        table.deadlines.insert((deadline, id));
        table.waiting.insert(id, Waiting { done, deadline, subject: digest(subject) });
        let alone = table.waiting.len() == 1;
        drop(table);
        write_id(&mut reply, id);
        (id, reply, alone)
    }

    /// The longest that a reply subject can be.
    pub(crate) fn reply_len(&self) -> usize {
        self.prefix.len() + 11
    }

    /// The request that a reply subject belongs to.
    pub(crate) fn id_of(&self, reply: &str) -> Option<u64> {
        read_id(reply.strip_prefix(self.prefix.as_str())?)
    }

    /// Forgets a request without telling anybody. False: it was finished already.
    pub(crate) fn cancel(&self, id: u64) -> bool {
        let waiting = self.lock().remove(id);
        waiting.is_some()
    }

    /// Hands the answers of one read to their requests; answers that nobody waits for any more are dropped.
    pub(crate) fn answer(&self, messages: &mut Vec<Message>, finished: &mut Vec<(Done, Message)>) {
        let mut table = self.lock();
        for message in messages.drain(..) {
            if let Some(waiting) = self.id_of(message.subject()).and_then(|id| table.remove(id)) {
                finished.push((waiting.done, message));
            }
        }
        drop(table);
        for (done, message) in finished.drain(..) {
            done.finish(reading_of(message));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lock().deadlines.first().map(|(at, _)| *at)
    }

    /// Fails what was not answered in time. False: there was nothing.
    pub(crate) fn expire(&self, now: Instant) -> bool {
        let mut late = Vec::new();
        let mut table = self.lock();
        while let Some((at, id)) = table.deadlines.first().copied()
            && at <= now
        {
            late.extend(table.remove(id));
        }
        drop(table);
        if late.is_empty() {
            return false;
        }
        let error = Error::new(Code::Timeout, "no answer in time: raise the timeout, or look at the responder");
        for waiting in late {
            waiting.done.finish(Err(error.clone()));
        }
        true
    }

    /// Fails one request.
    pub(crate) fn fail(&self, id: u64, error: &Error) {
        let waiting = self.lock().remove(id);
        if let Some(waiting) = waiting {
            waiting.done.finish(Err(error.clone()));
        }
    }

    /// Fails everything that waits.
    pub(crate) fn fail_all(&self, error: &Error) {
        let mut table = self.lock();
        let waiting = std::mem::take(&mut table.waiting);
        table.deadlines.clear();
        drop(table);
        for (_, waiting) in waiting {
            waiting.done.finish(Err(error.clone()));
        }
    }

    /// Fails the requests to a subject that the user may not publish to.
    pub(crate) fn fail_subject(&self, subject: &str, error: &Error) {
        let digest = digest(subject);
        let mut table = self.lock();
        let ids: Vec<u64> = table.waiting.iter().filter(|(_, w)| w.subject == digest).map(|(id, _)| *id).collect();
        let failed: Vec<_> = ids.into_iter().filter_map(|id| table.remove(id)).collect();
        drop(table);
        for waiting in failed {
            waiting.done.finish(Err(error.clone()));
        }
    }

    /// Which requests wait now.
    pub(crate) fn alive(&self) -> Alive {
        let table = self.lock();
        let mut ids: Vec<u64> = table.waiting.keys().copied().collect();
        let next = table.next + 1;
        drop(table);
        ids.sort_unstable();
        Alive { ids, next }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}

/// An answer, or what a server says instead of one.
fn reading_of(message: Message) -> Result<Message> {
    if message.payload().is_empty() && message.status_code() == Some(503) {
        let error = match message.header("Nats-Subject") {
            Some(subject) => {
                Error::new(Code::NoResponders, format!("nobody listens on {subject}")).with_subject(subject)
            }
            None => Error::new(Code::NoResponders, "nobody listens on the subject of the request"),
        };
        return Err(error.with_status(503).with_applied(Applied::No));
    }
    Ok(message)
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn write_id(out: &mut String, mut id: u64) {
    loop {
        out.push(char::from(*DIGITS.get((id % 62) as usize).unwrap_or(&b'0')));
        id /= 62;
        if id == 0 {
            break;
        }
    }
}

fn read_id(token: &str) -> Option<u64> {
    if token.is_empty() {
        return None;
    }
    token.bytes().rev().try_fold(0u64, |id, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        id.checked_mul(62)?.checked_add(u64::from(digit))
    })
}

/// A random token for reply subjects: 22 characters, about 131 bits.
pub(crate) fn unique() -> String {
    (0..22).map(|_| char::from(*DIGITS.get(rand::random_range(0..62)).unwrap_or(&b'0'))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_round_trip() {
        for id in [0, 1, 61, 62, 63, 12_345_678_901, u64::MAX] {
            let mut text = String::new();
            write_id(&mut text, id);
            assert_eq!(read_id(&text), Some(id));
        }
        assert_eq!((read_id(""), read_id("a-b"), read_id("zzzzzzzzzzzzzzzz")), (None, None, None));
    }

    #[test]
    fn finished_requests_leave_nothing() {
        let requests = Requests::new("_INBOX.x");
        let now = Instant::now();
        let (send, mut got) = oneshot::channel();
        let (_, reply, alone) = requests.insert("a", now + Duration::from_secs(9), Done::Send(send));
        let mut answers = vec![
            Message::from_parts(None, "_INBOX.x.nobody", None, None, b""),
            Message::from_parts(None, &reply, None, None, b"1"),
            Message::from_parts(None, &reply, None, None, b"2"),
        ];
        requests.answer(&mut answers, &mut Vec::new());
        assert_eq!(got.try_recv().unwrap().unwrap().payload(), b"1");
        let (send, mut got) = oneshot::channel();
        requests.insert("a", now, Done::Send(send));
        let (id, _, crowded) = requests.insert("b", now, Done::Call(Box::new(|_| panic!("cancelled"))));
        assert!(alone && !crowded);
        assert!(requests.cancel(id) && !requests.cancel(id));
        requests.expire(now);
        assert_eq!(got.try_recv().unwrap().unwrap_err().code(), Code::Timeout);
        assert_eq!((requests.len(), requests.lock().deadlines.len()), (0, 0));
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let requests = Requests::new("_INBOX.x");
        let now = Instant::now();
        for _ in 0..100_000 {
            requests.insert("a", now, Done::Call(Box::new(|_| {})));
        }
        requests.expire(now);
        let room = requests.lock().waiting.capacity();
        assert!(room <= KEEP_ROOM, "{room}");
    }

    #[test]
    fn a_refused_subject_fails_its_requests_only() {
        let requests = Requests::new("_INBOX.x");
        let later = Instant::now() + Duration::from_secs(9);
        let (send, mut refused) = oneshot::channel();
        requests.insert("a.b", later, Done::Send(send));
        let (send, mut other) = oneshot::channel();
        requests.insert("a.c", later, Done::Send(send));
        requests.fail_subject("a.b", &Error::new(Code::Permission, "no"));
        assert_eq!(refused.try_recv().unwrap().unwrap_err().code(), Code::Permission);
        assert!(other.try_recv().is_err());
    }
}
