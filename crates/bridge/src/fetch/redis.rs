//! `headgate.Redis`' way to the engine: arguments as bytes, replies as Python values.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use headgate_engine::redis::{Redis, RedisFailure, RedisFailureKind, RedisTls, Script, Value};
use headgate_engine::LocalFuture;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple};

use crate::event_loop::pending::Pending;
use crate::event_loop::seam::Seam;
use crate::interpreter::bytes::chunk;
use crate::interpreter::gil::ThreadBound;

/// Scripts remembered with their hashes; more than a gateway has.
const MAX_SCRIPTS: usize = 256;

/// One server.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct RedisLink {
    parts: ThreadBound<RedisParts>,
}

struct RedisParts {
    redis: Rc<Redis>,
    decodes: bool,
    scripts: RefCell<HashMap<String, Rc<Script>>>,
}

/// What a reply is made into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    /// `OK` and 1 are true, nil and 0 are not.
    Bool,
    /// Pairs in a row.
    Map,
    Set,
}

impl Shape {
    fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "plain" => Ok(Self::Plain),
            "bool" => Ok(Self::Bool),
            "map" => Ok(Self::Map),
            "set" => Ok(Self::Set),
            _ => Err(PyValueError::new_err(format!(
                "`{name}` is not a valid reply shape"
            ))),
        }
    }
}

#[pymethods]
impl RedisLink {
    #[new]
    #[pyo3(signature = (url, timeout, decodes, ca = None, certificate = None, insecure = false))]
    fn new(
        url: &str,
        timeout: f64,
        decodes: bool,
        ca: Option<String>,
        certificate: Option<(String, String)>,
        insecure: bool,
    ) -> PyResult<Self> {
        let timeout = Duration::try_from_secs_f64(timeout)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| {
                PyValueError::new_err(format!(
                    "`{timeout}` is not a valid timeout; hint: seconds, more than 0"
                ))
            })?;
        let tls = RedisTls {
            ca,
            certificate,
            is_insecure: insecure,
        };
        let redis = Redis::new(url, timeout, tls).map_err(PyValueError::new_err)?;
        Ok(Self {
            parts: ThreadBound::new(RedisParts {
                redis: Rc::new(redis),
                decodes,
                scripts: RefCell::default(),
            }),
        })
    }

    /// Runs a command.
    #[pyo3(signature = (shape, is_repeatable, /, *arguments))]
    fn call(&self, shape: &str, is_repeatable: bool, arguments: &Bound<'_, PyTuple>) -> PyResult<Pending> {
        let parts = self.parts.get()?;
        let arguments = arguments
            .iter()
            .map(|it| argument(&it))
            .collect::<PyResult<Vec<_>>>()?;
        let seam = Seam::current("headgate.Redis")?;
        let run = seam.worker()?.redis(&parts.redis, arguments, is_repeatable);
        Ok(pending(&seam, run, Shape::from_name(shape)?, parts.decodes))
    }

    /// Runs a Lua script on the server.
    #[pyo3(signature = (script, keys, arguments, /))]
    fn eval(
        &self,
        script: String,
        keys: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyAny>,
    ) -> PyResult<Pending> {
        let parts = self.parts.get()?;
        let listed = |values: &Bound<'_, PyAny>| {
            values
                .try_iter()?
                .map(|value| argument(&value?))
                .collect::<PyResult<Vec<_>>>()
        };
        let (keys, arguments) = (listed(keys)?, listed(arguments)?);
        let mut scripts = parts.scripts.borrow_mut();
        if scripts.len() >= MAX_SCRIPTS {
            scripts.clear();
        }
        let script = Rc::clone(
            scripts
                .entry(script)
                .or_insert_with_key(|text| Rc::new(Script::new(text))),
        );
        let seam = Seam::current("headgate.Redis")?;
        let run = seam.worker()?.redis_eval(&parts.redis, script, keys, arguments);
        Ok(pending(&seam, run, Shape::Plain, parts.decodes))
    }
}

