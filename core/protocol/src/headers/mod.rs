//! The header block as an ordered list of names and values, and its status line.
pub(crate) mod block;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encode;
use crate::error::ParseError;

const VERSION: &[u8] = b"NATS/1.0";

/// Message headers: ordered, several values per name, names compared with their case (ADR-4).
///
/// All text is in one string, so reading a block costs two allocations however many headers it has.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    entries: Vec<Entry>,
}

/// Lengths inside `text`: the name begins at `start`, the value follows it.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
}

/// Why a name or value cannot be sent as a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Names are one or more printable ASCII characters without blanks and colons.
    Name,
    /// Values have no CR and no LF.
    Value,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Name => "a header name is one or more printable ASCII characters without blanks and colons",
            HeaderError::Value => "a header value must not contain CR or LF",
        })
    }
}

impl std::error::Error for HeaderError {}

/// The status line of a block, as servers send it (`503`, `100 Idle Heartbeat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Three digits.
    pub code: u16,
    /// The description, often empty.
    pub text: String,
}

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(have, _)| *have == name).map(|(_, value)| value)
    }

    /// All values of `name`, in order.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.iter().filter(move |(have, _)| *have == name).map(|(_, value)| value)
    }

    /// Replaces all values of `name` by this one. Blanks in front of a value do not survive the wire and are dropped.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        check(name, value)?;
        self.delete(name);
        self.push(name, value);
        Ok(())
    }

    /// Adds a value of `name` behind those it has.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        check(name, value)?;
        self.push(name, value);
        Ok(())
    }

    /// Removes all values of `name`; true when there were any.
    pub fn delete(&mut self, name: &str) -> bool {
        if self.get(name).is_none() {
            return false;
        }
        let mut kept = Headers::new();
        for (have, value) in self.iter().filter(|(have, _)| *have != name) {
            kept.push(have, value);
        }
        *self = kept;
        true
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| {
            let value = entry.start + entry.name;
            (
                self.text.get(entry.start..value).unwrap_or_default(),
                self.text.get(value..value + entry.value).unwrap_or_default(),
            )
        })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads a block. What is not UTF-8 in a value is replaced; a malformed block is an error.
    pub fn parse(block: &[u8]) -> Result<(Headers, Option<Status>), ParseError> {
        let first = block::first_line(block).ok_or(ParseError::Header)?;
        let status =
            block::status(first).map(|(code, text)| Status { code, text: String::from_utf8_lossy(text).into_owned() });
        let mut headers = Headers { text: String::with_capacity(block.len()), entries: Vec::new() };
        let mut lines = block::header_lines(block);
        for (name, value) in &mut lines {
            let name = std::str::from_utf8(name).map_err(|_| ParseError::Header)?;
            match std::str::from_utf8(value) {
                Ok(value) => headers.push(name, value),
                Err(_) => headers.push(name, &String::from_utf8_lossy(value)),
            }
        }
        if lines.complete() { Ok((headers, status)) } else { Err(ParseError::Header) }
    }

    /// Appends the block, from `NATS/1.0` to the empty line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(VERSION);
        self.encode_lines(out);
    }

    /// Appends the block with a status line, as servers send it.
    pub fn encode_with_status(&self, out: &mut Vec<u8>, code: u16, text: &str) {
        out.extend_from_slice(VERSION);
        out.push(b' ');
        encode::number(out, u64::from(code));
        if !text.is_empty() {
            out.push(b' ');
            out.extend(text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
        }
        self.encode_lines(out);
    }

    /// How many bytes [`encode`](Headers::encode) appends.
    pub fn encoded_len(&self) -> usize {
        let lines: usize = self.entries.iter().map(|entry| entry.name + entry.value + 4).sum();
        VERSION.len() + 2 + lines + 2
    }

    fn encode_lines(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.iter() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn push(&mut self, name: &str, value: &str) {
        let value = value.trim_start_matches([' ', '\t']);
        self.entries.push(Entry { start: self.text.len(), name: name.len(), value: value.len() });
        self.text.push_str(name);
        self.text.push_str(value);
    }
}

fn check(name: &str, value: &str) -> Result<(), HeaderError> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(HeaderError::Name);
    }
    if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_some() {
        return Err(HeaderError::Value);
    }
    Ok(())
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// A list of `[name, value]` pairs: order and repeated names must survive.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        let mut headers = Headers::new();
        for (name, value) in &pairs {
            headers.append(name, value).map_err(D::Error::custom)?;
        }
        Ok(headers)
    }
}
