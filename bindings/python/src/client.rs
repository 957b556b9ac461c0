//! The base class of `Client`: what is called for every message.

use std::sync::atomic::{AtomicUsize, Ordering};

use natsune_ffi::{Messages, Outcome, Taken};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple};

use crate::failure::checked;
use crate::hooks::hooks;
use crate::lane::pair;
use crate::message::{JetStreamMessage, Message, Payload, stored};

/// After so many bytes an awaited publish lets the event loop run.
const YIELD_AFTER: usize = 64 << 10;

/// What `publish` gives: awaiting it is done at once.
#[pyclass(frozen)]
struct Accepted;

#[pymethods]
impl Accepted {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<()> {
        None
    }
}

/// What `publish` gives now and then: awaiting it lets the event loop run once.
#[pyclass(frozen)]
struct AcceptedYield;

#[pymethods]
impl AcceptedYield {
    fn __await__(&self) -> YieldOnce {
        YieldOnce { done: false }
    }
}

#[pyclass]
struct YieldOnce {
    done: bool,
}

#[pymethods]
impl YieldOnce {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> Option<Py<PyAny>> {
        (!std::mem::replace(&mut self.done, true)).then(|| py.None())
    }
}

/// The base class of `natsune.Client`.
#[pyclass(subclass, frozen, module = "natsune._native")]
pub(crate) struct ClientBase {
    handle: u64,
    unyielded: AtomicUsize,
    accepted: Py<PyAny>,
    accepted_yield: Py<PyAny>,
    pressure: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl ClientBase {
    #[new]
    fn new(py: Python<'_>, handle: u64) -> PyResult<ClientBase> {
        Ok(ClientBase {
            handle,
            unyielded: AtomicUsize::new(0),
            accepted: Py::new(py, Accepted)?.into_any(),
            accepted_yield: Py::new(py, AcceptedYield)?.into_any(),
            pressure: PyOnceLock::new(),
        })
    }

    /// The native handle.
    #[getter]
    fn _handle(&self) -> u64 {
        self.handle
    }

    fn _set_pressure(&self, py: Python<'_>, pressure: Py<PyAny>) {
        let _ = self.pressure.set(py, pressure);
    }

    /// Copies the message into the outbound buffer and accepts it at once. Await the result to wait while the buffer is
    /// under pressure. Raises `BusyError` when the buffer is full: then nothing was accepted.
    #[pyo3(signature = (subject, payload = None, *, reply = None, headers = None))]
    pub(crate) fn publish(
        &self,
        py: Python<'_>,
        subject: &str,
        payload: Option<&Bound<'_, PyAny>>,
        reply: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (pressed, size) = self.accept(py, subject, payload, reply, headers)?;
        if pressed && let Some(pressure) = self.pressure.get(py) {
            return Ok(pressure.clone_ref(py));
        }
        // Only a hint, so a lost update between threads does not matter.
        let unyielded = self.unyielded.load(Ordering::Relaxed) + size;
        if unyielded >= YIELD_AFTER {
            self.unyielded.store(0, Ordering::Relaxed);
            return Ok(self.accepted_yield.clone_ref(py));
        }
        self.unyielded.store(unyielded, Ordering::Relaxed);
        Ok(self.accepted.clone_ref(py))
    }

    /// Accepts the message at once, or raises. True: the buffer is under pressure, `wait_writable` before going on.
    #[pyo3(signature = (subject, payload = None, *, reply = None, headers = None))]
    fn try_publish(
        &self,
        py: Python<'_>,
        subject: &str,
        payload: Option<&Bound<'_, PyAny>>,
        reply: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.accept(py, subject, payload, reply, headers).map(|(pressed, _)| pressed)
    }

    fn _start_request(
        &self,
        py: Python<'_>,
        queue: u64,
        subject: &str,
        headers: &[u8],
        payload: &Bound<'_, PyAny>,
        timeout_ms: u64,
    ) -> PyResult<u64> {
        let payload = Payload::of(payload)?;
        let started =
            natsune_ffi::start_request(queue, self.handle, subject.as_bytes(), headers, payload.bytes(), timeout_ms);
        checked(py, started)
    }

    fn _finish_message(slf: Py<ClientBase>, py: Python<'_>, id: u64) -> PyResult<Option<Py<PyAny>>> {
        match checked(py, natsune_ffi::finish(id))? {
            Outcome::Message(taken) | Outcome::Batch(taken) => {
                let list = list_of(py, &slf, taken)?;
                Ok(list.iter().next().map(Bound::unbind))
            }
            _ => Ok(None),
        }
    }

    fn _finish_messages<'py>(slf: Py<ClientBase>, py: Python<'py>, id: u64) -> PyResult<Bound<'py, PyList>> {
        match checked(py, natsune_ffi::finish(id))? {
            Outcome::Message(taken) | Outcome::Batch(taken) => list_of(py, &slf, taken),
            _ => Ok(PyList::empty(py)),
        }
    }

    fn _take<'py>(
        slf: Py<ClientBase>,
        py: Python<'py>,
        handle: u64,
        max_messages: u32,
        max_bytes: u32,
        done: u32,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let taken = checked(py, natsune_ffi::take(handle, max_messages, max_bytes, done))?;
        let state = taken.state;
        pair(py, list_of(py, &slf, taken)?, state)
    }
}

impl ClientBase {
    /// The native handle.
    pub(crate) fn native(&self) -> u64 {
        self.handle
    }

    fn accept(
        &self,
        py: Python<'_>,
        subject: &str,
        payload: Option<&Bound<'_, PyAny>>,
        reply: Option<&str>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(bool, usize)> {
        let packed = headers.map(|headers| hooks(py)?.pack.call1(py, (headers,))).transpose()?;
        let packed: &[u8] = packed.as_ref().map(|packed| packed.extract(py)).transpose()?.unwrap_or_default();
        let payload = payload.map(Payload::of).transpose()?;
        let bytes = payload.as_ref().map(Payload::bytes).unwrap_or_default();
        let reply = reply.map(str::as_bytes);
        let pressed = checked(py, natsune_ffi::publish(self.handle, subject.as_bytes(), reply, packed, bytes))?;
        Ok((pressed, bytes.len() + subject.len()))
    }
}

fn list_of<'py>(py: Python<'py>, client: &Py<ClientBase>, taken: Taken) -> PyResult<Bound<'py, PyList>> {
    match taken.messages {
        Messages::Core(list) => PyList::new(
            py,
            list.into_iter()
                .map(|message| Py::new(py, Message::new(client.clone_ref(py), message)))
                .collect::<PyResult<Vec<_>>>()?,
        ),
        Messages::Consumer(list) => PyList::new(
            py,
            list.into_iter()
                .map(|message| JetStreamMessage::make(py, client.clone_ref(py), message))
                .collect::<PyResult<Vec<_>>>()?,
        ),
        Messages::Stored(list) => {
            PyList::new(py, list.into_iter().map(|message| stored(py, message)).collect::<PyResult<Vec<_>>>()?)
        }
        _ => Ok(PyList::empty(py)),
    }
}
