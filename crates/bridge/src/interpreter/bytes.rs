//! Bytes and text of Python as bytes here, and back.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

/// The bytes of a chunk, `None` for what is none.
pub(crate) fn chunk(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Some(bytes.as_bytes().to_vec()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Some(text.to_str()?.as_bytes().to_vec()));
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
        return Ok(Some(bytes.cast::<PyBytes>()?.as_bytes().to_vec()));
    }
    Ok(None)
}

/// Bytes as Python's.
pub(crate) fn to_bytes(py: Python<'_>, bytes: &[u8]) -> Py<PyAny> {
    PyBytes::new(py, bytes).into_any().unbind()
}

/// Keys of so many bytes each; `ValueError` for any other.
pub(crate) fn keys_of<const BYTES: usize>(keys: Vec<Vec<u8>>) -> PyResult<Vec<[u8; BYTES]>> {
    keys.into_iter()
        .map(<[u8; BYTES]>::try_from)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|key| {
            let given = key.len();
            PyValueError::new_err(format!("a key of `{given}` bytes; hint: {BYTES}"))
        })
}
