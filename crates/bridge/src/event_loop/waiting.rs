//! A hook that waits, for the engine's own work or as an asyncio task.
//!
//! # How it works
//! A coroutine that has yielded a [`Pending`] stays the engine's: its work is driven in the request's own task, and then the
//! coroutine is stepped on inline, as in its first step. What yields anything else becomes asyncio's for the rest of its
//! life. A hook whose result is no longer awaited is cancelled the way asyncio does it, and cleans up there.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyContext;
use tokio::sync::oneshot;

use crate::event_loop::heartbeat::InPython;
use crate::event_loop::hook_task::HookTask;
use crate::event_loop::link::Hold;
use crate::event_loop::pending::{Driver, Pending};
use crate::event_loop::report::Origin;
use crate::event_loop::seam::Seam;
use crate::event_loop::stepping::{retire, step};
use crate::interpreter::gil::{Entered, Sent, ThreadBound};

/// A coroutine that waits. Dropped before its end it is cancelled.
pub(crate) struct WaitingTask {
    seam: Rc<Seam>,
    stage: WaitStage,
}

enum WaitStage {
    /// For the engine, in this very task: the engine steps it on when that is done.
    Native(Box<Native>),
    /// For anything else: asyncio continues its task.
    Asyncio {
        task: Py<PyAny>,
        result: oneshot::Receiver<PyResult<Py<PyAny>>>,
    },
    Done,
}

/// What it takes to step a coroutine on.
struct Native {
    driver: Driver,
    task: HookTask,
    coroutine: Py<PyAny>,
    context: Py<PyContext>,
    adoption: Adoption,
}

/// Tells the name of a task in logs, and what keeps its exchange, should asyncio get it.
pub(crate) type Adoption = Box<dyn FnOnce(Python<'_>) -> (Origin, Hold)>;

/// How the waiting ended.
pub(crate) enum TaskOutcome {
    /// The coroutine did.
    Ended(PyResult<Py<PyAny>>),
    /// The deadline passed; the task is cancelled.
    Late,
}

impl WaitingTask {
    /// Goes on with a coroutine that has yielded `waits_for`.
    pub(crate) fn begin(
        seam: &Rc<Seam>,
        task: HookTask,
        coroutine: &Bound<'_, PyAny>,
        context: &Bound<'_, PyContext>,
        waits_for: &Bound<'_, PyAny>,
        adoption: Adoption,
    ) -> PyResult<Self> {
        let py = coroutine.py();
        let stage = match native(py, &task, waits_for)? {
            Some(driver) => WaitStage::Native(Box::new(Native {
                driver,
                task,
                coroutine: coroutine.clone().unbind(),
                context: context.clone().unbind(),
                adoption,
            })),
            None => adopt(py, task.task, waits_for, adoption(py))?,
        };
        Ok(Self {
            seam: Rc::clone(seam),
            stage,
        })
    }

    /// The task, for whoever has to wait for its end after it was cancelled.
    pub(crate) fn task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.stage {
            WaitStage::Native(native) => Some(native.task.task.clone_ref(py)),
            WaitStage::Asyncio { task, .. } => Some(task.clone_ref(py)),
            WaitStage::Done => None,
        }
    }

    /// Waits for the end, up to a deadline.
    pub(crate) async fn outcome(mut self, deadline: Duration) -> TaskOutcome {
        let seam = Rc::clone(&self.seam);
        tokio::select! {
            biased;
            ended = self.run() => TaskOutcome::Ended(ended),
            () = seam.passed(deadline) => TaskOutcome::Late,
        }
    }

    /// Waits for the end without a deadline.
    pub(crate) async fn ended(mut self) -> PyResult<Py<PyAny>> {
        self.run().await
    }

    async fn run(&mut self) -> PyResult<Py<PyAny>> {
        loop {
            match &mut self.stage {
                WaitStage::Native(native) => {
                    (&mut native.driver).await?;
                    if let Some(ended) = Python::attach(|py| self.resume(py))? {
                        return Ok(ended);
                    }
                }
                WaitStage::Asyncio { result, .. } => {
                    let ended = result.await;
                    self.stage = WaitStage::Done;
                    return ended.unwrap_or_else(|_| {
                        Err(PyRuntimeError::new_err("the loop dropped the hook's task"))
                    });
                }
                WaitStage::Done => return Err(PyRuntimeError::new_err("the hook has ended")),
            }
        }
    }

    /// Steps the coroutine on after what it waited for is done; gives its result if that was its last step.
    fn resume(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let WaitStage::Native(mut native) = std::mem::replace(&mut self.stage, WaitStage::Done) else {
            return Ok(None);
        };
        let _in_python = InPython::new(&self.seam.beat, "");
        native.task.waits_for(py, None)?;
        let coroutine = native.coroutine.bind(py).clone();
        let context = native.context.bind(py).clone();
        let entered = Entered::new(&context)?;
        let stepped = step(&self.seam, &native.task, &coroutine);
        let ended = match stepped {
            Ok(Sent::Returned(result)) => {
                retire(&self.seam, py, native.task, Some(&result), None)?;
                Some(result.unbind())
            }
            Ok(Sent::Yielded(waits_for)) => {
                self.stage = match self::native(py, &native.task, &waits_for)? {
                    Some(driver) => {
                        native.driver = driver;
                        WaitStage::Native(native)
                    }
                    None => adopt(py, native.task.task, &waits_for, (native.adoption)(py))?,
                };
                None
            }
            Err(error) => {
                retire(&self.seam, py, native.task, None, Some(error.value(py)))?;
                self.seam.notice_work(py);
                return Err(error);
            }
        };
        drop(entered);
        self.seam.notice_work(py);
        Ok(ended)
    }
}

