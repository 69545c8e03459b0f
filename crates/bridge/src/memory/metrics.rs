//! Metrics that Python code counts: series in the memory of this process.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::Arc;

use headgate_shared::series::{Family, Kind, Merge, Registry, Scale, Series, SeriesMemory};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::interpreter::gil::duplicate_descriptor;

/// All metrics of this process.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Metrics {
    pub(crate) registry: Arc<Registry>,
}

#[pymethods]
impl Metrics {
    /// In the memory behind a descriptor, which stays the caller's; or, for this process only, in memory of its own.
    #[new]
    #[pyo3(signature = (fd=None, /))]
    fn new(fd: Option<RawFd>) -> PyResult<Self> {
        let registry = match fd {
            Some(fd) => Registry::open(duplicate_descriptor(fd)?)?,
            None => Registry::create()?,
        };
        Ok(Self {
            registry: Arc::new(registry),
        })
    }

    /// Makes such memory, and gives its descriptor.
    #[staticmethod]
    fn memory() -> PyResult<RawFd> {
        let memory = SeriesMemory::create()?;
        Ok(memory
            .fd()
            .try_clone_to_owned()
            .map_err(PyErr::from)?
            .into_raw_fd())
    }

    /// The descriptor, for an `Exporter`.
    fn fileno(&self) -> RawFd {
        self.registry.fd().as_raw_fd()
    }

    /// The series of a metric with these values of its labels. `kind` is `counter`, `gauge` or `histogram`, `merge` how the
    /// gauges of several workers come to one: `sum`, `max` or `min`. `ValueError` if the name has another meaning already.
    #[pyo3(signature = (kind, name, help, labels, values, *, bounds = Vec::new(), merge = "sum", most = 1000))]
    #[allow(
        clippy::too_many_arguments,
        clippy::needless_pass_by_value,
        reason = "a metric is described at once, by names; pyo3 gives lists as owned"
    )]
    fn series(
        &self,
        kind: &str,
        name: &str,
        help: &str,
        labels: Vec<String>,
        values: Vec<String>,
        bounds: Vec<f64>,
        merge: &str,
        most: usize,
    ) -> PyResult<Metric> {
        let names: Vec<&str> = labels.iter().map(String::as_str).collect();
        let merge = match merge {
            "sum" => Merge::Sum,
            "max" => Merge::Max,
            "min" => Merge::Min,
            other => {
                return Err(PyValueError::new_err(format!(
                    "there is no way to merge `{other}`"
                )))
            }
        };
        let family = match kind {
            "counter" => Family::counter(name, help, &names),
            "gauge" => Family::gauge(name, help, &names, merge),
            "histogram" => Family::histogram(name, help, &names, &bounds, Scale::Float),
            other => {
                return Err(PyValueError::new_err(format!(
                    "there is no metric of kind `{other}`"
                )))
            }
        };
        let family = Family {
            scale: Scale::Float,
            ..family
        };
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let series = self
            .registry
            .series(&family, &values, most)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Metric { family, series })
    }
}

/// One series of a metric.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Metric {
    family: Family,
    series: Series,
}

#[pymethods]
impl Metric {
    /// Adds to a counter or a gauge.
    #[pyo3(signature = (by, /))]
    fn add(&self, by: f64) {
        self.series.add_float(0, by);
    }

    /// Sets a gauge.
    #[pyo3(signature = (to, /))]
    fn set(&self, to: f64) {
        self.series.set(0, to.to_bits());
    }

    /// Counts a value in a histogram.
    #[pyo3(signature = (value, /))]
    fn observe(&self, value: f64) {
        if self.family.kind == Kind::Histogram {
            let bucket = self.family.bounds.partition_point(|bound| *bound < value);
            self.series.add_shared(bucket, 1);
            self.series.add_float(self.family.sum_cell(), value);
        }
    }

    /// The number in this process: a counter's or gauge's value, a histogram's sum.
    #[getter]
    fn value(&self) -> f64 {
        let cell = match self.family.kind {
            Kind::Histogram => self.family.sum_cell(),
            _ => 0,
        };
        f64::from_bits(self.series.get(cell))
    }
}
