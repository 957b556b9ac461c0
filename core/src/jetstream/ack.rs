//! What a consumer tells about a message, read from its reply subject (ADR-15): three forms, no allocation.

use time::OffsetDateTime;

use crate::error::{Code, Error};

/// Where a message came from and how far its consumer is, as the server wrote it into the reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The stream that holds the message.
    pub stream: &'a str,
    /// The consumer that delivered it.
    pub consumer: &'a str,
    /// The JetStream domain, when the server has one and says so.
    pub domain: Option<&'a str>,
    /// The message's sequence in the stream.
    pub stream_sequence: u64,
    /// How many deliveries the consumer had made with this one.
    pub consumer_sequence: u64,
    /// How often this message was delivered, this time included: 1 is the first.
    pub num_delivered: u64,
    /// How many messages the consumer has still to deliver after this one.
    pub num_pending: u64,
    /// When the stream stored the message: nanoseconds since 1970 (UTC).
    pub timestamp_nanos: i64,
}

/// More tokens than this are never looked at, however long the subject is.
const MOST_TOKENS: usize = 12;

impl<'a> Metadata<'a> {
    /// Reads an acknowledgement subject: 9 tokens (`$JS.ACK.<stream>.<consumer>.…`), or 11 and more with a domain and an
    /// account. `None` for anything else.
    pub fn parse(subject: &'a str) -> Option<Metadata<'a>> {
        let mut tokens = [""; MOST_TOKENS];
        let mut count = 0;
        for (slot, token) in tokens.iter_mut().zip(subject.splitn(MOST_TOKENS, '.')) {
            *slot = token;
            count += 1;
        }
        if tokens[0] != "$JS" || tokens[1] != "ACK" {
            return None;
        }
        let (domain, rest) = match count {
            9 => (None, &tokens[2..9]),
            11 | 12 => (Some(tokens[2]).filter(|d| *d != "_" && !d.is_empty()), &tokens[4..11]),
            _ => return None,
        };
        let [stream, consumer, delivered, stream_sequence, consumer_sequence, timestamp, pending] = rest else {
            return None;
        };
        if stream.is_empty() || consumer.is_empty() {
            return None;
        }
        Some(Metadata {
            stream,
            consumer,
            domain,
            num_delivered: number(delivered)?,
            stream_sequence: number(stream_sequence)?,
            consumer_sequence: number(consumer_sequence)?,
            timestamp_nanos: i64::try_from(number(timestamp)?).ok()?,
            num_pending: number(pending)?,
        })
    }

    /// [`Metadata::parse`] with a failure that says what is wrong.
    pub(crate) fn read(subject: Option<&'a str>) -> Result<Metadata<'a>, Error> {
        subject.and_then(Metadata::parse).ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                "the message was not delivered by a JetStream consumer, so it has no metadata",
            )
        })
    }

    /// When the stream stored the message.
    pub fn timestamp(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.timestamp_nanos))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// Digits only: `str::parse` would also take a sign.
fn number(token: &str) -> Option<u64> {
    if token.is_empty() || token.len() > 20 {
        return None;
    }
    token.bytes().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let short = Metadata::parse("$JS.ACK.ORDERS.work.2.10.12.1795525539589386239.7").unwrap();
        assert_eq!((short.stream, short.consumer, short.domain), ("ORDERS", "work", None));
        assert_eq!((short.num_delivered, short.stream_sequence, short.consumer_sequence), (2, 10, 12));
        assert_eq!((short.timestamp_nanos, short.num_pending), (1_795_525_539_589_386_239, 7));
        assert_eq!(short.timestamp().unix_timestamp(), 1_795_525_539);
        let long = Metadata::parse("$JS.ACK.hub.aBcD.ORDERS.work.2.10.12.1795525539589386239.7.rnd").unwrap();
        assert_eq!(long, Metadata { domain: Some("hub"), ..short });
        let eleven = Metadata::parse("$JS.ACK._.aBcD.ORDERS.work.2.10.12.1795525539589386239.7").unwrap();
        assert_eq!(eleven, short);
        let later = Metadata::parse("$JS.ACK._.a.ORDERS.work.2.10.12.1795525539589386239.7.x.y.z").unwrap();
        assert_eq!(later, short, "a server may append tokens");
    }

    #[test]
    fn what_is_not_an_ack_subject_gives_nothing() {
        for subject in [
            "",
            "$JS.ACK",
            "$JS.ACK.S.C.1.1.1.1",
            "$JS.ACK.S.C.1.1.1.1.1.1",
            "$JS.FC.S.C.1.1.1.1.1",
            "$JS.ACK..C.1.1.1.1.1",
            "$JS.ACK.S.C.+1.1.1.1.1",
            "$JS.ACK.S.C.-1.1.1.1.1",
            "$JS.ACK.S.C.1.1.1.99999999999999999999.1",
            "$JS.ACK.S.C.1.18446744073709551616.1.1.1",
            "$JS.ACK.S.C.1.1.1.1.",
            "_INBOX.abc.1",
        ] {
            assert_eq!(Metadata::parse(subject), None, "{subject}");
        }
        assert_eq!(Metadata::read(None).unwrap_err().code(), Code::InvalidArgument);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            let _ = Metadata::parse(&text);
        }

        #[test]
        fn any_tokens_are_survived(tokens in proptest::collection::vec("[0-9a-zA-Z_+-]{0,22}", 0..16)) {
            let _ = Metadata::parse(&format!("$JS.ACK.{}", tokens.join(".")));
        }

        #[test]
        fn what_a_server_writes_is_read_back(
            stream in "[A-Za-z0-9_-]{1,20}", consumer in "[A-Za-z0-9_-]{1,20}", domain in proptest::option::of("[a-z]{1,8}"),
            delivered: u64, sequence: u64, place: u64, nanos in 0..i64::MAX, pending: u64, long: bool, tail: bool,
        ) {
            let end = format!("{stream}.{consumer}.{delivered}.{sequence}.{place}.{nanos}.{pending}");
            let subject = if long {
                let domain = domain.as_deref().unwrap_or("_");
                format!("$JS.ACK.{domain}.acc.{end}{}", if tail { ".t0k3n" } else { "" })
            } else {
                format!("$JS.ACK.{end}")
            };
            let expected = Metadata {
                stream: &stream, consumer: &consumer, domain: domain.as_deref().filter(|_| long),
                stream_sequence: sequence, consumer_sequence: place, num_delivered: delivered, num_pending: pending,
                timestamp_nanos: nanos,
            };
            prop_assert_eq!(Metadata::parse(&subject), Some(expected));
        }
    }
}
