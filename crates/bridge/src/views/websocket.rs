//! A WebSocket and its messages as hooks see them.

use std::rc::Rc;

use headgate_engine::websocket::{Channel, Message, Party, QueueFull};
use pyo3::exceptions::{PyConnectionError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::interpreter::bytes::chunk;
use crate::interpreter::gil::ThreadBound;

/// A message on its way.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct WebSocketMessage {
    /// Text is `str`, anything else `bytes`.
    data: Py<PyAny>,
    /// Whether the client sent it; otherwise the server did.
    from_client: bool,
}

impl WebSocketMessage {
    pub(crate) fn new(py: Python<'_>, message: &Message, from: Party) -> Self {
        let data = match message {
            Message::Text(text) => PyString::new(py, text).into_any(),
            Message::Binary(bytes) => PyBytes::new(py, bytes).into_any(),
        };
        Self {
            data: data.unbind(),
            from_client: from == Party::Client,
        }
    }
}

#[pymethods]
impl WebSocketMessage {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let data = self.data.bind(py);
        let kind = if data.is_instance_of::<PyString>() {
            "characters"
        } else {
            "bytes"
        };
        let whose = if self.from_client { "client" } else { "server" };
        Ok(format!(
            "<WebSocketMessage of {} {kind} from the {whose}>",
            data.len()?
        ))
    }
}

/// What hooks hold of a WebSocket. It may be kept beyond its request, and is then closed.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct WebSocket {
    channel: ThreadBound<Rc<Channel>>,
}

impl WebSocket {
    pub(crate) fn new(channel: Rc<Channel>) -> Self {
        Self {
            channel: ThreadBound::new(channel),
        }
    }

    fn send(&self, to: Party, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = message(data)?.ok_or_else(|| {
            PyTypeError::new_err("a message must be text or bytes; hint: encode it, for instance as JSON")
        })?;
        match self.channel.get()?.send(to, message) {
            Ok(()) => Ok(()),
            Err(QueueFull::Ended) => Err(PyConnectionError::new_err(
                "the WebSocket is closed; hint: ask `is_open`",
            )),
            Err(QueueFull::Full) => Err(overloaded(
                data.py(),
                "the WebSocket's peers read their messages too slowly; hint: close it, or raise `websocket.max_queued_bytes`",
            )),
        }
    }
}

#[pymethods]
impl WebSocket {
    /// Sends a message to the client, before those that come after it. It does not pass hooks.
    #[pyo3(signature = (data, /))]
    fn to_client(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send(Party::Client, data)
    }

    /// Sends a message to the server. It does not pass hooks.
    #[pyo3(signature = (data, /))]
    fn to_server(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.send(Party::Server, data)
    }

    /// Closes both sides. The first order counts.
    #[pyo3(signature = (code = 1000, reason = "", /))]
    fn close(&self, code: u16, reason: &str) -> PyResult<()> {
        let refused = |error: &dyn std::fmt::Display| {
            PyValueError::new_err(error.to_string().replace("\nhint:", "; hint:"))
        };
        self.channel
            .get()?
            .close(code, reason)
            .map_err(|error| refused(&error))
    }

    /// Two views of one WebSocket are the same.
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else {
            return Ok(false);
        };
        Ok(Rc::ptr_eq(self.channel.get()?, other.get().channel.get()?))
    }

    fn __hash__(&self) -> PyResult<usize> {
        Ok(Rc::as_ptr(self.channel.get()?).addr())
    }

    /// Whether messages may still be sent: it has not ended, and no side has closed it.
    #[getter]
    fn is_open(&self) -> PyResult<bool> {
        Ok(self.channel.get()?.is_open())
    }

    /// `client`, `server` or `gateway`, whoever ended it; `None` before.
    #[getter]
    fn closed_by(&self) -> PyResult<Option<&'static str>> {
        Ok(self.channel.get()?.closed_by().map(Party::name))
    }

    /// The code it was closed with; `None` before, and where a side left without one.
    #[getter]
    fn close_code(&self) -> PyResult<Option<u16>> {
        Ok(self.channel.get()?.close_code())
    }

    fn __repr__(&self) -> PyResult<String> {
        let channel = self.channel.get()?;
        Ok(match (channel.closed_by(), channel.close_code()) {
            (None, _) => "<WebSocket>".to_owned(),
            (Some(party), None) => format!("<WebSocket left by the {}>", party.name()),
            (Some(party), Some(code)) => format!("<WebSocket closed by the {} with {code}>", party.name()),
        })
    }
}

/// Text or bytes as a message.
pub(crate) fn message(value: &Bound<'_, PyAny>) -> PyResult<Option<Message>> {
    if let Ok(text) = value.cast::<PyString>() {
        // lone surrogates are no UTF-8 and raise
        return Ok(Some(Message::Text(text.to_str()?.into())));
    }
    Ok(chunk(value)?.map(|bytes| Message::Binary(bytes.into())))
}

fn overloaded(py: Python<'_>, text: &'static str) -> PyErr {
    let class = py
        .import(intern!(py, "headgate.background.errors"))
        .and_then(|module| module.getattr(intern!(py, "Overloaded")));
    match class.and_then(|class| class.call1((text,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
