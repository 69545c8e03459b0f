//! Values, keys and refusals of shared dictionaries, between Python and memory.

use std::borrow::Cow;

use headgate_shared::{Number, Owned, Refused, Value};
use pyo3::exceptions::{
    PyKeyError, PyMemoryError, PyOverflowError, PyTimeoutError, PyTypeError, PyValueError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};

use crate::interpreter::text;

/// A number to count with; `bool` is none.
#[derive(Clone, Copy)]
pub(crate) struct Counted(pub(crate) Number);

impl<'a, 'py> FromPyObject<'a, 'py> for Counted {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_exact_instance_of::<PyInt>() {
            return object
                .extract::<i64>()
                .map(|n| Self(Number::Int(n)))
                .map_err(|_| PyOverflowError::new_err("the number does not fit in 64 bits"));
        }
        if let Ok(float) = object.cast::<PyFloat>() {
            return Ok(Self(Number::Float(float.value())));
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "counting takes an int or a float, not `{kind}`"
        )))
    }
}

/// The bytes of a key: a `str` or `bytes`.
pub(crate) fn bytes_of<'a>(key: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(key) = key.cast::<PyString>() {
        return text::encode(key);
    }
    if let Ok(key) = key.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(key.as_bytes()));
    }
    let kind = key.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "a key is a `str` or `bytes`, not `{kind}`"
    )))
}

/// Calls with a value as the dictionary takes it; what is not a plain value goes as JSON.
pub(crate) fn with_value<T>(
    object: &Bound<'_, PyAny>,
    call: impl FnOnce(Value<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        return call(Value::Text(&text::encode(text)?));
    }
    if object.is_none() {
        return call(Value::None);
    }
    if let Ok(yes) = object.cast::<PyBool>() {
        return call(Value::Bool(yes.is_true()));
    }
    if object.is_exact_instance_of::<PyInt>() {
        if let Ok(n) = object.extract::<i64>() {
            return call(Value::Int(n));
        }
    }
    if let Ok(x) = object.cast_exact::<PyFloat>() {
        return call(Value::Float(x.value()));
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return call(Value::Bytes(bytes.as_bytes()));
    }
    let dumped = py
        .import(intern!(py, "json"))?
        .call_method1(intern!(py, "dumps"), (object,))
        .map_err(|error| {
            let told = PyTypeError::new_err(format!(
                "a shared dictionary holds bytes, str, int, float, bool, None, or what JSON can say: {error}"
            ));
            told.set_cause(py, Some(error));
            told
        })?
        .cast_into::<PyString>()?;
    call(Value::Json(dumped.to_str()?.as_bytes()))
}

/// A value as Python has it.
pub(crate) fn python_value(py: Python<'_>, value: Owned) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Owned::None => py.None().into_bound(py),
        Owned::Bool(yes) => PyBool::new(py, yes).to_owned().into_any(),
        Owned::Int(n) => n.into_pyobject(py)?.into_any(),
        Owned::Float(x) => PyFloat::new(py, x).into_any(),
        Owned::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
        Owned::Text(bytes) => text::decode(py, &bytes)?.into_any(),
        Owned::Json(bytes) => py
            .import(intern!(py, "json"))?
            .call_method1(intern!(py, "loads"), (text::decode(py, &bytes)?,))?,
    })
}

/// Whole milliseconds of seconds; what is more than nothing stays at least 1, and 0 is for ever.
pub(crate) fn milliseconds(seconds: Option<f64>) -> PyResult<u64> {
    const LONGEST_S: f64 = 3650.0 * 86400.0;
    let Some(seconds) = seconds else { return Ok(0) };
    if !(0.0..=LONGEST_S).contains(&seconds) {
        return Err(PyValueError::new_err(format!(
            "`{seconds}` is not a valid time to live; hint: seconds, 0 or None for ever, at most ten years"
        )));
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the limits above"
    )]
    Ok((seconds * 1000.0).ceil() as u64)
}

/// Why an operation on a key was refused.
pub(crate) fn refused(error: &Refused, key: &Bound<'_, PyAny>) -> PyErr {
    match error {
        Refused::Absent => PyKeyError::new_err(key.clone().unbind()),
        Refused::NotANumber | Refused::Kind { .. } => {
            let shown = key
                .repr()
                .map_or_else(|_| String::new(), |shown| shown.to_string());
            PyTypeError::new_err(format!("`{shown}`: {error}"))
        }
        other => refused_as_whole(other),
    }
}

/// Why an operation on a dictionary was refused.
pub(crate) fn refused_as_whole(error: &Refused) -> PyErr {
    let told = error.to_string();
    match error {
        Refused::Overflow => PyOverflowError::new_err(told),
        Refused::Full => PyMemoryError::new_err(told),
        Refused::Stuck { .. } => PyTimeoutError::new_err(told),
        _ => PyValueError::new_err(told),
    }
}
