//! Failures become the facade's exceptions.

use natsune_ffi::{Failure, R};
use pyo3::prelude::*;

use crate::hooks::hooks;

/// The exception of a failure.
pub(crate) fn raised(py: Python<'_>, failure: &Failure) -> PyErr {
    let arguments = (failure.code, &failure.message, failure.detail.to_string(), failure.retryable, failure.applied);
    match hooks(py).and_then(|hooks| hooks.error.call1(py, arguments)) {
        Ok(error) => PyErr::from_value(error.into_bound(py)),
        Err(error) => error,
    }
}

/// A result with its failure raised.
pub(crate) fn checked<T>(py: Python<'_>, result: R<T>) -> PyResult<T> {
    result.map_err(|failure| raised(py, &failure))
}
