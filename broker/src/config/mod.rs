//! The configuration: the document, the language it is written in, and the flags.
//!
//! `syntax` turns text into a tree and knows no setting, `read` turns the tree into the document and knows no syntax,
//! `flags` lays the command line over it, `check` looks at how the whole fits together.

mod check;
mod command;
mod document;
mod error;
mod flags;
mod help;
mod read;
mod syntax;

pub use command::{CredentialsCommand, CredentialsVerb, NamespaceCommand, NamespaceVerb};
pub use document::{
    AccountConfig, AccountJetStreamConfig, AuthConfig, Config, HandshakeFirst, JetStreamConfig, Limits, LogConfig,
    NamespacesConfig, PermissionsConfig, ResponsesConfig, SocketSpec, SubjectRule, SyncMode, TlsConfig, UserConfig,
};
pub use error::ConfigError;
pub use flags::{Invocation, ServerSignal, SignalRequest};
pub use help::HELP;
pub use natsune_credentials::Secret;
