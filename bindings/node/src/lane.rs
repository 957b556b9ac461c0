//! The control lane: one verb and one JSON document in, one result out.

use napi::Result;
use napi::bindgen_prelude::Either3;
use napi_derive::napi;
use natsune_ffi::Outcome;

use crate::environment::{keep, number};
use crate::failure::checked;

/// The version of the package.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Starts an operation.
#[napi(catch_unwind)]
pub fn start(queue: f64, target: f64, verb: String, document: String) -> Result<f64> {
    checked(natsune_ffi::start(queue as u64, target as u64, &verb, &document)).map(number)
}

/// The result of an operation: undefined, a number (a handle), or a JSON document. Messages have `finish_messages`.
#[napi(catch_unwind)]
pub fn finish(id: f64) -> Result<Either3<f64, String, ()>> {
    Ok(match checked(natsune_ffi::finish(id as u64))? {
        Outcome::Handle(handle) => Either3::A(keep(handle)),
        Outcome::Number(of) => Either3::A(number(of)),
        Outcome::Document(text) => Either3::B(text),
        _ => Either3::C(()),
    })
}

/// Cancels an operation, or gives back its result.
#[napi(catch_unwind)]
pub fn cancel(id: f64) {
    natsune_ffi::cancel(id as u64);
}

/// A JetStream handle of a client with a domain or prefix of its own.
#[napi(catch_unwind)]
pub fn jetstream(client: f64, document: String) -> Result<f64> {
    checked(natsune_ffi::jetstream(client as u64, &document)).map(keep)
}

/// A fact of an object, as JSON.
#[napi(catch_unwind)]
pub fn info(handle: f64, what: String) -> Result<String> {
    checked(natsune_ffi::info(handle as u64, &what))
}

/// Events as JSON documents, and whether they ended.
#[napi(catch_unwind)]
pub fn take_events(handle: f64, most: u32) -> Result<(Vec<String>, u32)> {
    checked(natsune_ffi::take_events(handle as u64, most))
}

/// The next export of the boundary crate that this thread calls panics: for the test that proves the wall.
#[napi(catch_unwind)]
pub fn inject_panic() {
    natsune_ffi::inject_panic();
}
