//! The client of a request as hooks see it.

use headgate_engine::Exchange;
use pyo3::prelude::*;

/// The client side of a connection.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct Client {
    /// The address without port; `unix:` for a Unix socket.
    address: String,
    /// The port, 0 for a Unix socket.
    port: u16,
    /// The listener's name.
    listener: String,
}

impl Client {
    pub(crate) fn of(exchange: &Exchange) -> Self {
        let client = &exchange.client;
        Self {
            address: client.address.clone(),
            port: client.port,
            listener: client.listener.clone(),
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
