//! Who waits for how much at one consumer handle, and what came for nobody: `next` and `fetch` as a pure state machine.
//!
//! Messages are handed out in the order of the calls, as the server answers requests. What a call that was cancelled had received, or
//! what comes after it, stays here for the next one, and a request that such a call left open is used by the next one too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::status::Verdict;
use crate::error::{Code, Error};

/// After its time, a call waits this much longer for the server's word.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
/// A request that does not want to wait is answered at once; without any answer, this is the end.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Less time than this is not worth another request.
const NOT_WORTH: Duration = Duration::from_millis(20);
/// A longer wait is several requests: one that is lost without a word costs no more than this.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// What can lie on the desk.
pub(crate) trait Item {
    /// Its bytes, as the server counts them.
    fn bytes(&self) -> u64;
}

/// One call of `next` or `fetch`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub messages: u64,
    /// 0: not limited.
    pub bytes: u64,
    /// `None`: take what is there now.
    pub wait: Option<Duration>,
}

/// What the caller of the machine must do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a request. `expires` is zero for one that does not wait.
    Pull { id: u64, messages: u64, bytes: u64, expires: Duration },
    /// The call with this number is finished: wake it.
    Wake(u64),
    /// Ask whether the consumer is still there, and tell the machine with `checked`.
    Check,
}

/// What a status says about a request.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub id: u64,
    pub verdict: Verdict,
    /// How many messages it did not deliver, when the server says so.
    pub pending: Option<u64>,
    /// What it is to a caller, when it is final.
    pub failure: Option<Error>,
}

struct Waiter<M> {
    ticket: u64,
    ask: Ask,
    /// When its time is over; for one that does not wait, when to stop believing in an answer.
    deadline: Instant,
    got: Vec<M>,
    got_bytes: u64,
    /// The request made for it that is not answered.
    own: Option<u64>,
    /// For one that does not wait, or counts bytes: its request was sent.
    sent: bool,
    outcome: Option<Result<(), Error>>,
}

impl<M> Waiter<M> {
    fn missing(&self) -> u64 {
        if self.outcome.is_some() { 0 } else { self.ask.messages.saturating_sub(self.got.len() as u64) }
    }

    /// A request of its own: only its own answer tells what it wants to know.
    fn is_special(&self) -> bool {
        self.ask.wait.is_none() || self.ask.bytes > 0
    }

    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }
}

/// The state machine of one consumer handle.
pub(crate) struct Desk<M> {
    leftover: VecDeque<M>,
    waiters: VecDeque<Waiter<M>>,
    ledger: Ledger,
    next_ticket: u64,
    /// No connection: requests wait until there is one.
    down: bool,
    not_before: Option<Instant>,
    delay: Duration,
    checking: bool,
    /// JetStream itself does not answer: what a call ends with that got nothing.
    away: Option<Error>,
}

impl<M: Item> Desk<M> {
    pub fn new() -> Desk<M> {
        Desk {
            leftover: VecDeque::new(),
            waiters: VecDeque::new(),
            ledger: Ledger::new(),
            next_ticket: 1,
            down: false,
            not_before: None,
            delay: FIRST_DELAY,
            checking: false,
            away: None,
        }
    }

    /// A call begins: its number.
    pub fn enter(&mut self, now: Instant, ask: Ask, out: &mut Vec<Action>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.push_back(Waiter {
            ticket,
            ask,
            deadline: now + ask.wait.unwrap_or(AT_ONCE),
            got: Vec::new(),
            got_bytes: 0,
            own: None,
            sent: false,
            outcome: (ask.messages == 0).then_some(Ok(())),
        });
        self.go_on(now, out);
        ticket
    }

    /// The outcome of a finished call; `None` while it is not finished. A call is asked once.
    pub fn collect(&mut self, ticket: u64) -> Option<Result<Vec<M>, Error>> {
        let at = self.waiters.iter().position(|w| w.ticket == ticket && w.outcome.is_some())?;
        let waiter = self.waiters.remove(at)?;
        match waiter.outcome? {
            // What came before a failure is not lost with it.
            Err(error) if waiter.got.is_empty() => Some(Err(error)),
            _ => Some(Ok(waiter.got)),
        }
    }

    /// A call is cancelled, or its outcome is not wanted: what it had goes to the next one.
    pub fn leave(&mut self, now: Instant, ticket: u64, out: &mut Vec<Action>) {
        let Some(at) = self.waiters.iter().position(|w| w.ticket == ticket) else { return };
        if let Some(waiter) = self.waiters.remove(at) {
            self.give_back(now, waiter.got, out);
        }
    }

