//! The fields of a fetched response.

use headgate_wire::ResponseHead;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::interpreter::gil::ThreadBound;
use crate::interpreter::text;

/// The header fields of a fetched response, to be read. Names are equal whatever their case, and listed in lower case.
#[pyclass(frozen, mapping, module = "headgate._core")]
pub(crate) struct FetchHeaders {
    head: ThreadBound<ResponseHead>,
}

type Field<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

impl FetchHeaders {
    pub(crate) fn new(head: ResponseHead) -> Self {
        Self {
            head: ThreadBound::new(head),
        }
    }

    fn find<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let name = text::encode(name)?;
        let head = self.head.get()?;
        if let Some(value) = head.head.get(&name) {
            return text::decode(py, value).map(Some);
        }
        match head.declared_length {
            Some(length) if name.eq_ignore_ascii_case(b"content-length") => {
                Ok(Some(PyString::new(py, &length.to_string())))
            }
            _ => Ok(None),
        }
    }
}

#[pymethods]
impl FetchHeaders {
    /// The first value of a field.
    #[pyo3(signature = (name, default = None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, name)?.map(Bound::into_any).or(default))
    }

    /// All values of a field, in order.
    #[pyo3(signature = (name, /))]
    fn get_all<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Vec<Bound<'py, PyString>>> {
        let name = text::encode(name)?;
        let head = &self.head.get()?.head;
        head.get_all(&name).map(|value| text::decode(py, value)).collect()
    }

    /// The names in order, in lower case, once for each field line.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyString>>> {
        Ok(self.items(py)?.into_iter().map(|(name, _)| name).collect())
    }

    /// The values in order.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyString>>> {
        Ok(self.items(py)?.into_iter().map(|(_, value)| value).collect())
    }

    /// Names and values in order.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<Field<'py>>> {
        let head = &self.head.get()?.head;
        head.iter()
            .map(|(name, value)| {
                Ok((
                    text::decode(py, &name.to_ascii_lowercase())?,
                    text::decode(py, value)?,
                ))
            })
            .collect()
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyString>> {
        self.find(py, name)?
            .ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        match name.cast::<PyString>() {
            Ok(name) => Ok(self.find(py, name)?.is_some()),
            Err(_) => Ok(false),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.into_pyobject(py)?.try_iter()?.into_any())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.head.get()?.head.iter().count())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let pairs: Vec<(String, String)> = self
            .items(py)?
            .into_iter()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        Ok(format!("FetchHeaders({pairs:?})"))
    }
}
