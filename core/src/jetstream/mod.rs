//! JetStream: streams, consumers, acknowledged publishing, and the documents that describe them.
//!
//! ```no_run
//! use std::time::Duration;
//! use natsune::jetstream::{ConsumerConfig, ConsumeOptions, StreamConfig};
//!
//! # async fn example(client: natsune::Client) -> natsune::Result<()> {
//! let js = client.jetstream();
//! let stream = js.create_stream(StreamConfig { name: "JOBS".into(), subjects: vec!["jobs.>".into()], ..Default::default() }).await?;
//! let ack = js.publish("jobs.a", "work").await?;
//! assert_eq!(ack.stream, "JOBS");
//!
//! let consumer = stream.create_consumer(ConsumerConfig { durable_name: Some("workers".into()), ..Default::default() }).await?;
//! if let Some(message) = consumer.next(Duration::from_secs(1)).await? {
//!     message.ack()?;
//! }
//! let messages = consumer.consume(&ConsumeOptions::default()).await?;
//! while let Some(message) = messages.next().await? {
//!     message.ack()?;
//! }
//! # Ok(())
//! # }
//! ```

mod ack;
mod consumer;
mod context;
mod documents;
mod errors;
mod message;
mod publish;
mod pull;
mod reader;
mod settle;
mod stream;

pub use self::ack::Metadata;
pub use self::consumer::Consumer;
pub use self::context::JetStream;
pub use self::documents::{
    AccountInfo, AckPolicy, Compression, ConsumerConfig, ConsumerFacts, ConsumerInfo, ConsumerLimits, DeliverPolicy,
    DiscardPolicy, Document, External, Info, Placement, PriorityPolicy, ReplayPolicy, Republish, RetentionPolicy,
    Source, State, StorageType, StreamConfig, StreamFacts, StreamInfo, SubjectTransform,
};
pub use self::message::{JsMessage, StreamMessage};
pub use self::publish::{PendingAck, PublishAck, PublishDone, PublishHandle, PublishOptions};
pub use self::pull::{ConsumeOptions, Consumption, Fetch, FetchOptions, JsTaken, Priority};
pub use self::reader::{StreamReader, StreamTaken};
pub use self::settle::{ACKED, CONFIRMED, NAKED, OPEN, Settle, TERMINATED, next_state, settle, start_ack_sync};
pub use self::stream::{PurgeOptions, Stream};
