//! The books of a continuous pull (ADR-37): what was asked for, what came, what is held, and when to ask again. Pure; the clock is passed in.

use std::time::{Duration, Instant};

use super::ledger::Ledger;

/// A request that counts bytes still needs a number of messages: one that is never the limit.
pub(crate) const ANY_MESSAGES: u64 = 1_000_000;
/// How long after its end a request without an answer is believed to be lost.
const GRACE: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How much to keep coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Messages(u64),
    Bytes(u64),
}

/// The constants of one consumption.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub bound: Bound,
    /// Ask again when no more than this is asked for or held.
    pub threshold: u64,
    pub expires: Duration,
    pub heartbeat: Duration,
}

impl Plan {
    /// ADR-37: half of the bound.
    pub fn new(bound: Bound, expires: Duration, heartbeat: Duration) -> Plan {
        let (Bound::Messages(most) | Bound::Bytes(most)) = bound;
        Plan { bound, threshold: most / 2, expires, heartbeat }
    }

    fn most(&self) -> u64 {
        let (Bound::Messages(most) | Bound::Bytes(most)) = self.bound;
        most
    }

    /// In the plan's unit.
    fn amount(&self, messages: u64, bytes: u64) -> u64 {
        match self.bound {
            Bound::Messages(_) => messages,
            Bound::Bytes(_) => bytes,
        }
    }
}

/// One pull to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pull {
    pub id: u64,
    pub messages: u64,
    /// 0: not limited.
    pub bytes: u64,
}

/// Everything in one unit: messages or bytes, as the plan says.
#[derive(Debug)]
pub(crate) struct Accounting {
    plan: Plan,
    ledger: Ledger,
    /// Arrived and not handled yet.
    held: u64,
    /// The last sign of life.
    seen: Instant,
    not_before: Option<Instant>,
    delay: Duration,
    /// A message did not fit beside what is held: nothing is asked for before some of that is handled.
    crowded: bool,
    /// A message did not fit into a part of the bound: the next request is for all of it, once the others have ended.
    whole: bool,
}

impl Accounting {
    pub fn new(plan: Plan, now: Instant) -> Accounting {
        let ledger = Ledger::new();
        let (crowded, whole) = (false, false);
        Accounting { plan, ledger, held: 0, seen: now, not_before: None, delay: FIRST_DELAY, crowded, whole }
    }

    /// The pull to send now, if one is due. It is entered as sent.
    pub fn due(&mut self, now: Instant) -> Option<Pull> {
        if self.not_before.is_some_and(|t| now < t) {
            return None;
        }
        self.not_before = None;
        if self.crowded || (self.whole && self.ledger.asked() > 0) {
            return None;
        }
        let pending = self.ledger.asked().saturating_add(self.held);
        if pending > self.plan.threshold || pending >= self.plan.most() {
            return None;
        }
        self.whole = false;
        let amount = self.plan.most() - pending;
        if self.ledger.is_empty() {
            self.seen = now;
        }
        let id = self.ledger.open(amount, now + self.plan.expires + GRACE);
        Some(match self.plan.bound {
            Bound::Messages(_) => Pull { id, messages: amount, bytes: 0 },
            Bound::Bytes(_) => Pull { id, messages: ANY_MESSAGES, bytes: amount },
        })
    }

    /// A message came.
    pub fn arrived(&mut self, now: Instant, bytes: u64) {
        let amount = self.plan.amount(1, bytes);
        self.seen = now;
        self.delay = FIRST_DELAY;
        self.whole = false;
        self.held = self.held.saturating_add(amount);
        self.ledger.settle(amount);
    }

    /// Messages are done with: their room is free.
    pub fn handled(&mut self, messages: u64, bytes: u64) {
        let amount = self.plan.amount(messages, bytes);
        self.held = self.held.saturating_sub(amount);
        self.crowded &= amount == 0;
    }

    /// How long silence may last from now on: two of these.
    pub fn set_heartbeat(&mut self, heartbeat: Duration) {
        self.plan.heartbeat = heartbeat;
    }

    /// Something came that is no message.
    pub fn alive(&mut self, now: Instant) {
        self.seen = now;
    }

    /// Whether a status of this request still counts.
    pub fn is_current(&self, id: u64) -> bool {
        self.ledger.is_current(id)
    }

    /// A request ended; `pending` is what the server says it did not deliver (messages, bytes).
    pub fn ended(&mut self, now: Instant, pending: Option<(u64, u64)>) {
        self.seen = now;
        match pending {
            Some((messages, bytes)) => self.ledger.settle(self.plan.amount(messages, bytes)),
            None => self.ledger.settle_oldest(),
        }
    }

    /// A request ended for a reason that passes: nothing is asked for until a little later, longer each time.
    pub fn ended_for_now(&mut self, now: Instant, pending: Option<(u64, u64)>) {
        self.ended(now, pending);
        self.not_before = Some(now + self.delay);
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
    }

    /// A request was cut because the next message does not fit into what is left of it. True when it never will: everything
    /// that fits was asked for in one request, and nothing of it came.
    pub fn too_big(&mut self, now: Instant, pending: Option<(u64, u64)>) -> bool {
        let never = self.held == 0
            && matches!((pending, self.plan.bound), (Some((_, bytes)), Bound::Bytes(most)) if bytes >= most);
        self.ended(now, pending);
        // Asking for another part beside those that are open would be answered the same way, again and again.
        (self.crowded, self.whole) = (self.held > 0, self.held == 0 && !never);
        never
    }

    /// All that is open is lost (a new connection, silence): the answers to it do not count any more.
    pub fn forget(&mut self, now: Instant) {
        self.ledger.forget();
        self.seen = now;
        self.not_before = None;
    }

    /// Looks at the clock: requests whose answer is overdue are given up. True when the server was silent for two heartbeats
    /// although something is asked for; the caller forgets it all and asks again.
    pub fn overdue(&mut self, now: Instant) -> bool {
        self.ledger.lapse(now);
        self.silence().is_some_and(|t| t <= now)
    }

    /// When to look at the clock again.
    pub fn look_at(&self) -> Option<Instant> {
        [self.silence(), self.ledger.ends(), self.not_before].into_iter().flatten().min()
    }

    fn silence(&self) -> Option<Instant> {
        (!self.ledger.is_empty() && !self.plan.heartbeat.is_zero()).then(|| self.seen + self.plan.heartbeat * 2)
    }

    #[cfg(test)]
    pub fn totals(&self) -> (u64, u64, usize) {
        (self.ledger.asked(), self.held, self.ledger.len())
    }
}

#[cfg(test)]
#[path = "accounting_tests.rs"]
mod tests;
