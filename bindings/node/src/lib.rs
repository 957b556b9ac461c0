//! The Node.js glue: private functions that the facade `natsune` is written on.
//!
//! JavaScript is entered by one weak thread-safe function for each environment, and only to say that its queue has
//! something; everything else is a call from JavaScript that never waits.

// `#[napi]` exports nothing in a test build, so everything would be unused there.
#![cfg_attr(test, allow(dead_code, unused_imports))]

mod environment;
mod exports;
mod failure;
mod hot;
mod lane;
mod values;
