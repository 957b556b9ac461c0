//! Who wants to know when somebody begins to listen on a subject: push consumers wait for their clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use natsune_protocol::subject;

/// Called after a subscription that matches; must be short.
pub type Heard = Arc<dyn Fn() + Send + Sync>;

/// The watched subjects of one account. Without any a subscribe costs one load more.
#[derive(Default)]
pub(super) struct Watchers {
    count: AtomicUsize,
    by_subject: RwLock<HashMap<Box<str>, Vec<Heard>>>,
}

impl Watchers {
    pub(super) fn add(&self, subject: &str, heard: Heard) {
        let mut watched = self.by_subject.write().unwrap_or_else(PoisonError::into_inner);
        watched.entry(subject.into()).or_default().push(heard);
        self.count.fetch_add(1, Ordering::Release);
    }

    pub(super) fn remove(&self, subject: &str, heard: &Heard) {
        let mut watched = self.by_subject.write().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = watched.get_mut(subject) else { return };
        let before = all.len();
        all.retain(|other| !Arc::ptr_eq(other, heard));
        self.count.fetch_sub(before - all.len(), Ordering::Release);
        if all.is_empty() {
            watched.remove(subject);
        }
    }

    /// Somebody listens on this filter from now on.
    pub(super) fn tell(&self, filter: &str) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let watched = self.by_subject.read().unwrap_or_else(PoisonError::into_inner);
        let heard: Vec<Heard> = match subject::is_literal(filter) {
            true => watched.get(filter).cloned().unwrap_or_default(),
            false => watched.iter().filter(|(s, _)| subject::matches(filter, s)).flat_map(|(_, h)| h.clone()).collect(),
        };
        // No lock is held while others are told.
        drop(watched);
        heard.iter().for_each(|heard| heard());
    }
}
