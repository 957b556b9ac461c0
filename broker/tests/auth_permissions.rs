//! The rights of a user against the simplest possible reading of them.

use natsune_broker::auth::Permissions;
use natsune_broker::config::{PermissionsConfig, ResponsesConfig, SubjectRule};
use proptest::prelude::*;

/// The reference: token by token, nothing clever.
mod reference {
    /// Whether the pattern covers the filter: every subject of the filter is one of the pattern.
    pub fn covers(pattern: &[&str], filter: &[&str]) -> bool {
        match (pattern, filter) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", rest @ ..], [token, more @ ..]) => *token != ">" && covers(rest, more),
            ([want, rest @ ..], [token, more @ ..]) => {
                want == token && *token != "*" && *token != ">" && covers(rest, more)
            }
            _ => false,
        }
    }

    pub fn any(patterns: &[String], filter: &str) -> bool {
        let filter: Vec<&str> = filter.split('.').collect();
        patterns.iter().any(|pattern| covers(&pattern.split('.').collect::<Vec<_>>(), &filter))
    }
}

fn token() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 3 => Just("b"), 1 => Just("c"), 1 => Just("a*")]
}

fn literal() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 1..4).prop_map(|tokens| tokens.join("."))
}

fn filter() -> impl Strategy<Value = String> {
    let token = prop_oneof![3 => token(), 2 => Just("*")];
    (prop::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
        if tail {
            tokens.push(">");
        }
        tokens.join(".")
    })
}

fn rule() -> impl Strategy<Value = SubjectRule> {
    let list = || prop::collection::vec(filter(), 0..4);
    (prop::option::of(list()), list()).prop_map(|(allow, deny)| SubjectRule { allow, deny })
}

fn allowed(rule: &SubjectRule, filter: &str) -> bool {
    rule.allow.as_ref().is_none_or(|allow| reference::any(allow, filter)) && !reference::any(&rule.deny, filter)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn publishing_follows_the_lists(rule in rule(), subjects in prop::collection::vec(literal(), 1..20)) {
        let rights = Permissions::new(&PermissionsConfig { publish: rule.clone(), ..PermissionsConfig::default() });
        for subject in subjects {
            prop_assert_eq!(rights.can_publish(&subject), allowed(&rule, &subject), "{} under {:?}", subject, rule);
        }
    }

    #[test]
    fn subscribing_and_receiving_follow_the_lists(rule in rule(), filters in prop::collection::vec(filter(), 1..10), subjects in prop::collection::vec(literal(), 1..20)) {
        let rights = Permissions::new(&PermissionsConfig { subscribe: rule.clone(), ..PermissionsConfig::default() });
        for filter in &filters {
            prop_assert_eq!(rights.can_subscribe(filter, None), allowed(&rule, filter), "{} under {:?}", filter, rule);
            // Whatever gets through was allowed, subject by subject.
            let parts: Vec<&str> = filter.split('.').collect();
            for subject in subjects.iter().filter(|subject| reference::covers(&parts, &subject.split('.').collect::<Vec<_>>())) {
                let received = rights.can_subscribe(filter, None) && rights.can_receive(subject);
                prop_assert!(!received || allowed(&rule, subject), "{} over {} under {:?}", subject, filter, rule);
                prop_assert!(rights.can_receive(subject) || rights.filters(filter), "{} needs a look", filter);
            }
        }
    }

    #[test]
    fn a_queue_never_gets_what_its_subject_does_not(rule in rule(), filter in filter(), queue in "[a-c]{1,2}") {
        let plain = Permissions::new(&PermissionsConfig { subscribe: rule.clone(), ..PermissionsConfig::default() });
        prop_assert_eq!(plain.can_subscribe(&filter, Some(&queue)), plain.can_subscribe(&filter, None));
        let mut denied = rule.clone();
        denied.deny.push(format!("> {queue}"));
        let denied = Permissions::new(&PermissionsConfig { subscribe: denied, ..PermissionsConfig::default() });
        prop_assert!(!denied.can_subscribe(&filter, Some(&queue)));
        prop_assert_eq!(denied.can_subscribe(&filter, None), plain.can_subscribe(&filter, None));
        prop_assert!(denied.can_subscribe(&filter, Some("other")) == plain.can_subscribe(&filter, None));
    }
}

fn lists(allow: &[&str], deny: &[&str]) -> SubjectRule {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    SubjectRule { allow: Some(owned(allow)), deny: owned(deny) }
}

#[test]
fn queues_are_named_with_their_subject() {
    let subscribe = lists(&["foo", "foo v1", "foo v1.>", "foo *.dev", "bar q"], &["> *.prod"]);
    let rights = Permissions::new(&PermissionsConfig { subscribe, ..PermissionsConfig::default() });
    for (filter, queue, may) in [
        ("foo", None, true),
        ("foo", Some("v1"), true),
        ("foo", Some("v1.x.y"), true),
        ("foo", Some("v2.dev"), true),
        ("foo", Some("v1.prod"), false),
        ("foo", Some("v2"), false),
        ("bar", None, false),
        ("bar", Some("q"), true),
        ("bar", Some("p"), false),
        ("baz", Some("q"), false),
    ] {
        assert_eq!(rights.can_subscribe(filter, queue), may, "{filter} {queue:?}");
    }
}

#[test]
fn inboxes_are_no_exception_and_nothing_said_allows_all() {
    let rights = Permissions::new(&PermissionsConfig {
        publish: lists(&["a"], &[]),
        subscribe: lists(&["a"], &[]),
        allow_responses: None,
    });
    assert!(!rights.can_subscribe("_INBOX.>", None) && !rights.can_publish("_INBOX.x.y"));
    assert!(!rights.is_unrestricted() && Permissions::all().is_unrestricted());
    assert!(Permissions::all().can_publish("x") && Permissions::all().can_subscribe(">", Some("q")));
    let nothing = Permissions::new(&PermissionsConfig { publish: lists(&[], &[]), ..PermissionsConfig::default() });
    assert!(!nothing.can_publish("a") && nothing.can_subscribe("a", None));
}

#[test]
fn leave_to_answer_takes_the_place_of_the_right_to_publish() {
    let answers = Some(ResponsesConfig::default());
    let rights = Permissions::new(&PermissionsConfig { allow_responses: answers, ..PermissionsConfig::default() });
    assert!(!rights.can_publish("a"));
    let given = rights.responses().unwrap();
    assert_eq!((given.max, given.expires), (Some(1), Some(std::time::Duration::from_secs(120))));
    let both = Permissions::new(&PermissionsConfig {
        publish: lists(&["a"], &[]),
        allow_responses: answers,
        ..PermissionsConfig::default()
    });
    assert!(both.can_publish("a") && !both.can_publish("b"));
}
