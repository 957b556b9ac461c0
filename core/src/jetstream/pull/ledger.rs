//! What was asked of the server and is not answered yet.

use std::collections::VecDeque;
use std::time::Instant;

/// Open requests in one unit (messages or bytes). A message does not say which request it answers, and the server takes turns among
/// them; only the status that ends a request names it. So the sum is exact, and each one's share is a guess.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: VecDeque<Open>,
    asked: u64,
    next_id: u64,
    /// Answers to older requests are of a connection or a try that is given up.
    first_id: u64,
}

#[derive(Debug)]
struct Open {
    left: u64,
    ends: Instant,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger { open: VecDeque::new(), asked: 0, next_id: 1, first_id: 1 }
    }

    /// A request is sent. `ends` is when its answer is overdue.
    pub fn open(&mut self, amount: u64, ends: Instant) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.open.push_back(Open { left: amount, ends });
        self.asked = self.asked.saturating_add(amount);
        id
    }

    /// All that is asked for and neither came nor was given up.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a status of this request still counts.
    pub fn is_current(&self, id: u64) -> bool {
        (self.first_id..self.next_id).contains(&id)
    }

    /// An amount came or was given up by the server: it goes off the oldest requests.
    pub fn settle(&mut self, amount: u64) {
        let mut rest = amount.min(self.asked);
        self.asked -= rest;
        while let Some(oldest) = self.open.front_mut() {
            let part = rest.min(oldest.left);
            oldest.left -= part;
            rest -= part;
            if oldest.left > 0 {
                break;
            }
            self.open.pop_front();
        }
    }

    /// A request ended and nobody says with how much: the oldest one counts.
    pub fn settle_oldest(&mut self) {
        self.settle(self.open.front().map_or(0, |o| o.left));
    }

    /// Gives up the requests whose answer is overdue. True when there was one.
    pub fn lapse(&mut self, now: Instant) -> bool {
        let before = self.open.len();
        while let Some(oldest) = self.open.front().filter(|o| o.ends <= now) {
            self.asked = self.asked.saturating_sub(oldest.left);
            self.open.pop_front();
        }
        self.open.len() < before
    }

    /// When the oldest answer is overdue.
    pub fn ends(&self) -> Option<Instant> {
        self.open.front().map(|o| o.ends)
    }

    /// All that is open is lost (a new connection, silence): what still comes of it does not count.
    pub fn forget(&mut self) {
        self.open.clear();
        self.asked = 0;
        self.first_id = self.next_id;
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn amounts_go_off_the_oldest_first() {
        let now = Instant::now();
        let mut ledger = Ledger::new();
        assert_eq!((ledger.open(10, now), ledger.open(5, now + Duration::from_secs(1))), (1, 2));
        ledger.settle(12);
        assert_eq!((ledger.asked(), ledger.len()), (3, 1));
        ledger.settle(100);
        assert_eq!((ledger.asked(), ledger.is_empty()), (0, true));
        ledger.settle_oldest();
        assert!(ledger.is_current(1) && ledger.is_current(2) && !ledger.is_current(3));
    }

    #[test]
    fn what_is_overdue_or_forgotten_does_not_count() {
        let now = Instant::now();
        let mut ledger = Ledger::new();
        ledger.open(10, now);
        ledger.open(5, now + Duration::from_secs(1));
        assert!(ledger.lapse(now) && !ledger.lapse(now));
        assert_eq!((ledger.asked(), ledger.ends()), (5, Some(now + Duration::from_secs(1))));
        ledger.forget();
        assert_eq!((ledger.asked(), ledger.ends(), ledger.is_current(2)), (0, None, false));
        assert!(ledger.open(1, now) == 3 && ledger.is_current(3));
    }
}
