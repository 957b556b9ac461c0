//! The one boundary crate: handles, completion queues, message batches, the control and the hot lane.
//!
//! Four shapes cross the language boundary and nothing else: handles (numbers), documents, batches, failures. Whatever
//! waits is started, gets an id, arrives in a completion queue and is finished. See `bindings/README.md`.

pub mod batch;
#[cfg(feature = "mobile")]
pub mod capi;
mod control;
pub mod documents;
mod events;
mod failure;
mod fork;
mod handles;
mod hot;
mod hub;
#[cfg(feature = "mobile")]
pub mod jni;
#[cfg(feature = "mobile")]
mod lane;
mod object;
mod outcome;
mod queue;
mod ready;
mod ring;
#[cfg(feature = "mobile")]
pub mod typed;

pub use control::{info, jetstream, start};
pub use events::take_events;
pub use failure::{Failure, R, inject_panic};
pub use handles::{MAX_HANDLES, close_handle, open_handles};
pub use hot::{
    MAX_TAKE_BYTES, finish_ack, publish, settle, start_ack_sync, start_js_publish, start_ready, start_request, take,
};
pub use hub::{MAX_IN_FLIGHT, MAX_QUEUES, Wake, cancel, finish, queue_close, queue_drain, queue_drain_some, queue_new};
/// What messages are, for the glue that keeps them.
pub use natsune::{Headers, Message};
pub use outcome::{Messages, Outcome, StoredMessage, Taken, metadata};

#[cfg(feature = "mobile")]
uniffi::setup_scaffolding!();
