//! The queue of waiting pull requests: order, ends, and the exact words.

use super::super::clock::SECOND;
use super::*;

fn config() -> ConsumerConfig {
    ConsumerConfig { max_waiting: 4, ..Default::default() }
}

struct Desk {
    config: ConsumerConfig,
    waiting: Waiting,
    answers: Vec<Answer>,
}

impl Desk {
    fn new(config: ConsumerConfig) -> Desk {
        let waiting = Waiting::new(&config, 0);
        Desk { config, waiting, answers: Vec::new() }
    }

    fn ask(&mut self, reply: &str, body: &str, load: Load) {
        match Request::parse(reply, body.as_bytes(), 0) {
            Ok(request) => self.waiting.add(request, &self.config, load, 0, |_| true, &mut self.answers),
            Err(text) => self.answers.push(status(reply, format_args!("400 Bad Request - {text}"))),
        }
    }

    fn take(&mut self, size: usize) -> Option<String> {
        let load = Load { pending: 10, ..Load::default() };
        let taken = self.waiting.take(size, load, 0, &mut self.answers)?;
        self.answers.extend(taken.completed);
        Some(taken.reply)
    }

    fn said(&mut self) -> Vec<String> {
        self.answers.drain(..).map(|answer| format!("{} {}", answer.reply, answer.head.trim_end())).collect()
    }
}

