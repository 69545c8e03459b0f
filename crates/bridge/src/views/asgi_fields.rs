//! A request's fields as ASGI wants them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::views::request::Request;

/// Names in lower case and values, in order; Host first, and the length and upgrade that the engine otherwise keeps.
#[pyfunction]
#[pyo3(signature = (request, /))]
pub(crate) fn asgi_fields<'py>(
    py: Python<'py>,
    request: &Bound<'py, Request>,
) -> PyResult<Bound<'py, PyList>> {
    let exchange = request.get().exchange()?;
    let request = exchange.request.borrow();
    let fields = PyList::empty(py);
    let add = |name: &[u8], value: &[u8]| fields.append((PyBytes::new(py, name), PyBytes::new(py, value)));
    add(b"host", request.host())?;
    for (name, value) in request.head.iter() {
        if name.iter().any(u8::is_ascii_uppercase) {
            add(&name.to_ascii_lowercase(), value)?;
        } else {
            add(name, value)?;
        }
    }
    if let headgate_wire::Framing::Length(length) = request.framing {
        add(b"content-length", length.to_string().as_bytes())?;
    }
    if let Some(protocol) = request.upgrade.then(|| request.upgrade_protocol()).flatten() {
        add(b"upgrade", protocol)?;
    }
    Ok(fields)
}
