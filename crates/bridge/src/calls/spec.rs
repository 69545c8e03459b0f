//! The table of hooks that travels beside a snapshot.

use std::rc::Rc;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::calls::hook_times::HookTimes;
use crate::event_loop::heartbeat::Beat;

/// One hook as Python describes it; any object with these attributes will do.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct HookSpec {
    phase: String,
    function: Py<PyAny>,
    is_async: bool,
    deadline_ms: u64,
    on_error: String,
    name: String,
}

#[pymethods]
impl HookSpec {
    #[new]
    #[pyo3(signature = (*, phase, function, is_async, deadline_ms, on_error, name))]
    fn new(
        phase: String,
        function: Py<PyAny>,
        is_async: bool,
        deadline_ms: u64,
        on_error: String,
        name: String,
    ) -> PyResult<Self> {
        Phase::from_name(&phase)?;
        OnError::from_name(&on_error)?;
        Ok(Self {
            phase,
            function,
            is_async,
            deadline_ms,
            on_error,
            name,
        })
    }

    fn __repr__(&self) -> String {
        format!("HookSpec(phase='{}', name='{}')", self.phase, self.name)
    }
}

/// What [`HookSpec`] says, read once.
///
/// Whether a hook is async is not asked for: a `def` that returns an awaitable is one too, so the result decides.
pub(crate) struct Hook {
    pub(crate) phase: Phase,
    pub(crate) function: Py<PyAny>,
    pub(crate) deadline_ms: u64,
    pub(crate) on_error: OnError,
    pub(crate) name: Rc<str>,
    pub(crate) times: HookTimes,
    pub(crate) beat: Arc<Beat>,
}

impl Hook {
    pub(crate) fn read(spec: &Bound<'_, PyAny>, beat: &Arc<Beat>) -> PyResult<Self> {
        let function = spec.getattr("function")?;
        if !function.is_callable() {
            return Err(PyValueError::new_err(format!(
                "a hook's function is `{function}`, which cannot be called"
            )));
        }
        Ok(Self {
            phase: Phase::from_name(&spec.getattr("phase")?.extract::<PyBackedStr>()?)?,
            function: function.unbind(),
            deadline_ms: spec.getattr("deadline_ms")?.extract()?,
            on_error: OnError::from_name(&spec.getattr("on_error")?.extract::<PyBackedStr>()?)?,
            name: Rc::from(&*spec.getattr("name")?.extract::<PyBackedStr>()?),
            times: HookTimes::default(),
            beat: Arc::clone(beat),
        })
    }
}

/// The phases that the engine calls hooks in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Connect,
    ClientHello,
    ClientData,
    ServerData,
    Rewrite,
    Request,
    RequestBody,
    Balance,
    UpstreamRequest,
    Response,
    ResponseBody,
    WebSocketMessage,
    Error,
    Log,
    /// A matcher function of a route.
    Match,
}

impl Phase {
    const NAMES: [(&'static str, Self); 15] = [
        ("connect", Self::Connect),
        ("client_hello", Self::ClientHello),
        ("client_data", Self::ClientData),
        ("server_data", Self::ServerData),
        ("rewrite", Self::Rewrite),
        ("request", Self::Request),
        ("request_body", Self::RequestBody),
        ("balance", Self::Balance),
        ("upstream_request", Self::UpstreamRequest),
        ("response", Self::Response),
        ("response_body", Self::ResponseBody),
        ("websocket_message", Self::WebSocketMessage),
        ("error", Self::Error),
        ("log", Self::Log),
        ("match", Self::Match),
    ];

    fn from_name(name: &str) -> PyResult<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, phase)| *phase)
            .ok_or_else(|| {
                let known = Self::NAMES.map(|(name, _)| name).join(", ");
                PyValueError::new_err(format!(
                    "`{name}` is not a phase of a request; hint: one of {known}"
                ))
            })
    }

    /// The name in Python.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, phase)| *phase == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether its hooks may be called many times for one request.
    pub(crate) fn repeats(self) -> bool {
        self.is_of_body() || self == Self::WebSocketMessage
    }

    /// Whether its hooks are called once for each piece of a body.
    pub(crate) fn is_of_body(self) -> bool {
        matches!(self, Self::RequestBody | Self::ResponseBody)
    }

    /// Whether a hook of this phase may respond the request.
    pub(crate) fn may_respond(self) -> bool {
        !matches!(
            self,
            Self::Connect
                | Self::ClientHello
                | Self::ClientData
                | Self::ServerData
                | Self::WebSocketMessage
                | Self::Log
                | Self::Match
        )
    }
}

/// What becomes of a request whose hook fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnError {
    /// It is answered with 500.
    Closed,
    /// It goes on as if the hook were not there.
    Open,
}

impl OnError {
    fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "closed" => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(PyValueError::new_err(format!(
                "`{name}` is not a valid value of `on_error`; hint: `closed` or `open`"
            ))),
        }
    }
}
