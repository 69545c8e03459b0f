//! Values for which hooks have let requests pass, so that these are not called for them again.

use std::sync::Arc;

use headgate_engine::Passed as Values;
use pyo3::prelude::*;

/// A memory of values, of one process.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Passed {
    values: Arc<Values>,
}

impl Passed {
    /// The same for actions.
    pub(crate) fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values)
    }
}

#[pymethods]
impl Passed {
    #[new]
    fn new() -> Self {
        Self {
            values: Arc::default(),
        }
    }

    /// Forgets all values.
    fn clear(&self) {
        self.values.clear();
    }

    fn __len__(&self) -> usize {
        self.values.len()
    }
}