    /// Messages that somebody had taken come back to the front of the line.
    pub fn give_back(&mut self, now: Instant, messages: Vec<M>, out: &mut Vec<Action>) {
        for message in messages.into_iter().rev() {
            self.leftover.push_front(message);
        }
        self.go_on(now, out);
    }

    /// Messages came.
    pub fn arrived(&mut self, now: Instant, messages: impl IntoIterator<Item = M>, out: &mut Vec<Action>) {
        for message in messages {
            self.ledger.settle(1);
            self.leftover.push_back(message);
        }
        self.delay = FIRST_DELAY;
        self.away = None;
        self.go_on(now, out);
    }

    /// A status came that ends a request.
    pub fn ended(&mut self, now: Instant, end: End, out: &mut Vec<Action>) {
        let End { id, verdict, pending, failure } = end;
        if !self.ledger.is_current(id) {
            return;
        }
        let owner = self.waiters.iter_mut().find(|w| w.own == Some(id) && w.is_open());
        match (pending, &owner) {
            (Some(pending), _) => self.ledger.settle(pending),
            (None, Some(waiter)) => self.ledger.settle(waiter.missing()),
            (None, None) => self.ledger.settle_oldest(),
        }
        if verdict != Verdict::NoResponders {
            self.away = None;
        }
        match verdict {
            Verdict::Gone => self.fail(failure),
            Verdict::Refused(_) => match owner {
                Some(waiter) => waiter.outcome = failure.map(Err),
                None => self.fail(failure),
            },
            Verdict::NoResponders => {
                self.ask_later(now, id);
                self.check(out);
            }
            Verdict::Later | Verdict::Unpinned => self.ask_later(now, id),
            Verdict::TooBig => {
                if let Some(waiter) = owner {
                    // Nothing came although all its bytes were free: it never will.
                    waiter.outcome = Some(if waiter.got.is_empty() { failure.map_or(Ok(()), Err) } else { Ok(()) });
                }
            }
            Verdict::Ended | Verdict::NoMessages => {
                if let Some(waiter) = owner {
                    waiter.own = None;
                    if waiter.ask.wait.is_none() || now + NOT_WORTH >= waiter.deadline {
                        waiter.outcome = Some(Ok(()));
                    }
                }
            }
            Verdict::Heartbeat => {}
        }
        self.go_on(now, out);
    }

    /// What came of `Action::Check`: `not_found` and the like mean that the consumer will never answer, `unavailable` that
    /// nobody answers at the moment.
    pub fn checked(&mut self, now: Instant, failure: Option<Error>, out: &mut Vec<Action>) {
        self.checking = false;
        match failure {
            Some(error) if error.code() == Code::Unavailable => self.away = Some(error),
            Some(error) => self.fail(Some(error)),
            None => {}
        }
        self.tick(now, out);
    }

    /// The connection is there (again) or lost.
    pub fn linked(&mut self, now: Instant, up: bool, out: &mut Vec<Action>) {
        self.down = !up;
        self.away = None;
        self.ledger.forget();
        self.not_before = None;
        for waiter in &mut self.waiters {
            waiter.own = None;
            waiter.sent = false;
            // The answer is as far away as it was at first.
            if waiter.ask.wait.is_none() {
                waiter.deadline = now + AT_ONCE;
            }
        }
        self.go_on(now, out);
    }

    /// Nothing will come of what is asked for: the end, or the right to ask is missing.
    pub fn close(&mut self, error: &Error, out: &mut Vec<Action>) {
        self.ledger.forget();
        self.fail(Some(error.clone()));
        self.wake(out);
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.ledger.lapse(now);
        let mut silent = false;
        for waiter in self.waiters.iter_mut().filter(|w| w.is_open()) {
            let over = if self.down || waiter.ask.wait.is_none() { waiter.deadline } else { waiter.deadline + GRACE };
            if now >= over {
                // Not a word from the server about its request: is there such a consumer at all?
                if !self.down && !self.checking && waiter.got.is_empty() && waiter.own.is_some() {
                    silent = true;
                } else if !self.checking {
                    // That there is nothing is not known when nobody could say so.
                    waiter.outcome = Some(self.away.clone().map_or(Ok(()), Err));
                }
                waiter.own = None;
            }
        }
        if silent {
            self.check(out);
        }
        self.go_on(now, out);
    }

