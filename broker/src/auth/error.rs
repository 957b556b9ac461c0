//! Why a client is turned away: the exact text it is told.

/// A refusal. `Display` is the text inside the quotes of `-ERR`; the connection is closed after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthError {
    /// Wrong or missing credentials. The client is never told what was wrong; the log is, see [`AuthError::reason`].
    Violation(&'static str),
    /// Nothing valid arrived in time.
    Timeout,
    /// The user's own time has passed.
    UserExpired,
    /// The user was revoked.
    UserRevoked,
    /// The account's time has passed, or it is gone.
    AccountExpired,
    /// The account has all the connections it may have.
    AccountConnections,
}

impl AuthError {
    /// The text inside the quotes of `-ERR`.
    pub fn text(self) -> &'static str {
        match self {
            AuthError::Violation(_) => "Authorization Violation",
            AuthError::Timeout => "Authentication Timeout",
            AuthError::UserExpired => "User Authentication Expired",
            AuthError::UserRevoked => "User Authentication Revoked",
            AuthError::AccountExpired => "Account Authentication Expired",
            AuthError::AccountConnections => "maximum account active connections exceeded",
        }
    }

    /// What was wrong, for the log of the server only.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            AuthError::Violation(reason) => Some(reason),
            _ => None,
        }
    }
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for AuthError {}
