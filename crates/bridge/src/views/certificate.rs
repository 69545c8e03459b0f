//! A certificate with its key that hooks give a connection.

use headgate_engine::OwnCertificate;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

/// A certificate chain with its key, read and checked, ready to be shown.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Certificate(pub(crate) OwnCertificate);

#[pymethods]
impl Certificate {
    /// Reads PEM; without `key` the chain's text holds it too. `ocsp` is a response in DER to staple.
    #[new]
    #[pyo3(signature = (chain, key = None, /, *, ocsp = None))]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what Python gives is extracted here"
    )]
    fn new(chain: Pem, key: Option<Pem>, ocsp: Option<Vec<u8>>) -> PyResult<Self> {
        let key = key.as_ref().map(Pem::bytes).unwrap_or_default();
        OwnCertificate::from_pem(chain.bytes(), key, ocsp)
            .map(Self)
            .map_err(PyValueError::new_err)
    }

    /// The names in the certificate, in lower case.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.names().to_vec()
    }

    /// When its validity ends, in seconds since 1970.
    #[getter]
    fn not_after(&self) -> i64 {
        self.0.not_after()
    }

    fn __repr__(&self) -> String {
        format!("<Certificate {}>", self.0.names().join(", "))
    }
}

/// PEM as users have it: text or bytes.
pub(crate) enum Pem {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl Pem {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Pem {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = value.extract::<PyBackedStr>() {
            return Ok(Self::Text(text));
        }
        if let Ok(bytes) = value.extract::<PyBackedBytes>() {
            return Ok(Self::Bytes(bytes));
        }
        let kind = value.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "PEM is `str` or `bytes`, not `{kind}`; hint: read the file first"
        )))
    }
}