/// Takes over what a coroutine waits for, if that is the engine's own work.
fn native(py: Python<'_>, task: &HookTask, waits_for: &Bound<'_, PyAny>) -> PyResult<Option<Driver>> {
    let Ok(pending) = waits_for.cast_exact::<Pending>() else {
        return Ok(None);
    };
    let Some(driver) = Pending::drive(pending) else {
        return Ok(None);
    };
    task.waits_for(py, Some(waits_for))?;
    if task.takes_cancel(py)? {
        Pending::cancel(pending, None)?;
    }
    Ok(Some(driver))
}

/// Hands a task that has yielded `waits_for` over to asyncio.
fn adopt(
    py: Python<'_>,
    task: Py<PyAny>,
    waits_for: &Bound<'_, PyAny>,
    (origin, hold): (Origin, Hold),
) -> PyResult<WaitStage> {
    let (sender, result) = oneshot::channel();
    let name = origin.hook().to_owned();
    let ended = ThreadBound::new(Cell::new(Some(Completion { sender, _hold: hold })));
    let report = Bound::new(py, Report { ended, origin })?;
    task.bind(py)
        .call_method1(intern!(py, "adopt"), (waits_for, name, report))?;
    Ok(WaitStage::Asyncio { task, result })
}

/// Cancels a task; what the engine drove for it goes to asyncio first, so that the task can clean up there.
fn cancel(py: Python<'_>, stage: WaitStage) -> PyResult<()> {
    let task = match stage {
        WaitStage::Done => return Ok(()),
        WaitStage::Asyncio { task, .. } => task,
        WaitStage::Native(native) => {
            let native = *native;
            native.task.waits_for(py, None)?;
            let pending = native.driver.pending().clone_ref(py).into_bound(py);
            drop(native.driver);
            pending.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
            match adopt(py, native.task.task, pending.as_any(), (native.adoption)(py))? {
                // its result is no longer awaited
                WaitStage::Asyncio { task, .. } => task,
                WaitStage::Native(_) | WaitStage::Done => return Ok(()),
            }
        }
    };
    task.bind(py).call_method0(intern!(py, "cancel"))?;
    Ok(())
}

impl Drop for WaitingTask {
    fn drop(&mut self) {
        if matches!(self.stage, WaitStage::Done) {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, WaitStage::Done);
        Python::attach(|py| {
            if let Err(error) = cancel(py, stage) {
                error.write_unraisable(py, None);
            }
            self.seam.notice_work(py);
        });
    }
}

/// What a task calls when it is done.
#[pyclass(frozen)]
struct Report {
    ended: ThreadBound<Cell<Option<Completion>>>,
    origin: Origin,
}

struct Completion {
    sender: oneshot::Sender<PyResult<Py<PyAny>>>,
    _hold: Hold,
}

#[pymethods]
impl Report {
    /// The id of the request that the task belongs to; for any thread.
    #[getter]
    fn request_id(&self) -> &str {
        self.origin.request_id()
    }

    fn __call__(
        &self,
        py: Python<'_>,
        result: Py<PyAny>,
        exception: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let outcome = exception.map_or(Ok(result), |exception| Err(PyErr::from_value(exception)));
        let Some(ended) = self.ended.get()?.take() else {
            return Ok(());
        };
        if let Err(Err(error)) = ended.sender.send(outcome) {
            self.origin.raised_late(py, &error);
        }
        Ok(())
    }
}
