//! The one error of the client: a code to act on, a text to read, and whether trying again is safe.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarse enough that each code asks for another reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The call itself is wrong: a bad subject, option or state. Fix the program.
    InvalidArgument,
    /// The server did not accept the credentials.
    Auth,
    /// The user may not publish or subscribe there.
    Permission,
    /// There is no connection, or it broke.
    Connection,
    /// The client, subscription or handle is closed.
    Closed,
    /// No answer in time.
    Timeout,
    /// Nobody listens on the subject of the request.
    NoResponders,
    /// The stream, consumer, bucket or object does not exist.
    NotFound,
    /// It exists already, with another configuration.
    AlreadyExists,
    /// It changed meanwhile: a stale revision or sequence.
    Conflict,
    /// A limit of the server, the stream or the protocol.
    LimitExceeded,
    /// Our own outbound buffer is full.
    Busy,
    /// The server cannot do it at the moment: no leader, JetStream not ready.
    Unavailable,
    /// The server is too old or the feature is off.
    Unsupported,
    /// Data does not match its digest or its checks.
    Integrity,
    /// Any other refusal by the server.
    Server,
    /// A defect of ours.
    Internal,
}

impl Code {
    /// Every code, in the order of the table in the documentation.
    pub const ALL: [Code; 17] = [
        Code::InvalidArgument,
        Code::Auth,
        Code::Permission,
        Code::Connection,
        Code::Closed,
        Code::Timeout,
        Code::NoResponders,
        Code::NotFound,
        Code::AlreadyExists,
        Code::Conflict,
        Code::LimitExceeded,
        Code::Busy,
        Code::Unavailable,
        Code::Unsupported,
        Code::Integrity,
        Code::Server,
        Code::Internal,
    ];

    /// The name that is the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid_argument",
            Code::Auth => "auth",
            Code::Permission => "permission",
            Code::Connection => "connection",
            Code::Closed => "closed",
            Code::Timeout => "timeout",
            Code::NoResponders => "no_responders",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::Conflict => "conflict",
            Code::LimitExceeded => "limit_exceeded",
            Code::Busy => "busy",
            Code::Unavailable => "unavailable",
            Code::Unsupported => "unsupported",
            Code::Integrity => "integrity",
            Code::Server => "server",
            Code::Internal => "internal",
        }
    }

    /// Whether the same call can succeed later without a change, when nothing more is known.
    const fn retryable(self) -> bool {
        matches!(self, Code::Connection | Code::Timeout | Code::NoResponders | Code::Busy | Code::Unavailable)
    }

    /// Whether the effect may have happened, when nothing more is known.
    const fn applied(self) -> Applied {
        match self {
            Code::Connection | Code::Timeout | Code::Internal => Applied::Maybe,
            _ => Applied::No,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the failed call had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It did not happen.
    No,
    /// Nobody can tell.
    Maybe,
    /// It happened, and what failed came after it.
    Yes,
}

impl Applied {
    /// The name that is the same in every language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Applied::No => "no",
            Applied::Maybe => "maybe",
            Applied::Yes => "yes",
        }
    }
}

/// What a program may want to look at beside the code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Detail {
    /// JetStream's own error number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub err_code: Option<u64>,
    /// The status of the answer (404, 409, 503, ...).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The subject that was meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The server's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server that was meant, `host:port` without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    detail: Detail,
    retryable: bool,
    applied: Applied,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// A failure. Cheap to clone; the text is for people and may change, the code may not.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

impl Error {
    /// A failure whose `retryable` and `applied` are what the code usually means.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            code,
            message: message.into(),
            detail: Detail::default(),
            retryable: code.retryable(),
            applied: code.applied(),
            source: None,
        }))
    }

    /// What went wrong.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What was wrong and what to do, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Numbers and names beside the text.
    pub fn detail(&self) -> &Detail {
        &self.0.detail
    }

    /// Whether the same call can succeed later without a change.
    pub fn retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the failed call had its effect.
    pub fn applied(&self) -> Applied {
        self.0.applied
    }

    /// The same failure with these details.
    pub fn with_detail(mut self, detail: Detail) -> Error {
        Arc::make_mut(&mut self.0).detail = detail;
        self
    }

    /// The same failure, about this subject.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Error {
        Arc::make_mut(&mut self.0).detail.subject = Some(subject.into());
        self
    }

    /// The same failure, from this server.
    pub fn with_server(mut self, server: impl Into<String>) -> Error {
        Arc::make_mut(&mut self.0).detail.server = Some(server.into());
        self
    }

    /// The same failure with JetStream's error number.
    pub fn with_err_code(mut self, err_code: u64) -> Error {
        Arc::make_mut(&mut self.0).detail.err_code = Some(err_code);
        self
    }

    /// The same failure with the status of the answer.
    pub fn with_status(mut self, status: u16) -> Error {
        Arc::make_mut(&mut self.0).detail.status = Some(status);
        self
    }

    /// The same failure with the server's own words.
    pub fn with_description(mut self, description: impl Into<String>) -> Error {
        Arc::make_mut(&mut self.0).detail.description = Some(description.into());
        self
    }

    /// The same failure, knowing whether trying again can help.
    pub fn with_retryable(mut self, retryable: bool) -> Error {
        Arc::make_mut(&mut self.0).retryable = retryable;
        self
    }

    /// The same failure, knowing whether the effect happened.
    pub fn with_applied(mut self, applied: Applied) -> Error {
        Arc::make_mut(&mut self.0).applied = applied;
        self
    }

    /// The same failure with what caused it.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("detail", &self.0.detail)
            .field("retryable", &self.0.retryable)
            .field("applied", &self.0.applied)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serde_names() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
        for applied in [Applied::No, Applied::Maybe, Applied::Yes] {
            assert_eq!(serde_json::to_string(&applied).unwrap(), format!("\"{}\"", applied.as_str()));
        }
    }

    #[test]
    fn what_is_set_is_kept() {
        let io = std::io::Error::other("boom");
        let e = Error::new(Code::Connection, "broke").with_applied(Applied::No).with_subject("a.b").with_source(io);
        assert_eq!(
            (e.code(), e.applied(), e.retryable(), e.detail().subject.as_deref()),
            (Code::Connection, Applied::No, true, Some("a.b"))
        );
        assert!(std::error::Error::source(&e.clone()).is_some());
        assert_eq!(e.to_string(), "connection: broke");
    }
}
