//! A fetched response as Python code sees it.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use headgate_engine::{FetchError, Fetched, FetchedBody};
use headgate_wire::{ResponseHead, Version};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::event_loop::pending::{Pending, Work};
use crate::event_loop::seam::Seam;
use crate::fetch::error::exception;
use crate::fetch::headers::FetchHeaders;
use crate::interpreter::bytes::to_bytes;
use crate::interpreter::gil::ThreadBound;
use crate::interpreter::helper::helper;
use crate::interpreter::text;

/// A response whose head is there. Its body is read once, whole or piece by piece; dropped before its end, its
/// connection is closed.
#[pyclass(frozen, weakref, module = "headgate._core")]
pub(crate) struct FetchResponse {
    parts: ThreadBound<Rc<FetchParts>>,
}

struct FetchParts {
    seam: Rc<Seam>,
    head: ResponseHead,
    url: String,
    redirected: u32,
    body: RefCell<Body>,
    headers: OnceCell<Py<FetchHeaders>>,
}

enum Body {
    Unread(FetchedBody),
    /// Somebody reads it now, or was cancelled while reading.
    Reading,
    Whole(Py<PyAny>),
    Gone,
}

/// What becomes of a whole body.
type Finish = fn(Python<'_>, &FetchParts, Py<PyAny>) -> PyResult<Py<PyAny>>;

impl FetchResponse {
    pub(crate) fn new(seam: &Rc<Seam>, fetched: Fetched) -> Self {
        Self {
            parts: ThreadBound::new(Rc::new(FetchParts {
                seam: Rc::clone(seam),
                head: fetched.head,
                url: fetched.url,
                redirected: fetched.redirected,
                body: RefCell::new(Body::Unread(fetched.body)),
                headers: OnceCell::new(),
            })),
        }
    }

    fn whole(&self, py: Python<'_>, max_bytes: Option<usize>, finish: Finish) -> PyResult<Pending> {
        let parts = self.parts.get()?;
        let max_bytes = match max_bytes {
            Some(max_bytes) => max_bytes,
            None => parts.seam.worker()?.max_fetch_body_bytes(),
        };
        // most bodies have come with their head: nothing to wait for
        let here = match &mut *parts.body.borrow_mut() {
            Body::Unread(body) => body.take_here().map(|here| to_bytes(py, &here)),
            Body::Whole(bytes) => Some(bytes.clone_ref(py)),
            Body::Reading | Body::Gone => None,
        };
        if let Some(bytes) = here {
            parts.body.replace(Body::Whole(bytes.clone_ref(py)));
            let result = if bytes.bind(py).len()? > max_bytes {
                Err(exception(py, &FetchError::too_large(max_bytes)))
            } else {
                finish(py, parts, bytes)
            };
            return Ok(Pending::done(&parts.seam, result));
        }
        Ok(Pending::new(
            &parts.seam,
            collect(Rc::clone(parts), max_bytes, finish),
        ))
    }
}

fn collect(parts: Rc<FetchParts>, max_bytes: usize, finish: Finish) -> Work {
    Box::pin(async move {
        let mut body = parts.take()?;
        let collected = body.collect(max_bytes).await;
        Python::attach(|py| match collected {
            Ok(whole) => {
                let bytes = to_bytes(py, &whole);
                parts.body.replace(Body::Whole(bytes.clone_ref(py)));
                finish(py, &parts, bytes)
            }
            Err(error) => Err(parts.broke(py, &error)),
        })
    })
}

impl FetchParts {
    /// Takes the body out while it is read.
    fn take(&self) -> PyResult<FetchedBody> {
        match self.body.replace(Body::Reading) {
            Body::Unread(body) => Ok(body),
            Body::Reading => Err(PyRuntimeError::new_err(
                "the body is read by another task, or its reading was cancelled; hint: read it in one place",
            )),
            other => {
                self.body.replace(other);
                Err(PyRuntimeError::new_err(
                    "the body is gone: it was streamed, or the response is closed; hint: read it once, within `async with`",
                ))
            }
        }
    }

    fn broke(&self, py: Python<'_>, error: &FetchError) -> PyErr {
        self.body.replace(Body::Gone);
        exception(py, error)
    }

    /// The text of a body by its `charset`, UTF-8 without one.
    fn decoded(&self, py: Python<'_>, bytes: &Py<PyAny>) -> PyResult<Py<PyAny>> {
        let kind = self.head.head.get(b"content-type").unwrap_or_default();
        let charset = String::from_utf8_lossy(kind)
            .to_ascii_lowercase()
            .split(';')
            .find_map(|part| Some(part.trim().strip_prefix("charset=")?.trim_matches('"').to_owned()))
            .unwrap_or_else(|| "utf-8".to_owned());
        let bytes = bytes.bind(py);
        let decode = intern!(py, "decode");
        let decoded = bytes.call_method1(decode, (charset, "replace"));
        // an unknown charset
        decoded
            .or_else(|_| bytes.call_method1(decode, ("utf-8", "replace")))
            .map(Bound::unbind)
    }
}

#[pymethods]
impl FetchResponse {
    /// The status.
    #[getter]
    fn status(&self) -> PyResult<u16> {
        Ok(self.parts.get()?.head.status)
    }

    /// Whether the status is 200 to 299.
    #[getter]
    fn ok(&self) -> PyResult<bool> {
        Ok((200..300).contains(&self.parts.get()?.head.status))
    }

    /// The reason phrase.
    #[getter]
    fn reason<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::decode(py, self.parts.get()?.head.reason())
    }

    /// `1.1` or `1.0`.
    #[getter]
    fn version(&self) -> PyResult<&'static str> {
        Ok(match self.parts.get()?.head.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
        })
    }

    /// The final URL after redirects; for upstreams and the gateway's own routes, the target.
    #[getter]
    fn url(&self) -> PyResult<String> {
        Ok(self.parts.get()?.url.clone())
    }

    /// How many redirects were followed.
    #[getter]
    fn redirected(&self) -> PyResult<u32> {
        Ok(self.parts.get()?.redirected)
    }

    /// The header fields.
    #[getter]
    fn headers(&self, py: Python<'_>) -> PyResult<Py<FetchHeaders>> {
        let parts = self.parts.get()?;
        if let Some(headers) = parts.headers.get() {
            return Ok(headers.clone_ref(py));
        }
        let headers = Py::new(py, FetchHeaders::new(parts.head.clone()))?;
        Ok(parts.headers.get_or_init(|| headers).clone_ref(py))
    }

    /// The whole body.
    #[pyo3(signature = (*, max_bytes = None))]
    fn body(&self, py: Python<'_>, max_bytes: Option<usize>) -> PyResult<Pending> {
        self.whole(py, max_bytes, |_, _, bytes| Ok(bytes))
    }

    /// The whole body as text.
    #[pyo3(signature = (*, max_bytes = None))]
    fn text(&self, py: Python<'_>, max_bytes: Option<usize>) -> PyResult<Pending> {
        self.whole(py, max_bytes, |py, parts, bytes| parts.decoded(py, &bytes))
    }

    /// The whole body, parsed.
    #[pyo3(signature = (*, max_bytes = None))]
    fn json(&self, py: Python<'_>, max_bytes: Option<usize>) -> PyResult<Pending> {
        self.whole(py, max_bytes, |py, _, bytes| {
            helper(py, "parsed_json")?.call1((bytes,)).map(Bound::unbind)
        })
    }

    /// The body piece by piece, as it comes.
    fn stream(&self) -> PyResult<FetchStream> {
        Ok(FetchStream {
            parts: ThreadBound::new(Rc::clone(self.parts.get()?)),
        })
    }

    /// Closes the response; the rest of its body is not read.
    fn close(&self) -> PyResult<()> {
        let old = self.parts.get()?.body.replace(Body::Gone);
        drop(old);
        Ok(())
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Pending> {
        let seam = &slf.get().parts.get()?.seam;
        Ok(Pending::done(seam, Ok(slf.clone().into_any().unbind())))
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<Pending> {
        self.close()?;
        Ok(Pending::done(&self.parts.get()?.seam, Ok(py.None())))
    }

    fn __repr__(&self) -> String {
        self.parts.get().map_or_else(
            |_| "<FetchResponse>".to_owned(),
            |parts| format!("<FetchResponse {} {}>", parts.head.status, parts.url),
        )
    }
}

/// The pieces of a fetched body, an async iterator of bytes.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct FetchStream {
    parts: ThreadBound<Rc<FetchParts>>,
}

