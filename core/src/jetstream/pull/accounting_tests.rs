//! The books against a server that takes turns, cuts by bytes, expires, loses and restarts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Accounting, Bound, Plan, Pull};

const EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(15);

fn books(bound: Bound) -> (Accounting, Instant) {
    let now = Instant::now();
    (Accounting::new(Plan::new(bound, EXPIRES, HEARTBEAT), now), now)
}

#[test]
fn the_first_pull_asks_for_all_and_the_next_one_at_half() {
    let (mut books, now) = books(Bound::Messages(500));
    assert_eq!(books.due(now), Some(Pull { id: 1, messages: 500, bytes: 0 }));
    assert_eq!(books.due(now), None);
    for _ in 0..500 {
        books.arrived(now, 10);
    }
    assert_eq!(books.due(now), None, "what is held counts");
    books.handled(249, 2490);
    assert_eq!(books.due(now), None);
    books.handled(1, 10);
    assert_eq!(books.due(now), Some(Pull { id: 2, messages: 250, bytes: 0 }));
    assert_eq!(books.totals(), (250, 250, 1));
}

#[test]
fn bytes_are_counted_instead() {
    let (mut books, now) = books(Bound::Bytes(1000));
    assert_eq!(books.due(now), Some(Pull { id: 1, messages: super::ANY_MESSAGES, bytes: 1000 }));
    for _ in 0..9 {
        books.arrived(now, 100);
    }
    books.ended(now, Some((999_991, 100)));
    assert_eq!(books.totals(), (0, 900, 0));
    books.handled(5, 500);
    assert_eq!(books.due(now).map(|p| p.bytes), Some(600));
}

#[test]
fn an_expired_request_is_renewed_at_once() {
    let (mut books, now) = books(Bound::Messages(10));
    books.due(now);
    for _ in 0..3 {
        books.arrived(now, 1);
    }
    books.handled(3, 3);
    books.ended(now + EXPIRES, Some((7, 0)));
    assert_eq!(books.due(now + EXPIRES).map(|p| (p.id, p.messages)), Some((2, 10)));
}

#[test]
fn a_passing_refusal_waits_longer_each_time_until_something_comes() {
    let (mut books, mut now) = books(Bound::Messages(10));
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert!(books.due(now).is_some());
        books.ended_for_now(now, None);
        assert_eq!(books.due(now), None);
        let at = books.look_at().unwrap();
        waits.push((at - now).as_millis());
        now = at;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    assert!(books.due(now).is_some());
    books.arrived(now, 1);
    books.ended_for_now(now, Some((9, 0)));
    books.handled(1, 1);
    assert_eq!((books.look_at().unwrap() - now).as_millis(), 250);
}

#[test]
fn silence_for_two_heartbeats_is_noticed_and_old_answers_do_not_count() {
    let (mut books, now) = books(Bound::Messages(10));
    let pull = books.due(now).unwrap();
    assert!(!books.overdue(now + HEARTBEAT));
    books.alive(now + Duration::from_secs(1));
    let at = now + Duration::from_secs(1) + HEARTBEAT * 2;
    assert_eq!(books.look_at(), Some(at));
    assert!(books.overdue(at));
    books.forget(at);
    assert!(!books.is_current(pull.id));
    let next = books.due(at).unwrap();
    assert!(books.is_current(next.id) && !books.is_current(next.id + 1));
    assert_eq!(books.totals(), (10, 0, 1));
}

#[test]
fn without_heartbeats_a_lost_answer_is_given_up_after_its_end() {
    let now = Instant::now();
    let mut books = Accounting::new(Plan::new(Bound::Messages(4), EXPIRES, Duration::ZERO), now);
    books.due(now);
    let at = books.look_at().unwrap();
    assert_eq!(at, now + EXPIRES + super::GRACE);
    assert!(!books.overdue(at));
    assert_eq!(books.totals(), (0, 0, 0));
    assert!(books.due(at).is_some());
}

#[test]
fn only_an_untouched_request_for_all_makes_a_message_too_big_for_ever() {
    let (mut books, now) = books(Bound::Bytes(100));
    books.due(now);
    assert!(books.too_big(now, Some((5, 100))));
    books.due(now);
    assert!(!books.too_big(now, Some((5, 60))));
    assert!(!books.too_big(now, None));
    books.due(now);
    books.arrived(now, 40);
    assert!(!books.too_big(now, Some((5, 60))));
    assert_eq!(books.due(now), None, "room is made first");
    books.handled(1, 40);
    assert_eq!(books.due(now).map(|p| p.bytes), Some(100));
}

#[test]
fn a_message_that_fits_into_no_part_is_asked_for_with_the_whole() {
    let (mut books, now) = books(Bound::Bytes(100));
    books.due(now);
    books.arrived(now, 50);
    books.handled(1, 50);
    assert_eq!(books.due(now).map(|p| p.bytes), Some(50), "two halves are open");
    assert!(!books.too_big(now, Some((5, 50))));
    assert_eq!(books.due(now), None, "a third half would be no better");
    assert!(!books.too_big(now, Some((5, 50))));
    assert_eq!(books.due(now).map(|p| p.bytes), Some(100));
}

