//! The router against a slow and obvious reference.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Counter {
    got: AtomicUsize,
    refuse: bool,
    seen: Mutex<Vec<String>>,
}

impl Sink for Counter {
    fn deliver(&self, sub: &Sub, msg: &Delivery<'_>) -> bool {
        if self.refuse {
            return false;
        }
        self.got.fetch_add(1, Ordering::Relaxed);
        self.seen.lock().unwrap().push(format!("{} {}", sub.subject, msg.subject));
        true
    }
}

fn to(subject: &str) -> Delivery<'_> {
    Delivery { subject, reply: None, headers: None, payload: b"x", origin: 0 }
}

fn reference(filter: &str, subject: &str) -> bool {
    let (mut f, mut s) = (filter.split('.'), subject.split('.'));
    loop {
        match (f.next(), s.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof!["[abc]", Just("*".to_owned()), Just("a*".to_owned())]
}

fn filter() -> impl Strategy<Value = String> {
    (prop::collection::vec(token(), 1..5), any::<bool>()).prop_map(|(mut tokens, rest)| {
        if rest {
            tokens.push(">".into());
        }
        tokens.join(".")
    })
}

fn subject() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["[abc]", Just("a*".to_owned())], 1..6).prop_map(|tokens| tokens.join("."))
}

proptest! {
    #[test]
    fn finds_what_the_reference_finds(filters in prop::collection::vec(filter(), 0..30), subjects in prop::collection::vec(subject(), 1..20),
                                      removed in prop::collection::vec(any::<bool>(), 30)) {
        let account = Router::new().default_account();
        let sink = Arc::new(Counter::default());
        let mut live = Vec::new();
        let subs: Vec<_> = filters.iter().map(|f| account.subscribe(f, None, Bytes::new(), sink.clone())).collect();
        for (sub, remove) in subs.iter().zip(&removed) {
            if *remove { account.unsubscribe(sub); account.unsubscribe(sub); } else { live.push(sub.subject.to_string()); }
        }
        prop_assert_eq!(account.subscriptions(), live.len());
        for subject in &subjects {
            let expected = live.iter().filter(|f| reference(f, subject)).count();
            prop_assert_eq!(account.publish(&to(subject)), expected, "subject {}", subject);
            prop_assert_eq!(account.has_interest(subject), expected > 0);
        }
        account.unsubscribe_all(&subs);
        prop_assert_eq!(account.subscriptions(), 0);
        prop_assert!(!account.has_interest("a"));
    }
}

#[test]
fn a_queue_group_gets_a_message_once_and_skips_who_cannot() {
    let account = Router::new().default_account();
    let (a, b, refuses) = (
        Arc::new(Counter::default()),
        Arc::new(Counter::default()),
        Arc::new(Counter { refuse: true, ..Default::default() }),
    );
    account.subscribe("jobs.*", Some("q"), Bytes::new(), a.clone());
    account.subscribe("jobs.>", Some("q"), Bytes::new(), b.clone());
    account.subscribe("jobs.new", Some("q"), Bytes::new(), refuses);
    for _ in 0..1000 {
        assert_eq!(account.publish(&to("jobs.new")), 1);
    }
    let (a, b) = (a.got.load(Ordering::Relaxed), b.got.load(Ordering::Relaxed));
    assert_eq!(a + b, 1000);
    // A member that refuses passes its share to the next one, so the two shares are a third and two thirds.
    assert!(a > 200 && b > 200, "a share of {a} and {b}");
    account.subscribe("jobs.new", Some("other"), Bytes::new(), Arc::new(Counter::default()));
    assert_eq!(account.publish(&to("jobs.new")), 2);
}

#[test]
fn accounts_do_not_see_each_other() {
    let router = Router::new();
    let (a, b) = (
        router.create_account("A", AccountSettings::default()),
        router.create_account("B", AccountSettings::default()),
    );
    let sink = Arc::new(Counter::default());
    a.subscribe(">", None, Bytes::new(), sink);
    assert_eq!(b.publish(&to("x")), 0);
    assert_eq!(a.publish(&to("x")), 1);
    assert_eq!(router.account("A").map(|found| found.id), Some(a.id));
    router.remove_account("A");
    assert!(router.account("A").is_none());
}

#[test]
fn a_cache_follows_changes() {
    let account = Router::new().default_account();
    let sink = Arc::new(Counter::default());
    let mut cache: MatchCache<bool> = MatchCache::default();
    assert!(cache.get(&account, "a.b", |_| true).matched().is_empty());
    assert!(cache.get(&account, "a.b", |_| true).matched().is_empty(), "now it is remembered");
    let sub = account.subscribe("a.*", None, Bytes::new(), sink);
    assert_eq!(cache.get(&account, "a.b", |_| panic!("judged twice")).matched().deliver(&to("a.b")), 1);
    account.unsubscribe(&sub);
    assert!(cache.get(&account, "a.b", |_| panic!("judged twice")).matched().is_empty());
    let sub = account.subscribe("reply.*", None, Bytes::new(), Arc::new(Counter::default()));
    for n in 0..5000 {
        let subject = format!("reply.{n}");
        assert_eq!(cache.get(&account, &subject, |_| false).matched().deliver(&to(&subject)), 1);
    }
    account.unsubscribe(&sub);
    assert!(cache.get(&account, "reply.1", |_| true).matched().is_empty());
    for n in 0..5000 {
        cache.get(&account, &format!("s.{}", n / 2), |_| false);
    }
    assert!(cache.get(&account, "a.b", |_| true).verdict);
}

#[test]
fn a_sink_may_publish_and_unsubscribe_from_within() {
    struct Nested(Mutex<Option<Arc<Sub>>>, Arc<Account>);
    impl Sink for Nested {
        fn deliver(&self, _: &Sub, msg: &Delivery<'_>) -> bool {
            if let Some(sub) = self.0.lock().unwrap().take() {
                self.1.unsubscribe(&sub);
            }
            msg.subject != "outer" || self.1.publish(&to("inner")) == 1
        }
    }
    let account = Router::new().default_account();
    let nested = Arc::new(Nested(Mutex::new(None), account.clone()));
    let outer = account.subscribe("outer", None, Bytes::new(), nested.clone());
    account.subscribe("inner", None, Bytes::new(), nested.clone());
    *nested.0.lock().unwrap() = Some(outer);
    assert_eq!(account.publish(&to("outer")), 1);
    assert_eq!(account.publish(&to("outer")), 0);
}

#[test]
fn flushes_wait_for_the_end_of_the_batch() {
    struct Target(AtomicUsize);
    impl Flush for Target {
        fn flush(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let target = Arc::new(Target(AtomicUsize::new(0)));
    let outer = Batch::begin();
    let inner = Batch::begin();
    Batch::flush_later(target.clone());
    drop(inner);
    assert_eq!(target.0.load(Ordering::Relaxed), 0);
    drop(outer);
    assert_eq!(target.0.load(Ordering::Relaxed), 1);
    Batch::flush_later(target.clone());
    assert_eq!(target.0.load(Ordering::Relaxed), 2);
}

#[test]
fn a_literal_subscription_is_small() {
    // With its place in the map and in its session's set this is what one inbox costs, apart from its text.
    assert!(size_of::<Sub>() <= 120, "{}", size_of::<Sub>());
    let account = Router::new().default_account();
    let sid = "an id that is much longer than usual";
    let sub = account.subscribe("a", None, sid, Arc::new(Counter::default()));
    assert_eq!(&*sub.sid, sid.as_bytes());
    assert_eq!(&*account.subscribe("a", None, "7", Arc::new(Counter::default())).sid, b"7");
}
