//! What all hooks of one loop share: asyncio's queues, the spare task, and the way to wake `Core.poll`.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headgate_engine::{PreparedCertificates, WeakWorker, Worker};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, LocalSet};

use crate::event_loop::heartbeat::Beat;
use crate::event_loop::hook_task::HookTask;
use crate::interpreter::gil::ParkedGil;

/// The seam between tokio and one asyncio loop.
///
/// A worker that runs no Python code has no such loop, and does not load asyncio: what is of asyncio here is `None` then,
/// and is never used, for there are no hooks.
pub(crate) struct Seam {
    pub(crate) asyncio_loop: Py<PyAny>,
    pub(crate) enter_task: Py<PyAny>,
    pub(crate) leave_task: Py<PyAny>,
    /// The module `headgate._tasks`.
    pub(crate) tasks: Py<PyAny>,
    /// The tasks that close streams.
    pub(crate) closing: Py<PySet>,
    queues: RefCell<Option<Queues>>,
    timers: Timers,
    /// Tells a poll to return.
    pub(crate) wake: Arc<Notify>,
    /// The interpreter's lock while this thread sleeps.
    pub(crate) gil: Arc<ParkedGil>,
    /// Tells a poll that it has less time than it thought.
    pub(crate) hurry: Notify,
    /// Tells waits that the clock was put forward.
    advanced: Notify,
    /// What runs on the event loop, for the watchdog's thread.
    pub(crate) beat: Arc<Beat>,
    spare: RefCell<Option<HookTask>>,
    /// What `client_hello` hooks gave as PEM.
    pub(crate) certificates: PreparedCertificates,
    /// Where detached tasks are spawned. The core's own, which also ends it.
    local: Weak<LocalSet>,
    /// What makes requests, once there is a configuration. Its hooks hold the seam, so the core alone keeps it alive.
    worker: OnceCell<WeakWorker>,
}

thread_local! {
    /// The seam of this thread's core.
    static CURRENT: RefCell<Weak<Seam>> = const { RefCell::new(Weak::new()) };
}

/// What the current poll knows of asyncio's timers. Times are those of `loop.time()`, in seconds.
struct Timers {
    /// A moment on both clocks, which run alike.
    epoch: Cell<(Instant, f64)>,
    /// How many there were when the poll began.
    at_begin: Cell<usize>,
    /// How many there were when they were last looked at.
    seen: Cell<usize>,
    /// When the poll returns to serve the first of them.
    due: Cell<f64>,
}

/// So many new timers may wait, most of them cancelled, before asyncio gets to clear them away.
const MAX_NEW_TIMERS: usize = 200;

/// asyncio's two queues. Looked up anew in each poll: asyncio replaces the timers' one now and then, outside of polls.
struct Queues {
    ready: Py<PyAny>,
    timers: Py<PyList>,
}

impl Seam {
    pub(crate) fn new(
        asyncio_loop: &Bound<'_, PyAny>,
        wake: Arc<Notify>,
        gil: Arc<ParkedGil>,
        local: &Rc<LocalSet>,
    ) -> PyResult<Rc<Self>> {
        let py = asyncio_loop.py();
        let (enter_task, leave_task, tasks, time) = if asyncio_loop.is_none() {
            (py.None(), py.None(), py.None(), 0.0)
        } else {
            let asyncio = py.import("asyncio.tasks")?;
            (
                asyncio.getattr("_enter_task")?.unbind(),
                asyncio.getattr("_leave_task")?.unbind(),
                py.import("headgate._tasks")?.into_any().unbind(),
                asyncio_loop.call_method0("time")?.extract()?,
            )
        };
        let seam = Rc::new(Self {
            asyncio_loop: asyncio_loop.clone().unbind(),
            enter_task,
            leave_task,
            tasks,
            closing: PySet::empty(py)?.unbind(),
            queues: RefCell::new(None),
            timers: Timers {
                epoch: Cell::new((Instant::now(), time)),
                at_begin: Cell::new(0),
                seen: Cell::new(0),
                due: Cell::new(0.0),
            },
            wake,
            gil,
            hurry: Notify::new(),
            advanced: Notify::new(),
            beat: Arc::default(),
            certificates: PreparedCertificates::default(),
            spare: RefCell::new(None),
            local: Rc::downgrade(local),
            worker: OnceCell::new(),
        });
        CURRENT.replace(Rc::downgrade(&seam));
        Ok(seam)
    }

    /// Whether Python code may run here: hooks, and what they await.
    pub(crate) fn has_asyncio(&self, py: Python<'_>) -> bool {
        !self.asyncio_loop.is_none(py)
    }

    /// Has asyncio call a function in its next turn. Fails if its loop is closed.
    pub(crate) fn call_soon(&self, py: Python<'_>, function: &Py<PyAny>) -> PyResult<()> {
        let asyncio_loop = self.asyncio_loop.bind(py);
        asyncio_loop
            .call_method1(intern!(py, "call_soon"), (function,))
            .map(|_| ())
    }

