//! A hook that waits: its asyncio task seen from tokio.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::gil::ThreadBound;
use crate::link::Hold;
use crate::report::Origin;
use crate::seam::Seam;

/// A task that asyncio continues. Dropped before its end it is cancelled.
pub(crate) struct Waiting {
    seam: Rc<Seam>,
    task: Py<PyAny>,
    result: oneshot::Receiver<PyResult<Py<PyAny>>>,
    is_done: bool,
}

/// How the waiting ended.
pub(crate) enum Outcome {
    /// The coroutine did.
    Ended(PyResult<Py<PyAny>>),
    /// The deadline passed; the task is cancelled.
    Late,
}

impl Waiting {
    /// Hands a task that has yielded `waits_for` over to asyncio.
    pub(crate) fn adopt(
        seam: &Rc<Seam>,
        py: Python<'_>,
        task: Py<PyAny>,
        waits_for: &Bound<'_, PyAny>,
        (origin, hold): (Origin, Hold),
    ) -> PyResult<Self> {
        let (sender, result) = oneshot::channel();
        let name = origin.hook().to_owned();
        let ended = ThreadBound::new(Cell::new(Some(Ended { sender, _hold: hold })));
        let report = Bound::new(py, Report { ended, origin })?;
        task.bind(py)
            .call_method1(intern!(py, "adopt"), (waits_for, name, report))?;
        Ok(Self {
            seam: Rc::clone(seam),
            task,
            result,
            is_done: false,
        })
    }

    /// The task, for whoever has to wait for its end after it was cancelled.
    pub(crate) fn task(&self) -> &Py<PyAny> {
        &self.task
    }

    /// Waits for the end, up to a deadline.
    pub(crate) async fn outcome(mut self, deadline: Duration) -> Outcome {
        let seam = Rc::clone(&self.seam);
        tokio::select! {
            biased;
            ended = &mut self.result => Outcome::Ended(self.finish(ended)),
            () = seam.passed(deadline) => Outcome::Late,
        }
    }

    /// Waits for the end without a deadline.
    pub(crate) async fn ended(mut self) -> PyResult<Py<PyAny>> {
        let ended = (&mut self.result).await;
        self.finish(ended)
    }

    fn finish(
        &mut self,
        ended: Result<PyResult<Py<PyAny>>, oneshot::error::RecvError>,
    ) -> PyResult<Py<PyAny>> {
        self.is_done = true;
        ended.unwrap_or_else(|_| Err(PyRuntimeError::new_err("the loop dropped the hook's task")))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        Python::attach(|py| {
            if let Err(error) = self.task.bind(py).call_method0(intern!(py, "cancel")) {
                error.write_unraisable(py, None);
            }
            self.seam.notice_work(py);
        });
    }
}

/// What a task calls when it is done.
#[pyclass(frozen)]
struct Report {
    ended: ThreadBound<Cell<Option<Ended>>>,
    origin: Origin,
}

struct Ended {
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
