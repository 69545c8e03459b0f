//! The loop that is tokio and asyncio at once, and the controls of its worker.
//!
//! # How it works
//! asyncio's selector calls [`Core::poll`] in place of waiting. That runs tokio, and in it all connections, until asyncio
//! has something to do: its own epoll descriptor is readable, a hook left it work, or its next timer is due. The
//! interpreter is held all the time but for the blocking `epoll_wait` (see [`gil`]).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headgate_engine::{Hooks, Worker, TICKET_KEY_BYTES, ZONE_CELLS};
use headgate_shared::Zone;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PySequence;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::calls::hook_times::Shown;
use crate::calls::hooks::PyHooks;
use crate::coming::{Coming, Text};
use crate::event_loop::heartbeat::Heartbeat;
use crate::event_loop::polling;
use crate::event_loop::seam::Seam;
use crate::event_loop::when_woken::WhenWoken;
use crate::interpreter::bytes::keys_of;
use crate::interpreter::gil::{self, ParkedGil};
use crate::memory::metrics::Metrics;
use crate::memory::zone::open_for_worker;
use crate::views::attachment;
use crate::virtual_client;

/// One worker: listeners, connections and hooks on one thread.
#[pyclass(unsendable, module = "headgate._core")]
pub(crate) struct Core {
    seam: Rc<Seam>,
    asyncio_fd: RefCell<Option<Rc<AsyncFd<OwnedFd>>>>,
    zone: Cell<Option<(Zone, u32)>>,
    worker: OnceCell<Worker>,
    hooks: RefCell<Option<Rc<PyHooks>>>,
    coming: Rc<Coming>,
    is_polling: Cell<bool>,
    // Dropped in this order: tasks hold sockets that are registered with the runtime.
    local: Rc<LocalSet>,
    runtime: Runtime,
}

#[pymethods]
impl Core {
    /// For the asyncio loop that runs it; `None` where no Python code does, so that asyncio need not be loaded.
    #[new]
    fn new(r#loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        crate::interpreter::engine_log::attach();
        let wake = Arc::new(Notify::new());
        let gil = Arc::new(ParkedGil::default());
        let runtime = polling::runtime(&wake, &gil)?;
        let local = Rc::new(LocalSet::new());
        Ok(Self {
            seam: Seam::new(r#loop, wake, gil, &local)?,
            asyncio_fd: RefCell::new(None),
            zone: Cell::new(None),
            worker: OnceCell::new(),
            hooks: RefCell::new(None),
            coming: Rc::default(),
            is_polling: Cell::default(),
            local,
            runtime,
        })
    }

    /// Makes `poll` return when asyncio's epoll descriptor is readable.
    fn watch(&self, fd: RawFd) -> PyResult<()> {
        let _runtime = self.runtime.enter();
        let watched = gil::watch_descriptor(gil::duplicate_descriptor(fd)?)?;
        self.asyncio_fd.replace(Some(Rc::new(watched)));
        Ok(())
    }

    /// Serves until asyncio has work, at most `timeout` seconds (`None`: without a limit).
    ///
    /// Gives whether asyncio's descriptor has events; if not, asyncio need not look.
    #[pyo3(signature = (timeout, /))]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let _polling = polling::Once::begin(&self.is_polling)?;
        self.seam.begin_poll(py, timeout)?;
        self.seam.beat.engine();
        let asyncio_fd = self.asyncio_fd.borrow().clone();
        let served = pin!(polling::serve(&self.seam, asyncio_fd.as_deref(), timeout));
        let has_events = self.local.block_on(&self.runtime, WhenWoken::new(served));
        self.seam.beat.python("");
        polling::signalled().map_or(Ok(has_events), Err)
    }

    /// Counts in a slot of shared memory; the descriptor stays the caller's. Without it the worker counts for itself.
    #[pyo3(signature = (fd, slot, /))]
    fn zone(&self, fd: RawFd, slot: u32) -> PyResult<()> {
        let zone = open_for_worker(fd, slot)?;
        if self.worker.get().is_some() {
            return Err(PyRuntimeError::new_err(
                "the worker already has a zone; hint: call `zone` before `apply`",
            ));
        }
        self.zone.replace(Some((zone, slot)));
        Ok(())
    }

    /// Counts requests in series of these metrics, from the first `apply` after it on.
    #[pyo3(signature = (metrics, /))]
    fn use_metrics(&self, py: Python<'_>, metrics: &Metrics) -> PyResult<()> {
        self.tell(py, |worker| worker.use_registry(Arc::clone(&metrics.registry)))
    }

    /// Applies a configuration; requests in flight keep the old one. `ValueError` says what is wrong with it.
    #[pyo3(signature = (snapshot, hooks, /, *, released = None))]
    fn apply(
        &self,
        py: Python<'_>,
        snapshot: &str,
        hooks: &Bound<'_, PySequence>,
        released: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        self.prepare(py, snapshot, hooks, released)?;
        self.commit(py)
    }

