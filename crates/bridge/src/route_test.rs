//! Which route of a snapshot would take a request.

use headgate_engine::{test_route, TestedRequest};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Verdicts = Vec<(String, &'static str, String)>;

/// The path as routes see it (None: 400), and names of routes with a verdict and what it is about, in the order of
/// choice. Names of header fields are in lower case; `ValueError` says what is wrong with the snapshot.
#[pyfunction]
#[pyo3(signature = (snapshot, method, host, path, query, headers, /))]
#[allow(clippy::needless_pass_by_value, reason = "what Python gives")]
pub(crate) fn explain_route(
    snapshot: &str,
    method: &str,
    host: &str,
    path: &str,
    query: &str,
    headers: Vec<(String, String)>,
) -> PyResult<(Option<String>, Verdicts)> {
    let request = TestedRequest {
        method,
        host,
        path,
        query,
        headers: &headers,
    };
    test_route(snapshot, &request)
        .map(|test| (test.path, test.verdicts))
        .map_err(|error| PyValueError::new_err(error.to_string()))
}
