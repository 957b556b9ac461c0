//! Settling a message: one pure rule for all languages, and the words that go over the wire.

use std::borrow::Cow;
use std::time::Duration;

use super::pull::bounded;
use crate::client::{Client, RequestHandle};
use crate::error::{Code, Error, Result};
use crate::message::Message;

/// What is said about a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle<'a> {
    /// Done.
    Ack,
    /// Not done: deliver it again, at once or after the delay.
    Nak(Option<Duration>),
    /// Never deliver it again, with a reason for the server's advisory.
    Term(Option<&'a str>),
    /// Still being worked on: the time to acknowledge starts anew.
    InProgress,
}

/// The message was not settled yet. What a caller keeps at first.
pub const OPEN: u8 = 0;
/// The message was acknowledged.
pub const ACKED: u8 = 1;
/// The message was given back.
pub const NAKED: u8 = 2;
/// The message was given up.
pub const TERMINATED: u8 = 3;
/// The message was acknowledged and the server said that it knows.
pub const CONFIRMED: u8 = 4;

impl Settle<'_> {
    /// The state that this verb leads to; `None` when it does not settle.
    fn target(&self) -> Option<u8> {
        match self {
            Settle::Ack => Some(ACKED),
            Settle::Nak(_) => Some(NAKED),
            Settle::Term(_) => Some(TERMINATED),
            Settle::InProgress => None,
        }
    }

    /// The body that the server reads.
    pub(crate) fn body(&self) -> Cow<'static, [u8]> {
        match self {
            Settle::Ack => Cow::Borrowed(b"+ACK"),
            Settle::Nak(None) => Cow::Borrowed(b"-NAK"),
            Settle::Nak(Some(delay)) => {
                // The server reads a signed number of nanoseconds.
                let nanos = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
                Cow::Owned(format!("-NAK {{\"delay\": {nanos}}}").into_bytes())
            }
            Settle::Term(None) => Cow::Borrowed(b"+TERM"),
            Settle::Term(Some(reason)) => {
                // A reason is one line of an advisory.
                let line = reason.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b });
                Cow::Owned(b"+TERM ".iter().copied().chain(line).collect())
            }
            Settle::InProgress => Cow::Borrowed(b"+WPI"),
        }
    }
}

/// What a verb does to a message in `state`: the new state and whether something must be sent.
///
/// The same verb again is nothing, another settling verb is `invalid_argument`; telling that a settled message is in progress is nothing.
pub fn next_state(state: u8, verb: &Settle<'_>) -> Result<(u8, bool), Error> {
    match verb.target() {
        None => Ok((state, state == OPEN)),
        Some(target) if state == OPEN => Ok((target, true)),
        Some(target) if state == target || (state == CONFIRMED && target == ACKED) => Ok((state, false)),
        Some(target) => Err(Error::new(
            Code::InvalidArgument,
            format!("the message was already {}, it cannot be {} as well", word(state), word(target)),
        )),
    }
}

fn word(state: u8) -> &'static str {
    match state {
        ACKED | CONFIRMED => "acknowledged",
        NAKED => "given back (nak)",
        TERMINATED => "terminated",
        _ => "settled",
    }
}

/// Says `verb` about the message whose reply subject is `ack_subject`. `state` is [`OPEN`] at first and what this gave back after that:
/// the caller keeps the byte. Synchronous; never `busy`, and never ahead of what was published before.
pub fn settle(client: &Client, ack_subject: &str, state: u8, verb: Settle<'_>) -> Result<u8> {
    let (next, send) = next_state(state, &verb)?;
    // Said again and again, it is the one verb that what was delivered does not bound: a buffer that is full twice over has
    // enough of it.
    let enough = verb == Settle::InProgress && client.buffered_bytes() / 2 >= client.options().outbound_limit;
    if send && !enough {
        client.publish_control(ack_subject, None, None, &verb.body())?;
    }
    Ok(next)
}

/// Acknowledges and waits for the server's word (`None`: as long as a request may take). `done` is called once, with the new state; after
/// a failure the old state holds and the call can be repeated. It must not block. Dropping the handle forgets the wait.
pub fn start_ack_sync(
    client: &Client,
    ack_subject: &str,
    state: u8,
    timeout: Option<Duration>,
    done: Box<dyn FnOnce(Result<u8>) + Send>,
) -> Result<Option<RequestHandle>> {
    // An acknowledgement that was sent may still be lost: it is said again, which the server takes.
    next_state(state, &Settle::Ack)?;
    if state == CONFIRMED {
        done(Ok(state));
        return Ok(None);
    }
    let timeout = bounded(timeout.unwrap_or(client.options().request_timeout));
    let done = Box::new(move |answer: Result<Message>| done(answer.map(|_| CONFIRMED)));
    client.start_settling(ack_subject, &Settle::Ack.body(), timeout, done).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(verb: Settle<'_>) -> String {
        String::from_utf8(verb.body().into_owned()).unwrap()
    }

    #[test]
    fn bodies_are_the_servers_words() {
        assert_eq!(body(Settle::Ack), "+ACK");
        assert_eq!(body(Settle::Nak(None)), "-NAK");
        assert_eq!(body(Settle::Nak(Some(Duration::from_millis(1500)))), "-NAK {\"delay\": 1500000000}");
        assert_eq!(body(Settle::Nak(Some(Duration::MAX))), format!("-NAK {{\"delay\": {}}}", i64::MAX));
        assert_eq!(body(Settle::Term(None)), "+TERM");
        assert_eq!(body(Settle::Term(Some("no\r\nway"))), "+TERM no  way");
        assert_eq!(body(Settle::InProgress), "+WPI");
    }

    #[test]
    fn a_message_is_settled_once() {
        let verbs = [(Settle::Ack, ACKED), (Settle::Nak(None), NAKED), (Settle::Term(None), TERMINATED)];
        for (verb, state) in verbs {
            assert_eq!(next_state(OPEN, &verb).unwrap(), (state, true));
            assert_eq!(next_state(state, &verb).unwrap(), (state, false), "the same verb again is nothing");
            assert_eq!(next_state(state, &Settle::InProgress).unwrap(), (state, false));
            for (other, _) in verbs.iter().filter(|(_, s)| *s != state) {
                assert_eq!(next_state(state, other).unwrap_err().code(), Code::InvalidArgument);
            }
        }
        assert_eq!(next_state(OPEN, &Settle::InProgress).unwrap(), (OPEN, true));
        assert_eq!(next_state(CONFIRMED, &Settle::Ack).unwrap(), (CONFIRMED, false));
        assert!(next_state(CONFIRMED, &Settle::Nak(None)).is_err());
        assert_eq!(
            next_state(200, &Settle::Ack).unwrap_err().code(),
            Code::InvalidArgument,
            "an unknown state is settled"
        );
    }
}
