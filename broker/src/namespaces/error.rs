//! What can go wrong with namespaces and credentials.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a namespace or credentials could not be made, found or deleted.
#[derive(Debug)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The name is taken.
    AlreadyExists(String),
    /// There is none of that name.
    NotFound(String),
    /// The name is not allowed.
    InvalidName(String),
    /// Another process holds the folder for too long.
    Busy(PathBuf),
    /// A file is not what this program wrote.
    Damaged(PathBuf, String),
    /// A file or folder that others can read or that is not what it should be.
    Unsafe(PathBuf, &'static str),
    /// The disk.
    Io(PathBuf, io::Error),
    /// A key or token could not be made.
    Credentials(natsune_credentials::Error),
}

impl NamespaceError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> NamespaceError + '_ {
        |error| match error.raw_os_error() {
            Some(libc::ELOOP) => NamespaceError::Unsafe(path.to_owned(), "it is a symbolic link"),
            _ => NamespaceError::Io(path.to_owned(), error),
        }
    }

    /// A short word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            NamespaceError::AlreadyExists(_) => "already_exists",
            NamespaceError::NotFound(_) => "not_found",
            NamespaceError::InvalidName(_) => "invalid_argument",
            NamespaceError::Busy(_) => "busy",
            NamespaceError::Damaged(..) => "integrity",
            NamespaceError::Unsafe(..) | NamespaceError::Io(..) | NamespaceError::Credentials(_) => "internal",
        }
    }
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceError::AlreadyExists(what) => write!(f, "{what} already exists"),
            NamespaceError::NotFound(what) => write!(f, "{what} does not exist"),
            NamespaceError::InvalidName(why) => f.write_str(why),
            NamespaceError::Busy(path) => write!(f, "{}: another process is changing it; try again", path.display()),
            NamespaceError::Damaged(path, why) => write!(f, "{}: damaged: {why}", path.display()),
            NamespaceError::Unsafe(path, why) => write!(f, "{}: {why}", path.display()),
            NamespaceError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            NamespaceError::Credentials(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for NamespaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            NamespaceError::Io(_, error) => Some(error),
            NamespaceError::Credentials(error) => Some(error),
            _ => None,
        }
    }
}

impl From<natsune_credentials::Error> for NamespaceError {
    fn from(error: natsune_credentials::Error) -> NamespaceError {
        NamespaceError::Credentials(error)
    }
}
