//! One attempt to send a request to a server, as `upstream_request` and `retry` hooks see it.

use std::rc::Rc;

use headgate_engine::Exchange;
use pyo3::prelude::*;

/// Where the request goes now.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct Attempt {
    /// From 1; more for a retry or a hedge.
    number: u32,
    /// The upstream's name.
    upstream: String,
    /// The server's address as configured.
    server: String,
}

impl Attempt {
    pub(crate) fn new(exchange: &Rc<Exchange>) -> Self {
        let tables = exchange.tables.borrow();
        let upstream = exchange
            .upstream
            .get()
            .and_then(|upstream| tables.upstreams.get(upstream));
        let named = exchange.at_address.borrow().as_ref().map(|one| one.name.clone());
        Self {
            number: exchange.attempt.get(),
            upstream: named
                .unwrap_or_else(|| upstream.map(|upstream| upstream.name.clone()).unwrap_or_default()),
            server: exchange.server_address(),
        }
    }
}

#[pymethods]
impl Attempt {
    fn __repr__(&self) -> String {
        format!(
            "Attempt(number={}, upstream='{}', server='{}')",
            self.number, self.upstream, self.server
        )
    }
}

/// An attempt that another one may follow.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct FailedAttempt {
    /// From 1.
    number: u32,
    /// The upstream's name.
    upstream: String,
    /// The server's address as configured.
    server: String,
    /// The kind of failure; empty if there was a response.
    kind: &'static str,
    /// The status of the response; 0 if there was none.
    status: u16,
}

impl FailedAttempt {
    pub(crate) fn new(exchange: &Rc<Exchange>) -> Self {
        let Attempt {
            number,
            upstream,
            server,
        } = Attempt::new(exchange);
        let (kind, status) = exchange.rare().came_to.get();
        Self {
            number,
            upstream,
            server,
            kind,
            status,
        }
    }
}

#[pymethods]
impl FailedAttempt {
    fn __repr__(&self) -> String {
        let came_to = if self.kind.is_empty() {
            self.status.to_string()
        } else {
            self.kind.to_owned()
        };
        format!("<FailedAttempt {} at '{}': {came_to}>", self.number, self.server)
    }
}
