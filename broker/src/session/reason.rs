//! Why a connection ended, in the words `/connz` and the log use.

use crate::auth::AuthError;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the texts below say it
pub enum Reason {
    ClientClosed,
    AuthenticationTimeout,
    AuthenticationViolation,
    TlsHandshakeError,
    SlowConsumerPendingBytes,
    SlowConsumerWriteDeadline,
    WriteError,
    ReadError,
    ParseError,
    StaleConnection,
    ProtocolViolation,
    BadClientProtocolVersion,
    MaxConnectionsExceeded,
    MaxAccountConnectionsExceeded,
    MaxPayloadExceeded,
    MaxControlLineExceeded,
    ServerShutdown,
    AuthenticationExpired,
    Revocation,
    MissingAccount,
    NoRespondersRequiresHeaders,
    InternalError,
}

impl Reason {
    /// The text of nats-server for it.
    pub fn text(self) -> &'static str {
        match self {
            Reason::ClientClosed => "Client Closed",
            Reason::AuthenticationTimeout => "Authentication Timeout",
            Reason::AuthenticationViolation => "Authentication Failure",
            Reason::TlsHandshakeError => "TLS Handshake Failure",
            Reason::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Reason::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Reason::WriteError => "Write Error",
            Reason::ReadError => "Read Error",
            Reason::ParseError => "Parse Error",
            Reason::StaleConnection => "Stale Connection",
            Reason::ProtocolViolation => "Protocol Violation",
            Reason::BadClientProtocolVersion => "Bad Client Protocol Version",
            Reason::MaxConnectionsExceeded => "Maximum Connections Exceeded",
            Reason::MaxAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Reason::MaxPayloadExceeded => "Maximum Message Payload Exceeded",
            Reason::MaxControlLineExceeded => "Maximum Control Line Exceeded",
            Reason::ServerShutdown => "Server Shutdown",
            Reason::AuthenticationExpired => "Authentication Expired",
            Reason::Revocation => "Credentials Revoked",
            Reason::MissingAccount => "Missing Account",
            Reason::NoRespondersRequiresHeaders => "Client No Responders Requires Headers",
            Reason::InternalError => "Internal Error",
        }
    }

    /// For somebody who was let in before.
    pub(crate) fn of_revocation(text: &str) -> Reason {
        match text {
            text if text == AuthError::UserRevoked.text() => Reason::Revocation,
            text if text == AuthError::UserExpired.text() => Reason::AuthenticationExpired,
            text if text == AuthError::AccountExpired.text() => Reason::MissingAccount,
            _ => Reason::AuthenticationViolation,
        }
    }

    pub(super) fn of_auth(error: AuthError) -> Reason {
        match error {
            AuthError::Timeout => Reason::AuthenticationTimeout,
            AuthError::UserExpired | AuthError::AccountExpired => Reason::AuthenticationExpired,
            AuthError::UserRevoked => Reason::Revocation,
            AuthError::AccountConnections => Reason::MaxAccountConnectionsExceeded,
            _ => Reason::AuthenticationViolation,
        }
    }
}