fn pending(
    seam: &Rc<Seam>,
    run: LocalFuture<'static, Result<Value, RedisFailure>>,
    shape: Shape,
    decodes: bool,
) -> Pending {
    let work = async move {
        let reply = run.await;
        Python::attach(|py| match reply {
            Ok(value) => shaped(py, value, shape, decodes),
            Err(failure) => Err(exception(py, &failure)),
        })
    };
    Pending::new(seam, Box::pin(work))
}

/// An argument's bytes: those of `bytes` and `str`, and numbers as text.
fn argument(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Some(bytes) = chunk(value)? {
        return Ok(bytes);
    }
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Ok(value.repr()?.to_str()?.as_bytes().to_vec());
    }
    Err(PyTypeError::new_err(format!(
        "an argument of a Redis command is a `{}`; hint: str, bytes, int or float",
        value.get_type().name()?
    )))
}

fn shaped(py: Python<'_>, value: Value, shape: Shape, decodes: bool) -> PyResult<Py<PyAny>> {
    match (shape, value) {
        (Shape::Bool, value) => {
            let is_true = matches!(value, Value::Okay | Value::Boolean(true))
                || matches!(value, Value::Int(n) if n > 0);
            Ok(is_true.into_pyobject(py)?.to_owned().into_any().unbind())
        }
        (Shape::Map, Value::Array(flat)) => {
            let found = PyDict::new(py);
            let mut flat = flat.into_iter();
            while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                found.set_item(plain(py, key, decodes)?, plain(py, value, decodes)?)?;
            }
            Ok(found.into_any().unbind())
        }
        (Shape::Set, Value::Array(members)) => plain(py, Value::Set(members), decodes),
        (_, value) => plain(py, value, decodes),
    }
}

fn plain(py: Python<'_>, value: Value, decodes: bool) -> PyResult<Py<PyAny>> {
    let text = |bytes: &[u8]| -> PyResult<Py<PyAny>> {
        let bytes = PyBytes::new(py, bytes).into_any();
        if decodes {
            return bytes
                .call_method1(intern!(py, "decode"), ("utf-8", "surrogateescape"))
                .map(Bound::unbind);
        }
        Ok(bytes.unbind())
    };
    let listed = |values: Vec<Value>| {
        values
            .into_iter()
            .map(|value| plain(py, value, decodes))
            .collect::<PyResult<Vec<_>>>()
    };
    Ok(match value {
        Value::Nil => py.None(),
        Value::Int(number) => number.into_pyobject(py)?.into_any().unbind(),
        Value::Double(number) => number.into_pyobject(py)?.into_any().unbind(),
        Value::Boolean(claim) => claim.into_pyobject(py)?.to_owned().into_any().unbind(),
        Value::Okay => text(b"OK")?,
        Value::BulkString(bytes) | Value::BigNumber(bytes) => text(&bytes)?,
        Value::SimpleString(line) => text(line.as_bytes())?,
        Value::VerbatimString { text: verbatim, .. } => text(verbatim.as_bytes())?,
        Value::Array(values) | Value::Push { data: values, .. } => {
            PyList::new(py, listed(values)?)?.into_any().unbind()
        }
        Value::Set(values) => PySet::new(py, listed(values)?)?.into_any().unbind(),
        Value::Map(pairs) => {
            let found = PyDict::new(py);
            for (key, value) in pairs {
                found.set_item(plain(py, key, decodes)?, plain(py, value, decodes)?)?;
            }
            found.into_any().unbind()
        }
        Value::Attribute { data, .. } => plain(py, *data, decodes)?,
        Value::ServerError(error) => {
            let failure = RedisFailure {
                kind: RedisFailureKind::Refused,
                message: error.to_string(),
            };
            return Err(exception(py, &failure));
        }
        other => PyString::new(py, &format!("{other:?}")).into_any().unbind(),
    })
}

fn exception(py: Python<'_>, failure: &RedisFailure) -> PyErr {
    let class = match failure.kind {
        RedisFailureKind::Connection => "RedisConnectionError",
        RedisFailureKind::Timeout => "RedisTimeout",
        RedisFailureKind::Refused => "RedisError",
    };
    let made = py
        .import(intern!(py, "headgate.redis"))
        .and_then(|module| module.getattr(class)?.call1((&failure.message,)));
    made.map_or_else(|broken| broken, PyErr::from_value)
}
