//! `next` and `fetch` against a model of the server: calls that come, go and are cancelled at any moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Action, Ask, Desk, End, GRACE, Item};
use crate::error::{Code, Error};
use crate::jetstream::pull::status::Verdict;

#[derive(Debug, Clone, PartialEq)]
struct Parcel(u64, u64);

impl Item for Parcel {
    fn bytes(&self) -> u64 {
        self.1
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn ask(messages: u64) -> Ask {
    Ask { messages, bytes: 0, wait: Some(SECOND) }
}

fn parcels(ids: std::ops::Range<u64>) -> Vec<Parcel> {
    ids.map(|id| Parcel(id, 10)).collect()
}

fn end(id: u64, verdict: Verdict, pending: Option<u64>) -> End {
    let failure = Some(Error::new(Code::NotFound, "gone"));
    End { id, verdict, pending, failure }
}

fn ids(result: Option<Result<Vec<Parcel>, Error>>) -> Vec<u64> {
    result.expect("finished").expect("no failure").into_iter().map(|p| p.0).collect()
}

struct Bench {
    desk: Desk<Parcel>,
    now: Instant,
    out: Vec<Action>,
}

impl Bench {
    fn new() -> Bench {
        Bench { desk: Desk::new(), now: Instant::now(), out: Vec::new() }
    }

    fn enter(&mut self, ask: Ask) -> u64 {
        self.desk.enter(self.now, ask, &mut self.out)
    }

    fn arrive(&mut self, ids: std::ops::Range<u64>) {
        self.desk.arrived(self.now, parcels(ids), &mut self.out);
    }

    fn end(&mut self, id: u64, verdict: Verdict, pending: Option<u64>) {
        self.desk.ended(self.now, end(id, verdict, pending), &mut self.out);
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
        self.desk.tick(self.now, &mut self.out);
    }

    fn pulls(&mut self) -> Vec<(u64, u64)> {
        let pulls = self.out.iter().filter_map(|a| match a {
            Action::Pull { id, messages, .. } => Some((*id, *messages)),
            _ => None,
        });
        let pulls = pulls.collect();
        self.out.clear();
        pulls
    }
}

#[test]
fn a_call_asks_for_what_it_wants_and_ends_when_it_has_it() {
    let mut b = Bench::new();
    let ticket = b.enter(ask(3));
    assert_eq!(b.out, [Action::Pull { id: 1, messages: 3, bytes: 0, expires: SECOND }]);
    b.out.clear();
    b.arrive(0..2);
    assert!(b.desk.collect(ticket).is_none() && b.out.is_empty());
    b.arrive(2..3);
    assert_eq!(b.out, [Action::Wake(ticket)]);
    assert_eq!(ids(b.desk.collect(ticket)), [0, 1, 2]);
    assert!(b.desk.collect(ticket).is_none());
}

#[test]
fn the_servers_word_ends_it_with_what_there_is() {
    let mut b = Bench::new();
    let ticket = b.enter(ask(3));
    b.arrive(0..1);
    b.now += SECOND;
    b.end(1, Verdict::Ended, Some(2));
    assert_eq!(ids(b.desk.collect(ticket)), [0]);
}

#[test]
fn without_a_word_it_ends_a_little_later_and_asks_for_the_consumer() {
    let mut b = Bench::new();
    let ticket = b.enter(ask(3));
    b.out.clear();
    assert_eq!(b.desk.look_at(), Some(b.now + SECOND + GRACE));
    b.later(SECOND + GRACE);
    assert_eq!(b.out, [Action::Check]);
    assert_eq!(b.desk.look_at(), None);
    b.desk.checked(b.now, None, &mut b.out);
    assert_eq!(ids(b.desk.collect(ticket)), [0; 0]);
    let ticket = b.enter(ask(3));
    b.later(SECOND + GRACE);
    b.desk.checked(b.now, Some(Error::new(Code::NotFound, "no such consumer")), &mut b.out);
    assert_eq!(b.desk.collect(ticket).unwrap().unwrap_err().code(), Code::NotFound);
}

#[test]
fn what_a_cancelled_call_had_goes_to_the_next_and_its_request_is_used() {
    let mut b = Bench::new();
    let first = b.enter(ask(5));
    b.arrive(0..2);
    b.pulls();
    b.desk.leave(b.now, first, &mut b.out);
    assert_eq!(b.desk.leftover(), 2);
    let second = b.enter(ask(4));
    assert_eq!(b.pulls(), [], "three are still asked for");
    b.arrive(2..5);
    assert_eq!(ids(b.desk.collect(second)), [0, 1, 2, 3]);
    let third = b.enter(ask(1));
    assert_eq!((ids(b.desk.collect(third)), b.pulls()), (vec![4], vec![]));
    // The borrowed request ends early: the rest is asked for anew.
    let fourth = b.enter(ask(2));
    b.desk.leave(b.now, fourth, &mut b.out);
    assert_eq!(b.pulls(), [(2, 2)]);
    let fifth = b.enter(ask(2));
    b.now += SECOND / 2;
    b.end(2, Verdict::Ended, Some(2));
    assert_eq!(b.pulls(), [(3, 2)]);
    b.arrive(5..7);
    assert_eq!(ids(b.desk.collect(fifth)), [5, 6]);
}

#[test]
fn a_finished_call_that_is_not_collected_loses_nothing() {
    let mut b = Bench::new();
    let first = b.enter(ask(2));
    b.arrive(0..3);
    b.desk.leave(b.now, first, &mut b.out);
    let second = b.enter(ask(3));
    assert_eq!(ids(b.desk.collect(second)), [0, 1, 2]);
}

#[test]
fn calls_are_served_in_their_order() {
    let mut b = Bench::new();
    let (first, second) = (b.enter(ask(2)), b.enter(ask(2)));
    assert_eq!(b.pulls(), [(1, 2), (2, 2)]);
    b.arrive(0..3);
    assert_eq!(ids(b.desk.collect(first)), [0, 1]);
    b.now += SECOND;
    b.end(1, Verdict::Ended, Some(1));
    b.end(2, Verdict::Ended, Some(0));
    assert_eq!(ids(b.desk.collect(second)), [2]);
}

#[test]
fn not_waiting_takes_what_is_there() {
    let mut b = Bench::new();
    let ticket = b.enter(Ask { messages: 5, bytes: 0, wait: None });
    assert_eq!(b.out, [Action::Pull { id: 1, messages: 5, bytes: 0, expires: Duration::ZERO }]);
    b.arrive(0..3);
    b.end(1, Verdict::NoMessages, None);
    assert_eq!(ids(b.desk.collect(ticket)), [0, 1, 2]);
    b.pulls();
    let ticket = b.enter(ask(1));
    assert_eq!(b.pulls(), [(2, 1)], "nothing is believed to be open");
    b.desk.leave(b.now, ticket, &mut b.out);
}

#[test]
fn bytes_bound_a_batch_of_at_least_one() {
    let mut b = Bench::new();
    let of = |bytes| Ask { messages: 10, bytes, wait: Some(SECOND) };
    let ticket = b.enter(of(25));
    b.arrive(0..2);
    b.end(1, Verdict::TooBig, Some(8));
    assert_eq!(ids(b.desk.collect(ticket)), [0, 1]);
    let ticket = b.enter(of(5));
    b.end(2, Verdict::TooBig, Some(10));
    assert!(b.desk.collect(ticket).unwrap().is_err(), "it will never fit");
    // From what lies there: at least one, and no more than fit.
    let ticket = b.enter(ask(3));
    b.arrive(2..5);
    b.desk.leave(b.now, ticket, &mut b.out);
    let ticket = b.enter(of(25));
    assert_eq!(ids(b.desk.collect(ticket)), [2, 3]);
    let ticket = b.enter(of(5));
    assert_eq!(ids(b.desk.collect(ticket)), [4]);
}

#[test]
fn a_new_connection_is_asked_again_and_old_answers_do_not_count() {
    let mut b = Bench::new();
    let ticket = b.enter(ask(2));
    b.desk.linked(b.now, false, &mut b.out);
    assert_eq!(b.pulls(), [(1, 2)]);
    b.later(SECOND / 2);
    assert_eq!(b.pulls(), []);
    b.desk.linked(b.now, true, &mut b.out);
    assert_eq!(b.out, [Action::Pull { id: 2, messages: 2, bytes: 0, expires: SECOND / 2 }]);
    b.end(1, Verdict::Gone, None);
    assert!(b.desk.collect(ticket).is_none());
    b.arrive(0..2);
    assert_eq!(ids(b.desk.collect(ticket)), [0, 1]);
    // While there is no connection, the time is the caller's, to the point.
    let ticket = b.enter(ask(1));
    b.desk.linked(b.now, false, &mut b.out);
    assert_eq!(b.desk.look_at(), Some(b.now + SECOND));
    b.later(SECOND);
    assert_eq!(ids(b.desk.collect(ticket)), [0; 0]);
}

#[test]
fn refusals_fail_their_call_and_a_deleted_consumer_all() {
    let mut b = Bench::new();
    let (first, second) = (b.enter(ask(2)), b.enter(ask(2)));
    b.end(2, Verdict::Refused(Code::LimitExceeded), None);
    assert!(b.desk.collect(first).is_none() && b.desk.collect(second).unwrap().is_err());
    b.arrive(0..1);
    let third = b.enter(ask(2));
    b.end(1, Verdict::Gone, None);
    assert_eq!(ids(b.desk.collect(first)), [0], "what came before is handed out");
    assert!(b.desk.collect(third).unwrap().is_err());
}

#[test]
fn nobody_listening_is_looked_into_and_tried_again() {
    let mut b = Bench::new();
    let ticket = b.enter(ask(1));
    b.out.clear();
    b.end(1, Verdict::NoResponders, None);
    assert_eq!(b.out, [Action::Check]);
    b.out.clear();
    b.desk.checked(b.now, None, &mut b.out);
    let at = b.desk.look_at().unwrap();
    assert!(b.out.is_empty() && at - b.now == super::FIRST_DELAY);
    b.later(at - b.now);
    assert_eq!(b.pulls(), [(2, 1)]);
    b.arrive(0..1);
    assert_eq!(ids(b.desk.collect(ticket)), [0]);
}

#[test]
fn a_long_wait_is_several_requests() {
    let mut b = Bench::new();
    b.enter(Ask { messages: 1, bytes: 0, wait: Some(SECOND * 100) });
    assert!(matches!(b.out[..], [Action::Pull { expires, .. }] if expires == super::LONGEST_REQUEST));
    b.out.clear();
    b.now += super::LONGEST_REQUEST;
    b.end(1, Verdict::Ended, Some(1));
    assert!(matches!(b.out[..], [Action::Pull { id: 2, expires, .. }] if expires == super::LONGEST_REQUEST));
}

#[derive(Debug, Clone)]
enum Step {
    Enter(u8, Option<u16>, bool),
    Leave(u8),
    Collect,
    Publish(u8),
    Expire(u8),
    Link,
    Wait(u16),
    GiveBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..20, proptest::option::of(1u16..3000), any::<bool>()).prop_map(|(n, ms, bytes)| Step::Enter(n, ms, bytes)),
        2 => any::<u8>().prop_map(Step::Leave),
        3 => Just(Step::Collect),
        4 => (1u8..30).prop_map(Step::Publish),
        2 => any::<u8>().prop_map(Step::Expire),
        1 => Just(Step::Link),
        3 => (1u16..2000).prop_map(Step::Wait),
        1 => Just(Step::GiveBack),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A server that takes turns among requests; messages that are lost with a connection come again.
#[derive(Default)]
struct Server {
    waiting: VecDeque<(u64, u64, bool)>,
    stored: VecDeque<Parcel>,
}

impl Server {
    fn act(&mut self, b: &mut Bench) {
        loop {
            for action in std::mem::take(&mut b.out) {
                match action {
                    Action::Pull { id, messages, expires, .. } => {
                        assert!(messages > 0);
                        self.waiting.push_back((id, messages, expires.is_zero()));
                    }
                    Action::Check => b.desk.checked(b.now, None, &mut b.out),
                    Action::Wake(_) => {}
                }
            }
            if let (Some(_), Some((id, left, at_once))) = (self.stored.front(), self.waiting.front().copied()) {
                let parcel = self.stored.pop_front().unwrap();
                self.waiting.pop_front();
                if left > 1 {
                    self.waiting.push_back((id, left - 1, at_once));
                }
                b.desk.arrived(b.now, [parcel], &mut b.out);
            } else if let Some(at) = self.waiting.iter().position(|(_, _, at_once)| *at_once) {
                let (id, _, _) = self.waiting.remove(at).unwrap();
                b.end(id, Verdict::NoMessages, None);
            } else if b.out.is_empty() {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_cancelled_nothing_is_lost_doubled_or_stuck(steps in steps()) {
        let mut b = Bench::new();
        let mut server = Server::default();
        let (mut published, mut collected, mut open) = (0u64, Vec::new(), VecDeque::new());
        let collect = |b: &mut Bench, open: &mut VecDeque<(u64, Instant)>, collected: &mut Vec<u64>| {
            open.retain(|(ticket, _)| match b.desk.collect(*ticket) {
                Some(result) => { collected.extend(ids(Some(result))); false }
                None => true,
            });
        };
        for step in steps {
            match step {
                Step::Enter(n, wait, bytes) => {
                    let wait = wait.map(|ms| Duration::from_millis(u64::from(ms)));
                    let bytes = if bytes { 10_000 } else { 0 };
                    let ticket = b.enter(Ask { messages: u64::from(n), bytes, wait });
                    open.push_back((ticket, b.now + wait.unwrap_or_default()));
                }
                Step::Leave(which) if !open.is_empty() => {
                    let (ticket, _) = open.remove(usize::from(which) % open.len()).unwrap();
                    b.desk.leave(b.now, ticket, &mut b.out);
                }
                Step::Leave(_) => {}
                Step::Collect => collect(&mut b, &mut open, &mut collected),
                Step::Publish(n) => {
                    server.stored.extend(parcels(published..published + u64::from(n)));
                    published += u64::from(n);
                }
                Step::Expire(which) if !server.waiting.is_empty() => {
                    let (id, left, _) = server.waiting.remove(usize::from(which) % server.waiting.len()).unwrap();
                    b.end(id, Verdict::Ended, Some(left));
                }
                Step::Expire(_) => {}
                Step::Link => {
                    server.waiting.clear();
                    b.desk.linked(b.now, false, &mut b.out);
                    b.desk.linked(b.now, true, &mut b.out);
                }
                Step::Wait(ms) => {
                    let until = b.now + Duration::from_millis(u64::from(ms));
                    while let Some(at) = b.desk.look_at().filter(|at| *at <= until) {
                        prop_assert!(at >= b.now || b.desk.look_at() != Some(at) || at + GRACE * 20 >= b.now);
                        b.now = b.now.max(at);
                        b.desk.tick(b.now, &mut b.out);
                        server.act(&mut b);
                    }
                    b.now = until;
                }
                Step::GiveBack => {
                    let n = collected.len().saturating_sub(3);
                    let back: Vec<Parcel> = collected.split_off(n).into_iter().map(|id| Parcel(id, 10)).collect();
                    b.desk.give_back(b.now, back, &mut b.out);
                }
            }
            server.act(&mut b);
        }
        // All calls end in their time.
        let last = open.iter().map(|(_, at)| *at).max().unwrap_or(b.now);
        while let Some(at) = b.desk.look_at() {
            prop_assert!(at <= last.max(b.now) + super::AT_ONCE + GRACE, "a call is stuck");
            b.now = b.now.max(at);
            b.desk.tick(b.now, &mut b.out);
            server.act(&mut b);
        }
        collect(&mut b, &mut open, &mut collected);
        prop_assert!(open.is_empty(), "every call ended");
        collected.extend(b.desk.take_leftover().into_iter().map(|p| p.0));
        collected.extend(server.stored.iter().map(|p| p.0));
        collected.sort_unstable();
        prop_assert_eq!(collected, (0..published).collect::<Vec<_>>());
    }
}
