//! The supervisor's part of metrics: whose memory is read, and the thread that serves what is in it.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use headgate_observe::{Format, Inherited, Server};
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
    exporter: Arc<headgate_observe::Exporter>,
    server: Mutex<Option<Server>>,
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
            exporter,
            server: Mutex::new(None),
        })
    }

    /// Adds the memory of a process (`Metrics.memory`), by a number of the caller's; the descriptor stays the caller's.
    #[pyo3(signature = (number, fd, /))]
    fn add(&self, number: u64, fd: RawFd) -> PyResult<()> {
        self.exporter.add(number, memory(fd)?);
        Ok(())
    }

    /// The process of that number is gone: what it has counted stays.
    #[pyo3(signature = (number, /))]
    fn retire(&self, py: Python<'_>, number: u64) {
        py.detach(|| self.exporter.retire(number));
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
            *server = Some(Server::start(sockets, self.exporter.clone())?);
        }
        Ok(())
    }

    /// What `/readyz` says from now on.
    #[pyo3(signature = (is_ready, /))]
    fn set_ready(&self, is_ready: bool) {
        self.exporter.set_ready(is_ready);
    }

    /// The supervisor runs; `/livez` fails when it has not said so for 10 s, or that none of its workers responds.
    #[pyo3(signature = (*, is_blocked))]
    fn beat(&self, is_blocked: bool) {
        self.exporter.beat(is_blocked);
    }

    /// All numbers as text: `prometheus` or `openmetrics`.
    #[pyo3(signature = (format="prometheus", /))]
    fn text(&self, py: Python<'_>, format: &str) -> PyResult<String> {
        let format = match format {
            "prometheus" => Format::Prometheus,
            "openmetrics" => Format::OpenMetrics,
            other => return Err(PyValueError::new_err(format!("there is no format `{other}`"))),
        };
        Ok(py.detach(|| self.exporter.text(format)))
    }

    /// All numbers as JSON.
    fn json(&self, py: Python<'_>) -> String {
        py.detach(|| self.exporter.json())
    }

    /// For a successor: descriptors of the memory of all who may still count, and of that of sums of those who are gone.
    fn hand_over(&self) -> PyResult<(Vec<RawFd>, RawFd)> {
        let (live, retired) = self.exporter.hand_over()?;
        let live = live.into_iter().map(IntoRawFd::into_raw_fd).collect();
        Ok((live, retired.into_raw_fd()))
    }

    /// Takes over what a predecessor has handed over; the descriptors stay the caller's. `zones` are with the names of their
    /// counters.
    #[pyo3(signature = (zones, memories, retired, /))]
    fn inherit(
        &self,
        zones: Vec<(RawFd, Vec<String>)>,
        memories: Vec<RawFd>,
        retired: Option<RawFd>,
    ) -> PyResult<()> {
        let zone_of = |(fd, names): (RawFd, Vec<String>)| {
            let zone = Zone::open(duplicate_descriptor(fd)?)
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            Ok((zone, names))
        };
        self.exporter.inherit(Inherited {
            zones: zones.into_iter().map(zone_of).collect::<PyResult<_>>()?,
            memories: memories.into_iter().map(memory).collect::<PyResult<_>>()?,
            retired: retired.map(memory).transpose()?,
        });
        Ok(())
    }
}

fn memory(fd: RawFd) -> PyResult<SeriesMemory> {
    Ok(SeriesMemory::open(duplicate_descriptor(fd)?)?)
}
