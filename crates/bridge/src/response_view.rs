//! The response as `response` and `log` hooks see it.

use std::cell::OnceCell;
use std::rc::Rc;

use headgate_engine::Exchange;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::gil::ThreadBound;
use crate::headers_view::{headers_alone, Headers, Side};
use crate::link::Link;
use crate::text;

/// A view of the head that came from the server; in phase `log` also of an answer that the gateway made.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct ResponseView {
    parts: ThreadBound<Parts>,
}

struct Parts {
    link: Rc<Link>,
    headers: OnceCell<Py<Headers>>,
}

impl ResponseView {
    pub(crate) fn new(link: &Rc<Link>) -> Self {
        Self {
            parts: ThreadBound::new(Parts {
                link: Rc::clone(link),
                headers: OnceCell::new(),
            }),
        }
    }

    /// How many views it is with that of its fields; `None` if somebody else holds those.
    pub(crate) fn count_alone(&self, py: Python<'_>) -> Option<usize> {
        Some(1 + headers_alone(py, &self.parts.get().ok()?.headers)?)
    }

    fn exchange(&self) -> PyResult<Rc<Exchange>> {
        self.parts.get()?.link.exchange()
    }
}

#[pymethods]
impl ResponseView {
    /// The status: the one sent to the client once it is, else the server's.
    #[getter]
    fn status(&self) -> PyResult<u16> {
        let exchange = self.exchange()?;
        let response = exchange.response.borrow();
        Ok(match (exchange.status.get(), response.as_ref()) {
            (0, Some(response)) => response.status,
            (sent, _) => sent,
        })
    }

    #[setter]
    fn set_status(&self, status: u16) -> PyResult<()> {
        let exchange = self.exchange()?;
        if !(200..=599).contains(&status) {
            return Err(PyValueError::new_err(format!(
                "`{status}` is no status of an answer; hint: 200 to 599"
            )));
        }
        if exchange.status.get() != 0 {
            return Err(PyRuntimeError::new_err(
                "the response is sent; hint: change it in phase `response`",
            ));
        }
        let mut response = exchange.response.borrow_mut();
        let Some(response) = response.as_mut() else {
            return Err(PyRuntimeError::new_err(
                "there is no response yet; hint: change it in phase `response`",
            ));
        };
        response.status = status;
        Ok(())
    }

    /// The server's reason phrase; empty if there is none.
    #[getter]
    fn reason<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let exchange = self.exchange()?;
        let response = exchange.response.borrow();
        text::decode(py, response.as_ref().map_or(b"", |response| response.reason()))
    }

    /// The header fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<Headers>> {
        let parts = self.parts.get()?;
        if let Some(headers) = parts.headers.get() {
            return Ok(headers.clone_ref(py));
        }
        let headers = Py::new(py, Headers::new(&parts.link, Side::Response))?;
        Ok(parts.headers.get_or_init(|| headers).clone_ref(py))
    }

    /// The trailer fields: the server's once its body has ended. What is set before the last piece is sent with it.
    #[getter]
    fn trailers(&self) -> PyResult<Headers> {
        Ok(Headers::new(&self.parts.get()?.link, Side::ResponseTrailers))
    }

    /// Bytes sent to the client so far, head and body.
    #[getter]
    fn sent_bytes(&self) -> PyResult<u64> {
        Ok(self.exchange()?.response_bytes.get())
    }

    fn __repr__(&self) -> String {
        self.status().map_or_else(
            |_| "<ResponseView finished>".to_owned(),
            |status| format!("<ResponseView {status}>"),
        )
    }
}
