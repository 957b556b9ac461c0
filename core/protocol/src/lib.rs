//! The NATS wire protocol, sans-IO, for both ends: operations, header block, subject rules.
//!
//! Nothing here reads or writes a socket, keeps a clock or allocates per operation: the caller owns the buffer, gives its
//! front to a [`Parser`] and gets borrowed operations back; what goes out is appended to the caller's buffer by [`encode`].
//!
//! ```
//! use natsune_protocol::{Limits, Parser, ServerOp, encode};
//!
//! let mut wire = Vec::new();
//! encode::msg(&mut wire, "greet.joe", b"7", None, None, b"hello");
//! let mut parser = Parser::new(Limits::client());
//! let (op, used) = parser.server_op(&wire).unwrap().unwrap();
//! assert_eq!(used, wire.len());
//! assert!(matches!(op, ServerOp::Msg(msg) if msg.sid == 7 && msg.payload == b"hello"));
//! ```
#![forbid(unsafe_code)]
// A peer chooses every byte this crate looks at: nothing may panic on it.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)
)]

pub mod encode;
mod error;
mod headers;
mod line;
mod ops;
mod parser;
pub mod subject;

pub use error::ParseError;
pub use headers::block::{HeaderLines, header_get, header_lines, status_of};
pub use headers::{HeaderError, Headers, Status};
pub use ops::{ClientOp, Limits, Msg, Pub, ServerOp};
pub use parser::Parser;