    /// The seam of this thread's worker, for functions of the module that `what` names in the error.
    pub(crate) fn current(what: &str) -> PyResult<Rc<Self>> {
        CURRENT.with_borrow(Weak::upgrade).ok_or_else(|| {
            PyRuntimeError::new_err(format!(
                "`{what}` is used outside of a running gateway; hint: call it in hooks, or in tasks on the worker's loop"
            ))
        })
    }

    /// The worker has begun.
    pub(crate) fn employ(&self, worker: &Worker) {
        let _ = self.worker.set(worker.downgrade());
    }

    /// The worker, which there is from the first configuration on.
    pub(crate) fn worker(&self) -> PyResult<Worker> {
        self.worker
            .get()
            .and_then(WeakWorker::upgrade)
            .ok_or_else(|| PyRuntimeError::new_err("the worker has no configuration yet"))
    }

    /// Runs a future beside everything else, also when called from asyncio.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> PyResult<()> {
        let local = self
            .local
            .upgrade()
            .ok_or_else(|| PyRuntimeError::new_err("the gateway has ended"))?;
        local.spawn_local(future);
        Ok(())
    }

    /// The same, for what may have to be ended before.
    pub(crate) fn spawn_abortable(
        &self,
        future: impl Future<Output = ()> + 'static,
    ) -> PyResult<AbortHandle> {
        let local = self.local.upgrade();
        let local = local.ok_or_else(|| PyRuntimeError::new_err("the gateway has ended"))?;
        Ok(local.spawn_local(future).abort_handle())
    }

    /// Looks at asyncio's queues as a poll begins that is to take `timeout` seconds.
    pub(crate) fn begin_poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.timers
            .due
            .set(timeout.map_or(f64::INFINITY, |timeout| self.loop_time() + timeout));
        if !self.has_asyncio(py) {
            return Ok(());
        }
        let asyncio_loop = self.asyncio_loop.bind(py);
        let ready = asyncio_loop.getattr(intern!(py, "_ready"))?;
        let timers = asyncio_loop
            .getattr(intern!(py, "_scheduled"))?
            .cast_into::<PyList>()?;
        self.timers.at_begin.set(timers.len());
        self.timers.seen.set(timers.len());
        self.queues.replace(Some(Queues {
            ready: ready.unbind(),
            timers: timers.unbind(),
        }));
        Ok(())
    }

    /// How long the current poll may still take; less than at its begin if hooks have set timers.
    pub(crate) fn time_left(&self) -> Option<f64> {
        let due = self.timers.due.get();
        due.is_finite().then(|| due - self.loop_time())
    }

    fn loop_time(&self) -> f64 {
        let (instant, time) = self.timers.epoch.get();
        time + instant.elapsed().as_secs_f64()
    }

    /// Puts the clock of hooks' deadlines forward, as asyncio's has been, for tests.
    pub(crate) fn advance(&self, time: Duration) {
        let (instant, at) = self.timers.epoch.get();
        self.timers.epoch.set((instant, at + time.as_secs_f64()));
        self.advanced.notify_waiters();
    }

    /// Waits until so much time has passed on the clock that tests may put forward.
    pub(crate) async fn passed(&self, time: Duration) {
        let due = self.loop_time() + time.as_secs_f64();
        loop {
            let advanced = self.advanced.notified();
            let Ok(left) = Duration::try_from_secs_f64(due - self.loop_time()) else {
                return; // negative: it is over
            };
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                () = advanced => {}
            }
        }
    }

    /// Makes `Core.poll` return in time for what a hook left asyncio to do.
    ///
    /// Most timers are those of `asyncio.timeout`, gone again before they are due: they do not end a poll.
    pub(crate) fn notice_work(&self, py: Python<'_>) {
        let queues = self.queues.borrow();
        let Some(queues) = queues.as_ref() else { return };
        if queues.ready.bind(py).len().is_ok_and(|count| count > 0) {
            return self.wake.notify_one();
        }
        let timers = queues.timers.bind(py);
        let count = timers.len();
        if self.timers.seen.replace(count) == count {
            return;
        }
        let first = timers
            .get_item(0)
            .and_then(|timer| timer.getattr(intern!(py, "_when"))?.extract::<f64>());
        match first {
            Ok(when) if count < self.timers.at_begin.get() + MAX_NEW_TIMERS => {
                if when < self.timers.due.get() {
                    self.timers.due.set(when);
                    self.hurry.notify_one();
                }
            }
            _ => self.wake.notify_one(),
        }
    }

    /// A task for a first step: the spare one, or a new one.
    pub(crate) fn task(&self, py: Python<'_>) -> PyResult<HookTask> {
        match self.spare.take() {
            Some(task) => Ok(task),
            None => HookTask::new(self.tasks.bind(py), &self.asyncio_loop),
        }
    }

    /// Keeps a task for the next first step, if no other code has a reference to it.
    pub(crate) fn give_back(&self, py: Python<'_>, task: HookTask) -> Result<(), HookTask> {
        if !task.is_untouched(py) {
            return Err(task);
        }
        self.spare.replace(Some(task));
        Ok(())
    }
}
