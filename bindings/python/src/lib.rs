//! The Python glue: private functions and classes that the facade `natsune` is written on.
//!
//! No Rust thread ever enters the interpreter: a finished operation writes one byte to a descriptor that the event loop reads.

mod client;
mod failure;
mod hooks;
mod lane;
mod message;

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// `natsune._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::client::ClientBase;
    #[pymodule_export]
    use super::hooks::install;
    #[pymodule_export]
    use super::lane::{
        cancel, close_handle, finish, finish_ack, info, inject_panic, jetstream, open_handles, queue_close,
        queue_drain, queue_new, start, start_js_publish, start_ready, take_events, version,
    };
    #[pymodule_export]
    use super::message::{JetStreamMessage, Message, MessageMetadata};

    use super::*;

    /// The interpreter that loaded this first; -1 before.
    static INTERPRETER: AtomicI64 = AtomicI64::new(-1);

    /// The classes and hooks belong to the process: a second interpreter would get, and raise, those of the first.
    #[pymodule_init]
    #[allow(unsafe_code, reason = "the interpreter's number has no safe name")]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        // SAFETY: this thread is attached to the interpreter that imports the module.
        let here = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
        match INTERPRETER.compare_exchange(-1, here, Ordering::AcqRel, Ordering::Acquire) {
            Err(first) if first != here => Err(PyImportError::new_err(
                "natsune works in one interpreter of a process, and another one has loaded it: no subinterpreters",
            )),
            _ => Ok(()),
        }
    }
}
