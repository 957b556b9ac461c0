//! The configuration language: text to a tree of values with positions. Knows no setting.

mod parser;
mod scanner;
mod units;
mod value;

pub(super) use parser::{Source, parse};
pub(super) use units::{parse_duration, parse_size};
pub(super) use value::{Entry, Node, Pos, SyntaxError, Value};

#[cfg(test)]
mod tests;