    /// Makes a configuration ready, which changes nothing yet; `ValueError` says what is wrong with it. `released` is called
    /// by asyncio once it was replaced and the last request that began under it is done, or when it is discarded.
    #[pyo3(signature = (snapshot, hooks, /, *, released = None))]
    fn prepare(
        &self,
        py: Python<'_>,
        snapshot: &str,
        hooks: &Bound<'_, PySequence>,
        released: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let hooks = self.table(py, hooks, released)?;
        let prepared = self.inside(py, |worker| {
            worker
                .prepare(snapshot, Rc::clone(&hooks) as Rc<dyn Hooks>)
                .map_err(|error| PyValueError::new_err(error.to_string()))
        })?;
        self.coming.set(prepared, hooks);
        Ok(())
    }

    /// The same beside the loop, which serves on, for a snapshot in memory: all from `start` on behind the descriptor, which
    /// it takes over. Calls `done` with `None` once it is ready, or with what is wrong with it; not at all if something else
    /// is made ready, applied or discarded before.
    #[pyo3(signature = (fd, start, hooks, done, /, *, released = None))]
    fn prepare_aside(
        &self,
        py: Python<'_>,
        fd: RawFd,
        start: u64,
        hooks: &Bound<'_, PySequence>,
        done: Py<PyAny>,
        released: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let memory = gil::adopt_descriptor(fd)?;
        let hooks = self.table(py, hooks, released)?;
        self.inside(py, |worker| {
            let text = Text { memory, start };
            self.coming.begin(&self.seam, worker, text, hooks, done)
        })
    }

    /// Makes other routes ready, as the JSON of a difference says; `ValueError` says what is wrong with it.
    #[pyo3(signature = (difference, /))]
    fn prepare_difference(&self, py: Python<'_>, difference: &str) -> PyResult<()> {
        let none = || PyRuntimeError::new_err("nothing is in force; hint: call `apply`");
        let hooks = self.hooks.borrow().clone().ok_or_else(none)?;
        let prepared = self.inside(py, |worker| {
            worker
                .prepare_difference(difference)
                .map_err(|error| PyValueError::new_err(error.to_string()))
        })?;
        self.coming.set(prepared, hooks);
        Ok(())
    }

