//! What the facade lends the glue: its error classes, `Headers`, and the waiting half of `ack_sync`.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The facade's callables.
pub(crate) struct Hooks {
    pub(crate) error: Py<PyAny>,
    pub(crate) headers: Py<PyAny>,
    pub(crate) pack: Py<PyAny>,
    pub(crate) ack_sync: Py<PyAny>,
}

static HOOKS: PyOnceLock<Hooks> = PyOnceLock::new();

/// Called once, when the facade is imported.
#[pyfunction]
#[pyo3(signature = (*, error, headers, pack, ack_sync))]
pub(crate) fn install(py: Python<'_>, error: Py<PyAny>, headers: Py<PyAny>, pack: Py<PyAny>, ack_sync: Py<PyAny>) {
    // A second import of the same facade changes nothing.
    let _ = HOOKS.set(py, Hooks { error, headers, pack, ack_sync });
}

pub(crate) fn hooks(py: Python<'_>) -> PyResult<&Hooks> {
    HOOKS.get(py).ok_or_else(|| PyRuntimeError::new_err("natsune._native is private: import natsune"))
}
