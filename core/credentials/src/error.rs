//! What can go wrong; no text here ever repeats key material or the contents of a token.
use crate::nkey::KeyKind;

/// Why a key, token or file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a key in NKey form: wrong length, alphabet or checksum.
    #[error("not a valid NKey: {0}")]
    Key(&'static str),
    /// A key of another kind was needed.
    #[error("expected {expected}, got {got}")]
    KeyKind {
        /// What was needed, in words.
        expected: &'static str,
        /// What was given.
        got: KeyKind,
    },
    /// The signature does not belong to the data and the key.
    #[error("signature verification failed")]
    Signature,
    /// The token is not a NATS JWT.
    #[error("malformed JWT: {0}")]
    Token(&'static str),
    /// The claims are not the JSON they should be; the place is where the reader stopped.
    #[error("malformed JWT claims at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The claims are readable but contradict themselves.
    #[error("invalid claims: {0}")]
    Claims(String),
    /// `exp` has passed.
    #[error("the JWT has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the JWT is not valid yet")]
    NotYetValid,
    /// The text holds no credentials.
    #[error("malformed credentials: {0}")]
    Creds(&'static str),
    /// The file could not be read.
    #[error("cannot read credentials: {0}")]
    Io(#[from] std::io::Error),
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::Json { line: error.line(), column: error.column() }
    }
}
