//! Subject rules against naive models, by table and at random.
use natsune_protocol::subject::{
    is_literal, is_subset, is_valid_filter, is_valid_name, is_valid_publish, is_valid_queue, matches, overlaps,
};
use proptest::prelude::*;

/// What matching means, token by token and recursively.
fn model_matches(filter: &[&str], subject: &[&str]) -> bool {
    match (filter, subject) {
        ([], []) => true,
        ([">"], rest) => !rest.is_empty(),
        (["*", filter @ ..], [_, subject @ ..]) => model_matches(filter, subject),
        ([want, filter @ ..], [have, subject @ ..]) => want == have && model_matches(filter, subject),
        _ => false,
    }
}

fn split(subject: &str) -> Vec<&str> {
    subject.split('.').collect()
}

/// All literal subjects up to a length over an alphabet that has a letter no filter uses: a small world in which what
/// holds for all its subjects holds for all subjects.
fn world() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut subjects = Vec::new();
    for _ in 0..5 {
        all = all
            .iter()
            .flat_map(|head| {
                ["a", "b", "other"]
                    .map(|token| if head.is_empty() { token.to_owned() } else { format!("{head}.{token}") })
            })
            .collect();
        subjects.extend(all.iter().cloned());
    }
    subjects
}

/// Every filter up to four tokens.
fn filters() -> Vec<String> {
    let mut open = vec![String::new()];
    let mut filters = Vec::new();
    for _ in 0..4 {
        let mut next = Vec::new();
        for head in &open {
            for token in ["a", "b", "*", ">"] {
                let filter = if head.is_empty() { token.to_owned() } else { format!("{head}.{token}") };
                filters.push(filter.clone());
                if token != ">" {
                    next.push(filter);
                }
            }
        }
        open = next;
    }
    filters
}

#[test]
fn all_small_filters_against_all_small_subjects() {
    let (world, filters) = (world(), filters());
    // A set of subjects per filter; 363 subjects fit into six words.
    let sets: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| {
            assert!(is_valid_filter(filter), "{filter}");
            assert_eq!(is_literal(filter), is_valid_publish(filter), "{filter}");
            let set: Vec<bool> = world.iter().map(|subject| matches(filter, subject)).collect();
            for (subject, &matched) in world.iter().zip(&set) {
                assert_eq!(matched, model_matches(&split(filter), &split(subject)), "{filter} {subject}");
            }
            set
        })
        .collect();
    for (a, set_a) in filters.iter().zip(&sets) {
        for (b, set_b) in filters.iter().zip(&sets) {
            let subset = set_a.iter().zip(set_b).all(|(&a, &b)| !a || b);
            assert_eq!(is_subset(a, b), subset, "{a} within {b}");
            let common = set_a.iter().zip(set_b).any(|(&a, &b)| a && b);
            assert_eq!(overlaps(a, b), common, "{a} and {b}");
        }
    }
}

#[test]
fn validity() {
    for subject in
        ["a", "a.b", "a*", "a>", "*a.>b", "a*b.c", "$JS.API.INFO", "ä.日本", "a\u{a0}b", "-", "a.*b", "**", ">>"]
    {
        assert!(is_valid_publish(subject) && is_valid_filter(subject) && is_literal(subject), "{subject:?}");
    }
    for subject in ["*", ">", "a.*", "a.*.b", "a.>", "*.*", "*.>"] {
        assert!(!is_valid_publish(subject) && is_valid_filter(subject) && !is_literal(subject), "{subject:?}");
    }
    for subject in [
        "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", ">.>", " ", "a b", "a\tb", "a\r", "a\nb", "a\x0cb", "a\0", "\x7f",
        "a.> ",
    ] {
        assert!(!is_valid_filter(subject), "{subject:?}");
        assert!(!is_valid_publish(subject), "{subject:?}");
    }
    // `a*` is a literal, so it only matches itself.
    assert!(matches("a*", "a*") && !matches("a*", "ab") && !is_subset("ab", "a*") && !overlaps("a*", "ab"));
    assert!(is_valid_queue("q.1") && is_valid_queue("*") && !is_valid_queue("") && !is_valid_queue("a b"));
    for name in ["a", "ORDERS_2-x", "日本", "$a"] {
        assert!(is_valid_name(name), "{name}");
    }
    for name in ["", "a.b", "*", "a>", "a b", "a/b", "a\\b", "..", "a\0", "a\r\n", &"x".repeat(256)] {
        assert!(!is_valid_name(name), "{name:?}");
    }
}

/// nats-server's own rule, spelled out.
fn model_valid(subject: &str, wildcards: bool) -> bool {
    let tokens = split(subject);
    tokens.iter().enumerate().all(|(at, token)| {
        !token.is_empty()
            && !token.chars().any(|letter| letter == ' ' || letter.is_ascii_control())
            && (*token != "*" || wildcards)
            && (*token != ">" || wildcards && at + 1 == tokens.len())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn validity_agrees_with_the_model(subject in "[ab*>.\u{e4} \t\r]{0,10}|\\PC{0,10}|.{0,6}") {
        prop_assert_eq!(is_valid_publish(&subject), model_valid(&subject, false));
        prop_assert_eq!(is_valid_filter(&subject), model_valid(&subject, true));
        let literal = split(&subject).iter().all(|token| *token != "*" && *token != ">");
        prop_assert_eq!(is_literal(&subject), literal);
    }

    #[test]
    fn longer_subjects_agree_with_the_model(
        filter in "([abc*]\\.){0,6}[abc*>]", other in "([abc*]\\.){0,6}[abc*>]", subject in "([abc]\\.){0,6}[abc]",
    ) {
        prop_assert_eq!(matches(&filter, &subject), model_matches(&split(&filter), &split(&subject)));
        if is_subset(&other, &filter) && matches(&other, &subject) {
            prop_assert!(matches(&filter, &subject));
        }
        if matches(&filter, &subject) && matches(&other, &subject) {
            prop_assert!(overlaps(&filter, &other) && overlaps(&other, &filter));
        }
        prop_assert_eq!(overlaps(&filter, &other), overlaps(&other, &filter));
        prop_assert!(is_subset(&filter, &filter) && is_subset(&filter, ">"));
    }

    #[test]
    fn nothing_panics_on_nonsense(a in ".{0,12}", b in "[.*>]{0,8}") {
        matches(&a, &b);
        matches(&b, &a);
        is_subset(&a, &b);
        overlaps(&b, &a);
    }
}
