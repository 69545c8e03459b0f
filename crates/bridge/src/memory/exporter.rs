//! The supervisor's part of metrics: whose memory is read, and the thread that serves what is in it.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headgate_observe::{Format, Inherited, Naming, PushSettings, Pusher, Server};
use headgate_shared::series::SeriesMemory;
use headgate_shared::Zone;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::interpreter::gil::{adopt_descriptor, duplicate_descriptor};
use crate::memory::zone::open;

/// The names of a zone's counters, in the order of their cells.
#[pyfunction]
pub(crate) fn named_counters() -> Vec<String> {
    headgate_observe::named_counters()
}

/// Sums up what the processes of a gateway count, and serves it.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Exporter {
    inner: Arc<headgate_observe::Exporter>,
    server: Mutex<Option<Server>>,
    pusher: Mutex<Option<Pusher>>,
}

#[pymethods]
impl Exporter {
    /// Of the zone behind a descriptor, which stays the caller's.
    #[new]
    #[pyo3(signature = (zone_fd, /))]
    fn new(zone_fd: RawFd) -> PyResult<Self> {
        let exporter = Arc::new(headgate_observe::Exporter::default());
        exporter.add_zone(open(zone_fd)?, named_counters());
        Ok(Self {
            inner: exporter,
            server: Mutex::new(None),
            pusher: Mutex::new(None),
        })
    }

    /// Adds the memory of a process (`Metrics.memory`), by a number of the caller's; the descriptor stays the caller's.
    #[pyo3(signature = (number, fd, /))]
    fn add(&self, number: u64, fd: RawFd) -> PyResult<()> {
        self.inner.add(number, memory(fd)?);
        Ok(())
    }

    /// The process of that number is gone: what it has counted stays.
    #[pyo3(signature = (number, /))]
    fn retire(&self, py: Python<'_>, number: u64) {
        py.detach(|| self.inner.retire(number));
    }

    /// Serves on listening sockets, which it takes over, in place of those before; with none on no more.
    #[pyo3(signature = (fds, /))]
    fn serve(&self, py: Python<'_>, fds: Vec<RawFd>) -> PyResult<()> {
        let sockets = fds
            .into_iter()
            .map(adopt_descriptor)
            .collect::<PyResult<Vec<_>>>()?;
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let old = server.take();
        py.detach(|| drop(old));
        if !sockets.is_empty() {
            *server = Some(Server::start(sockets, self.inner.clone())?);
        }
        Ok(())
    }

    /// Pushes what is counted from now on to a `StatsD` server (`host:port`) every `interval` seconds, in place of one before.
    #[pyo3(signature = (to, /, *, interval, prefix, tags))]
    fn push(&self, py: Python<'_>, to: String, interval: f64, prefix: String, tags: bool) -> PyResult<()> {
        let interval = Duration::try_from_secs_f64(interval)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let naming = Naming { prefix, tags };
        let settings = PushSettings { to, interval, naming };
        self.pause_pushing(py);
        let pusher = Pusher::start(settings, self.inner.clone())?;
        *self.pusher.lock().unwrap_or_else(PoisonError::into_inner) = Some(pusher);
        Ok(())
    }

    /// Pushes once more, and then nothing until `push`, which goes on from there.
    fn pause_pushing(&self, py: Python<'_>) {
        let pusher = self.pusher.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(pusher));
    }

    /// Pushes once more, and then nothing.
    fn end_pushing(&self, py: Python<'_>) {
        self.pause_pushing(py);
        self.inner.end_pushing();
    }

    /// What `/readyz` says from now on.
    #[pyo3(signature = (is_ready, /))]
    fn set_ready(&self, is_ready: bool) {
        self.inner.set_ready(is_ready);
    }

    /// The supervisor runs; `/livez` fails when it has not said so for 10 s, or that none of its workers responds.
    #[pyo3(signature = (*, is_blocked))]
    fn beat(&self, is_blocked: bool) {
        self.inner.beat(is_blocked);
    }

    /// All numbers as text: `prometheus` or `openmetrics`.
    #[pyo3(signature = (format="prometheus", /))]
    fn text(&self, py: Python<'_>, format: &str) -> PyResult<String> {
        let format = match format {
            "prometheus" => Format::Prometheus,
            "openmetrics" => Format::OpenMetrics,
            other => return Err(PyValueError::new_err(format!("there is no format `{other}`"))),
        };
        Ok(py.detach(|| self.inner.text(format)))
    }

    /// All numbers as JSON.
    fn json(&self, py: Python<'_>) -> String {
        py.detach(|| self.inner.json())
    }

    /// For a successor: descriptors of the memory of all who may still count, of that of sums of those who are gone, and of
    /// what was pushed last.
    fn hand_over(&self) -> PyResult<(Vec<RawFd>, RawFd, Option<RawFd>)> {
        let handed = self.inner.hand_over()?;
        let memories = handed.memories.into_iter().map(IntoRawFd::into_raw_fd).collect();
        Ok((
            memories,
            handed.retired.into_raw_fd(),
            handed.pushed.map(IntoRawFd::into_raw_fd),
        ))
    }

    /// Takes over what a predecessor has handed over; the descriptors stay the caller's. `zones` are with the names of their
    /// counters.
    #[pyo3(signature = (zones, memories, retired, pushed, /))]
    fn inherit(
        &self,
        zones: Vec<(RawFd, Vec<String>)>,
        memories: Vec<RawFd>,
        retired: Option<RawFd>,
        pushed: Option<RawFd>,
    ) -> PyResult<()> {
        let zone_of = |(fd, names): (RawFd, Vec<String>)| {
            let zone = Zone::open(duplicate_descriptor(fd)?)
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            Ok((zone, names))
        };
        self.inner.inherit(Inherited {
            zones: zones.into_iter().map(zone_of).collect::<PyResult<_>>()?,
            memories: memories.into_iter().map(memory).collect::<PyResult<_>>()?,
            retired: retired.map(memory).transpose()?,
            pushed: pushed.map(memory).transpose()?,
        });
        Ok(())
    }
}

fn memory(fd: RawFd) -> PyResult<SeriesMemory> {
    Ok(SeriesMemory::open(duplicate_descriptor(fd)?)?)
}
