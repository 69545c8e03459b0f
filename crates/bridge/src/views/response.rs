//! The response as `response` and `log` hooks see it.

use std::rc::Rc;

use headgate_engine::Exchange;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::event_loop::link::Link;
use crate::interpreter::gil::{self, ThreadBound};
use crate::interpreter::helper::helper;
use crate::interpreter::text;
use crate::views::headers::{Headers, Side};

/// A view of the head that came from the server; in phase `log` also of a response that the gateway made.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct ResponseView {
    /// The header fields.
    // a member, as that of `Request` is
    #[pyo3(get)]
    headers: Py<Headers>,
    link: ThreadBound<Rc<Link>>,
}

impl ResponseView {
    pub(crate) fn new(py: Python<'_>, link: &Rc<Link>) -> PyResult<Self> {
        Ok(Self {
            headers: Py::new(py, Headers::new(link, Side::Response))?,
            link: ThreadBound::new(Rc::clone(link)),
        })
    }

    /// How many views it is with that of its fields; `None` if somebody else holds those.
    pub(crate) fn count_alone(&self, py: Python<'_>) -> Option<usize> {
        gil::is_alone(self.headers.bind(py)).then_some(2)
    }

    fn exchange(&self) -> PyResult<Rc<Exchange>> {
        self.link.get()?.exchange()
    }
}

impl ResponseView {
    /// Calls what writes cookies, with the header fields before what the hook has given.
    fn cookie(
        &self,
        py: Python<'_>,
        name: &str,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let mut all = vec![self.headers.bind(py).clone().into_any()];
        all.extend(args.iter());
        helper(py, name)?.call(PyTuple::new(py, all)?, kwargs)?;
        Ok(())
    }
}

#[pymethods]
impl ResponseView {
    /// The status: the one sent to the client, or before that the server's.
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
                "`{status}` is not a valid response status; hint: 200 to 599"
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

    /// Adds a `Set-Cookie` field, as Starlette does.
    #[pyo3(
        signature = (*args, **kwargs),
        text_signature = "($self, key, value='', max_age=None, expires=None, path='/', domain=None, secure=False, httponly=False, samesite='lax', partitioned=False)"
    )]
    fn set_cookie(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.cookie(py, "set_cookie", args, kwargs)
    }

    /// Lets the browser forget a cookie.
    #[pyo3(
        signature = (*args, **kwargs),
        text_signature = "($self, key, path='/', domain=None, secure=False, httponly=False, samesite='lax', partitioned=False)"
    )]
    fn delete_cookie(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        self.cookie(py, "delete_cookie", args, kwargs)
    }

    /// The trailer fields: the server's once its body has ended. What is set before the last piece is sent with it.
    #[getter]
    fn trailers(&self) -> PyResult<Headers> {
        Ok(Headers::new(self.link.get()?, Side::ResponseTrailers))
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
