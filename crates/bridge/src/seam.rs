//! What all hooks of one loop share: asyncio's queues, the spare task, and the way to wake `Core.poll`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet};
use tokio::sync::Notify;

use crate::gil;

/// The seam between tokio and one asyncio loop.
pub(crate) struct Seam {
    pub(crate) asyncio_loop: Py<PyAny>,
    pub(crate) enter_task: Py<PyAny>,
    pub(crate) leave_task: Py<PyAny>,
    pub(crate) tasks: Py<PyModule>,
    /// The tasks that close streams.
    pub(crate) closing: Py<PySet>,
    wake: Arc<Notify>,
    queues: RefCell<Option<Queues>>,
    scheduled: Cell<usize>,
    spare: RefCell<Option<HookTask>>,
}

/// asyncio's two queues. Looked up anew in each poll: asyncio replaces the timers' one now and then, outside of polls.
struct Queues {
    ready: Py<PyAny>,
    timers: Py<PyAny>,
}

impl Seam {
    pub(crate) fn new(asyncio_loop: &Bound<'_, PyAny>, wake: Arc<Notify>) -> PyResult<Self> {
        let py = asyncio_loop.py();
        let asyncio = py.import("asyncio.tasks")?;
        Ok(Self {
            asyncio_loop: asyncio_loop.clone().unbind(),
            enter_task: asyncio.getattr("_enter_task")?.unbind(),
            leave_task: asyncio.getattr("_leave_task")?.unbind(),
            tasks: py.import("headgate._tasks")?.unbind(),
            closing: PySet::empty(py)?.unbind(),
            wake,
            queues: RefCell::new(None),
            scheduled: Cell::new(0),
            spare: RefCell::new(None),
        })
    }

    /// Looks at asyncio's queues as a poll begins.
    pub(crate) fn begin_poll(&self, py: Python<'_>) -> PyResult<()> {
        let asyncio_loop = self.asyncio_loop.bind(py);
        let ready = asyncio_loop.getattr(intern!(py, "_ready"))?;
        let timers = asyncio_loop.getattr(intern!(py, "_scheduled"))?;
        self.scheduled.set(timers.len()?);
        self.queues.replace(Some(Queues {
            ready: ready.unbind(),
            timers: timers.unbind(),
        }));
        Ok(())
    }

    /// Makes `Core.poll` return if asyncio got something to do: a callback, or a timer that may be due first.
    pub(crate) fn notice_work(&self, py: Python<'_>) {
        let queues = self.queues.borrow();
        let Some(queues) = queues.as_ref() else { return };
        let has_callbacks = queues.ready.bind(py).len().is_ok_and(|count| count > 0);
        let timers = queues.timers.bind(py).len().unwrap_or_default();
        if has_callbacks || self.scheduled.replace(timers) != timers {
            self.wake.notify_one();
        }
    }

    /// A task for a first step: the spare one, or a new one.
    pub(crate) fn task(&self, py: Python<'_>) -> PyResult<HookTask> {
        match self.spare.take() {
            Some(task) => Ok(task),
            None => HookTask::new(self, py),
        }
    }

    /// Keeps a task for the next first step, if nobody else has seen it.
    pub(crate) fn give_back(&self, py: Python<'_>, task: HookTask) -> Result<(), HookTask> {
        if !task.is_untouched(py) {
            return Err(task);
        }
        self.spare.replace(Some(task));
        Ok(())
    }
}

/// A `headgate._tasks.HookTask` with the parts that each first step sets.
///
/// Most steps end without waiting, and nobody keeps their task: then it serves the next one. It is what makes an
/// `async def` cost about as much as a `def`.
pub(crate) struct HookTask {
    pub(crate) task: Py<PyAny>,
    attributes: Py<PyDict>,
    callbacks: Py<PyList>,
}

/// `_loop`, `_callbacks`, `_coro` and `_context`; a task with more of them was changed by somebody.
const ATTRIBUTES: usize = 4;

impl HookTask {
    fn new(seam: &Seam, py: Python<'_>) -> PyResult<Self> {
        let class = seam.tasks.bind(py).getattr(intern!(py, "HookTask"))?;
        let task = class.call1((&seam.asyncio_loop,))?;
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

    fn is_untouched(&self, py: Python<'_>) -> bool {
        let task = self.task.bind(py);
        gil::references(task) == 1
            && self.attributes.bind(py).len() == ATTRIBUTES
            && self.callbacks.bind(py).is_empty()
            && task
                .getattr(intern!(py, "__weakref__"))
                .is_ok_and(|reference| reference.is_none())
    }
}
