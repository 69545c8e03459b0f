//! Calling the hooks of connections: as those of requests, but a connection has no request yet.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::time::{Duration, Instant};

use headgate_engine::{ChunkStep, ConnectionState, Filtered, LocalFuture, Step, Verdict};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext};

use crate::certificate_view::{Certificate, Pem};
use crate::connection_view::Connection;
use crate::gil::{self, Entered};
use crate::heartbeat::InPython;
use crate::link::Hold;
use crate::report::Origin;
use crate::seam::Seam;
use crate::spec::{Hook, OnError, Phase};
use crate::step::{first_step, to_coroutine, First};
use crate::waiting::{Outcome, Waiting};

/// What is kept for one connection from its first hook on.
struct Attachment {
    view: Py<Connection>,
    context: Py<PyContext>,
}

/// One call of a hook for a connection.
struct Call {
    seam: Rc<Seam>,
    hook: Rc<Hook>,
    connection: Rc<ConnectionState>,
}

/// What the results of one sort of hook mean.
struct Meaning<T> {
    of: fn(&Call, &Bound<'_, PyAny>) -> PyResult<T>,
    /// What it is when the hook raised or was late.
    failed: fn(&Hook) -> T,
}

const VERDICT: Meaning<Verdict> = Meaning { of: verdict, failed };
const FILTERED: Meaning<Filtered> = Meaning {
    of: filtered,
    failed: not_filtered,
};

/// The first step of a hook, taken inline.
enum Begun<T> {
    Ready(T),
    Waiting(LocalFuture<'static, T>),
}

/// Runs one hook of a connection.
pub(crate) fn call(
    py: Python<'_>,
    seam: &Rc<Seam>,
    hook: &Rc<Hook>,
    connection: &Rc<ConnectionState>,
) -> Step {
    match begin(py, Call::new(seam, hook, connection), None, &VERDICT) {
        Begun::Ready(verdict) => Step::Ready(verdict),
        Begun::Waiting(verdict) => Step::Waiting(verdict),
    }
}

/// Shows one hook a chunk.
pub(crate) fn chunk(
    py: Python<'_>,
    seam: &Rc<Seam>,
    hook: &Rc<Hook>,
    connection: &Rc<ConnectionState>,
    bytes: &[u8],
) -> ChunkStep {
    match begin(py, Call::new(seam, hook, connection), Some(bytes), &FILTERED) {
        Begun::Ready(filtered) => ChunkStep::Ready(filtered),
        Begun::Waiting(filtered) => ChunkStep::Waiting(filtered),
    }
}

impl Call {
    fn new(seam: &Rc<Seam>, hook: &Rc<Hook>, connection: &Rc<ConnectionState>) -> Self {
        Self {
            seam: Rc::clone(seam),
            hook: Rc::clone(hook),
            connection: Rc::clone(connection),
        }
    }

    fn origin(&self) -> Origin {
        Origin::of_connection(&self.hook, &self.connection)
    }
}

fn begin<T: 'static>(
    py: Python<'_>,
    call: Call,
    bytes: Option<&[u8]>,
    meaning: &'static Meaning<T>,
) -> Begun<T> {
    let began = Instant::now();
    let hook = Rc::clone(&call.hook);
    let step = guarded(py, &call, || run(py, &call, bytes, meaning));
    let us = micros(began);
    hook.times.ran(us);
    match step {
        Some(Stepped::Waiting(waiting)) => Begun::Waiting(wait(waiting, call, meaning, began)),
        Some(Stepped::Done(result)) => {
            hook.times.ended(us);
            Begun::Ready(result)
        }
        None => {
            hook.times.ended(us);
            Begun::Ready((meaning.failed)(&hook))
        }
    }
}

/// What a first step came to.
enum Stepped<T> {
    Done(T),
    Waiting(Waiting),
}

fn run<T>(
    py: Python<'_>,
    call: &Call,
    bytes: Option<&[u8]>,
    meaning: &'static Meaning<T>,
) -> PyResult<Stepped<T>> {
    let (view, context) = views(py, &call.connection)?;
    let entered = Entered::new(&context)?;
    let function = call.hook.function.bind(py);
    let result = match bytes {
        None => function.call1((view,))?,
        Some(bytes) => function.call1((view, PyBytes::new(py, bytes)))?,
    };
    // nothing is the common answer, and no coroutine
    let coroutine = if result.is_none() {
        None
    } else {
        to_coroutine(&call.seam, &result)?
    };
    let Some(coroutine) = coroutine else {
        return (meaning.of)(call, &result).map(Stepped::Done);
    };
    let first = first_step(&call.seam, &coroutine, &context, || {
        let origin = call.origin();
        Box::new(move |_| (origin, Hold::none()))
    })?;
    drop(entered);
    match first {
        First::Done(result) => (meaning.of)(call, &result).map(Stepped::Done),
        First::Waits(waiting) => Ok(Stepped::Waiting(waiting)),
    }
}

/// Nothing lets the chunk pass, bytes go on in its place.
fn filtered(call: &Call, result: &Bound<'_, PyAny>) -> PyResult<Filtered> {
    if result.is_none() {
        return Ok(Filtered::Pass);
    }
    if let Some(bytes) = crate::body_source::chunk(result)? {
        return Ok(Filtered::Replace(bytes));
    }
    let kind = result.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "hook `{}` returned a `{kind}`; hint: return nothing to let the bytes pass, or `bytes` in their place",
        call.hook.name
    )))
}

