//! What is wrong with a configuration or a command line.

use std::fmt;

use super::syntax::{Pos, SyntaxError};

/// An error in a configuration, with its place when it has one. Never repeats a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    place: Option<String>,
    text: String,
}

impl ConfigError {
    /// An error without a place in a file.
    pub fn new(text: impl Into<String>) -> ConfigError {
        ConfigError { place: None, text: text.into() }
    }

    /// `file:line:column`.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// What is wrong, without the place.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<SyntaxError> for ConfigError {
    fn from(error: SyntaxError) -> ConfigError {
        let SyntaxError { at, text } = error;
        let known = |Pos { file, .. }: &Pos| !file.is_empty();
        ConfigError { place: known(&at).then(|| at.to_string()), text }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for ConfigError {}
