//! Counts of calls, which hooks and actions add to and plugins take.

use std::sync::Arc;

use headgate_engine::{Call, Tally as Counts};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::interpreter::text;

/// Calls by their shapes, in one process.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Tally {
    counts: Arc<Counts>,
}

/// Target, method, status, the types of both bodies, whether without credentials; how many, the first and the last one's time.
type Told<'py> = (
    Bound<'py, PyString>,
    Bound<'py, PyString>,
    u16,
    Bound<'py, PyString>,
    Bound<'py, PyString>,
    bool,
    u64,
    u64,
    u64,
);

impl Tally {
    /// The same for actions.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

#[pymethods]
impl Tally {
    #[new]
    fn new() -> Self {
        Self {
            counts: Arc::default(),
        }
    }

    /// Counts a call; false if there is no room for it.
    #[pyo3(signature = (target, method, status, request_type, response_type, is_anonymous, /))]
    fn add(
        &self,
        target: &Bound<'_, PyString>,
        method: &Bound<'_, PyString>,
        status: u16,
        request_type: Option<&Bound<'_, PyString>>,
        response_type: Option<&Bound<'_, PyString>>,
        is_anonymous: bool,
    ) -> PyResult<bool> {
        let types = [request_type, response_type].map(|kind| kind.map(text::encode).transpose());
        let [request_type, response_type] = types;
        let (request_type, response_type) = (request_type?, response_type?);
        Ok(self.counts.add(&Call {
            target: &text::encode(target)?,
            method: &text::encode(method)?,
            status,
            types: [request_type.as_deref(), response_type.as_deref()],
            is_anonymous,
        }))
    }

    /// All that was counted; counting begins anew.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Vec<Told<'py>>> {
        let taken = self.counts.take();
        taken
            .iter()
            .map(|seen| {
                Ok((
                    text::decode(py, &seen.target)?,
                    text::decode(py, &seen.method)?,
                    seen.status,
                    text::decode(py, &seen.types[0])?,
                    text::decode(py, &seen.types[1])?,
                    seen.is_anonymous,
                    seen.count,
                    seen.first,
                    seen.last,
                ))
            })
            .collect()
    }
}
