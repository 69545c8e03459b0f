//! Calling the hooks of connections: as those of requests, but a connection has no request yet.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::time::{Duration, Instant};

use headgate_engine::{ChunkStep, ConnectionState, Filtered, LocalFuture, Step, Verdict};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext};

use crate::connection_view::Connection;
use crate::gil::{self, Entered};
use crate::heartbeat::InPython;
use crate::link::Hold;
use crate::report::Origin;
use crate::seam::Seam;
use crate::spec::{Hook, OnError};
use crate::step::{first_step, to_coroutine, First};
use crate::waiting::{Outcome, Waiting};

/// What is kept for one connection from its first hook on.
struct Attachment {
    view: Py<Connection>,
    context: Py<PyContext>,
}

/// What the results of one sort of hook mean.
struct Meaning<T> {
    of: fn(&Hook, &Bound<'_, PyAny>) -> PyResult<T>,
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
    match begin(py, seam, hook, connection, None, &VERDICT) {
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
    match begin(py, seam, hook, connection, Some(bytes), &FILTERED) {
        Begun::Ready(filtered) => ChunkStep::Ready(filtered),
        Begun::Waiting(filtered) => ChunkStep::Waiting(filtered),
    }
}

fn begin<T: 'static>(
    py: Python<'_>,
    seam: &Rc<Seam>,
    hook: &Rc<Hook>,
    connection: &Rc<ConnectionState>,
    bytes: Option<&[u8]>,
    meaning: &'static Meaning<T>,
) -> Begun<T> {
    let began = Instant::now();
    let step = guarded(py, hook, connection, || {
        run(py, seam, hook, connection, bytes, meaning, began)
    });
    let us = micros(began);
    hook.times.ran(us);
    if !matches!(step, Some(Begun::Waiting(_))) {
        hook.times.ended(us);
    }
    step.unwrap_or_else(|| Begun::Ready((meaning.failed)(hook)))
}

fn run<T: 'static>(
    py: Python<'_>,
    seam: &Rc<Seam>,
    hook: &Rc<Hook>,
    connection: &Rc<ConnectionState>,
    bytes: Option<&[u8]>,
    meaning: &'static Meaning<T>,
    began: Instant,
) -> PyResult<Begun<T>> {
    let (view, context) = views(py, connection)?;
    let entered = Entered::new(&context)?;
    let function = hook.function.bind(py);
    let result = match bytes {
        None => function.call1((view,))?,
        Some(bytes) => function.call1((view, PyBytes::new(py, bytes)))?,
    };
    // nothing is the common answer, and no coroutine
    let coroutine = if result.is_none() {
        None
    } else {
        to_coroutine(seam, &result)?
    };
    let Some(coroutine) = coroutine else {
        return (meaning.of)(hook, &result).map(Begun::Ready);
    };
    let first = first_step(seam, &coroutine, &context, || {
        let (hook, connection) = (Rc::clone(hook), Rc::clone(connection));
        Box::new(move |_| (Origin::of_connection(&hook, &connection), Hold::none()))
    })?;
    drop(entered);
    match first {
        First::Done(result) => (meaning.of)(hook, &result).map(Begun::Ready),
        First::Waits(waiting) => {
            let (hook, connection) = (hook.clone(), connection.clone());
            Ok(Begun::Waiting(wait(waiting, hook, connection, meaning, began)))
        }
    }
}

/// Nothing lets the chunk pass, bytes go on in its place.
fn filtered(hook: &Hook, result: &Bound<'_, PyAny>) -> PyResult<Filtered> {
    if result.is_none() {
        return Ok(Filtered::Pass);
    }
    if let Some(bytes) = crate::body_source::chunk(result)? {
        return Ok(Filtered::Replace(bytes));
    }
    let kind = result.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "hook `{}` returned a `{kind}`; hint: return nothing to let the bytes pass, or `bytes` in their place",
        hook.name
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

/// Hooks of connections say what they have to say on the connection, and return nothing.
fn verdict(hook: &Hook, result: &Bound<'_, PyAny>) -> PyResult<Verdict> {
    if result.is_none() {
        return Ok(Verdict::Continue);
    }
    let kind = result.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "hook `{}` returned a `{kind}`; hint: return nothing; `connection.refuse()` closes the connection",
        hook.name
    )))
}

fn wait<T: 'static>(
    waiting: Waiting,
    hook: Rc<Hook>,
    connection: Rc<ConnectionState>,
    meaning: &'static Meaning<T>,
    began: Instant,
) -> LocalFuture<'static, T> {
    Box::pin(async move {
        let outcome = waiting.outcome(Duration::from_millis(hook.deadline_ms)).await;
        hook.times.ended(micros(began));
        Python::attach(|py| match outcome {
            Outcome::Ended(ended) => guarded(py, &hook, &connection, || (meaning.of)(&hook, ended?.bind(py)))
                .unwrap_or_else(|| (meaning.failed)(&hook)),
            Outcome::Late => {
                hook.times.failed();
                Origin::of_connection(&hook, &connection).was_late(py, hook.deadline_ms);
                (meaning.failed)(&hook)
            }
        })
    })
}

fn guarded<T>(
    py: Python<'_>,
    hook: &Hook,
    connection: &ConnectionState,
    work: impl FnOnce() -> PyResult<T>,
) -> Option<T> {
    let _beat = InPython::new(&hook.beat, "");
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            hook.times.failed();
            Origin::of_connection(hook, connection).raised(py, &error);
            None
        }
        Err(_) => {
            hook.times.failed();
            Origin::of_connection(hook, connection).panicked(py);
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
