//! A NATS-compatible server in one crate: one node, durable by default, with namespaces and credentials.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), natsune_broker::Error> {
//! use natsune_broker::{Broker, config::Config};
//!
//! let broker = Broker::start(Config::ephemeral()).await?;
//! println!("clients connect to {}", broker.url());
//! broker.shutdown().await;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod auth;
pub mod config;
pub mod jetstream;
pub mod log;
pub mod monitor;
pub mod namespaces;
pub mod router;
pub mod server;
pub mod session;
pub mod store;

pub use server::{Broker, Error, check};

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of nats-server whose behaviour clients may expect: they switch features by it.
pub const COMPATIBLE_VERSION: &str = "2.15.1";
