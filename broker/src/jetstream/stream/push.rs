//! The push side of a consumer: whether somebody listens, flow control, heartbeats.

use natsune_protocol::encode::number;

use super::super::clock::SECOND;
use super::super::consumer_config::ConsumerConfig;
use super::super::mailbox::Item;
use super::Stream;
use crate::router::Heard;

/// The largest window of unanswered bytes, and the one to begin with.
const WINDOW: usize = 32 << 20;
const FIRST_WINDOW: usize = WINDOW / 16;

/// State of the push side.
pub struct Push {
    /// Somebody listens on the deliver subject.
    pub active: bool,
    /// Since when nobody does.
    pub inactive_since: i64,
    /// When to look again whether somebody listens.
    look_at: i64,
    /// When something was sent last.
    pub last_sent: i64,
    window: usize,
    unanswered: usize,
    /// Told when somebody begins to listen, once it is registered.
    watch: Option<Heard>,
    /// The question that waits for its answer, and the bytes it stands for.
    asked: Option<(String, usize)>,
}

impl Push {
    /// Nobody seen yet.
    pub fn new(now: i64) -> Push {
        Push {
            active: false,
            inactive_since: now,
            look_at: now,
            last_sent: now,
            window: FIRST_WINDOW,
            unanswered: 0,
            watch: None,
            asked: None,
        }
    }

    /// Takes note of whether somebody listens; true when that changed.
    pub fn heard(&mut self, interest: bool, now: i64) -> bool {
        // A listener that comes is told of; one that leaves is found out.
        self.look_at = now.saturating_add(SECOND);
        if interest == self.active {
            return false;
        }
        self.active = interest;
        if !interest {
            self.inactive_since = now;
            self.unanswered = 0;
            self.asked = None;
        }
        true
    }

    /// Whether it is time to look.
    pub fn should_look(&self, now: i64) -> bool {
        self.look_at <= now
    }

    /// When it wants attention next.
    pub fn next_due(&self, config: &ConsumerConfig, _now: i64) -> Option<i64> {
        let heartbeat =
            (self.active && config.idle_heartbeat > 0).then(|| self.last_sent.saturating_add(config.idle_heartbeat));
        [Some(self.look_at), heartbeat].into_iter().flatten().min()
    }

    /// Whether flow control holds deliveries back.
    pub fn is_stalled(&self, config: &ConsumerConfig) -> bool {
        config.flow_control && self.unanswered > self.window
    }

    /// Bytes went out; the subject of a question to ask, when it is time for one.
    fn sent(&mut self, bytes: usize, config: &ConsumerConfig, stream: &str) -> Option<String> {
        if !config.flow_control {
            return None;
        }
        self.unanswered += bytes;
        match &mut self.asked {
            None if self.unanswered > self.window / 2 => {
                let id: u32 = rand::random();
                let subject = format!("$JS.FC.{stream}.{}.{id:08x}", config.name);
                self.asked = Some((subject.clone(), self.unanswered));
                Some(subject)
            }
            Some((_, covered)) if self.unanswered - *covered >= self.window => {
                *covered += bytes;
                None
            }
            _ => None,
        }
    }

    /// An answer came; true when it was to the open question.
    fn answered(&mut self, subject: &str) -> bool {
        match self.asked.take_if(|(asked, _)| asked == subject) {
            Some((_, covered)) => {
                self.window = (self.window * 2).min(WINDOW);
                self.unanswered = self.unanswered.saturating_sub(covered);
                true
            }
            None => false,
        }
    }
}

