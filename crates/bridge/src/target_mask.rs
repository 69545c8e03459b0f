//! Secrets of targets and URLs, masked for what Python code writes as they are in what the engine does.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::interpreter::text;

/// What is masked: values of parameters with some names, and segments of some paths.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct TargetMask {
    mask: headgate_route::TargetMask,
}

#[pymethods]
impl TargetMask {
    #[new]
    #[pyo3(signature = (names, paths, /, *, looks = false))]
    #[allow(clippy::needless_pass_by_value, reason = "they are made of Python's lists")]
    fn new(names: Vec<String>, paths: Vec<String>, looks: bool) -> Self {
        let mask = headgate_route::TargetMask::new(&names, &paths, looks);
        Self { mask }
    }

    /// A target or a URL with its secrets masked.
    #[pyo3(signature = (text, /))]
    fn url<'py>(&self, text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
        shown(text, |bytes| self.mask.apply(bytes))
    }

    /// A query, or the body of a form.
    #[pyo3(signature = (text, /))]
    fn query<'py>(&self, text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
        shown(text, |bytes| self.mask.apply_to_query(bytes))
    }

    /// Whether secrets have this name.
    #[pyo3(signature = (name, /))]
    fn has_name(&self, name: &Bound<'_, PyString>) -> PyResult<bool> {
        Ok(self.mask.has_name(&text::encode(name)?))
    }
}

fn shown<'py>(
    given: &Bound<'py, PyString>,
    apply: impl FnOnce(&[u8]) -> Cow<'_, [u8]>,
) -> PyResult<Bound<'py, PyString>> {
    let bytes = text::encode(given)?;
    match apply(&bytes) {
        Cow::Borrowed(_) => Ok(given.clone()),
        Cow::Owned(masked) => text::decode(given.py(), &masked),
    }
}
