//! Errors of users' code as records of the Python logger `headgate.hooks`, once each, with traceback and request id.

use headgate_engine::{ConnectionState, Exchange};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyRuntimeError, PySystemExit, PyTimeoutError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::link::request_id;

/// A hook of a request, as the log names it.
#[derive(Clone)]
pub(crate) struct Origin {
    hook: String,
    phase: &'static str,
    route: String,
    request_id: String,
}

impl Origin {
    /// A hook of a request, or something else of its that is not a hook, by a name for the log.
    pub(crate) fn new(py: Python<'_>, name: &str, phase: &'static str, exchange: &Exchange) -> Self {
        Self {
            hook: name.to_owned(),
            phase,
            route: exchange.route_name(),
            request_id: request_id(py, exchange).unwrap_or_default(),
        }
    }

    /// The request's id.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// A hook of a connection, which has no route and no request: the listener stands for the route.
    pub(crate) fn of_connection(name: &str, phase: &'static str, connection: &ConnectionState) -> Self {
        Self {
            hook: name.to_owned(),
            phase,
            route: connection.listener.clone(),
            request_id: String::new(),
        }
    }

    /// The name of the hook.
    pub(crate) fn hook(&self) -> &str {
        &self.hook
    }

    /// The hook raised, or gave back nonsense.
    pub(crate) fn raised(&self, py: Python<'_>, error: &PyErr) {
        let (hook, phase) = (&self.hook, self.phase);
        let text = if error.is_instance_of::<PySystemExit>(py) {
            // it ends no process here: the hook has failed, as with any other exception
            format!("sys.exit() called in a hook: `{hook}` of phase `{phase}`")
        } else if error.is_instance_of::<CancelledError>(py) {
            format!("hook `{hook}` of phase `{phase}` was cancelled: {error}")
        } else {
            format!("hook `{hook}` of phase `{phase}` raised: {error}")
        };
        self.log(py, &text, error);
    }

    /// The hook's streamed body raised.
    pub(crate) fn body_raised(&self, py: Python<'_>, error: &PyErr) {
        self.log(
            py,
            &format!("the body streamed by hook `{}` raised: {error}", self.hook),
            error,
        );
    }

    /// The hook was cancelled for its deadline.
    pub(crate) fn was_late(&self, py: Python<'_>, deadline_ms: u64) {
        let text = format!(
            "hook `{}` of phase `{}` took over {deadline_ms} ms",
            self.hook, self.phase
        );
        self.log(
            py,
            &text,
            &PyTimeoutError::new_err("hint: raise the hook's deadline, or make the hook faster"),
        );
    }

    /// The hook raised after its result was no longer awaited. Being cancelled is expected.
    pub(crate) fn raised_late(&self, py: Python<'_>, error: &PyErr) {
        if !error.is_instance_of::<CancelledError>(py) {
            self.log(
                py,
                &format!("hook `{}` raised after it was cancelled: {error}", self.hook),
                error,
            );
        }
    }

    /// The bridge itself failed; the panic's text went to stderr.
    pub(crate) fn panicked(&self, py: Python<'_>) {
        let error = PyRuntimeError::new_err("panic; hint: please report this");
        self.log(
            py,
            &format!("the bridge panicked in hook `{}`", self.hook),
            &error,
        );
    }

    fn log(&self, py: Python<'_>, text: &str, error: &PyErr) {
        if let Err(broken) = self.try_log(py, text, error) {
            broken.write_unraisable(py, None);
        }
    }

    fn try_log(&self, py: Python<'_>, text: &str, error: &PyErr) -> PyResult<()> {
        let logger = py
            .import(intern!(py, "logging"))?
            .call_method1("getLogger", ("headgate.hooks",))?;
        let extra = PyDict::new(py);
        extra.set_item("hook", &self.hook)?;
        extra.set_item("phase", self.phase)?;
        extra.set_item("route", &self.route)?;
        extra.set_item("request_id", &self.request_id)?;
        let options = PyDict::new(py);
        // with its traceback, which `value` would leave behind
        options.set_item("exc_info", error.clone_ref(py).into_value(py))?;
        options.set_item("extra", extra)?;
        logger.call_method("error", ("%s", text), Some(&options))?;
        Ok(())
    }
}
