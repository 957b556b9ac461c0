//! The operations of both directions, borrowed from the caller's buffer, and the limits on them.

/// Upper bounds on what a peer may send; all of them are checked before anything is buffered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument part of a control line, in bytes.
    pub control_line: usize,
    /// Largest message, header block included.
    pub payload: usize,
    /// Longest JSON text of INFO and CONNECT.
    pub info: usize,
}

impl Limits {
    /// What a client takes from a server. Wide, because the server's own limits already hold: these only stop nonsense.
    pub fn client() -> Limits {
        Limits { control_line: 64 * 1024, payload: 64 * 1024 * 1024, info: 1024 * 1024 }
    }

    /// What a broker takes from a client: the defaults of nats-server.
    pub fn broker() -> Limits {
        Limits { control_line: 4096, payload: 1024 * 1024, info: 4096 }
    }
}

/// An operation sent by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOp<'a> {
    /// The JSON text of INFO.
    Info(&'a [u8]),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// `+OK`.
    Ok,
    /// The text inside the quotes of `-ERR`.
    Err(&'a str),
    /// MSG or HMSG.
    Msg(Msg<'a>),
    /// A well-framed message whose subject or reply is not UTF-8: to be counted and skipped, the connection is fine.
    Unreadable {
        /// The subscription it was sent to.
        sid: u64,
    },
}

/// A message delivered to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msg<'a> {
    /// The subject it was published to.
    pub subject: &'a str,
    /// The subscription it is for.
    pub sid: u64,
    /// Where an answer goes.
    pub reply: Option<&'a str>,
    /// The raw header block, from `NATS/1.0` up to and including the final empty line. It is not checked here.
    pub headers: Option<&'a [u8]>,
    /// The body.
    pub payload: &'a [u8],
}

/// An operation sent by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientOp<'a> {
    /// The JSON text of CONNECT.
    Connect(&'a [u8]),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// PUB or HPUB.
    Pub(Pub<'a>),
    /// SUB. Whether the subject is valid is the broker's to say.
    Sub {
        /// The filter.
        subject: &'a str,
        /// The queue group.
        queue: Option<&'a str>,
        /// The client's id of the subscription, as sent.
        sid: &'a [u8],
    },
    /// UNSUB.
    Unsub {
        /// The client's id of the subscription, as sent.
        sid: &'a [u8],
        /// After how many messages in all; `None`: at once (also when the number was malformed or 0, like nats-server).
        max: Option<u64>,
    },
    /// INFO from a peer that takes itself for a server.
    Info(&'a [u8]),
    /// A well-framed PUB, HPUB or SUB with a subject, reply or queue that is not UTF-8 or has control characters: answer
    /// with `-ERR` and this text, the connection stays.
    Refused(&'static str),
}

/// A message published by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pub<'a> {
    /// The subject, free of blanks and control characters; otherwise unchecked.
    pub subject: &'a str,
    /// Where an answer goes.
    pub reply: Option<&'a str>,
    /// The raw header block. nats-server passes it on unchecked, so it is not checked here either.
    pub headers: Option<&'a [u8]>,
    /// The body.
    pub payload: &'a [u8],
}
