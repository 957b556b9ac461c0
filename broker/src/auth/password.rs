//! Comparing passwords: in constant time, and hashed ones on a few threads of the blocking pool, never on the runtime's own.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::config::Secret;

/// Bcrypt only looks at this many bytes; more would be taken for a match of their beginning.
const BCRYPT_BYTES: usize = 72;
/// Costs above this would let one login keep a thread busy for minutes.
const MAX_COST: u32 = 16;
/// The usual cost, for a hash that does not say its own.
const DUMMY_COST: u32 = 11;

/// True when the text is a bcrypt hash.
pub(crate) fn is_bcrypt(text: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix))
}

/// The cost in a bcrypt hash.
fn cost_of(hash: &str) -> Option<u32> {
    hash.get(4..6)?.parse().ok()
}

/// Equality whose time tells nothing about where two texts differ, nor how long the secret one is.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    std::hint::black_box(a.iter().zip(b.iter()).fold(0, |different, (x, y)| different | (x ^ y))) == 0
}

/// Checks passwords for all sessions.
pub(super) struct Passwords {
    /// Bounds how many hashes are computed at a time; who waits longer than its authentication timeout is closed by it.
    workers: Arc<Semaphore>,
    /// The costs of the hashes computed, for tests: time itself says little on a busy machine.
    #[cfg(test)]
    spent: std::sync::Mutex<Vec<u32>>,
}

impl Passwords {
    pub(super) fn new() -> Passwords {
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Passwords {
            workers: Arc::new(Semaphore::new(workers)),
            #[cfg(test)]
            spent: std::sync::Mutex::default(),
        }
    }

    /// Whether `given` is the expected password; `None`: there is no such user. Where passwords are hashed, a refusal takes as
    /// long as the dearest hash (`dummy_cost`), so that time does not tell who exists and how a password is kept.
    pub(super) async fn check(&self, expected: Option<&Secret>, given: &str, dummy_cost: Option<u32>) -> bool {
        let (right, spent) = match expected {
            Some(expected) if is_bcrypt(expected.expose()) => self.verify(expected.clone(), given).await,
            Some(expected) => (same(expected.expose().as_bytes(), given.as_bytes()), 0),
            None => {
                let _ = same(b"", given.as_bytes());
                (false, 0)
            }
        };
        if let Some(cost) = dummy_cost.filter(|cost| !right && spent < *cost) {
            self.dummy(given, cost).await;
        }
        right
    }

    /// Whether the hash is that of the password, and the cost of finding out.
    async fn verify(&self, hash: Secret, given: &str) -> (bool, u32) {
        match cost_of(hash.expose()) {
            Some(cost) if cost <= MAX_COST && given.len() <= BCRYPT_BYTES => {
                let right = self.work(given, cost, move |given| bcrypt::verify(given, hash.expose()).unwrap_or(false));
                (right.await, cost)
            }
            _ => (false, 0),
        }
    }

    async fn dummy(&self, given: &str, cost: u32) {
        self.work(given, cost, move |given| {
            std::hint::black_box(bcrypt::hash(given, cost.clamp(4, MAX_COST))).is_err()
        })
        .await;
    }

    /// Hashes on a thread that may block, a few at a time.
    async fn work(&self, given: &str, cost: u32, hash: impl FnOnce(&str) -> bool + Send + 'static) -> bool {
        let Ok(permit) = Arc::clone(&self.workers).acquire_owned().await else { return false };
        #[cfg(test)]
        self.spent.lock().unwrap().push(cost);
        #[cfg(not(test))]
        let _ = cost;
        let given = Secret::new(given.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            hash(given.expose())
        });
        work.await.unwrap_or(false)
    }
}

/// The cost unknown users are made to wait for: the highest in use; `None` when no password is hashed.
pub(super) fn dummy_cost<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Option<u32> {
    secrets
        .filter(|secret| is_bcrypt(secret.expose()))
        .map(|secret| cost_of(secret.expose()).unwrap_or(DUMMY_COST))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_and_hashed_passwords_are_told_apart() {
        let passwords = Passwords::new();
        let hash = Secret::new(bcrypt::hash("right", 4).unwrap());
        assert!(passwords.check(Some(&hash), "right", Some(4)).await);
        assert!(!passwords.check(Some(&hash), "wrong", Some(4)).await);
        assert!(!passwords.check(Some(&hash), hash.expose(), Some(4)).await, "the hash itself is no password");
        assert!(passwords.check(Some(&Secret::new("right".to_owned())), "right", None).await);
        assert!(!passwords.check(Some(&Secret::new("right".to_owned())), "right ", None).await);
        assert!(!passwords.check(None, "", None).await);
        assert!(!passwords.check(None, "any", Some(4)).await);
    }

    #[tokio::test]
    async fn bytes_beyond_what_bcrypt_looks_at_are_not_ignored() {
        let passwords = Passwords::new();
        let long = "x".repeat(72);
        let hash = Secret::new(bcrypt::hash(&long, 4).unwrap());
        assert!(passwords.check(Some(&hash), &long, None).await);
        assert!(!passwords.check(Some(&hash), &format!("{long}y"), None).await);
    }

    #[tokio::test]
    async fn broken_or_absurd_hashes_admit_nobody() {
        let passwords = Passwords::new();
        for hash in [
            "$2a$",
            "$2a$04$",
            "$2a$99$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$2a$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(!passwords.check(Some(&Secret::new(hash.to_owned())), "any", Some(4)).await, "{hash}");
        }
    }

    #[tokio::test]
    async fn refusals_cost_the_same_whoever_is_asked_for() {
        let passwords = Passwords::new();
        let hash = |cost| Secret::new(bcrypt::hash("right", cost).unwrap());
        let (dear, cheap, plain) = (hash(6), hash(4), Secret::new("right".to_owned()));
        for expected in [Some(&dear), Some(&cheap), Some(&plain), None] {
            assert!(!passwords.check(expected, "wrong", Some(6)).await);
            let spent = std::mem::take(&mut *passwords.spent.lock().unwrap());
            assert_eq!(spent.iter().max(), Some(&6), "{expected:?}: {spent:?}");
        }
        let long = "x".repeat(100);
        assert!(!passwords.check(Some(&dear), &long, Some(6)).await);
        assert_eq!(passwords.spent.lock().unwrap().as_slice(), [6], "too long for a hash, not too short a wait");
        // Where nothing is hashed there is nothing to make up for.
        passwords.spent.lock().unwrap().clear();
        assert!(!passwords.check(Some(&plain), "wrong", None).await && !passwords.check(None, "wrong", None).await);
        assert!(passwords.spent.lock().unwrap().is_empty());
    }

    #[test]
    fn the_dummy_costs_as_much_as_the_dearest_hash() {
        let secrets =
            [Secret::new("plain".to_owned()), Secret::new("$2a$07$x".to_owned()), Secret::new("$2b$05$x".to_owned())];
        assert_eq!(dummy_cost(secrets.iter()), Some(7));
        assert_eq!(dummy_cost(secrets[..1].iter()), None);
    }
}
