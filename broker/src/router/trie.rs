//! Which subscriptions match a subject: literal filters in one map, filters with wildcards in a trie of tokens.
//!
//! Most subscriptions are literal (inboxes above all); one lookup finds them, and they cost no node per token.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::hash::SubjectHash;
use super::sub::{Delivery, Sub};

/// Subscriptions of one filter.
#[derive(Default)]
struct Slot {
    plain: Vec<Arc<Sub>>,
    /// No group is empty, so each has a first member that knows the name.
    groups: Vec<Vec<Arc<Sub>>>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    fn insert(&mut self, sub: &Arc<Sub>) {
        let members = match &sub.queue {
            None => &mut self.plain,
            Some(_) => group_of(&mut self.groups, sub),
        };
        sub.place.store(members.len() as u32, Ordering::Relaxed);
        members.push(sub.clone());
    }

    fn remove(&mut self, sub: &Arc<Sub>) -> bool {
        match &sub.queue {
            None => take_out(&mut self.plain, sub),
            Some(_) => {
                let Some(at) = self.groups.iter().position(|group| same_group(group, sub)) else { return false };
                let removed = take_out(&mut self.groups[at], sub);
                if self.groups[at].is_empty() {
                    self.groups.swap_remove(at);
                }
                removed
            }
        }
    }

    fn add_to(&self, matched: &mut Matched) {
        matched.plain.extend(self.plain.iter().cloned());
        for group in &self.groups {
            let Some(first) = group.first() else { continue };
            // The same group name on two matching filters is one group: it gets the message once.
            matched.group_for(first).extend(group.iter().cloned());
        }
    }
}

fn same_group(group: &[Arc<Sub>], sub: &Sub) -> bool {
    group.first().is_some_and(|first| first.queue == sub.queue)
}

fn group_of<'a>(groups: &'a mut Vec<Vec<Arc<Sub>>>, sub: &Sub) -> &'a mut Vec<Arc<Sub>> {
    let at = groups.iter().position(|group| same_group(group, sub)).unwrap_or_else(|| {
        groups.push(Vec::with_capacity(1));
        groups.len() - 1
    });
    &mut groups[at]
}

fn take_out(members: &mut Vec<Arc<Sub>>, sub: &Arc<Sub>) -> bool {
    let place = sub.place.load(Ordering::Relaxed) as usize;
    if !members.get(place).is_some_and(|found| Arc::ptr_eq(found, sub)) {
        return false;
    }
    members.swap_remove(place);
    if let Some(moved) = members.get(place) {
        moved.place.store(place as u32, Ordering::Relaxed);
    }
    if members.capacity() > 8 && members.len() * 4 < members.capacity() {
        members.shrink_to(members.len() * 2);
    }
    true
}

/// Subscriptions of one literal filter: nearly always a single one, as inboxes are.
enum Literal {
    One(Arc<Sub>),
    Many(Box<Slot>),
}

impl Literal {
    fn insert(&mut self, sub: &Arc<Sub>) {
        if let Literal::One(first) = self {
            let mut slot = Box::new(Slot::default());
            slot.insert(first);
            *self = Literal::Many(slot);
        }
        if let Literal::Many(slot) = self {
            slot.insert(sub);
        }
    }

    /// Removed, and nothing is left.
    fn remove(&mut self, sub: &Arc<Sub>) -> (bool, bool) {
        match self {
            Literal::One(only) => {
                let same = Arc::ptr_eq(only, sub);
                (same, same)
            }
            Literal::Many(slot) => (slot.remove(sub), slot.is_empty()),
        }
    }

    fn add_to(&self, matched: &mut Matched) {
        match self {
            Literal::One(sub) if sub.queue.is_none() => matched.plain.push(sub.clone()),
            Literal::One(sub) => matched.group_for(sub).push(sub.clone()),
            Literal::Many(slot) => slot.add_to(matched),
        }
    }
}

#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, Node, SubjectHash>,
    star: Option<Box<Node>>,
    /// Filters that end here.
    here: Slot,
    /// Filters that end here with `>`.
    rest: Slot,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.star.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    fn insert(&mut self, filter: &str, sub: &Arc<Sub>) {
        let mut node = self;
        for token in filter.split('.') {
            match token {
                ">" => return node.rest.insert(sub),
                "*" => node = node.star.get_or_insert_default(),
                token => {
                    if !node.children.contains_key(token) {
                        node.children.insert(token.into(), Node::default());
                    }
                    // It is there: just inserted if it was not.
                    match node.children.get_mut(token) {
                        Some(child) => node = child,
                        None => return,
                    }
                }
            }
        }
        node.here.insert(sub);
    }

    fn remove(&mut self, filter: Option<&str>, sub: &Arc<Sub>) -> bool {
        let Some(filter) = filter else { return self.here.remove(sub) };
        let (token, after) = split(filter);
        match token {
            ">" => self.rest.remove(sub),
            "*" => {
                let Some(star) = &mut self.star else { return false };
                let removed = star.remove(after, sub);
                if star.is_empty() {
                    self.star = None;
                }
                removed
            }
            token => {
                let Some(child) = self.children.get_mut(token) else { return false };
                let removed = child.remove(after, sub);
                if child.is_empty() {
                    self.children.remove(token);
                }
                removed
            }
        }
    }

    /// Calls `found` with each slot that matches until it says stop (`true`).
    fn walk(&self, subject: Option<&str>, found: &mut impl FnMut(&Slot) -> bool) -> bool {
        let Some(subject) = subject else { return !self.here.is_empty() && found(&self.here) };
        if !self.rest.is_empty() && found(&self.rest) {
            return true;
        }
        let (token, after) = split(subject);
        if let Some(star) = &self.star
            && star.walk(after, found)
        {
            return true;
        }
        !self.children.is_empty() && self.children.get(token).is_some_and(|child| child.walk(after, found))
    }
}

