//! Slows down guessing: after repeated failures from one address, answers to it take longer and longer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that are answered at once: people mistype, and a fleet with an old password restarts.
const FREE: u32 = 10;
/// The first delay; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest delay, below usual connect timeouts so that the client still hears why.
const LONGEST: Duration = Duration::from_secs(1);
/// Refusals of one address that may wait at a time; with more, its next attempts are refused unread. This bounds guessing
/// over many connections at once, and is high enough that a gateway with some misconfigured clients still serves the others.
const WAITING: u32 = 64;
/// After this long without a failure an address is forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// Addresses remembered at a time.
const ENTRIES: usize = 10_000;

/// Failures by source address.
#[derive(Default)]
pub(super) struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    count: u32,
    waiting: u32,
    last: Instant,
}

impl Throttle {
    /// False: too many refusals of this address are waiting, so this attempt is not even looked at.
    pub(super) fn admits(&self, addr: IpAddr) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&bucket(addr)).is_none_or(|entry| entry.waiting < WAITING)
    }

    /// Notes a failure and holds its answer back as long as it deserves.
    pub(super) async fn punish(&self, addr: IpAddr) {
        let delay = self.failed(addr, Instant::now());
        if !delay.is_zero() {
            self.wait(addr, 1);
            let _waited = Waiting { throttle: self, addr };
            tokio::time::sleep(delay).await;
        }
    }

    fn wait(&self, addr: IpAddr, change: i32) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = failures.get_mut(&bucket(addr)) {
            entry.waiting = entry.waiting.saturating_add_signed(change);
        }
    }

    fn failed(&self, addr: IpAddr, now: Instant) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = bucket(addr);
        if failures.len() >= ENTRIES && !failures.contains_key(&key) {
            failures.retain(|_, entry| now.duration_since(entry.last) < FORGET);
            if failures.len() >= ENTRIES {
                // Still full: somebody has that many addresses. The oldest makes room, so memory stays bounded.
                if let Some(oldest) = failures.iter().min_by_key(|(_, entry)| entry.last).map(|(key, _)| *key) {
                    failures.remove(&oldest);
                }
            }
        }
        let entry = failures.entry(key).or_insert(Failures { count: 0, waiting: 0, last: now });
        if now.duration_since(entry.last) >= FORGET {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        match entry.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(step) => FIRST.saturating_mul(1 << step.min(10)).min(LONGEST),
        }
    }
}

/// Counts a waiting refusal out, also when the client leaves meanwhile.
struct Waiting<'a> {
    throttle: &'a Throttle,
    addr: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.throttle.wait(self.addr, -1);
    }
}

/// One IPv6 subscriber has a whole /64.
fn bucket(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_few_failures_are_free_then_each_waits_twice_as_long() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(throttle.failed(v4(1), now), Duration::ZERO);
        }
        assert_eq!(throttle.failed(v4(1), now), FIRST);
        assert_eq!(throttle.failed(v4(1), now), FIRST * 2);
        for _ in 0..100 {
            throttle.failed(v4(1), now);
        }
        assert_eq!(throttle.failed(v4(1), now), LONGEST);
        assert_eq!(throttle.failed(v4(2), now), Duration::ZERO, "others are not punished");
        assert_eq!(throttle.failed(v4(1), now + FORGET), Duration::ZERO, "forgotten in time");
    }

    #[test]
    fn attempts_are_refused_unread_while_too_many_refusals_wait() {
        let throttle = Throttle::default();
        throttle.failed(v4(1), Instant::now());
        for _ in 0..WAITING {
            throttle.wait(v4(1), 1);
        }
        assert!(!throttle.admits(v4(1)));
        assert!(throttle.admits(v4(2)));
        drop(Waiting { throttle: &throttle, addr: v4(1) });
        assert!(throttle.admits(v4(1)));
    }

    #[test]
    fn the_table_is_bounded_and_ipv6_counts_by_network() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for n in 0..(ENTRIES as u32 + 100) {
            throttle.failed(v4(n), now);
        }
        assert_eq!(throttle.failures.lock().unwrap().len(), ENTRIES);
        let throttle = Throttle::default();
        for n in 0..u16::try_from(FREE).unwrap() {
            throttle.failed(IpAddr::V6([0x2001, 0xdb8, 0, 1, 0, 0, 0, n].into()), now);
        }
        assert_eq!(throttle.failed(IpAddr::V6([0x2001, 0xdb8, 0, 1, 9, 9, 9, 9].into()), now), FIRST);
    }
}
