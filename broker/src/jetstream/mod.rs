//! JetStream: streams, consumers and the API that manages them.
//!
//! One task owns a stream with its consumers. It drains its mailbox, gives all publishes their sequences, commits them at
//! once and answers after the commit; acknowledgements of consumers travel the same way. What is pure lives in files
//! without any I/O: the index, the consumer's state machine, the waiting pull requests, the duplicate window.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod account;
mod api;
mod chunk;
mod clock;
mod consumer;
mod consumer_check;
mod consumer_config;
mod consumer_request;
mod decimal;
mod dedupe;
mod errors;
mod expiry;
mod filter;
mod headers;
mod host;
mod ids;
mod index;
mod info;
mod journal;
mod json;
mod limits;
mod mailbox;
mod puback;
mod pull;
mod service;
mod sinks;
mod stream;
mod stream_check;
mod stream_config;
mod subjects;
mod transform;

pub use service::{JetStream, Settings};

/// The version shown in the metadata of streams and consumers.
const SERVER_VERSION: &str = crate::COMPATIBLE_VERSION;
