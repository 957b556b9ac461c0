//! What time does to a session: pings, deadlines, expiry, and giving memory back. Called by the server's one clock task.

use std::sync::atomic::Ordering;
use std::time::Duration;

use natsune_protocol::encode;

use super::Session;
use super::reason::Reason;
use crate::auth::AuthError;
use crate::config::Config;

/// The first ping comes early: it measures the round trip and finds out who does not answer at all.
const FIRST_PING: Duration = Duration::from_secs(2);
/// Who sends no whole operation in this time is let go, also where nobody has to authenticate.
const FIRST_OPERATION: Duration = Duration::from_secs(5);
/// An operation that was begun must come to its end in this time, or in a ping interval where that is longer; and it has longer
/// the more of it has come. Who falls silent in the middle is found by pings, like everybody else: networks stop for a while.
const UNFINISHED_MS: u64 = 5_000;
/// Slowest pace of a large payload, in bytes per millisecond.
const UNFINISHED_PACE: u64 = 1;
/// Quiet for this long means idle: buffers are given back.
const IDLE_MS: u64 = 1_000;

impl Session {
    /// Starts the session's clock.
    pub(super) fn start_clock(&self) {
        // A slow handshake must not eat up the time for CONNECT.
        self.opened_ms.store(self.shared.now_ms(), Ordering::Relaxed);
        let first = FIRST_PING.min(self.shared.config().ping_interval);
        self.ping_due.store(self.shared.now_ms() + ms(first), Ordering::Relaxed);
        self.schedule(self.auth_deadline().min(self.shared.now_ms() + IDLE_MS));
    }

    fn schedule(&self, due: u64) {
        if let Some(me) = self.me.upgrade() {
            self.shared.timers.schedule(&me, due);
        }
    }

    /// When it must have said who it is.
    pub(super) fn auth_deadline(&self) -> u64 {
        let required = self.shared.auth_required();
        let time = if required { self.shared.config().auth.timeout() } else { FIRST_OPERATION };
        self.opened_ms.load(Ordering::Relaxed) + ms(time)
    }

    /// Something happened after a quiet time: buffers are in use again.
    pub(super) fn warm_up(&self) {
        if !self.warm.load(Ordering::Relaxed) && !self.warm.swap(true, Ordering::Relaxed) {
            self.schedule(self.shared.now_ms() + IDLE_MS);
        }
    }

    /// The socket is full: somebody has to look whether it stays so.
    pub(super) fn watch_writes(&self) {
        self.schedule(self.shared.now_ms() + ms(self.shared.config().write_deadline));
    }

    /// Bytes of an unfinished operation wait in the reader; 0: none do. `fresh`: it is another operation than last time.
    pub(super) fn note_unfinished(&self, bytes: usize, fresh: bool) {
        self.partial_bytes.store(bytes as u64, Ordering::Relaxed);
        if bytes == 0 {
            self.partial_since.store(0, Ordering::Relaxed);
        } else if fresh || self.partial_since.load(Ordering::Relaxed) == 0 {
            let now = self.shared.now_ms().max(1);
            self.partial_since.store(now, Ordering::Relaxed);
            self.schedule(now + unfinished_ms(&self.shared.config()));
        }
    }

    /// Rights end then.
    pub(super) fn watch_expiry(&self) {
        self.schedule(self.shared.now_ms());
    }

    /// Does what is due; says when to come again.
    pub(crate) fn tick(&self, now: u64) -> Option<u64> {
        let config = self.shared.config();
        if self.closing().is_some() {
            return None;
        }
        let mut next = u64::MAX;
        if !self.is_authenticated() {
            let deadline = self.auth_deadline();
            if now >= deadline {
                self.close(Reason::AuthenticationTimeout, Some("Authentication Timeout"));
                return None;
            }
            next = next.min(deadline);
        } else {
            if let Some((identity, expires)) = self.identity().and_then(|who| who.expires_at.map(|at| (who, at))) {
                let left = expires.saturating_mul(1000).saturating_sub(self.shared.wall_ms());
                if left <= 0 {
                    // Its own end, or that of its account; a time of day is neither.
                    let text = self.shared.auth.still_valid(&identity).unwrap_or(AuthError::UserExpired.text());
                    self.close(Reason::of_revocation(text), Some(text));
                    return None;
                }
                next = next.min(now + left.unsigned_abs());
            }
            let mut due = self.ping_due.load(Ordering::Relaxed);
            if now >= due {
                let quiet = now.saturating_sub(self.last_in.load(Ordering::Relaxed));
                // Who sends is alive; the first ping is sent all the same, for the round trip.
                if quiet >= ms(config.ping_interval) || self.rtt_us.load(Ordering::Relaxed) == 0 {
                    if self.pings_out.load(Ordering::Relaxed) >= config.ping_max {
                        self.shared.counters.stale_connection();
                        self.close(Reason::StaleConnection, Some("Stale Connection"));
                        return None;
                    }
                    self.pings_out.fetch_add(1, Ordering::Relaxed);
                    self.ping_sent_us.store(self.shared.now_us().max(1), Ordering::Relaxed);
                    self.send(encode::ping);
                }
                due = now + ms(config.ping_interval);
                self.ping_due.store(due, Ordering::Relaxed);
            }
            next = next.min(due);
        }
        let since = self.partial_since.load(Ordering::Relaxed);
        if since != 0 {
            let deadline =
                since + unfinished_ms(&config) + self.partial_bytes.load(Ordering::Relaxed) / UNFINISHED_PACE;
            if now >= deadline {
                self.shared.counters.stale_connection();
                self.close(Reason::StaleConnection, Some("Stale Connection"));
                return None;
            }
            next = next.min(deadline);
        }
        next = next.min(self.tick_outbox(now, ms(config.write_deadline))?);
        Some(next.max(now + 1))
    }

    /// The write deadline, and the memory of an idle session. `None`: it is over.
    fn tick_outbox(&self, now: u64, deadline: u64) -> Option<u64> {
        let mut outbox = self.outbox();
        let mut next = u64::MAX;
        if outbox.blocked {
            next = outbox.alive() + deadline;
            if now >= next {
                drop(outbox);
                let text = format_args!("WriteDeadline of {}ms exceeded", deadline);
                self.too_slow(Reason::SlowConsumerWriteDeadline, text);
                return None;
            }
        }
        if self.warm.load(Ordering::Relaxed) {
            let last = self.last_in.load(Ordering::Relaxed).max(outbox.progress);
            if now.saturating_sub(last) >= IDLE_MS && outbox.release() {
                self.warm.store(false, Ordering::Relaxed);
                self.cool_down.store(true, Ordering::Relaxed);
                self.waker.wake();
            } else {
                next = next.min(now + IDLE_MS);
            }
        }
        Some(next)
    }

    /// Ends a session that does not take what it is sent; only the first time counts.
    pub(super) fn too_slow(&self, reason: Reason, what: std::fmt::Arguments<'_>) {
        if self.close(reason, None) {
            self.shared.counters.slow_consumer();
            self.shared.log.info(format_args!("{self} - Slow Consumer Detected: {what}"));
        }
    }

    /// PONG arrived.
    pub(super) fn pong(&self) {
        self.pings_out.store(0, Ordering::Relaxed);
        let sent = self.ping_sent_us.swap(0, Ordering::Relaxed);
        if sent != 0 {
            self.rtt_us.store(self.shared.now_us().saturating_sub(sent).max(1), Ordering::Relaxed);
        }
    }
}

/// How long an operation may take, whatever its size.
fn unfinished_ms(config: &Config) -> u64 {
    ms(config.ping_interval).max(UNFINISHED_MS)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
