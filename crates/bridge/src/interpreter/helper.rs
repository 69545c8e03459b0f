//! What of the views is written in Python.

use pyo3::intern;
use pyo3::prelude::*;

/// A function of `headgate._request_body`, which is loaded when it is first needed.
pub(crate) fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import(intern!(py, "headgate._request_body"))?.getattr(name)
}
