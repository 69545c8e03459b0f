//! Bytes of a head as `str`, and back.
//!
//! UTF-8, and what is not UTF-8 as lone surrogates (PEP 383), so every byte survives the way there and back.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::interpreter::gil;

/// The text of some bytes. ASCII, nearly all there is, is copied at once.
pub(crate) fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if let Some(text) = gil::ascii_text(py, bytes) {
        return text;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => {
            PyString::from_encoded_object(&PyBytes::new(py, bytes), Some(c"utf-8"), Some(c"surrogateescape"))
        }
    }
}

/// The bytes of a text. Those of ASCII are not copied.
#[inline]
pub(crate) fn encode<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, [u8]>> {
    match gil::ascii_of(text) {
        Some(bytes) => Ok(Cow::Borrowed(bytes)),
        None => encode_other(text),
    }
}

fn encode_other<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(text) = text.to_str() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let py = text.py();
    let arguments = (intern!(py, "utf-8"), intern!(py, "surrogateescape"));
    let bytes = text.call_method1(intern!(py, "encode"), arguments)?;
    Ok(Cow::Owned(bytes.extract::<Vec<u8>>()?))
}

/// The method's name, interned where it is a usual one.
pub(crate) fn method<'py>(py: Python<'py>, method: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let known = match method {
        b"GET" => intern!(py, "GET"),
        b"POST" => intern!(py, "POST"),
        b"PUT" => intern!(py, "PUT"),
        b"PATCH" => intern!(py, "PATCH"),
        b"DELETE" => intern!(py, "DELETE"),
        b"HEAD" => intern!(py, "HEAD"),
        b"OPTIONS" => intern!(py, "OPTIONS"),
        other => return decode(py, other),
    };
    Ok(known.clone())
}

/// A rule of the wire that a value breaks, as `ValueError`.
pub(crate) fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}
