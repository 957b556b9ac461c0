//! The functions of both lanes that belong to no object.

use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use natsune_ffi::{Messages, Outcome, Taken};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::failure::checked;
use crate::message::{Payload, stored};

/// The version of the package.
#[pyfunction]
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A completion queue, and the descriptor that is readable when something finished. The caller owns the descriptor; this
/// side keeps the other end.
#[pyfunction]
pub(crate) fn queue_new(py: Python<'_>) -> PyResult<(u64, i32)> {
    let (reader, writer) = UnixStream::pair().map_err(|error| PyOSError::new_err(error.to_string()))?;
    for end in [&reader, &writer] {
        end.set_nonblocking(true).map_err(|error| PyOSError::new_err(error.to_string()))?;
    }
    // A full pipe means that the loop has a wake-up waiting already, so a refused byte is no loss.
    let wake = Box::new(move || drop((&writer).write(&[1])));
    Ok((checked(py, natsune_ffi::queue_new(wake))?, reader.into_raw_fd()))
}

/// All finished ids; arms the queue again.
#[pyfunction]
pub(crate) fn queue_drain(py: Python<'_>, queue: u64) -> PyResult<Vec<u64>> {
    let mut ids = Vec::new();
    checked(py, natsune_ffi::queue_drain(queue, &mut ids))?;
    Ok(ids)
}

/// Closes a queue; what it waits for is cancelled.
#[pyfunction]
pub(crate) fn queue_close(queue: u64) {
    natsune_ffi::queue_close(queue);
}

/// Cancels an operation, or gives back its result.
#[pyfunction]
pub(crate) fn cancel(id: u64) {
    natsune_ffi::cancel(id);
}

/// Starts an operation of the control lane.
#[pyfunction]
pub(crate) fn start(py: Python<'_>, queue: u64, target: u64, verb: &str, document: &str) -> PyResult<u64> {
    checked(py, natsune_ffi::start(queue, target, verb, document))
}

/// The result of an operation of the control lane: None, a handle, a document, or a stored message as a tuple.
#[pyfunction]
pub(crate) fn finish(py: Python<'_>, id: u64) -> PyResult<Py<PyAny>> {
    Ok(match checked(py, natsune_ffi::finish(id))? {
        Outcome::Handle(number) | Outcome::Number(number) => number.into_pyobject(py)?.into_any().unbind(),
        Outcome::Document(text) => text.into_pyobject(py)?.into_any().unbind(),
        Outcome::Bool(yes) => yes.into_pyobject(py)?.to_owned().into_any().unbind(),
        Outcome::Message(Taken { messages: Messages::Stored(mut found), .. }) => match found.pop() {
            Some(found) => stored(py, found)?.into_any().unbind(),
            None => py.None(),
        },
        _ => py.None(),
    })
}

/// The ack of a publish to a stream, as keywords.
#[pyfunction]
pub(crate) fn finish_ack(py: Python<'_>, id: u64) -> PyResult<Bound<'_, PyDict>> {
    let ack = checked(py, natsune_ffi::finish_ack(id))?;
    let fields = PyDict::new(py);
    fields.set_item(pyo3::intern!(py, "stream"), ack.stream)?;
    fields.set_item(pyo3::intern!(py, "sequence"), ack.sequence)?;
    fields.set_item(pyo3::intern!(py, "duplicate"), ack.duplicate)?;
    fields.set_item(pyo3::intern!(py, "domain"), ack.domain)?;
    fields.set_item(pyo3::intern!(py, "value"), ack.value)?;
    Ok(fields)
}

/// Publishes to a stream.
#[pyfunction]
#[pyo3(signature = (queue, target, subject, headers, payload, options))]
pub(crate) fn start_js_publish(
    py: Python<'_>,
    queue: u64,
    target: u64,
    subject: &str,
    headers: &[u8],
    payload: &Bound<'_, PyAny>,
    options: Option<&str>,
) -> PyResult<u64> {
    let payload = Payload::of(payload)?;
    let started = natsune_ffi::start_js_publish(queue, target, subject.as_bytes(), headers, payload.bytes(), options);
    checked(py, started)
}

/// A wait until `take` would give something.
#[pyfunction]
pub(crate) fn start_ready(py: Python<'_>, queue: u64, handle: u64) -> PyResult<u64> {
    checked(py, natsune_ffi::start_ready(queue, handle))
}

/// Events as documents, with the state behind them.
#[pyfunction]
pub(crate) fn take_events(py: Python<'_>, handle: u64, most: u32) -> PyResult<(Bound<'_, PyList>, u32)> {
    let (texts, state) = checked(py, natsune_ffi::take_events(handle, most))?;
    Ok((PyList::new(py, texts)?, state))
}

/// A fact of an object, as JSON.
#[pyfunction]
pub(crate) fn info(py: Python<'_>, handle: u64, what: &str) -> PyResult<String> {
    checked(py, natsune_ffi::info(handle, what))
}

/// A JetStream handle of a client with a domain or prefix of its own.
#[pyfunction]
pub(crate) fn jetstream(py: Python<'_>, client: u64, document: &str) -> PyResult<u64> {
    checked(py, natsune_ffi::jetstream(client, document))
}

/// Closes whatever the handle stands for; again is nothing.
#[pyfunction]
pub(crate) fn close_handle(handle: u64) {
    natsune_ffi::close_handle(handle);
}

/// How many handles the process has open: tests look for leaks with it.
#[pyfunction]
pub(crate) fn open_handles() -> usize {
    natsune_ffi::open_handles()
}

/// The next export of the boundary crate that this thread calls panics: for the test that proves the wall.
#[pyfunction]
pub(crate) fn inject_panic() {
    natsune_ffi::inject_panic();
}

/// A tuple that takes over its parts.
pub(crate) fn pair<'py>(py: Python<'py>, list: Bound<'py, PyList>, state: u32) -> PyResult<Bound<'py, PyTuple>> {
    (list, state).into_pyobject(py)
}
