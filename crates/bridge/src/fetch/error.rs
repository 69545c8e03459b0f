//! Failures of fetches as the exceptions of `headgate.client`.

use headgate_engine::{FetchError, FetchErrorKind};
use pyo3::intern;
use pyo3::prelude::*;

/// The exception for a failure.
pub(crate) fn exception(py: Python<'_>, error: &FetchError) -> PyErr {
    let class = match error.kind {
        FetchErrorKind::Refused => "FetchRefused",
        FetchErrorKind::Connect => "FetchConnectError",
        FetchErrorKind::Timeout => "FetchTimeout",
        FetchErrorKind::Closed => "FetchClosed",
        FetchErrorKind::Protocol => "FetchProtocolError",
        FetchErrorKind::TooLarge => "FetchTooLarge",
        FetchErrorKind::Redirect => "FetchRedirectError",
        FetchErrorKind::Aborted => "FetchError",
    };
    let made = py
        .import(intern!(py, "headgate.client"))
        .and_then(|module| module.getattr(class)?.call1((&error.message,)))
        .and_then(|exception| {
            exception.setattr(intern!(py, "retry_safe"), error.retry_safe)?;
            Ok(exception)
        });
    made.map_or_else(|broken| broken, PyErr::from_value)
}
