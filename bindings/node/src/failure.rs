//! Failures cross as an `Error` whose message is a JSON document; the facade makes its own error of it.

use napi::{Error, Result, Status};
use natsune_ffi::{Failure, R};
use serde_json::json;

/// The error of a failure.
pub(crate) fn thrown(failure: &Failure) -> Error {
    let document = json!({
        "code": failure.code,
        "message": failure.message,
        "detail": failure.detail,
        "retryable": failure.retryable,
        "applied": failure.applied,
    });
    Error::new(Status::GenericFailure, document.to_string())
}

/// A result with its failure thrown.
pub(crate) fn checked<T>(result: R<T>) -> Result<T> {
    result.map_err(|failure| thrown(&failure))
}
