//! `allow_responses`: a client may publish to the replies it was sent, so many times, for so long.

use std::collections::HashMap;
use std::time::Duration;

use crate::auth::Responses;

/// Replies remembered at a time; a client that receives more requests than this without answering cannot answer the newest.
const MOST: usize = 65_536;

/// The replies of one client.
pub(super) struct Replies {
    rule: Responses,
    open: HashMap<Box<str>, Open>,
    /// Expired ones are looked for when this many are open.
    prune_at: usize,
    /// When they were looked for last, in milliseconds of the server's clock.
    pruned: u64,
}

/// When all places are taken, expired replies are looked for this often at most: looking at all of them costs time.
const PRUNE_EVERY_MS: u64 = 1_000;

struct Open {
    since: u64,
    used: u64,
}

impl Replies {
    pub(super) fn new(rule: Responses) -> Replies {
        Replies { rule, open: HashMap::new(), prune_at: 256, pruned: 0 }
    }

    /// The client was sent a message with this reply.
    pub(super) fn received(&mut self, reply: &str, now_ms: u64) {
        if self.open.len() >= self.prune_at {
            if self.open.len() >= MOST && now_ms < self.pruned + PRUNE_EVERY_MS {
                return;
            }
            self.pruned = now_ms;
            let expires = self.rule.expires;
            self.open.retain(|_, open| !expired(expires, open, now_ms));
            self.prune_at = (self.open.len() * 2).clamp(256, MOST);
            if self.open.len() >= MOST {
                return;
            }
        }
        self.open.insert(reply.into(), Open { since: now_ms, used: 0 });
    }

    /// The client wants to publish there; counts it when it may.
    pub(super) fn may_answer(&mut self, subject: &str, now_ms: u64) -> bool {
        let Some(open) = self.open.get_mut(subject) else { return false };
        if expired(self.rule.expires, open, now_ms) {
            self.open.remove(subject);
            return false;
        }
        open.used += 1;
        if self.rule.max.is_some_and(|max| open.used >= max) {
            self.open.remove(subject);
        }
        true
    }
}

fn expired(expires: Option<Duration>, open: &Open, now_ms: u64) -> bool {
    expires.is_some_and(|expires| u128::from(now_ms.saturating_sub(open.since)) > expires.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_in_time() {
        let mut replies = Replies::new(Responses { max: Some(1), expires: Some(Duration::from_secs(2)) });
        assert!(!replies.may_answer("r", 0));
        replies.received("r", 0);
        assert!(replies.may_answer("r", 1999));
        assert!(!replies.may_answer("r", 1999));
        replies.received("r", 0);
        assert!(!replies.may_answer("r", 2001));
    }

    #[test]
    fn remembers_a_bounded_number() {
        let mut replies = Replies::new(Responses { max: None, expires: None });
        for n in 0..MOST * 2 {
            replies.received(&format!("r.{n}"), 0);
        }
        assert!(replies.open.len() <= MOST);
        assert!(replies.may_answer("r.0", 0) && replies.may_answer("r.0", 0));
    }
}
