//! The asyncio task under which a hook's coroutine is stepped.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::interpreter::gil;

/// A `headgate._tasks.HookTask` with the parts that each first step sets.
///
/// Most steps end without waiting, and no code keeps their task: then it serves the next one. It is what makes an
/// `async def` cost about as much as a `def`.
pub(crate) struct HookTask {
    pub(crate) task: Py<PyAny>,
    attributes: Py<PyDict>,
    callbacks: Py<PyList>,
}

/// `_loop`, `_callbacks`, `_coro` and `_context`; a task with more of them was changed by somebody.
const ATTRIBUTES: usize = 4;

impl HookTask {
    /// Of the module `headgate._tasks`, for a loop.
    pub(crate) fn new(tasks: &Bound<'_, PyAny>, asyncio_loop: &Py<PyAny>) -> PyResult<Self> {
        let py = tasks.py();
        let task = tasks.getattr(intern!(py, "HookTask"))?.call1((asyncio_loop,))?;
        let attributes = task.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        let callbacks = task.getattr(intern!(py, "_callbacks"))?.cast_into::<PyList>()?;
        Ok(Self {
            task: task.unbind(),
            attributes: attributes.unbind(),
            callbacks: callbacks.unbind(),
        })
    }

    /// Makes it the task of a coroutine and a context.
    pub(crate) fn prepare(&self, coroutine: &Bound<'_, PyAny>, context: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = coroutine.py();
        let attributes = self.attributes.bind(py);
        attributes.set_item(intern!(py, "_coro"), coroutine)?;
        attributes.set_item(intern!(py, "_context"), context)
    }

    /// Says what the task waits for, so that cancelling the task cancels that.
    pub(crate) fn waits_for(&self, py: Python<'_>, waiter: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let (attributes, name) = (self.attributes.bind(py), intern!(py, "_fut_waiter"));
        match waiter {
            Some(waiter) => attributes.set_item(name, waiter),
            // absent it is the class's: None
            None if attributes.contains(name)? => attributes.del_item(name),
            None => Ok(()),
        }
    }

    /// Whether the task was cancelled in its own step; asked once.
    pub(crate) fn takes_cancel(&self, py: Python<'_>) -> PyResult<bool> {
        let (attributes, name) = (self.attributes.bind(py), intern!(py, "_must_cancel"));
        match attributes.get_item(name)? {
            Some(must) if must.is_truthy()? => attributes.del_item(name).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Whether only its keeper has a reference to it.
    pub(crate) fn is_untouched(&self, py: Python<'_>) -> bool {
        let task = self.task.bind(py);
        gil::is_alone(task)
            && self.attributes.bind(py).len() == ATTRIBUTES
            && self.callbacks.bind(py).is_empty()
            && task
                .getattr(intern!(py, "__weakref__"))
                .is_ok_and(|reference| reference.is_none())
    }
}