/// What can happen next in the model.
#[derive(Debug, Clone)]
enum Step {
    Publish(u8, u16),
    Handle(u8),
    Expire(u8),
    Lose,
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..40, 1u16..300).prop_map(|(n, size)| Step::Publish(n, size)),
        4 => (1u8..60).prop_map(Step::Handle),
        1 => any::<u8>().prop_map(Step::Expire),
        1 => Just(Step::Lose),
        1 => (1u16..20_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

/// The server's side: requests that take turns.
struct Request {
    id: u64,
    messages: u64,
    bytes: Option<u64>,
    ends: Instant,
}

struct Server {
    waiting: VecDeque<Request>,
    stored: VecDeque<u64>,
}

impl Server {
    /// Delivers what it can, as a server does: one message for the first in turn, who then goes to the end of the line.
    fn deliver(&mut self, books: &mut Accounting, now: Instant, held: &mut VecDeque<u64>) {
        while let Some(&size) = self.stored.front()
            && let Some(mut request) = self.waiting.pop_front()
        {
            if request.bytes.is_some_and(|left| left < size) {
                assert!(books.is_current(request.id));
                let pending = Some((request.messages, request.bytes.unwrap_or(0)));
                // What can never fit would end the consumption; here it is passed over.
                if books.too_big(now, pending) {
                    self.stored.pop_front();
                }
                self.pull(books, now);
                continue;
            }
            self.stored.pop_front();
            request.messages -= 1;
            request.bytes = request.bytes.map(|left| left - size);
            books.arrived(now, size);
            held.push_back(size);
            match request.bytes {
                Some(left) if request.messages == 0 => books.ended(now, Some((0, left))),
                None if request.messages == 0 => {}
                _ => self.waiting.push_back(request),
            }
            self.pull(books, now);
        }
    }

    fn pull(&mut self, books: &mut Accounting, now: Instant) {
        if let Some(pull) = books.due(now) {
            let bytes = (pull.bytes > 0).then_some(pull.bytes);
            self.waiting.push_back(Request { id: pull.id, messages: pull.messages, bytes, ends: now + EXPIRES });
        }
        assert!(books.due(now).is_none(), "one pull is enough");
    }
}

fn run(bound: Bound, steps: Vec<Step>) {
    let (mut books, mut now) = books(bound);
    let (Bound::Messages(most) | Bound::Bytes(most)) = bound;
    let mut server = Server { waiting: VecDeque::new(), stored: VecDeque::new() };
    let mut held: VecDeque<u64> = VecDeque::new();
    let (mut published, mut received) = (0u64, 0u64);
    server.pull(&mut books, now);
    for step in steps {
        match step {
            Step::Publish(n, size) => {
                published += u64::from(n);
                server.stored.extend((0..n).map(|_| u64::from(size)));
            }
            Step::Handle(n) => {
                let taken: Vec<u64> = (0..n).map_while(|_| held.pop_front()).collect();
                books.handled(taken.len() as u64, taken.iter().sum());
                received += taken.len() as u64;
            }
            Step::Expire(which) if !server.waiting.is_empty() => {
                let request = server.waiting.remove(usize::from(which) % server.waiting.len()).unwrap();
                assert!(books.is_current(request.id));
                books.ended(now, Some((request.messages, request.bytes.unwrap_or(0))));
            }
            Step::Expire(_) => {}
            Step::Lose => {
                server.waiting.clear();
                books.forget(now);
            }
            Step::Wait(ms) => {
                now += Duration::from_millis(u64::from(ms));
                while server.waiting.iter().any(|r| r.ends <= now) {
                    let at = server.waiting.iter().position(|r| r.ends <= now).unwrap();
                    let request = server.waiting.remove(at).unwrap();
                    books.ended(now, Some((request.messages, request.bytes.unwrap_or(0))));
                }
                if books.overdue(now) {
                    server.waiting.clear();
                    books.forget(now);
                }
            }
        }
        server.pull(&mut books, now);
        let mut fresh = VecDeque::new();
        server.deliver(&mut books, now, &mut fresh);
        held.extend(fresh);
        let (asked, in_books, open) = books.totals();
        let weight: u64 = if matches!(bound, Bound::Messages(_)) { held.len() as u64 } else { held.iter().sum() };
        assert_eq!(in_books, weight, "what is held is known exactly");
        assert!(asked + in_books <= most, "never more than the bound: {asked} + {in_books} > {most}");
        assert_eq!(open == 0, asked == 0);
        let waiting: u64 = server.waiting.iter().map(|r| r.bytes.unwrap_or(r.messages)).sum();
        assert_eq!(asked, waiting, "the sum is what the server thinks");
        // No stall: with room, something is asked for.
        assert!(asked > 0 || in_books > most / 2 || books.crowded && in_books > 0);
    }
    // Handle all: everything that was published comes.
    loop {
        let taken: Vec<u64> = held.drain(..).collect();
        books.handled(taken.len() as u64, taken.iter().sum());
        received += taken.len() as u64;
        server.pull(&mut books, now);
        server.deliver(&mut books, now, &mut held);
        if held.is_empty() {
            break;
        }
    }
    let skipped = published - received;
    assert!(server.stored.is_empty());
    if matches!(bound, Bound::Messages(_)) || most >= 300 {
        assert_eq!(skipped, 0, "nothing is left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn counting_messages_never_stalls_and_never_asks_too_much(most in 1u64..200, steps in steps()) {
        run(Bound::Messages(most), steps);
    }

    #[test]
    fn counting_bytes_never_stalls_and_never_asks_too_much(most in 1u64..5000, steps in steps()) {
        run(Bound::Bytes(most), steps);
    }
}
