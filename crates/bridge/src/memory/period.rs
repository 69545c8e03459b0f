//! Spans of the calendar that hooks count in, for actions that count without them.

use std::sync::Arc;

use headgate_engine::Period as Span;
use pyo3::prelude::*;

/// A span of the calendar; at first it is over.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Period {
    span: Arc<Span>,
}

impl Period {
    /// The same for actions.
    pub(crate) fn span(&self) -> Arc<Span> {
        Arc::clone(&self.span)
    }
}

#[pymethods]
impl Period {
    #[new]
    fn new() -> Self {
        Self { span: Arc::default() }
    }

    /// Moves it: begin and end in seconds since 1970.
    #[pyo3(signature = (begin, end, /))]
    fn set(&self, begin: f64, end: f64) {
        self.span.set(begin, end);
    }
}
