//! Messages: views of the batch they came in, with fields made when they are asked for.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

use natsune_ffi::StoredMessage;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::client::ClientBase;
use crate::failure::checked;
use crate::hooks::hooks;

/// What may be published: bytes as they are, text as UTF-8, or anything with a buffer (copied).
pub(crate) enum Payload<'a> {
    Borrowed(&'a [u8]),
    Copied(Vec<u8>),
}

impl<'a> Payload<'a> {
    pub(crate) fn of(value: &'a Bound<'_, PyAny>) -> PyResult<Payload<'a>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Payload::Borrowed(bytes.as_bytes()));
        }
        if let Ok(text) = value.cast::<PyString>() {
            return Ok(Payload::Borrowed(text.to_str()?.as_bytes()));
        }
        if value.is_none() {
            return Ok(Payload::Borrowed(&[]));
        }
        match PyBuffer::<u8>::get(value) {
            Ok(buffer) => Ok(Payload::Copied(buffer.to_vec(value.py())?)),
            Err(_) => Err(PyTypeError::new_err(format!(
                "a payload is bytes, a buffer of bytes or str, not {}",
                value.get_type().name()?
            ))),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Copied(bytes) => bytes,
        }
    }
}

/// A message.
#[pyclass(frozen, subclass, module = "natsune")]
pub(crate) struct Message {
    client: Option<Py<ClientBase>>,
    inner: natsune_ffi::Message,
    headers: PyOnceLock<Py<PyAny>>,
}

impl Message {
    pub(crate) fn new(client: Py<ClientBase>, inner: natsune_ffi::Message) -> Message {
        Message { client: Some(client), inner, headers: PyOnceLock::new() }
    }
}

#[pymethods]
impl Message {
    /// Its subject.
    #[getter]
    fn subject(&self) -> &str {
        self.inner.subject()
    }

    /// Its payload, copied.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.inner.payload())
    }

    /// Where a reply goes, if anywhere.
    #[getter]
    fn reply(&self) -> Option<&str> {
        self.inner.reply()
    }

    /// Its headers, never None.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let headers = self.headers.get_or_try_init(py, || {
            let pairs: Vec<(&str, &str)> = self.inner.headers().iter().collect();
            hooks(py)?.headers.call1(py, (pairs,))
        })?;
        Ok(headers.clone_ref(py))
    }

    /// The status code of a message that the server made, else None.
    #[getter]
    fn status(&self) -> Option<u16> {
        self.inner.status_code()
    }

    /// The payload without a copy: the view keeps the batch in memory that the message came in.
    fn view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("builtins")?.getattr("memoryview")?.call1((slf,))
    }

    /// Publishes to the reply subject; may be awaited like `Client.publish`.
    #[pyo3(signature = (payload = None, *, headers = None))]
    fn respond(
        &self,
        py: Python<'_>,
        payload: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (Some(reply), Some(client)) = (self.inner.reply(), &self.client) else {
            let failure = natsune_ffi::Failure::invalid("the message has no reply subject: nobody waits for an answer");
            return Err(crate::failure::raised(py, &failure));
        };
        client.get().publish(py, reply, payload, None, headers)
    }

    fn __len__(&self) -> usize {
        self.inner.payload().len()
    }

    /// Also without a payload: `if message` asks whether there is one.
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self) -> String {
        format!("<Message {} {} bytes>", self.inner.subject(), self.inner.payload().len())
    }

    #[allow(unsafe_code, reason = "the buffer protocol is a C interface")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let payload = slf.get().inner.payload();
        // SAFETY: `view` is the interpreter's own and valid for this call. The payload is immutable and lives as long as
        // the message, which the view keeps by its reference (`PyBuffer_FillInfo` takes one).
        let failed = unsafe {
            let start = payload.as_ptr().cast_mut().cast();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, payload.len() as ffi::Py_ssize_t, 1, flags)
        };
        if failed == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A message that a consumer delivered: it wants to be settled.
#[pyclass(frozen, extends = Message, module = "natsune")]
pub(crate) struct JetStreamMessage {
    state: AtomicU8,
}

impl JetStreamMessage {
    pub(crate) fn make(
        py: Python<'_>,
        client: Py<ClientBase>,
        inner: natsune_ffi::Message,
    ) -> PyResult<Py<JetStreamMessage>> {
        let base = PyClassInitializer::from(Message::new(client, inner));
        Py::new(py, base.add_subclass(JetStreamMessage { state: AtomicU8::new(0) }))
    }
}

