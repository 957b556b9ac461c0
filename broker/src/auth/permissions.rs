//! What a user may publish and subscribe to: the decision, and nothing else.

use std::collections::HashSet;
use std::time::Duration;

use natsune_protocol::subject;

use crate::config::{PermissionsConfig, ResponsesConfig, SubjectRule};
use crate::router::has_empty_token;

/// The rights of one user. Deny wins over allow; no allow list allows all.
#[derive(Debug, Default)]
pub struct Permissions {
    publish: Rules,
    subscribe: Rules,
    subscribe_queues: QueueRules,
    responses: Option<Responses>,
}

/// Leave to answer on the reply subject of a received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// Answers for each message; `None`: any number.
    pub max: Option<u64>,
    /// Time to answer in; `None`: for ever.
    pub expires: Option<Duration>,
}

impl Permissions {
    /// All rights.
    pub fn all() -> Permissions {
        Permissions::default()
    }

    /// From the configuration; the subjects in it were checked when it was read.
    pub fn new(config: &PermissionsConfig) -> Permissions {
        let mut publish = config.publish.clone();
        let responses = config.allow_responses.map(|ResponsesConfig { max, expires }| Responses { max, expires });
        if responses.is_some() && publish.allow.is_none() {
            // Leave to answer is meant instead of the right to publish anything.
            publish.allow = Some(Vec::new());
        }
        let (subscribe, subscribe_queues) = split_queues(&config.subscribe);
        Permissions { publish: Rules::new(&publish), subscribe: Rules::new(&subscribe), subscribe_queues, responses }
    }

    /// True when nothing is forbidden: callers may skip all checks.
    pub fn is_unrestricted(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.subscribe_queues.is_empty()
    }

    /// Whether a message may be published on this subject (apart from answers, see [`Permissions::responses`]).
    pub fn can_publish(&self, subject: &str) -> bool {
        self.publish.allows(subject) && !self.publish.denies(subject)
    }

    /// Whether this subscription may be made. A wildcard over a denied subject may: see [`Permissions::filters_delivery`].
    pub fn can_subscribe(&self, filter: &str, queue: Option<&str>) -> bool {
        let queues = &self.subscribe_queues;
        let mut allowed = self.subscribe.covers(filter);
        if let Some(queue) = queue {
            // Entries with a queue narrow the groups of a subject, whether or not the subject is also allowed plainly.
            if let Some(named) = queues.allow.matching(queue, |subject| subject::is_subset(filter, subject)) {
                allowed = named;
            }
            // Delivery is filtered by subject only, so here an overlap must be enough to refuse the group.
            if queues.deny.matching(queue, |subject| subject::overlaps(filter, subject)) == Some(true) {
                return false;
            }
        }
        allowed && !self.subscribe.denies_all_of(filter)
    }

    /// True when a wildcard subscription may cover denied subjects, so that each delivery must be checked.
    pub fn filters_delivery(&self) -> bool {
        !self.subscribe.deny.is_empty()
    }

    /// Whether a delivery to this subscription could need [`Permissions::can_receive`].
    pub fn filters(&self, filter: &str) -> bool {
        self.filters_delivery() && self.subscribe.deny.iter().any(|denied| subject::overlaps(filter, denied))
    }

    /// Whether a message on this subject may be delivered.
    pub fn can_receive(&self, subject: &str) -> bool {
        !self.subscribe.denies(subject)
    }

    /// Leave to answer what was received.
    pub fn responses(&self) -> Option<Responses> {
        self.responses
    }
}

/// Subjects of one direction without queues.
#[derive(Debug, Default)]
struct Rules {
    allow: Option<Patterns>,
    deny: Patterns,
}

impl Rules {
    fn new(rule: &SubjectRule) -> Rules {
        Rules { allow: rule.allow.as_ref().map(|list| Patterns::new(list)), deny: Patterns::new(&rule.deny) }
    }

    fn is_empty(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    fn allows(&self, subject: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| !has_empty_token(subject) && allow.matches(subject))
    }

    fn denies(&self, subject: &str) -> bool {
        self.deny.matches(subject)
    }

    fn covers(&self, filter: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| !has_empty_token(filter) && allow.covers(filter))
    }

    fn denies_all_of(&self, filter: &str) -> bool {
        self.deny.covers(filter)
    }
}

/// A set of subjects: the plain ones are found by hash, those with wildcards one by one.
#[derive(Debug, Default)]
struct Patterns {
    literals: HashSet<Box<str>>,
    wildcards: Vec<Box<str>>,
}

impl Patterns {
    fn new(list: &[String]) -> Patterns {
        let (literals, wildcards): (Vec<&String>, Vec<&String>) =
            list.iter().partition(|subject| subject::is_literal(subject));
        let boxed = |subject: &String| subject.as_str().into();
        Patterns {
            literals: literals.into_iter().map(boxed).collect(),
            wildcards: wildcards.into_iter().map(boxed).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.wildcards.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.literals.iter().chain(self.wildcards.iter()).map(|subject| &**subject)
    }

    fn matches(&self, subject: &str) -> bool {
        self.literals.contains(subject) || self.wildcards.iter().any(|pattern| subject::matches(pattern, subject))
    }

    fn covers(&self, filter: &str) -> bool {
        self.literals.contains(filter) || self.wildcards.iter().any(|pattern| subject::is_subset(filter, pattern))
    }
}

#[derive(Debug, Default)]
struct QueueRules {
    allow: QueueSubjects,
    deny: QueueSubjects,
}

impl QueueRules {
    fn is_empty(&self) -> bool {
        self.allow.0.is_empty() && self.deny.0.is_empty()
    }
}

/// Pairs of subject and queue name; both may hold wildcards.
#[derive(Debug, Default)]
struct QueueSubjects(Vec<(Box<str>, Box<str>)>);

impl QueueSubjects {
    /// `None` when no entry is about this subject; else whether one of them names the queue.
    fn matching(&self, queue: &str, about: impl Fn(&str) -> bool) -> Option<bool> {
        let mut found = None;
        for (_, named) in self.0.iter().filter(|(subject, _)| about(subject)) {
            let same = &**named == queue || (!subject::is_literal(named) && subject::is_subset(queue, named));
            found = Some(found.unwrap_or(false) || same);
        }
        found
    }
}

fn split_queues(rule: &SubjectRule) -> (SubjectRule, QueueRules) {
    let mut plain = SubjectRule { allow: rule.allow.as_ref().map(|_| Vec::new()), deny: Vec::new() };
    let mut queues = QueueRules::default();
    let sort = |list: &[String], subjects: &mut Vec<String>, pairs: &mut QueueSubjects| {
        for entry in list {
            let mut words = entry.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some(subject), Some(queue)) => pairs.0.push((subject.into(), queue.into())),
                (Some(subject), None) => subjects.push(subject.to_owned()),
                (None, _) => {}
            }
        }
    };
    if let (Some(allow), Some(subjects)) = (&rule.allow, &mut plain.allow) {
        sort(allow, subjects, &mut queues.allow);
    }
    sort(&rule.deny, &mut plain.deny, &mut queues.deny);
    (plain, queues)
}
