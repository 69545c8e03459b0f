//! What of the views is written in Python.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// A function of `headgate._request_body`, which is loaded when it is first needed.
pub(crate) fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    MODULE
        .get_or_try_init(py, || py.import("headgate._request_body").map(Bound::unbind))?
        .bind(py)
        .getattr(name)
}