#[test]
fn requests_take_turns() {
    let mut desk = Desk::new(config());
    desk.ask("a", "2", Load::default());
    desk.ask("b", "", Load::default());
    desk.ask("c", r#"{"batch":2,"group":null,"priority":null}"#, Load::default());
    let order: Vec<Option<String>> = (0..6).map(|_| desk.take(1)).collect();
    let order: Vec<&str> = order.iter().map(|reply| reply.as_deref().unwrap_or("-")).collect();
    assert_eq!(order, ["a", "b", "c", "a", "c", "-"]);
}

#[test]
fn limits_answer_in_the_known_words() {
    let mut desk = Desk::new(ConsumerConfig { max_batch: 5, max_expires: SECOND, max_bytes: 100, ..config() });
    desk.ask("a", "6", Load::default());
    desk.ask("b", r#"{"batch":1,"expires":2000000000}"#, Load::default());
    desk.ask("c", r#"{"batch":1,"max_bytes":101}"#, Load::default());
    desk.ask("d", r#"{"batch":1,"expires":1000,"idle_heartbeat":900}"#, Load::default());
    desk.ask("e", r#"{"batch":1,"no_wait":true}"#, Load::default());
    desk.ask("f", r#"{"batch":1,"id":"x"}"#, Load::default());
    assert_eq!(
        desk.said(),
        [
            "a NATS/1.0 409 Exceeded MaxRequestBatch of 5",
            "b NATS/1.0 409 Exceeded MaxRequestExpires of 1s",
            "c NATS/1.0 409 Exceeded MaxRequestMaxBytes of 100",
            "d NATS/1.0 400 Bad Request - heartbeat value too large",
            "e NATS/1.0 404 No Messages",
            "f NATS/1.0 400 Bad Request - Not a Pinned Client Priority consumer",
        ]
    );
    for reply in ["1", "2", "3", "4", "5"] {
        desk.ask(reply, "", Load::default());
    }
    desk.ask("6", r#"{"batch":1,"expires":1000000000,"idle_heartbeat":1000}"#, Load::default());
    assert_eq!(desk.said(), ["5 NATS/1.0 409 Exceeded MaxWaiting"]);
}

#[test]
fn byte_limits_end_requests() {
    let mut desk = Desk::new(config());
    desk.ask("a", r#"{"batch":10,"max_bytes":50}"#, Load::default());
    assert_eq!(desk.take(30).as_deref(), Some("a"));
    assert_eq!(desk.take(30), None);
    let end = "Nats-Pending-Messages: 9\r\nNats-Pending-Bytes: 20";
    assert_eq!(desk.said(), [format!("a NATS/1.0 409 Message Size Exceeds MaxBytes\r\n{end}")]);
    desk.ask("b", r#"{"batch":10,"max_bytes":30}"#, Load::default());
    assert_eq!(desk.take(30).as_deref(), Some("b"));
    assert!(desk.waiting.is_empty() && desk.said().is_empty());
    desk.ask("c", r#"{"batch":1,"max_bytes":100}"#, Load::default());
    assert_eq!(desk.take(30).as_deref(), Some("c"));
    let end = "Nats-Pending-Messages: 0\r\nNats-Pending-Bytes: 70";
    assert_eq!(desk.said(), [format!("c NATS/1.0 409 Batch Completed\r\n{end}")]);
}

#[test]
fn time_and_silence_end_requests() {
    let mut desk = Desk::new(config());
    desk.ask("a", r#"{"batch":3,"expires":100}"#, Load::default());
    desk.ask("b", r#"{"batch":3,"expires":500,"no_wait":true}"#, Load { pending: 10, ..Load::default() });
    desk.ask("gone", "1", Load::default());
    desk.ask("h", r#"{"batch":1,"expires":1000,"idle_heartbeat":150}"#, Load::default());
    assert_eq!(desk.waiting.next_due(), Some(100));
    assert_eq!(desk.take(1).as_deref(), Some("a"));
    assert_eq!(desk.take(1).as_deref(), Some("b"));
    desk.waiting.queue.rotate_left(2);
    desk.waiting.tidy(true, 100, |reply| reply != "gone", &mut desk.answers);
    assert_eq!(
        desk.said(),
        [
            "a NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 2\r\nNats-Pending-Bytes: 0",
            "b NATS/1.0 404 No Messages",
        ]
    );
    assert_eq!((desk.waiting.len(), desk.waiting.next_due()), (1, Some(150)));
    desk.waiting.heartbeats(150, || "NATS/1.0 100 Idle Heartbeat\r\n\r\n".into(), &mut desk.answers);
    assert_eq!(desk.said(), ["h NATS/1.0 100 Idle Heartbeat"]);
    assert_eq!(desk.waiting.next_due(), Some(300));
    desk.waiting.end_all("409 Consumer Deleted", &mut desk.answers);
    assert_eq!(desk.said().len(), 1);
}

#[test]
fn priorities_choose_who_is_next() {
    let groups = || vec!["g".to_owned()];
    let prioritized =
        ConsumerConfig { priority_policy: PriorityPolicy::Prioritized, priority_groups: groups(), ..config() };
    let mut desk = Desk::new(prioritized);
    desk.ask("slow", r#"{"batch":1,"group":"g","priority":5}"#, Load::default());
    desk.ask("fast", r#"{"batch":2,"group":"g","priority":1}"#, Load::default());
    desk.ask("none", r#"{"batch":2}"#, Load::default());
    assert_eq!(desk.said(), ["none NATS/1.0 400 Bad Request - Priority Group missing"]);
    let order: Vec<String> = std::iter::from_fn(|| desk.take(1)).collect();
    assert_eq!(order, ["fast", "fast", "slow"]);

    let overflow = ConsumerConfig { priority_policy: PriorityPolicy::Overflow, priority_groups: groups(), ..config() };
    let mut desk = Desk::new(overflow);
    desk.ask("far", r#"{"batch":1,"group":"g","min_pending":11}"#, Load::default());
    desk.ask("near", r#"{"batch":1,"group":"g","min_pending":10}"#, Load::default());
    assert_eq!(desk.take(1).as_deref(), Some("near"));
    assert_eq!(desk.take(1), None);
}

#[test]
fn one_client_is_pinned_until_it_stops_asking() {
    let pinned = ConsumerConfig {
        priority_policy: PriorityPolicy::PinnedClient,
        priority_groups: vec!["g".into()],
        priority_timeout: 1000,
        ..config()
    };
    let mut desk = Desk::new(pinned);
    desk.ask("a", r#"{"batch":1,"group":"g"}"#, Load::default());
    desk.ask("b", r#"{"batch":1,"group":"g"}"#, Load::default());
    let taken = desk.waiting.take(1, Load::default(), 0, &mut desk.answers).unwrap();
    let pin = taken.pin.unwrap();
    assert_eq!(taken.reply, "a");
    assert_eq!(desk.take(1), None, "only the pinned client is served");
    desk.ask("a", &format!(r#"{{"batch":1,"group":"g","id":"{pin}"}}"#), Load::default());
    assert_eq!(desk.take(1).as_deref(), Some("a"));
    desk.ask("c", r#"{"batch":1,"group":"g","id":"other"}"#, Load::default());
    assert_eq!(desk.said(), ["c NATS/1.0 423 Nats-Pin-Id mismatch"]);
    desk.waiting.tidy(false, 1000, |_| true, &mut desk.answers);
    assert_eq!(desk.waiting.pins, [PinChange::Pinned(pin), PinChange::Unpinned("timeout")]);
    assert_eq!(desk.take(1).as_deref(), Some("b"));
}

#[test]
fn no_number_is_too_large_or_too_small() {
    let mut desk = Desk::new(config());
    for (reply, batch) in [("a", i64::MAX), ("b", i64::MAX), ("c", i64::MIN)] {
        desk.ask(reply, &format!("{{\"batch\":{batch},\"max_bytes\":{}}}", i64::MIN), Load::default());
    }
    desk.ask("d", r#"{"batch":1,"no_wait":true}"#, Load { pending: 1, ..Load::default() });
    assert_eq!(desk.said(), ["d NATS/1.0 408 Requests Pending"]);
    let order: Vec<Option<String>> = (0..5).map(|_| desk.take(1)).collect();
    let order: Vec<&str> = order.iter().map(|reply| reply.as_deref().unwrap_or("-")).collect();
    assert_eq!(order, ["a", "b", "c", "a", "b"]);
}
