//! Reading single values: each says what was expected where something else stands.

use std::time::Duration;

use super::Read;
use crate::config::Secret;
use crate::config::syntax::{Entry, Node, SyntaxError, Value, parse_duration, parse_size};

impl Node {
    pub(super) fn error(&self, text: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.at.clone(), text)
    }

    fn wrong(&self, expected: &str) -> SyntaxError {
        self.error(format!("expected {expected}, found {}", self.value.kind()))
    }

    pub(super) fn bool(&self) -> Read<bool> {
        match &self.value {
            Value::Bool(value) => Ok(*value),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// Also `enabled` and `disabled`.
    pub(super) fn switch(&self) -> Read<bool> {
        match &self.value {
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "enabled" | "enable" => Ok(true),
                "disabled" | "disable" => Ok(false),
                _ => Err(self.error("expected enabled or disabled")),
            },
            _ => self.bool(),
        }
    }

    pub(super) fn text(&self) -> Read<&str> {
        match &self.value {
            Value::Text(text) => Ok(text),
            // A number would lose leading zeros, and `yes` its spelling: quotes say what is meant.
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                Err(self.error(format!("expected a string, found {}: put it in quotes", self.value.kind())))
            }
            _ => Err(self.wrong("a string")),
        }
    }

    pub(super) fn secret(&self) -> Read<Secret> {
        self.text().map(|text| Secret::new(text.to_owned()))
    }

    pub(super) fn int(&self) -> Read<i64> {
        match &self.value {
            Value::Int(value) => Ok(*value),
            Value::Text(text) => match parse_size(text.trim()) {
                Some(Ok(value)) => Ok(value),
                _ => Err(self.wrong("a number")),
            },
            _ => Err(self.wrong("a number")),
        }
    }

    /// A size or count; -1 is "no limit" and gives `None`.
    pub(super) fn limit(&self) -> Read<Option<u64>> {
        match self.int()? {
            -1 => Ok(None),
            value => {
                u64::try_from(value).map(Some).map_err(|_| self.error("expected a size or count, or -1 for no limit"))
            }
        }
    }

    /// A count that must be at least `least`.
    pub(super) fn at_least(&self, least: i64) -> Read<usize> {
        let value = self.int()?;
        let fits = if value >= least { usize::try_from(value).ok() } else { None };
        fits.ok_or_else(|| self.error(format!("expected a number from {least}")))
    }

    /// A port; -1 asks for a free one.
    pub(super) fn port(&self) -> Read<u16> {
        match self.int()? {
            -1 => Ok(0),
            value => u16::try_from(value).map_err(|_| self.error("expected a port: 1 to 65535, or -1 for a free one")),
        }
    }

    /// A number of seconds, or text such as `2s`.
    pub(super) fn duration(&self) -> Read<Duration> {
        let found = match &self.value {
            Value::Int(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            Value::Text(text) => parse_duration(text),
            _ => return Err(self.wrong("a duration")),
        };
        found.ok_or_else(|| self.error("expected a duration such as \"2s\", \"300ms\" or \"1h30m\""))
    }

    pub(super) fn list(&self) -> Read<&[Node]> {
        match &self.value {
            Value::Array(nodes) => Ok(nodes),
            _ => Err(self.wrong("a list")),
        }
    }

    pub(super) fn map(&self) -> Read<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong("a block")),
        }
    }

    /// One string or a list of them.
    pub(super) fn texts(&self) -> Read<Vec<String>> {
        match &self.value {
            Value::Array(nodes) => nodes.iter().map(|node| node.text().map(str::to_owned)).collect(),
            _ => Ok(vec![self.text()?.to_owned()]),
        }
    }

    /// True for an empty block or list: it asks for nothing.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.value, Value::Array(nodes) if nodes.is_empty())
            || matches!(&self.value, Value::Map(entries) if entries.is_empty())
    }
}

impl Entry {
    /// The name as keys are compared: without regard to case.
    pub(super) fn name(&self) -> String {
        self.key.to_ascii_lowercase()
    }

    /// The answer to a key that means nothing here; one that was used as `$KEY` need not.
    pub(super) fn unknown(&self) -> Read {
        if self.used.get() {
            Ok(())
        } else {
            Err(SyntaxError::new(self.at.clone(), format!("unknown field {:?}", self.key)))
        }
    }

    /// The answer to a key whose silent absence would be dangerous.
    pub(super) fn unsupported(&self) -> Read {
        Err(SyntaxError::new(self.at.clone(), format!("{:?} is not supported yet", self.key)))
    }
}
