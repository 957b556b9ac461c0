//! Acknowledgements: what each kind does, who gets a confirmation, what leaves the stream.

use serde::Deserialize;
use serde_json::json;

use super::super::clock::parse_duration;
use super::super::json::null_is_default;
use super::super::mailbox::Ack;
use super::super::pull::{Request, status};
use super::Stream;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NakOptions {
    #[serde(deserialize_with = "null_is_default")]
    delay: i64,
}

/// The pause a negative acknowledgement asks for; what can not be read asks for none.
fn nak_delay(argument: &[u8]) -> Option<i64> {
    let argument = argument.trim_ascii();
    match argument.first()? {
        b'{' => serde_json::from_slice::<NakOptions>(argument).ok().map(|options| options.delay),
        _ => parse_duration(std::str::from_utf8(argument).ok()?),
    }
}

impl Stream {
    /// An acknowledgement came.
    pub(super) fn on_ack(&mut self, ack: Ack) {
        let Some(active) = self.consumers.get_mut(&ack.consumer) else { return };
        if ack.seq == 0 {
            return;
        }
        active.last_active = self.now;
        let (body, mut done) = (&ack.body[..], Vec::new());
        let mut confirm = true;
        if body.is_empty() || body == b"+ACK" || body == b"+OK" {
            confirm = active.state.is_past(ack.seq);
            active.state.ack(ack.seq, ack.dseq, self.now, &mut done);
        } else if let Some(request) = body.strip_prefix(b"+NXT") {
            active.state.ack(ack.seq, ack.dseq, self.now, &mut done);
            let reply = String::from_utf8_lossy(&ack.reply).into_owned();
            self.touch(ack.consumer);
            self.on_next(ack.consumer, &reply, request);
            confirm = false;
        } else if let Some(argument) = body.strip_prefix(b"-NAK") {
            if active.state.nak(ack.seq, nak_delay(argument), self.now) {
                let (stream, consumer) = (self.handle.name.as_str(), active.name.as_str());
                self.host.advise(&format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.{stream}.{consumer}"), "nak", || {
                    json!({"stream": stream, "consumer": consumer, "consumer_seq": ack.dseq, "stream_seq": ack.seq,
                        "deliveries": ack.deliveries})
                });
            }
        } else if body == b"+WPI" {
            active.state.progress(ack.seq, self.now);
        } else if let Some(reason) = body.strip_prefix(b"+TERM") {
            confirm = active.state.is_past(ack.seq);
            if active.state.ack(ack.seq, ack.dseq, self.now, &mut done) {
                let reason = String::from_utf8_lossy(reason.trim_ascii()).into_owned();
                let message = (ack.seq, ack.dseq, ack.deliveries);
                active.advise_terminated(&self.host, &self.handle.name, message, &reason);
            }
        }
        self.touch(ack.consumer);
        if self.removes_on_ack() {
            self.release(done);
        }
        if confirm {
            self.confirm_when_stored(&ack.reply);
        }
    }

    /// A pull request came.
    pub(super) fn on_next(&mut self, id: u64, reply: &str, body: &[u8]) {
        let Some(active) = self.consumers.get_mut(&id) else {
            self.host.send_head(reply, "NATS/1.0 409 Consumer Deleted\r\n\r\n");
            return;
        };
        if reply.is_empty() {
            return;
        }
        if active.push.is_some() {
            self.answers.push(status(reply, "409 Consumer is push based"));
            return;
        }
        active.last_active = self.now;
        match Request::parse(reply, body, self.now) {
            Err(text) => self.answers.push(status(reply, format_args!("400 Bad Request - {text}"))),
            Ok(request) => {
                let (load, account) = (active.load(), &self.host.account);
                let interest = |reply: &str| account.has_interest(reply);
                active.waiting.add(request, &active.config, load, self.now, interest, &mut self.answers);
            }
        }
        self.touch(id);
    }

    /// Ends all waiting requests: the server or the stream goes.
    pub(super) fn stop_waiting(&mut self, line: &str) {
        for active in self.consumers.values_mut() {
            active.waiting.end_all(line, &mut self.answers);
        }
    }

    /// Takes deliveries without acknowledgement as done, in streams that remove what is done.
    pub(super) fn done_on_delivery(&mut self, done: Vec<u64>) {
        if self.removes_on_ack() && !done.is_empty() {
            self.release(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_in_both_forms() {
        assert_eq!(nak_delay(br#" {"delay": 1000}"#), Some(1000));
        assert_eq!(nak_delay(b"10s"), Some(10_000_000_000));
        assert_eq!((nak_delay(b""), nak_delay(b"soon"), nak_delay(b"{x")), (None, None, None));
    }
}
