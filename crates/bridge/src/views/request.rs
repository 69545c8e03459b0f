//! The request as hooks see it. Every attribute is read from the exchange when asked for.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_engine::{Exchange, FetchTo, Protocol, Want};
use headgate_wire::{RequestHead, Version};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::event_loop::link::{request_id, Link};
use crate::event_loop::seam::Seam;
use crate::fetch::request::{begin, own_target, Options};
use crate::interpreter::gil::{self, ThreadBound};
use crate::interpreter::helper::helper;
use crate::interpreter::text;
use crate::views::client::Client;
use crate::views::headers::{busy, Headers, Side};
use crate::views::plain_path::plain_path;
use crate::views::request_body;
use crate::views::tls::{ClientCertificate, Tls};
use crate::views::upstream::{choose_upstream, chosen_upstream};
use crate::views::websocket::WebSocket;

/// A view of one request; usable from its thread, until its last `log` hook is done.
#[pyclass(frozen, weakref, module = "headgate._core")]
pub(crate) struct Request {
    /// The header fields.
    // a member and no getter: the interpreter reads it in place, and hooks read it most of all
    #[pyo3(get)]
    headers: Py<Headers>,
    parts: ThreadBound<RequestParts>,
}

struct RequestParts {
    link: Rc<Link>,
    client: RefCell<Option<Py<Client>>>,
}

impl Request {
    pub(crate) fn new(py: Python<'_>, link: &Rc<Link>) -> PyResult<Self> {
        let parts = RequestParts {
            link: Rc::clone(link),
            client: RefCell::default(),
        };
        Ok(Self {
            headers: Py::new(py, Headers::new(link, Side::Request))?,
            parts: ThreadBound::new(parts),
        })
    }

    /// Makes a finished request's view ready for another one; `None` if somebody may still hold one of its views. Else how
    /// many of them there are.
    pub(crate) fn reset(&self, py: Python<'_>) -> Option<usize> {
        let parts = self.parts.get().ok()?;
        if !gil::is_alone(self.headers.bind(py)) {
            return None;
        }
        parts.client.take();
        Some(2)
    }

    pub(crate) fn exchange(&self) -> PyResult<Rc<Exchange>> {
        self.parts.get()?.link.exchange()
    }

    /// Changes the head, which makes sense until the first attempt.
    fn change<T>(&self, change: impl FnOnce(&mut RequestHead) -> Result<(), T>) -> PyResult<()>
    where
        T: std::fmt::Display,
    {
        let exchange = self.exchange()?;
        refuse_when_sent(&exchange)?;
        let mut request = exchange.request.try_borrow_mut().map_err(|_| busy())?;
        change(&mut request).map_err(text::refused)
    }
}

