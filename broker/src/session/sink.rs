//! The session as the router's [`Sink`]: a delivery is appended to the outbox, and that is all.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use natsune_protocol::encode;

use super::Session;
use super::outbox::{INLINE, STUCK_AFTER_MS, Wrote};
use super::reason::Reason;
use crate::router::{Batch, Delivery, Flush, Sink, Sub};

thread_local! {
    static STALLING: Cell<bool> = const { Cell::new(false) };
    static STALLED_BY: RefCell<Option<Arc<Session>>> = const { RefCell::new(None) };
}

/// The session that this thread's publishes have filled up since the last call, if any.
pub(super) fn take_stall() -> Option<Arc<Session>> {
    if !STALLING.replace(false) {
        return None;
    }
    STALLED_BY.take()
}

impl Sink for Session {
    fn deliver(&self, sub: &Sub, msg: &Delivery<'_>) -> bool {
        let mut outbox = self.outbox();
        if outbox.closing.is_some() || sub.is_closed() || (msg.origin == self.cid && !outbox.echo) {
            return false;
        }
        if let Some(filter) = &outbox.filter
            && !filter.can_receive(msg.subject)
        {
            return false;
        }
        let max = sub.max();
        if max > 0 && sub.delivered() >= max {
            return false;
        }
        let last = sub.count_one() == max && max > 0;
        if let (Some(replies), Some(reply)) = (&mut outbox.replies, msg.reply) {
            replies.received(reply, self.shared.now_ms());
        }
        let headers = if outbox.headers { msg.headers } else { None };
        encode::msg(outbox.tail(), msg.subject, &sub.sid, msg.reply, headers, msg.payload);
        outbox.out_msgs += 1;
        outbox.out_bytes += (headers.map_or(0, <[u8]>::len) + msg.payload.len()) as u64;
        let pending = outbox.pending();
        let max_pending = outbox.max_pending;
        let newly_dirty = !outbox.dirty;
        outbox.dirty = true;
        let too_much = pending > max_pending || !outbox.charge(&self.shared.budget);
        let stall = pending > outbox.stall_above
            && msg.origin != self.cid
            && self.shared.now_ms().saturating_sub(outbox.progress) < STUCK_AFTER_MS;
        drop(outbox);
        if too_much {
            self.too_slow(Reason::SlowConsumerPendingBytes, format_args!("MaxPending of {max_pending} Exceeded"));
        } else if stall && !STALLING.get() {
            STALLING.set(true);
            STALLED_BY.set(self.me.upgrade());
        }
        if newly_dirty {
            self.warm_up();
            if let Some(me) = self.me.upgrade() {
                Batch::flush_later(me);
            }
        }
        if last {
            self.forget_sub(&sub.sid);
        }
        true
    }
}

impl Flush for Session {
    fn flush(&self) {
        let inline = {
            let mut outbox = self.outbox();
            outbox.dirty = false;
            if outbox.blocked {
                return;
            }
            outbox.writer.is_some() && outbox.closing.is_none() && outbox.pending() <= INLINE
        };
        match if inline { self.write_now() } else { Wrote::Blocked } {
            Wrote::Done => {}
            Wrote::Blocked => self.waker.wake(),
            Wrote::Broken => {
                self.close(Reason::WriteError, None);
            }
        }
    }
}
