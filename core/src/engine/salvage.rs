//! What is left of the outbound bytes when a connection broke: operations are told apart again by parsing them, so that
//! the hot path keeps no boundaries.

use natsune_protocol::{ClientOp, Limits, Parser, encode};

/// What to keep of the bytes.
pub(crate) trait Keep {
    /// Whether this unsent publish goes out on the next connection. `size`: of headers and payload.
    fn publish(&mut self, reply: Option<&str>, size: usize) -> bool;
    /// An unsent PING; true keeps it. `kept` publishes are in front of it.
    fn ping(&mut self, kept: u64) -> bool;
    /// Whether other unsent control operations are kept.
    fn control(&self) -> bool;
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvaged {
    /// Publishes whose last byte was taken by the socket.
    pub(crate) written: u64,
    /// Unsent publishes that are kept.
    pub(crate) kept: u64,
    /// Unsent publishes that are given up.
    pub(crate) dropped: u64,
}

/// Sorts the operations in `bytes`, of which the first `written` were taken by the socket; what is kept is appended to
/// `out`. An operation of which only a part was written is unsent: the server cannot have processed it.
pub(crate) fn salvage(bytes: &[u8], written: usize, keep: &mut impl Keep, out: &mut Vec<u8>) -> Salvaged {
    let limits = Limits { control_line: usize::MAX / 4, payload: usize::MAX / 4, info: usize::MAX / 4 };
    let mut parser = Parser::new(limits);
    let mut found = Salvaged::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..)
        && !rest.is_empty()
    {
        let Ok(Some((op, used))) = parser.client_op(rest) else {
            debug_assert!(false, "the outbound buffer holds something that is no operation");
            break;
        };
        let is_written = at + used <= written;
        at += used;
        let kept = match op {
            ClientOp::Pub(_) if is_written => {
                found.written += 1;
                false
            }
            _ if is_written => false,
            ClientOp::Pub(publish) => {
                let size = publish.headers.map_or(0, <[u8]>::len) + publish.payload.len();
                let kept = keep.publish(publish.reply, size);
                *(if kept { &mut found.kept } else { &mut found.dropped }) += 1;
                kept
            }
            ClientOp::Ping => {
                if keep.ping(found.kept) {
                    encode::ping(out);
                }
                false
            }
            _ => keep.control(),
        };
        if kept {
            out.extend_from_slice(rest.get(..used).unwrap_or_default());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Publishes;
    impl Keep for Publishes {
        fn publish(&mut self, reply: Option<&str>, _size: usize) -> bool {
            reply != Some("_INBOX.mux.1")
        }
        fn ping(&mut self, _kept: u64) -> bool {
            false
        }
        fn control(&self) -> bool {
            false
        }
    }

    #[test]
    fn every_cut_accounts_for_every_publish() {
        let mut bytes = Vec::new();
        encode::ping(&mut bytes);
        encode::pub_(&mut bytes, "a", None, None, b"one");
        encode::sub(&mut bytes, "x", None, 3);
        encode::pub_(&mut bytes, "b", Some("r"), Some(b"NATS/1.0\r\n\r\n"), b"PUB c 3\r\nxxx\r\n");
        encode::pub_(&mut bytes, "c", Some("_INBOX.mux.1"), None, b"request");
        encode::unsub(&mut bytes, 3, Some(4));
        encode::pong(&mut bytes);
        encode::pub_(&mut bytes, "d", None, None, b"");
        let whole = |n: usize| {
            let mut parser = Parser::new(Limits::client());
            let (mut at, mut pubs) = (0, 0);
            while let Ok(Some((op, used))) = parser.client_op(&bytes[at..n]) {
                pubs += u64::from(matches!(op, ClientOp::Pub(_)));
                at += used;
            }
            pubs
        };
        for cut in 0..=bytes.len() {
            let mut out = Vec::new();
            let found = salvage(&bytes, cut, &mut Publishes, &mut out);
            assert_eq!(found.written, whole(cut), "cut at {cut}");
            assert_eq!(found.written + found.kept + found.dropped, 4);
            let again = salvage(&out, 0, &mut Publishes, &mut Vec::new());
            assert_eq!(again, Salvaged { written: 0, kept: found.kept, dropped: 0 });
        }
    }
}
