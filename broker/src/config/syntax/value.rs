//! The tree a configuration text becomes, and where each part of it was written.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// A place in a file: lines and columns start at 1.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pos {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Debug for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value and its place. The debug form names kinds only: a value may be a password.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) at: Pos,
    pub(crate) value: Value,
}

/// A value of the language.
#[derive(Clone)]
pub(crate) enum Value {
    Bool(bool),
    /// Sizes like `64MB` are multiplied out.
    Int(i64),
    Float(f64),
    Text(String),
    Array(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map with its value.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Pos,
    pub(crate) node: Node,
    /// Was referred to as `$KEY`: then it need not be a known setting.
    pub(crate) used: Cell<bool>,
}

impl Value {
    /// What a message calls this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a number",
            Value::Float(_) => "a fraction",
            Value::Text(_) => "a string",
            Value::Array(_) => "a list",
            Value::Map(_) => "a block",
        }
    }

    /// Nodes in this value with itself, and how deep it nests.
    pub(super) fn extent(&self) -> (usize, usize) {
        let sum = |nodes: &mut dyn Iterator<Item = &Node>| {
            nodes.fold((1, 1), |(count, depth), node| {
                let (inner, below) = node.value.extent();
                (count + inner, depth.max(below + 1))
            })
        };
        match self {
            Value::Array(nodes) => sum(&mut nodes.iter()),
            Value::Map(entries) => sum(&mut entries.iter().map(|entry| &entry.node)),
            _ => (1, 1),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.value.kind(), self.at)
    }
}

/// What is wrong with a text, and where. The text of the message never repeats a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Pos,
    pub(crate) text: String,
}

impl SyntaxError {
    pub(crate) fn new(at: Pos, text: impl Into<String>) -> SyntaxError {
        SyntaxError { at, text: text.into() }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}