#[pymethods]
impl Request {
    /// The method.
    #[getter]
    fn method<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::method(py, self.exchange()?.request.borrow().method())
    }

    #[setter]
    fn set_method(&self, method: &Bound<'_, PyString>) -> PyResult<()> {
        let method = text::encode(method)?;
        self.change(|request| request.set_method(&method))
    }

    /// Path and query as received, in origin form.
    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::decode(py, self.exchange()?.request.borrow().target())
    }

    #[setter]
    fn set_target(&self, target: &Bound<'_, PyString>) -> PyResult<()> {
        let target = text::encode(target)?;
        let at = target.iter().position(|&byte| byte == b'?');
        let (path, query) = target.split_at(at.unwrap_or(target.len()));
        let target = [&*plain_path(path)?, query].concat();
        self.change(|request| request.set_target(&target))
    }

    /// The target before the `?`, as received: still percent-encoded.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::decode(py, self.exchange()?.request.borrow().path())
    }

    #[setter]
    fn set_path(&self, path: &Bound<'_, PyString>) -> PyResult<()> {
        let path = text::encode(path)?;
        if path.contains(&b'?') {
            return Err(PyValueError::new_err(
                "a path has no `?`; hint: percent-encode it, or set `request.target` to path and query",
            ));
        }
        let path = plain_path(&path)?;
        self.change(|request| {
            let mut target = path.to_vec();
            if request.target().contains(&b'?') {
                target.push(b'?');
                target.extend_from_slice(request.query());
            }
            request.set_target(&target)
        })
    }

    /// The target after the `?`, as received; empty without one.
    #[getter]
    fn query<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::decode(py, self.exchange()?.request.borrow().query())
    }

    /// What the query says, decoded; a name may come several times.
    #[getter]
    fn query_params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        helper(py, "query_params")?.call1((self.query(py)?,))
    }

    /// The cookies by name.
    #[getter]
    fn cookies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let fields = self
            .headers
            .bind(py)
            .call_method1(intern!(py, "get_all"), ("cookie",))?;
        helper(py, "cookies")?.call1((fields,))
    }

    /// The requested authority: from an absolute target, otherwise the Host field; with the port if there is one.
    #[getter]
    fn host<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        text::decode(py, self.exchange()?.request.borrow().host())
    }

    #[setter]
    fn set_host(&self, host: &Bound<'_, PyString>) -> PyResult<()> {
        let host = text::encode(host)?;
        self.change(|request| request.set_host(&host))
    }

    /// `1.0`, `1.1`, `2` or `3`.
    #[getter]
    fn version(&self) -> PyResult<&'static str> {
        let exchange = self.exchange()?;
        let version = exchange.request.borrow().version;
        Ok(match (exchange.client.protocol, version) {
            (Protocol::Http3, _) => "3",
            (Protocol::Http2, _) => "2",
            (Protocol::Http1, Version::Http10) => "1.0",
            (Protocol::Http1, Version::Http11) => "1.1",
        })
    }

    /// `http` or `https`: how the client reached the gateway.
    #[getter]
    fn scheme(&self) -> PyResult<&'static str> {
        Ok(self.exchange()?.client.scheme)
    }

    /// The client.
    #[getter]
    fn client(&self, py: Python<'_>) -> PyResult<Py<Client>> {
        let parts = self.parts.get()?;
        if let Some(client) = &*parts.client.borrow() {
            return Ok(client.clone_ref(py));
        }
        let client = Py::new(py, Client::of(py, &*self.exchange()?))?;
        parts.client.replace(Some(client.clone_ref(py)));
        Ok(client)
    }

    /// The WebSocket that the request asks for, where hooks of phase `websocket_message` see its messages; else `None`.
    #[getter]
    fn websocket(&self) -> PyResult<Option<WebSocket>> {
        let exchange = self.exchange()?;
        let channel = exchange.known_rare().and_then(|rare| rare.websocket.get());
        Ok(channel.map(|channel| WebSocket::new(Rc::clone(channel))))
    }

    /// What was agreed in the TLS handshake; `None` on a plain connection.
    #[getter]
    fn tls(&self) -> PyResult<Option<Tls>> {
        Ok(Tls::of(&*self.exchange()?))
    }

    /// The certificate that the client has shown, whatever the verdict on it; `None` without one.
    #[getter]
    fn client_certificate(&self) -> PyResult<Option<ClientCertificate>> {
        Ok(ClientCertificate::of(&*self.exchange()?))
    }

    /// The path's parameters by name, percent-decoded; empty before a route is chosen.
    #[getter]
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.parts.get()?.link.params(py)
    }

    /// Values that the hooks of this request share.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.get()?.link.state(py)
    }

    /// The request's id, as in logs and error responses.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        request_id(py, &*self.exchange()?)
    }

    /// The chosen route's name; empty before routing.
    #[getter]
    fn route_name(&self) -> PyResult<String> {
        Ok(self.exchange()?.route_name())
    }

    /// The number of the current attempt, from 1; 0 before the first.
    #[getter]
    fn attempt(&self) -> PyResult<u32> {
        Ok(self.exchange()?.attempt.get())
    }

    /// The name of the upstream that gets the request, `None` if none does.
    #[getter]
    fn upstream(&self) -> PyResult<Option<String>> {
        Ok(chosen_upstream(&*self.exchange()?))
    }

    #[setter]
    fn set_upstream(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let exchange = self.exchange()?;
        refuse_when_sent(&exchange)?;
        choose_upstream(py, &exchange, name)
    }

    /// Asks the gateway's own routes, on behalf of this request's client.
    #[pyo3(signature = (target, /, *, method = None, headers = None, body = None, json = None, timeout = None, redirects = 0))]
    #[allow(clippy::too_many_arguments)] // why: they are keywords of Python
    fn fetch<'py>(
        &self,
        py: Python<'py>,
        target: &Bound<'py, PyString>,
        method: Option<&Bound<'py, PyString>>,
        headers: Option<&Bound<'py, PyAny>>,
        body: Option<&Bound<'py, PyAny>>,
        json: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        redirects: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Options {
            method,
            headers,
            body,
            json,
            timeout,
            redirects,
            public_only: false,
        };
        let to = FetchTo::Own(self.exchange()?, own_target(target)?);
        begin(py, &Seam::current("Request.fetch")?, to, &options)
    }

    /// The trailer fields: the client's once its body has ended. What is set before the last piece is sent with it.
    #[getter]
    fn trailers(&self) -> PyResult<Headers> {
        Ok(Headers::new(&self.parts.get()?.link, Side::RequestTrailers))
    }

    /// Reads the whole body; it is still sent on.
    #[pyo3(signature = (*, decode = false))]
    fn body<'py>(slf: &Bound<'py, Self>, decode: bool) -> PyResult<Bound<'py, PyAny>> {
        helper(slf.py(), "body")?.call1((slf, decode))
    }

    /// The whole body as text.
    fn text<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        helper(slf.py(), "text")?.call1((slf,))
    }

    /// The whole body as what its JSON says.
    fn json<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        helper(slf.py(), "json")?.call1((slf,))
    }

    /// The whole body as the fields and files of a form.
    fn form<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        helper(slf.py(), "form")?.call1((slf,))
    }

    /// The body's pieces as they come.
    #[pyo3(signature = (*, keep = true))]
    fn stream<'py>(slf: &Bound<'py, Self>, keep: bool) -> PyResult<Bound<'py, PyAny>> {
        slf.get().exchange()?;
        helper(slf.py(), "stream")?.call1((slf, keep))
    }

    /// Sends another body on.
    #[pyo3(signature = (body, /, *, content_type = None))]
    fn set_body(
        &self,
        py: Python<'_>,
        body: &Bound<'_, PyAny>,
        content_type: Option<&Bound<'_, PyString>>,
    ) -> PyResult<()> {
        let exchange = self.exchange()?;
        refuse_when_sent(&exchange)?;
        request_body::replace(py, &self.parts.get()?.link, body)?;
        if let Some(content_type) = content_type {
            let content_type = text::encode(content_type)?;
            let mut request = exchange.request.borrow_mut();
            return request
                .head
                .set(b"content-type", &content_type)
                .map_err(text::refused);
        }
        Ok(())
    }

    /// Whether it has a body, or may have one of a length that is not known yet.
    #[getter]
    fn has_body(&self) -> PyResult<bool> {
        Ok(request_body::is_there(&*self.exchange()?))
    }

    /// The body, if it is here already.
    fn _whole<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        request_body::whole(py, &*self.exchange()?)
    }

    /// Asks for the body (`whole`), or a piece of it (`piece`, or `away` if it is not to be kept).
    fn _want(&self, kind: &str, future: Py<PyAny>) -> PyResult<()> {
        let want = match kind {
            "whole" => Want::Whole,
            "piece" => Want::Piece,
            _ => Want::PieceAway,
        };
        request_body::want(&self.parts.get()?.link, want, future)
    }

    /// What is under the Content-Encoding.
    fn _decoded<'py>(&self, py: Python<'py>, body: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        request_body::decoded(py, &*self.exchange()?, body)
    }

    fn __repr__(&self) -> String {
        let Ok(exchange) = self.exchange() else {
            return "<Request finished>".to_owned();
        };
        let request = exchange.request.borrow();
        let (method, target) = (request.method(), request.target());
        format!(
            "<Request {} {}>",
            String::from_utf8_lossy(method),
            String::from_utf8_lossy(target)
        )
    }
}

fn refuse_when_sent(exchange: &Exchange) -> PyResult<()> {
    if exchange.attempt.get() == 0 {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "the request is already on its way; hint: change it in phase `rewrite` or `request`",
    ))
}
