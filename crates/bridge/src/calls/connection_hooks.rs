//! Connections as what hooks are called for, which have no request yet; and what their hooks' results mean.

use std::rc::Rc;
use std::time::Instant;

use headgate_engine::{ChunkVerdict, ConnectionState, Phase, Verdict};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyContext;

use crate::calls::calling::{Call, Meaning, Subject};
use crate::calls::spec::Hook;
use crate::event_loop::heartbeat::InPython;
use crate::event_loop::link::Hold;
use crate::event_loop::report::Origin;
use crate::interpreter::gil;
use crate::views::certificate::{Certificate, Pem};
use crate::views::connection::Connection;

/// What is kept for one connection from its first hook on.
struct ConnectionViews {
    view: Py<Connection>,
    context: Py<PyContext>,
}

type Connected<'a> = Call<'a, Rc<ConnectionState>>;

impl Subject for Rc<ConnectionState> {
    type View = Connection;
    type Moment = Instant;

    /// The engine drops them when it is done.
    fn views<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, Connection>, Bound<'py, PyContext>)> {
        let mut slot = self.attachment.borrow_mut();
        if let Some(kept) = slot
            .as_ref()
            .and_then(|slot| slot.downcast_ref::<ConnectionViews>())
        {
            return Ok((kept.view.bind(py).clone(), kept.context.bind(py).clone()));
        }
        let view = Bound::new(py, Connection::new(py, self)?)?;
        let context = gil::copy_context(py)?;
        slot.replace(Box::new(ConnectionViews {
            view: view.clone().unbind(),
            context: context.clone().unbind(),
        }));
        Ok((view, context))
    }

    fn hold(&self) -> Hold {
        Hold::none()
    }

    fn origin(&self, _: Python<'_>, hook: &Hook) -> Origin {
        Origin::of_connection(&hook.name, hook.phase.name(), self)
    }

    fn in_python<'a>(&self, hook: &'a Hook) -> Option<InPython<'a>> {
        Some(InPython::new(&hook.beat, ""))
    }

    fn begins(&self) -> Instant {
        Instant::now()
    }

    fn us_since(&self, began: Instant) -> u64 {
        u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note_time(&self, _: &Hook, _: u64) {}

    fn note_late(&self, _: &Hook) {}
}

/// Nothing lets the chunk pass, bytes go on in its place.
impl Meaning<Rc<ConnectionState>> for ChunkVerdict {
    const NOTHING: Self = Self::Pass;
    const FAILED: Self = Self::Failed;

    fn of(call: &Connected<'_>, result: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(bytes) = crate::interpreter::bytes::chunk(result)? {
            return Ok(Self::Replace(bytes));
        }
        let kind = result.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "hook `{}` returned a `{kind}`; hint: return nothing to let the bytes pass, or `bytes` in their place",
            call.hook.name
        )))
    }
}

/// Hooks of connections say what they have to say on the connection and return nothing; but `client_hello` hooks may
/// return the certificate to show.
impl Meaning<Rc<ConnectionState>> for Verdict {
    const NOTHING: Self = Self::Continue;
    const FAILED: Self = Self::Failed;

    fn of(call: &Connected<'_>, result: &Bound<'_, PyAny>) -> PyResult<Self> {
        let is_hello = call.hook.phase == Phase::ClientHello;
        if is_hello && show(call, result)? {
            return Ok(Self::Continue);
        }
        let hint = if is_hello {
            "a `Certificate`, PEM, `(certificate, key)` in PEM, or the name of a configured certificate; or nothing"
        } else {
            "return nothing; `connection.refuse()` closes the connection"
        };
        let (name, kind) = (&call.hook.name, result.get_type().name()?);
        Err(PyTypeError::new_err(format!(
            "hook `{name}` returned a `{kind}`; hint: {hint}"
        )))
    }
}

/// Has the connection show what a hook returned; false if that is not a certificate.
fn show(call: &Connected<'_>, result: &Bound<'_, PyAny>) -> PyResult<bool> {
    let connection = call.subject;
    if let Ok(certificate) = result.cast_exact::<Certificate>() {
        connection.show(&certificate.get().0)
    } else if let Ok((chain, key)) = result.extract::<(Pem, Pem)>() {
        let prepared = call.seam.certificates.get(chain.bytes(), key.bytes());
        prepared.and_then(|certificate| connection.show(&certificate))
    } else if let Ok(text) = result.extract::<Pem>() {
        match std::str::from_utf8(text.bytes()) {
            Ok(name) if !name.contains("-----BEGIN") => connection.show_configured(name),
            _ => {
                let prepared = call.seam.certificates.get(text.bytes(), b"");
                prepared.and_then(|certificate| connection.show(&certificate))
            }
        }
    } else {
        return Ok(false);
    }
    .map(|()| true)
    .map_err(PyValueError::new_err)
}
