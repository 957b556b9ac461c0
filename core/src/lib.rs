//! The NATS client: connection, credentials, publish and subscribe, request, JetStream.
//!
//! ```no_run
//! use natsune::Credentials;
//!
//! # async fn example() -> natsune::Result<()> {
//! let client = natsune::connect("nats://localhost:4222").credentials(Credentials::file("user.creds")).await?;
//! let mut sub = client.subscribe("orders.*").queue("workers").await?;
//! while let Some(msg) = sub.next().await? {
//!     msg.respond("ok").await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is lost in silence: each publish is counted until it is flushed, given up, or lost from sight by a broken
//! connection ([`PublishCounts`]). Each failure has a [`Code`] to act on, and says whether trying again is safe.
#![forbid(unsafe_code)]

mod auth;
mod client;
mod engine;
mod error;
mod events;
mod inbox;
pub mod jetstream;
mod message;
mod options;
mod stats;
mod subscription;
mod transport;

pub use natsune_protocol::{HeaderError, Headers, Status};

pub use crate::client::{
    Client, ConnectBuilder, Credentials, IntoServers, RequestBuilder, RequestHandle, connect, connect_with,
};
pub use crate::engine::ClientState;
pub use crate::engine::info::ServerInfo;
pub use crate::engine::wire::Accepted;
pub use crate::error::{Applied, Code, Detail, Error, Result};
pub use crate::events::{Event, Events};
pub use crate::inbox::{State, Taken};
pub use crate::message::Message;
pub use crate::options::{ConnectOptions, DEFAULT_PENDING_BYTES, DEFAULT_PENDING_MESSAGES, TlsOptions, WhenFull};
pub use crate::stats::{PublishCounts, Stats, SubscriptionStats};
pub use crate::subscription::{SubscribeBuilder, Subscription, SubscriptionControl};

/// The programs of the front page run as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadMe;
