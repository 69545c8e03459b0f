//! An async hook's first step: inline, under a real current task.

use std::rc::Rc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext, PyString};

use crate::event_loop::seam::Seam;
use crate::event_loop::stepping::{retire, step};
use crate::event_loop::waiting::{Adoption, WaitingTask};
use crate::interpreter::gil::{self, Sent};

/// What came of a first step.
pub(crate) enum First<'py> {
    /// The coroutine ended without waiting.
    Done(Bound<'py, PyAny>),
    /// It goes on later.
    Waits(WaitingTask),
}

/// The coroutine to step, if a hook returned something to await.
pub(crate) fn to_coroutine<'py>(
    seam: &Seam,
    result: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if gil::is_coroutine(result) {
        return Ok(Some(result.clone()));
    }
    // the common ones first: asking whether something can be awaited costs an exception where it cannot
    if result.is_exact_instance_of::<PyBytes>() || result.is_exact_instance_of::<PyString>() {
        return Ok(None);
    }
    let py = result.py();
    if !result.get_type().hasattr(intern!(py, "__await__"))? {
        return Ok(None);
    }
    seam.tasks
        .bind(py)
        .getattr(intern!(py, "wait_for"))?
        .call1((result,))
        .map(Some)
}

/// Steps a coroutine in `context`, which is entered. `adoption` is asked for, should it wait.
pub(crate) fn first_step<'py>(
    seam: &Rc<Seam>,
    coroutine: &Bound<'py, PyAny>,
    context: &Bound<'py, PyContext>,
    adoption: impl FnOnce() -> Adoption,
) -> PyResult<First<'py>> {
    let py = coroutine.py();
    let task = seam.task(py)?;
    task.prepare(coroutine, context)?;
    match step(seam, &task, coroutine) {
        Ok(Sent::Returned(result)) => {
            retire(seam, py, task, Some(&result), None)?;
            Ok(First::Done(result))
        }
        Ok(Sent::Yielded(waits_for)) => {
            WaitingTask::begin(seam, task, coroutine, context, &waits_for, adoption()).map(First::Waits)
        }
        Err(error) => {
            retire(seam, py, task, None, Some(error.value(py)))?;
            Err(error)
        }
    }
}
