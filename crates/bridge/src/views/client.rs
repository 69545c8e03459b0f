//! The client of a request as hooks see it.

use headgate_engine::Exchange;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The client side of a connection.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct Client {
    /// The address without port; `unix:` for a Unix socket.
    address: Py<PyString>,
    /// The port, 0 for a Unix socket.
    port: u16,
    /// The listener's name.
    listener: Py<PyString>,
}

impl Client {
    pub(crate) fn of(py: Python<'_>, exchange: &Exchange) -> Self {
        let client = &exchange.client;
        Self {
            address: PyString::new(py, &client.address).unbind(),
            port: client.port,
            listener: PyString::new(py, &client.listener).unbind(),
        }
    }
}

#[pymethods]
impl Client {
    fn __repr__(&self) -> String {
        format!(
            "Client(address='{}', port={}, listener='{}')",
            self.address, self.port, self.listener
        )
    }
}