fn split(subject: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'.', subject.as_bytes()) {
        Some(dot) => (&subject[..dot], Some(&subject[dot + 1..])),
        None => (subject, None),
    }
}

/// Whether a token is missing: `a..b`, `.a`, `a.`. No filter matches such a subject, not even `>`.
pub(crate) fn has_empty_token(subject: &str) -> bool {
    let mut start = 0;
    for dot in memchr::memchr_iter(b'.', subject.as_bytes()) {
        if dot == start {
            return true;
        }
        start = dot + 1;
    }
    start == subject.len()
}

fn has_wildcard(filter: &str) -> bool {
    filter.split('.').any(|token| token == "*" || token == ">")
}

/// All subscriptions of one account.
#[derive(Default)]
pub(super) struct Trie {
    literal: HashMap<Arc<str>, Literal, SubjectHash>,
    wild: Node,
    len: usize,
}

impl Trie {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, sub: &Arc<Sub>) {
        self.len += 1;
        if has_wildcard(&sub.subject) {
            return self.wild.insert(&sub.subject, sub);
        }
        match self.literal.get_mut(&*sub.subject) {
            Some(literal) => literal.insert(sub),
            None => drop(self.literal.insert(sub.subject.clone(), Literal::One(sub.clone()))),
        }
    }

    pub(super) fn remove(&mut self, sub: &Arc<Sub>) {
        let removed = if has_wildcard(&sub.subject) {
            self.wild.remove(Some(&sub.subject), sub)
        } else {
            let Some(literal) = self.literal.get_mut(&*sub.subject) else { return };
            let (removed, empty) = literal.remove(sub);
            if empty {
                self.literal.remove(&*sub.subject);
                if self.literal.capacity() > 1024 && self.literal.len() * 8 < self.literal.capacity() {
                    self.literal.shrink_to(self.literal.len() * 2);
                }
            }
            removed
        };
        if removed {
            self.len -= 1;
        }
    }

    pub(super) fn find(&self, subject: &str, matched: &mut Matched) {
        if let Some(literal) = self.literal.get(subject) {
            literal.add_to(matched);
        }
        if self.wild.is_empty() || has_empty_token(subject) {
            return;
        }
        self.wild.walk(Some(subject), &mut |slot| {
            slot.add_to(matched);
            false
        });
    }

    pub(super) fn has_interest(&self, subject: &str) -> bool {
        self.literal.contains_key(subject)
            || (!has_empty_token(subject) && self.wild.walk(Some(subject), &mut |_| true))
    }
}

/// The subscriptions one subject reaches. Reused, so that a publish allocates nothing.
#[derive(Default)]
pub struct Matched {
    plain: Vec<Arc<Sub>>,
    groups: Vec<Vec<Arc<Sub>>>,
    /// Emptied groups, kept for their memory.
    spare: Vec<Vec<Arc<Sub>>>,
}

impl Matched {
    /// Nobody?
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }

    /// How many subscriptions, all members of queue groups counted.
    pub fn len(&self) -> usize {
        self.plain.len() + self.groups.iter().map(Vec::len).sum::<usize>()
    }

    pub(super) fn clear(&mut self) {
        self.plain.clear();
        for mut group in self.groups.drain(..) {
            group.clear();
            if self.spare.len() < 8 {
                self.spare.push(group);
            }
        }
    }

    fn group_for(&mut self, sub: &Sub) -> &mut Vec<Arc<Sub>> {
        let at = self.groups.iter().position(|group| same_group(group, sub)).unwrap_or_else(|| {
            self.groups.push(self.spare.pop().unwrap_or_default());
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// Hands the message to each plain subscription and to one willing member of each queue group; says how many took it.
    pub fn deliver(&self, msg: &Delivery<'_>) -> usize {
        let mut taken = 0;
        for sub in &self.plain {
            taken += usize::from(sub.sink.deliver(sub, msg));
        }
        for group in &self.groups {
            let start = if group.len() > 1 { random_below(group.len()) } else { 0 };
            let (before, from) = group.split_at(start.min(group.len()));
            let willing = from.iter().chain(before).any(|sub| !sub.is_closed() && sub.sink.deliver(sub, msg));
            taken += usize::from(willing);
        }
        taken
    }

    pub(super) fn of(&self, sink: *const ()) -> Option<Arc<Sub>> {
        self.plain.iter().find(|sub| std::ptr::addr_eq(Arc::as_ptr(&sub.sink), sink)).cloned()
    }
}

fn random_below(bound: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8) | 1);
    }
    let mut x = STATE.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    STATE.set(x);
    ((u128::from(x) * bound as u128) >> 64) as usize
}
