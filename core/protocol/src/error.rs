//! What can be wrong with bytes from a peer, and the text a broker answers with.
use std::fmt;

/// Why the bytes at the front of a buffer are no operation. The stream cannot be resynchronised: the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseError {
    /// The first bytes are no known verb for this direction.
    UnknownOp,
    /// The control line is longer than [`Limits`](crate::Limits) allow.
    ControlLine,
    /// The payload (headers included) is larger than the limits allow.
    Payload,
    /// A size is missing, is not a number or has too many digits.
    BadSize,
    /// Too few or too many arguments, or a malformed subscription id.
    BadArguments,
    /// The header size is larger than the whole, or a header block is malformed.
    Header,
    /// The payload is not followed by CR LF.
    MissingCrlf,
}

impl ParseError {
    /// The text a broker puts into `-ERR '…'` before it closes; `None`: nats-server closes without a word.
    pub fn err_text(&self) -> Option<&'static str> {
        match self {
            ParseError::UnknownOp | ParseError::MissingCrlf => Some("Unknown Protocol Operation"),
            ParseError::ControlLine => Some("maximum control line exceeded"),
            ParseError::Payload => Some("Maximum Payload Violation"),
            ParseError::BadSize | ParseError::BadArguments | ParseError::Header => None,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::UnknownOp => "unknown protocol operation",
            ParseError::ControlLine => "control line too long",
            ParseError::Payload => "payload too large",
            ParseError::BadSize => "malformed or missing size",
            ParseError::BadArguments => "wrong arguments of a protocol operation",
            ParseError::Header => "malformed header block",
            ParseError::MissingCrlf => "payload not followed by CR LF",
        })
    }
}

impl std::error::Error for ParseError {}
