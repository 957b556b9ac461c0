//! Ending in order: nothing more comes, what came is handled, what was published is flushed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ClientState, Engine};
use crate::error::Result;
use crate::inbox::Inbox;

impl Engine {
    /// Ends a subscription in order: no message that the server sent before it processed the UNSUB is lost.
    pub(crate) fn begin_drain(&self, inbox: &Arc<Inbox>) {
        if inbox.is_ended() {
            return;
        }
        if !self.wire.drain(inbox) {
            self.forget_inbox(inbox.sid);
            inbox.end(None, false);
        }
    }

    /// Nothing more can come for these.
    pub(crate) fn end_drained(&self, inboxes: Vec<Arc<Inbox>>) {
        for inbox in inboxes {
            self.forget_inbox(inbox.sid);
            inbox.end(None, false);
        }
    }

    /// Waits until a draining subscription has ended and all that came is handled.
    pub(crate) async fn drained(&self, inbox: &Inbox, limit: Duration) -> Result<()> {
        match self.clock.timeout(limit, inbox.handled()).await {
            Some(()) => Ok(()),
            // The clock stops when the client closes; then there is nothing left to wait for.
            None if inbox.is_handled() => Ok(()),
            None => Err(self.late(format!(
                "{:?} was not drained within {limit:?}: {} messages were not handled (one that was handed out counts as \
                 handled when the next is asked for)",
                inbox.subject,
                inbox.stats().pending + inbox.stats().unhandled
            ))),
        }
    }

    /// Drains all subscriptions, then flushes, then closes. At the deadline it closes all the same and says so.
    pub(crate) async fn drain(&self) -> Result<()> {
        if self.wire.is_closed() {
            return Err(self.wire.closed_error());
        }
        self.set_state(ClientState::Draining);
        let deadline = Instant::now() + self.options.drain_timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let result = async {
            // Again until none is left: one may have been made meanwhile.
            loop {
                let inboxes = self.all_inboxes();
                if inboxes.is_empty() {
                    break;
                }
                inboxes.iter().for_each(|inbox| self.begin_drain(inbox));
                for inbox in &inboxes {
                    self.drained(inbox, left()).await?;
                }
            }
            self.wire.stop();
            // Acks may still be published behind the PING.
            while self.flush(left()).await?.pending > 0 {}
            Ok(())
        }
        .await;
        self.close(None);
        self.finished().await;
        result
    }
}