/// Where a message stands.
#[pyclass(frozen, get_all, module = "natsune")]
pub(crate) struct MessageMetadata {
    /// Its stream.
    stream: String,
    /// The consumer that delivered it.
    consumer: String,
    /// The JetStream domain, if any.
    domain: Option<String>,
    /// Its sequence in the stream.
    stream_sequence: u64,
    /// The sequence of this delivery.
    consumer_sequence: u64,
    /// How often it was delivered, this time included.
    num_delivered: u64,
    /// How many messages the consumer has yet to deliver.
    num_pending: u64,
    /// When the stream stored it, nanoseconds since 1970.
    timestamp_ns: i64,
}

#[pymethods]
impl MessageMetadata {
    fn __repr__(&self) -> String {
        format!(
            "MessageMetadata(stream={:?}, stream_sequence={}, num_delivered={})",
            self.stream, self.stream_sequence, self.num_delivered
        )
    }
}

const ACK: u8 = 1;
const NAK: u8 = 2;
const TERM: u8 = 3;
const IN_PROGRESS: u8 = 4;

#[pymethods]
impl JetStreamMessage {
    /// Where it stands.
    #[getter]
    fn metadata(slf: &Bound<'_, Self>) -> PyResult<MessageMetadata> {
        let message = slf.as_super().get();
        let found = checked(slf.py(), natsune_ffi::metadata(&message.inner))?;
        Ok(MessageMetadata {
            stream: found.stream.to_owned(),
            consumer: found.consumer.to_owned(),
            domain: (!found.domain.is_empty()).then(|| found.domain.to_owned()),
            stream_sequence: found.stream_sequence,
            consumer_sequence: found.consumer_sequence,
            num_delivered: found.delivered,
            num_pending: found.pending,
            timestamp_ns: found.timestamp_ns,
        })
    }

    /// Handled; goes out with the next write. Again is nothing; after another verb it is an `InvalidArgumentError`.
    fn ack(slf: &Bound<'_, Self>) -> PyResult<()> {
        settle(slf, ACK, None)
    }

    /// Give it again, at once or after `delay`.
    #[pyo3(signature = (delay = None))]
    fn nak(slf: &Bound<'_, Self>, delay: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let seconds = delay.map(|delay| match delay.getattr("total_seconds") {
            Ok(method) => method.call0()?.extract::<f64>(),
            Err(_) => delay.extract::<f64>(),
        });
        settle(slf, NAK, seconds.transpose()?.map(|seconds| seconds.to_string()).as_deref())
    }

    /// Never give it again.
    #[pyo3(signature = (reason = None))]
    fn term(slf: &Bound<'_, Self>, reason: Option<&str>) -> PyResult<()> {
        settle(slf, TERM, reason)
    }

    /// Still at it: the consumer's ack wait starts anew.
    fn in_progress(slf: &Bound<'_, Self>) -> PyResult<()> {
        settle(slf, IN_PROGRESS, None)
    }

    /// Handled, and waits for the server's confirmation. After a time-out it can be repeated.
    #[pyo3(signature = (timeout = None))]
    fn ack_sync(slf: &Bound<'_, Self>, timeout: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let client = slf.as_super().get().client.as_ref().map(|client| client.clone_ref(py));
        hooks(py)?.ack_sync.call1(py, (slf, client, timeout))
    }

    fn _start_ack_sync(slf: &Bound<'_, Self>, queue: u64, timeout_ms: u64) -> PyResult<u64> {
        let message = slf.as_super().get();
        let state = slf.get().state.load(Ordering::Acquire);
        let reply = message.inner.reply().unwrap_or_default();
        checked(slf.py(), natsune_ffi::start_ack_sync(queue, native(message), reply.as_bytes(), state, timeout_ms))
    }

    fn _finish_ack_sync(slf: &Bound<'_, Self>, id: u64) -> PyResult<()> {
        if let natsune_ffi::Outcome::Number(state) = checked(slf.py(), natsune_ffi::finish(id))? {
            slf.get().state.store(u8::try_from(state).unwrap_or(ACK), Ordering::Release);
        }
        Ok(())
    }
}

fn native(message: &Message) -> u64 {
    message.client.as_ref().map_or(0, |client| client.get().native())
}

fn settle(message: &Bound<'_, JetStreamMessage>, verb: u8, argument: Option<&str>) -> PyResult<()> {
    let state = &message.get().state;
    let base = message.as_super().get();
    let reply = base.inner.reply().unwrap_or_default().as_bytes();
    let next = natsune_ffi::settle(native(base), reply, state.load(Ordering::Acquire), verb, argument);
    state.store(checked(message.py(), next)?, Ordering::Release);
    Ok(())
}

/// A stored message as the facade takes it: the message, its stream, its sequence, its time.
pub(crate) fn stored(py: Python<'_>, found: StoredMessage) -> PyResult<Bound<'_, PyTuple>> {
    let message = Py::new(py, Message { client: None, inner: found.message, headers: PyOnceLock::new() })?;
    (message, &*found.stream, found.sequence, found.timestamp_ns).into_pyobject(py)
}