    /// Applies what was prepared, in one swap. `RuntimeError` if nothing was.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        let (prepared, hooks) = self.coming.take().ok_or_else(|| {
            PyRuntimeError::new_err("no configuration is prepared; hint: call `prepare` before `commit`")
        })?;
        self.tell(py, |worker| worker.commit(prepared))?;
        drop(self.hooks.replace(Some(hooks)));
        Ok(())
    }

    /// Discards what was prepared or is being, if anything is.
    fn discard(&self) {
        self.coming.discard();
    }

    /// Stops accepting at a listener's address; its connections end after their current response. To be called before a
    /// configuration without that listener is applied.
    #[pyo3(signature = (name, /))]
    fn unlisten(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.tell(py, |worker| worker.unlisten(name))
    }

    /// Accepts connections from a listening socket (TCP or Unix), which it takes over: pass `socket.detach()`.
    #[pyo3(signature = (fd, name, address))]
    fn listen(&self, py: Python<'_>, fd: RawFd, name: &str, address: &str) -> PyResult<()> {
        let socket = gil::adopt_descriptor(fd)?;
        self.inside(py, |worker| {
            worker.listen(socket, name).map_err(|error| {
                PyOSError::new_err(format!(
                    "cannot listen on `{address}` (listener `{name}`): {error}"
                ))
            })
        })
    }

    /// Serves the other end of a connected Unix socket, which it takes over, as a connection of this client, through a
    /// stream in memory. It counts towards no limit of connections.
    #[pyo3(signature = (fd, *, address, port, scheme, listener))]
    fn serve(
        &self,
        py: Python<'_>,
        fd: RawFd,
        address: String,
        port: u16,
        scheme: &str,
        listener: String,
    ) -> PyResult<()> {
        let socket = gil::adopt_descriptor(fd)?;
        let client = virtual_client::client(address, port, scheme, listener)?;
        self.inside(py, |worker| virtual_client::join(worker, socket, client))
    }

    /// Advances the clock of all deadlines, for tests; asyncio's clock is the loop's own.
    #[pyo3(signature = (seconds, /))]
    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let time = Duration::try_from_secs_f64(seconds)
            .map_err(|_| PyValueError::new_err(format!("`{seconds}` is not a valid time to advance by")))?;
        self.seam.advance(time);
        self.tell(py, |worker| worker.advance(time))
    }

    /// For tests: an origin (`https://host`) that is fetched from is served by this socket (`unix:/path`), and no other
    /// one is reached any more.
    #[pyo3(signature = (origin, socket, /))]
    fn replace_origin(&self, py: Python<'_>, origin: &str, socket: &str) -> PyResult<()> {
        self.inside(py, |worker| {
            worker
                .replace_origin(origin, socket)
                .map_err(PyValueError::new_err)
        })
    }

    /// The time that each hook of the current configuration has taken, in the order of `apply`.
    fn hook_times(&self) -> Vec<Shown> {
        let hooks = self.hooks.borrow();
        hooks.as_ref().map_or_else(Vec::new, |hooks| hooks.times())
    }

    /// Tells another thread what blocks the event loop.
    #[getter]
    fn heartbeat(&self) -> Heartbeat {
        Heartbeat(Arc::clone(&self.seam.beat))
    }

    /// Sets a context variable to the view of each request from now on; `None` ends that.
    #[pyo3(signature = (variable, /))]
    #[allow(clippy::unused_self, reason = "the variable is for the thread of this loop")]
    fn name_requests(&self, variable: Option<Py<PyAny>>) {
        attachment::name_requests(variable);
    }

    /// Counts one time that Python code has blocked the event loop for too long.
    fn count_loop_stall(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, Worker::count_loop_stall)
    }

    /// Takes the keys of TLS session tickets, the newest first: 16 bytes of name and 32 of secret each.
    #[pyo3(signature = (keys, /))]
    fn use_ticket_keys(&self, py: Python<'_>, keys: Vec<Vec<u8>>) -> PyResult<()> {
        let keys = keys_of::<TICKET_KEY_BYTES>(keys)?;
        self.tell(py, |worker| worker.use_ticket_keys(&keys))
    }

    /// Takes the secret that all workers of the gateway share for HTTP/3, before a socket for it is given.
    #[pyo3(signature = (secret, /))]
    fn use_http3_secret(&self, py: Python<'_>, secret: Vec<u8>) -> PyResult<()> {
        self.tell(py, |worker| worker.use_http3_secret(secret))
    }

    /// Stops accepting; connections end after their current response, idle ones after a moment.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, Worker::drain)
    }

    /// Closes every WebSocket whose messages hooks see, with 1001; gives how many are open.
    fn close_websockets(&self, py: Python<'_>) -> PyResult<usize> {
        self.inside(py, |worker| Ok(worker.close_websockets()))
    }

    /// Stops accepting and ends every connection.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.inside(py, |worker| {
            worker.close();
            worker.flush_logs();
            Ok(())
        })
    }

    /// Sends what is recorded of traces, before the worker ends; gives how many requests' spans are not sent yet.
    fn flush_traces(&self, py: Python<'_>) -> PyResult<usize> {
        self.inside(py, |worker| Ok(worker.flush_traces()))
    }

    /// Open client connections of this worker.
    fn connections(&self) -> usize {
        self.worker.get().map_or(0, Worker::connections)
    }

    /// The named counters, summed over all slots of the zone.
    fn stats(&self, py: Python<'_>) -> PyResult<BTreeMap<&'static str, u64>> {
        self.inside(py, |worker| Ok(worker.stats().into_iter().collect()))
    }

    /// Counts something that happens in Python under one of the counters' names; `ValueError` for any other.
    #[pyo3(signature = (name, /))]
    fn count(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        let unknown = || PyValueError::new_err(format!("there is no counter `{name}`"));
        self.inside(py, |worker| worker.count(name).then_some(()).ok_or_else(unknown))
    }

    /// Reopens the access log's file, after it was moved.
    fn reopen_logs(&self, py: Python<'_>) -> PyResult<()> {
        self.inside(py, |worker| Ok(worker.reopen_logs()?))
    }

    /// Sends the line of each request, as JSON, into this socket, which it takes over, until its reader goes.
    #[pyo3(signature = (fd, /))]
    fn follow_log(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        let socket = gil::adopt_descriptor(fd)?;
        self.tell(py, |worker| worker.follow_log(socket))
    }

    /// Flushes the access log.
    fn flush_logs(&self, py: Python<'_>) -> PyResult<()> {
        self.tell(py, Worker::flush_logs)
    }
}

impl Core {
    /// The table of hooks of a configuration.
    fn table(
        &self,
        py: Python<'_>,
        hooks: &Bound<'_, PySequence>,
        released: Option<Py<PyAny>>,
    ) -> PyResult<Rc<PyHooks>> {
        let registry = self.inside(py, |worker| Ok(worker.registry()))?;
        PyHooks::new(Rc::clone(&self.seam), hooks, released, registry.as_deref()).map(Rc::new)
    }

    /// The same as `inside`, of what cannot fail.
    fn tell(&self, py: Python<'_>, call: impl FnOnce(&Worker)) -> PyResult<()> {
        self.inside(py, |worker| {
            call(worker);
            Ok(())
        })
    }

    /// Calls the worker where it can spawn tasks; starts it if it is not there yet.
    fn inside<T>(&self, py: Python<'_>, call: impl FnOnce(&Worker) -> PyResult<T>) -> PyResult<T> {
        let _runtime = self.runtime.enter();
        let _local = self.local.enter();
        if let Some(worker) = self.worker.get() {
            return call(worker);
        }
        let bytes = py.import("os")?.call_method1("urandom", (16,))?;
        let seed = bytes.extract::<[u8; 16]>()?;
        let (zone, slot) = match self.zone.take() {
            Some(zone) => zone,
            None => (Zone::create(1, ZONE_CELLS)?, 0),
        };
        call(self.worker.get_or_init(|| {
            let worker = Worker::new(zone, slot, seed);
            worker.start();
            self.seam.employ(&worker);
            worker
        }))
    }
}
