//! One step of a coroutine, with its task as the current one; and what becomes of the task at its end.

use pyo3::exceptions::PyBaseException;
use pyo3::intern;
use pyo3::prelude::*;

use crate::event_loop::hook_task::HookTask;
use crate::event_loop::seam::Seam;
use crate::interpreter::gil::{self, Sent};

/// Resumes a coroutine with its task as the current one.
pub(crate) fn step<'py>(seam: &Seam, task: &HookTask, coroutine: &Bound<'py, PyAny>) -> PyResult<Sent<'py>> {
    let py = coroutine.py();
    seam.enter_task.bind(py).call1((&seam.asyncio_loop, &task.task))?;
    let sent = gil::send_none(coroutine);
    seam.leave_task.bind(py).call1((&seam.asyncio_loop, &task.task))?;
    sent
}

/// Keeps the task for the next step, or marks it done for whoever holds it.
pub(crate) fn retire(
    seam: &Seam,
    py: Python<'_>,
    task: HookTask,
    result: Option<&Bound<'_, PyAny>>,
    exception: Option<&Bound<'_, PyBaseException>>,
) -> PyResult<()> {
    if let Err(task) = seam.give_back(py, task) {
        task.task
            .bind(py)
            .call_method1(intern!(py, "conclude"), (result, exception))?;
    }
    Ok(())
}