/// The header block of a heartbeat.
pub fn heartbeat(dseq: u64, seq: u64, stalled: Option<&str>) -> String {
    let mut head = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: ".to_vec();
    number(&mut head, dseq);
    head.extend_from_slice(b"\r\nNats-Last-Stream: ");
    number(&mut head, seq);
    head.extend_from_slice(b"\r\n");
    if let Some(subject) = stalled {
        head.extend_from_slice(b"Nats-Consumer-Stalled: ");
        head.extend_from_slice(subject.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    String::from_utf8(head).unwrap_or_default()
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push").field("active", &self.active).field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Stream {
    /// Begins to wait for somebody who listens where a consumer delivers.
    pub(super) fn watch(&mut self, id: u64) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        let Some(push) = &mut active.push else { return };
        let handle = std::sync::Arc::downgrade(&self.handle);
        let heard: Heard = std::sync::Arc::new(move || {
            if let Some(handle) = handle.upgrade() {
                handle.mailbox.push(Item::Listener(id));
            }
        });
        self.host.account.watch_interest(&active.config.deliver_subject, &heard);
        push.watch = Some(heard);
    }

    /// The end of it.
    pub(super) fn unwatch(&self, active: &mut super::Active) {
        if let Some(heard) = active.push.as_mut().and_then(|push| push.watch.take()) {
            self.host.account.unwatch_interest(&active.config.deliver_subject, &heard);
        }
    }

    /// Somebody begins to listen where a consumer delivers.
    pub(super) fn on_listener(&mut self, id: u64) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        let Some(push) = &mut active.push else { return };
        push.heard(self.host.account.has_interest(&active.config.deliver_subject), self.now);
        self.touch(id);
    }

    /// A client answered flow control.
    pub(super) fn on_flow(&mut self, id: u64, subject: &str) {
        let push = self.consumers.get_mut(&id).and_then(|active| active.push.as_mut());
        if push.is_some_and(|push| push.answered(subject)) {
            self.touch(id);
        }
    }

    /// Looks for a listener and sends a heartbeat when it is time.
    pub(super) fn attend_push(&mut self, id: u64) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        let Some(push) = &mut active.push else { return };
        let deliver = active.config.deliver_subject.as_str();
        if push.should_look(self.now) {
            push.heard(self.host.account.has_interest(deliver), self.now);
        }
        let every = active.config.idle_heartbeat;
        if push.active && every > 0 && push.last_sent.saturating_add(every) <= self.now {
            let delivered = active.state.delivered();
            let stalled = push.asked.as_ref().map(|(subject, _)| subject.as_str());
            let head = heartbeat(delivered.consumer, active.state.last_looked_at(), stalled);
            let taken = self.host.send_head(deliver, &head);
            push.last_sent = self.now;
            push.heard(taken > 0, self.now);
        }
    }

    /// Books a delivery and asks the client to keep up when it is time.
    pub(super) fn sent_push(&mut self, id: u64, bytes: usize) {
        let Some(active) = self.consumers.get_mut(&id) else { return };
        let Some(push) = &mut active.push else { return };
        push.last_sent = self.now;
        if let Some(question) = push.sent(bytes, &active.config, &self.handle.name) {
            let head = "NATS/1.0 100 FlowControl Request\r\n\r\n";
            self.host.account.publish(&crate::router::Delivery {
                subject: &active.config.deliver_subject,
                reply: Some(&question),
                headers: Some(head.as_bytes()),
                payload: b"",
                origin: 0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_control_opens_the_window_with_every_answer() {
        let config = ConsumerConfig { name: "C".into(), flow_control: true, ..Default::default() };
        let mut push = Push::new(0);
        assert!(push.sent(FIRST_WINDOW / 2, &config, "S").is_none());
        let question = push.sent(1, &config, "S").unwrap();
        assert!(question.starts_with("$JS.FC.S.C."));
        assert!(!push.is_stalled(&config));
        push.sent(FIRST_WINDOW, &config, "S");
        assert!(push.is_stalled(&config));
        assert!(!push.answered("other"));
        assert!(push.answered(&question) && !push.is_stalled(&config));
        assert_eq!(push.window, 2 * FIRST_WINDOW);
    }

    #[test]
    fn heartbeats_tell_where_the_consumer_is() {
        let head = heartbeat(3, 9, Some("$JS.FC.S.C.x"));
        assert_eq!(
            head,
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 3\r\nNats-Last-Stream: 9\r\nNats-Consumer-Stalled: $JS.FC.S.C.x\r\n\r\n"
        );
    }
}