fn not_filtered(hook: &Hook) -> Filtered {
    match hook.on_error {
        OnError::Closed => Filtered::Failed,
        OnError::Open => Filtered::Pass,
    }
}

/// The view and the context of a connection, made at its first hook. The engine drops them when it is done.
fn views<'py>(
    py: Python<'py>,
    connection: &Rc<ConnectionState>,
) -> PyResult<(Bound<'py, Connection>, Bound<'py, PyContext>)> {
    let mut slot = connection.attachment.borrow_mut();
    if let Some(kept) = slot.as_ref().and_then(|slot| slot.downcast_ref::<Attachment>()) {
        return Ok((kept.view.bind(py).clone(), kept.context.bind(py).clone()));
    }
    let view = Bound::new(py, Connection::new(py, connection)?)?;
    let context = gil::copy_context(py)?;
    slot.replace(Box::new(Attachment {
        view: view.clone().unbind(),
        context: context.clone().unbind(),
    }));
    Ok((view, context))
}

/// Hooks of connections say what they have to say on the connection and return nothing; but `client_hello` hooks may
/// return the certificate to show.
fn verdict(call: &Call, result: &Bound<'_, PyAny>) -> PyResult<Verdict> {
    if result.is_none() {
        return Ok(Verdict::Continue);
    }
    let is_hello = call.hook.phase == Phase::ClientHello;
    if is_hello && show(call, result)? {
        return Ok(Verdict::Continue);
    }
    let hint = if is_hello {
        "a `Certificate`, PEM, `(chain, key)` in PEM, or the name of a configured certificate; or nothing"
    } else {
        "return nothing; `connection.refuse()` closes the connection"
    };
    let (name, kind) = (&call.hook.name, result.get_type().name()?);
    Err(PyTypeError::new_err(format!(
        "hook `{name}` returned a `{kind}`; hint: {hint}"
    )))
}

/// Has the connection show what a hook returned; false if that is no certificate.
fn show(call: &Call, result: &Bound<'_, PyAny>) -> PyResult<bool> {
    let connection = &call.connection;
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

fn wait<T: 'static>(
    waiting: Waiting,
    call: Call,
    meaning: &'static Meaning<T>,
    began: Instant,
) -> LocalFuture<'static, T> {
    Box::pin(async move {
        let hook = &call.hook;
        let outcome = waiting.outcome(Duration::from_millis(hook.deadline_ms)).await;
        hook.times.ended(micros(began));
        Python::attach(|py| match outcome {
            Outcome::Ended(ended) => guarded(py, &call, || (meaning.of)(&call, ended?.bind(py)))
                .unwrap_or_else(|| (meaning.failed)(hook)),
            Outcome::Late => {
                hook.times.failed();
                call.origin().was_late(py, hook.deadline_ms);
                (meaning.failed)(hook)
            }
        })
    })
}

fn guarded<T>(py: Python<'_>, call: &Call, work: impl FnOnce() -> PyResult<T>) -> Option<T> {
    let _beat = InPython::new(&call.hook.beat, "");
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            call.hook.times.failed();
            call.origin().raised(py, &error);
            None
        }
        Err(_) => {
            call.hook.times.failed();
            call.origin().panicked(py);
            None
        }
    }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn failed(hook: &Hook) -> Verdict {
    match hook.on_error {
        OnError::Closed => Verdict::Failed,
        OnError::Open => Verdict::Continue,
    }
}
