//! Shared dictionaries as Python sees them: values by their kinds, seconds, `KeyError` and its like.
//!
//! # How it works
//! The methods hold the interpreter while they hold a shard's lock, which is for well below a microsecond, and never call
//! Python in between; so no thread of this process waits for another one that has it. Numbers go the whole way without
//! an allocation on the Rust side.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use headgate_shared::{CellRate, Dictionary as Memory, End, Number};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyString};

use crate::interpreter::gil::duplicate_descriptor;
use crate::interpreter::text;
use crate::memory::dictionary_value::{
    bytes_of, milliseconds, python_value, refused, refused_as_whole, with_value, Counted,
};

/// A dictionary in memory that all workers of a gateway share.
#[pyclass(frozen, subclass, module = "headgate._core")]
pub(crate) struct Dictionary {
    memory: Arc<Memory>,
}

#[pymethods]
impl Dictionary {
    /// Maps the dictionary behind a descriptor, which stays the caller's.
    #[new]
    #[pyo3(signature = (fd, /))]
    fn new(fd: RawFd) -> PyResult<Self> {
        let memory = Memory::open(duplicate_descriptor(fd)?)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            memory: Arc::new(memory),
        })
    }

    /// The value of a key, or the default.
    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.memory.get(&bytes_of(key)?).map_err(|e| refused(&e, key))? {
            Some(value) => python_value(py, value).map(Some),
            None => Ok(default),
        }
    }

    /// The value of a key even if it has expired, and whether it has; or the default and false.
    #[pyo3(signature = (key, default=None, /))]
    fn get_stale<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Option<Bound<'py, PyAny>>, bool)> {
        match self
            .memory
            .get_stale(&bytes_of(key)?)
            .map_err(|e| refused(&e, key))?
        {
            Some((value, is_stale)) => Ok((Some(python_value(py, value)?), is_stale)),
            None => Ok((default, false)),
        }
    }

    /// Sets a value.
    #[pyo3(signature = (key, value, ttl=None))]
    fn set(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<()> {
        let ttl = milliseconds(ttl)?;
        with_value(value, |value| {
            self.memory
                .set(&bytes_of(key)?, value, ttl)
                .map_err(|e| refused(&e, key))
        })
    }

    /// Sets a value where there is none; says whether it did.
    #[pyo3(signature = (key, value, ttl=None))]
    fn add(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<bool> {
        let ttl = milliseconds(ttl)?;
        with_value(value, |value| {
            self.memory
                .add(&bytes_of(key)?, value, ttl)
                .map_err(|e| refused(&e, key))
        })
    }

    /// Sets a value where there is one; says whether it did.
    #[pyo3(signature = (key, value, ttl=None))]
    fn replace(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<bool> {
        let ttl = milliseconds(ttl)?;
        with_value(value, |value| {
            self.memory
                .replace(&bytes_of(key)?, value, ttl)
                .map_err(|e| refused(&e, key))
        })
    }

    /// Removes a key, value or list; says whether it was there.
    #[pyo3(signature = (key, /))]
    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.memory.delete(&bytes_of(key)?).map_err(|e| refused(&e, key))
    }

    /// Adds to a number and gives the sum; begins at `init`, or raises `KeyError` if that is `None`.
    #[pyo3(signature = (key, by=None, init=Some(Counted(Number::Int(0))), ttl=None),
        text_signature = "($self, key, by=None, init=0, ttl=None)")]
    fn incr<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        by: Option<Counted>,
        init: Option<Counted>,
        ttl: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let by = by.map_or(Number::Int(1), |by| by.0);
        let ttl = milliseconds(ttl)?;
        let init = init.map(|init| init.0);
        match self.memory.incr(&bytes_of(key)?, by, init, ttl) {
            Ok(Number::Int(n)) => Ok(n.into_pyobject(py)?.into_any()),
            Ok(Number::Float(x)) => Ok(PyFloat::new(py, x).into_any()),
            Err(error) => Err(refused(&error, key)),
        }
    }

    /// Decides on one request by the generic cell rate algorithm; gives the seconds it is to wait (0: it is let in),
    /// and those until its bucket is full again.
    #[pyo3(signature = (key, step, depth, now=None, /))]
    fn throttle(
        &self,
        key: &Bound<'_, PyAny>,
        step: f64,
        depth: f64,
        now: Option<f64>,
    ) -> PyResult<(f64, f64)> {
        let rate = CellRate::new(step, depth).ok_or_else(|| {
            PyValueError::new_err("`step` and `depth` are seconds: more than 0, at most ten years")
        })?;
        let now = now.unwrap_or_else(monotonic_seconds);
        if !now.is_finite() {
            return Err(PyValueError::new_err(format!("`{now}` is not a time in seconds")));
        }
        self.memory
            .throttle(&bytes_of(key)?, rate, now)
            .map(|throttled| (throttled.wait, throttled.full_in))
            .map_err(|error| refused(&error, key))
    }

    /// Adds a value at the left end of a list; gives its length.
    #[pyo3(signature = (key, value, /))]
    fn lpush(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.push(End::Left, key, value)
    }

    /// Adds a value at the right end of a list; gives its length.
    #[pyo3(signature = (key, value, /))]
    fn rpush(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.push(End::Right, key, value)
    }

    /// Takes the value at the left end of a list; the default if there is no list.
    #[pyo3(signature = (key, default=None, /))]
    fn lpop<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.pop(py, End::Left, key, default)
    }

    /// Takes the value at the right end of a list; the default if there is no list.
    #[pyo3(signature = (key, default=None, /))]
    fn rpop<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.pop(py, End::Right, key, default)
    }

    /// The length of a list; 0 if there is none.
    #[pyo3(signature = (key, /))]
    fn llen(&self, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.memory
            .list_len(&bytes_of(key)?)
            .map_err(|e| refused(&e, key))
    }

    /// Gives a key so many seconds from now (`None`: for ever); says whether it is there.
    #[pyo3(signature = (key, ttl, /))]
    fn expire(&self, key: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<bool> {
        self.memory
            .expire(&bytes_of(key)?, milliseconds(ttl)?)
            .map_err(|e| refused(&e, key))
    }

    /// The seconds a key has left: infinity if it has no end, `None` if it is not there.
    #[pyo3(signature = (key, /))]
    fn ttl(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let left = self.memory.ttl(&bytes_of(key)?).map_err(|e| refused(&e, key))?;
        #[allow(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
        Ok(left.map(|left| left.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0)))
    }

    /// The keys, at most `limit` (`None`: all).
    #[pyo3(signature = (limit=Some(1024)), text_signature = "($self, limit=1024)")]
    fn keys<'py>(&self, py: Python<'py>, limit: Option<usize>) -> PyResult<Vec<Bound<'py, PyString>>> {
        let keys = self
            .memory
            .keys(limit.unwrap_or(usize::MAX))
            .map_err(|e| refused_as_whole(&e))?;
        keys.iter().map(|key| text::decode(py, key)).collect()
    }

    /// Removes everything; gives how many entries there were.
    fn flush_all(&self) -> PyResult<usize> {
        self.memory.flush_all().map_err(|e| refused_as_whole(&e))
    }

    /// Removes what has expired, at most `limit` entries (`None`: all); gives how many.
    #[pyo3(signature = (limit=None))]
    fn flush_expired(&self, limit: Option<usize>) -> PyResult<usize> {
        self.memory
            .flush_expired(limit.unwrap_or(usize::MAX))
            .map_err(|e| refused_as_whole(&e))
    }

    /// The descriptor, to be passed on to another process; it stays this object's.
    #[pyo3(name = "_fileno")]
    fn fileno(&self) -> RawFd {
        self.memory.fd().as_raw_fd()
    }

    /// The bytes it was made with.
    #[getter]
    fn capacity(&self) -> u64 {
        self.memory.capacity()
    }

    /// Free bytes.
    #[getter]
    fn free_space(&self) -> PyResult<u64> {
        self.memory.free_bytes().map_err(|e| refused_as_whole(&e))
    }

    /// Entries evicted to make room since it was made.
    #[getter]
    fn evictions(&self) -> PyResult<usize> {
        self.memory.evictions().map_err(|e| refused_as_whole(&e))
    }

    /// How often it was repaired, after a process died within an operation, since it was made.
    #[getter]
    fn repairs(&self) -> PyResult<usize> {
        self.memory.repairs().map_err(|e| refused_as_whole(&e))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.memory
            .contains(&bytes_of(key)?)
            .map_err(|e| refused(&e, key))
    }

    fn __len__(&self) -> PyResult<usize> {
        self.memory.len().map_err(|e| refused_as_whole(&e))
    }

    /// Acquires the lock `name` for a holder of this process, for at most `ttl` seconds; says whether it did.
    #[pyo3(name = "_acquire", signature = (name, holder, ttl=None, /))]
    fn acquire(&self, name: &Bound<'_, PyAny>, holder: u64, ttl: Option<f64>) -> PyResult<bool> {
        self.memory
            .acquire(&bytes_of(name)?, holder, milliseconds(ttl)?)
            .map_err(|e| refused(&e, name))
    }

    /// Releases the lock `name`; false if that holder had lost it.
    #[pyo3(name = "_release", signature = (name, holder, /))]
    fn release(&self, name: &Bound<'_, PyAny>, holder: u64) -> PyResult<bool> {
        self.memory
            .release(&bytes_of(name)?, holder)
            .map_err(|e| refused(&e, name))
    }
}

impl Dictionary {
    /// For actions that use it without Python.
    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    fn push(&self, end: End, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        with_value(value, |value| {
            self.memory
                .push(end, &bytes_of(key)?, value)
                .map_err(|e| refused(&e, key))
        })
    }

    fn pop<'py>(
        &self,
        py: Python<'py>,
        end: End,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self
            .memory
            .pop(end, &bytes_of(key)?)
            .map_err(|e| refused(&e, key))?
        {
            Some(value) => python_value(py, value).map(Some),
            None => Ok(default),
        }
    }
}

/// Makes an empty dictionary of at most so many bytes and gives its descriptor, which children inherit.
#[pyfunction]
#[pyo3(signature = (bytes, /))]
pub(crate) fn create_dictionary(bytes: u64) -> PyResult<RawFd> {
    let memory = Memory::create(bytes).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let inheritable = rustix::io::dup(memory.fd()).map_err(std::io::Error::from)?;
    Ok(inheritable.into_raw_fd())
}

/// The system's monotonic clock, as `time.monotonic()`.
fn monotonic_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
}