    /// When to look at the clock again.
    pub fn look_at(&self) -> Option<Instant> {
        let open = || self.waiters.iter().filter(|w| w.is_open());
        let calls = open().map(|w| if self.down || w.ask.wait.is_none() { w.deadline } else { w.deadline + GRACE });
        let calls = if self.checking { None } else { calls.min() };
        let again = self.not_before.filter(|_| open().next().is_some());
        [calls, again].into_iter().flatten().min()
    }

    /// Messages that belong to nobody yet.
    pub fn leftover(&self) -> usize {
        self.leftover.len()
    }

    /// Takes what belongs to nobody.
    #[cfg(test)]
    pub fn take_leftover(&mut self) -> VecDeque<M> {
        std::mem::take(&mut self.leftover)
    }

    fn fail(&mut self, failure: Option<Error>) {
        let outcome = failure.map_or(Ok(()), Err);
        for waiter in self.waiters.iter_mut().filter(|w| w.is_open()) {
            waiter.outcome = Some(outcome.clone());
        }
    }

    fn check(&mut self, out: &mut Vec<Action>) {
        if !self.checking {
            self.checking = true;
            out.push(Action::Check);
        }
    }

    /// The request was not answered for a reason that passes.
    fn ask_later(&mut self, now: Instant, id: u64) {
        for waiter in self.waiters.iter_mut().filter(|w| w.own == Some(id)) {
            waiter.own = None;
            waiter.sent = false;
        }
        self.not_before = Some(now + self.delay);
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
    }

    fn go_on(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.hand_out();
        self.ask(now, out);
        self.wake(out);
    }

    /// What is there goes to those who wait, the first first.
    fn hand_out(&mut self) {
        for waiter in self.waiters.iter_mut().filter(|w| w.is_open()) {
            while let Some(message) = self.leftover.front() {
                let bytes = message.bytes();
                if waiter.ask.bytes > 0 && !waiter.got.is_empty() && waiter.got_bytes + bytes > waiter.ask.bytes {
                    waiter.outcome = Some(Ok(()));
                    break;
                }
                waiter.got_bytes += bytes;
                waiter.got.extend(self.leftover.pop_front());
                let full = waiter.ask.bytes > 0 && waiter.got_bytes >= waiter.ask.bytes;
                if full || waiter.got.len() as u64 >= waiter.ask.messages {
                    waiter.outcome = Some(Ok(()));
                    break;
                }
            }
        }
    }

    /// Asks the server for what is missing and not asked for.
    fn ask(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.down || self.not_before.is_some_and(|t| now < t) {
            return;
        }
        self.not_before = None;
        let missing: u64 = self.waiters.iter().filter(|w| !w.is_special()).map(Waiter::missing).sum();
        let special: u64 = self.waiters.iter().filter(|w| w.is_special() && w.own.is_some()).map(Waiter::missing).sum();
        let mut short = missing.saturating_sub(self.ledger.asked().saturating_sub(special));
        // First those without a request of their own: the answer to it is what ends a call.
        let (fresh, served): (Vec<_>, Vec<_>) =
            self.waiters.iter_mut().filter(|w| w.is_open()).partition(|w| w.own.is_none());
        for waiter in fresh.into_iter().chain(served) {
            let left = waiter.deadline.saturating_duration_since(now);
            let (amount, expires) = match waiter.ask.wait {
                None if !waiter.sent => (waiter.missing(), Duration::ZERO),
                Some(_) if waiter.ask.bytes > 0 && waiter.own.is_none() && left > NOT_WORTH => {
                    (waiter.missing(), left.min(LONGEST_REQUEST))
                }
                Some(_) if waiter.ask.bytes == 0 && short > 0 && (left > NOT_WORTH || !waiter.sent) => {
                    let amount = short.min(waiter.missing());
                    short -= amount;
                    (amount, left.clamp(Duration::from_millis(1), LONGEST_REQUEST))
                }
                _ => continue,
            };
            let bytes = if waiter.ask.bytes > 0 { waiter.ask.bytes.saturating_sub(waiter.got_bytes).max(1) } else { 0 };
            let ends = now + if expires.is_zero() { AT_ONCE } else { expires + GRACE };
            let id = self.ledger.open(amount, ends);
            waiter.own = Some(id);
            waiter.sent = true;
            out.push(Action::Pull { id, messages: amount, bytes, expires });
        }
    }

    fn wake(&self, out: &mut Vec<Action>) {
        out.extend(self.waiters.iter().filter(|w| !w.is_open()).map(|w| Action::Wake(w.ticket)));
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