#[pymethods]
impl FetchStream {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<Pending> {
        let parts = Rc::clone(self.parts.get()?);
        // a body that was read whole is one piece
        if matches!(&*parts.body.borrow(), Body::Whole(bytes) if bytes.bind(py).len().is_ok_and(|len| len > 0))
        {
            if let Body::Whole(bytes) = parts.body.replace(Body::Gone) {
                return Ok(Pending::done(&parts.seam, Ok(bytes)));
            }
        }
        if matches!(&*parts.body.borrow(), Body::Gone | Body::Whole(_)) {
            return Ok(Pending::done(&parts.seam, Err(PyStopAsyncIteration::new_err(()))));
        }
        let seam = Rc::clone(&parts.seam);
        let work = async move {
            let mut body = parts.take()?;
            let next = body.next().await;
            Python::attach(|py| match next {
                Ok(Some(piece)) => {
                    parts.body.replace(Body::Unread(body));
                    Ok(to_bytes(py, &piece))
                }
                Ok(None) => {
                    parts.body.replace(Body::Gone);
                    Err(PyStopAsyncIteration::new_err(()))
                }
                Err(error) => Err(parts.broke(py, &error)),
            })
        };
        Ok(Pending::new(&seam, Box::pin(work)))
    }

    /// Closes the response.
    fn aclose(&self, py: Python<'_>) -> PyResult<Pending> {
        let parts = self.parts.get()?;
        let old = parts.body.replace(Body::Gone);
        drop(old);
        Ok(Pending::done(&parts.seam, Ok(py.None())))
    }
}
