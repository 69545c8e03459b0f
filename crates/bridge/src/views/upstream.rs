//! An upstream and its servers as `balance` hooks see them.

use std::rc::Rc;

use headgate_engine::{is_server_address, Exchange};
use headgate_route::{Metadata, Subset};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::interpreter::text;

/// The servers that a request may go to, as they are now.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct UpstreamView {
    name: String,
    servers: Vec<Py<ServerView>>,
}

/// One server.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct ServerView {
    /// The upstream's name.
    upstream: String,
    /// The address as configured.
    address: String,
    /// The share, from 1.
    weight: u32,
    /// Whether it is used only while no other is available.
    backup: bool,
    /// Its priority; the lowest comes first.
    priority: u32,
    /// Where it is, if that is configured.
    zone: Option<String>,
    /// What it is marked with.
    metadata: Metadata,
    /// The requests in flight to it, over all workers.
    requests: u32,
    /// Whether it is in rotation, not excluded because of failures.
    is_available: bool,
    /// Whether this request was already sent to it.
    is_tried: bool,
}

impl UpstreamView {
    pub(crate) fn new(py: Python<'_>, exchange: &Rc<Exchange>) -> PyResult<Self> {
        let tables = exchange.tables.borrow();
        let moved_to = exchange.moved_to();
        let of_tables = exchange
            .upstream
            .get()
            .and_then(|upstream| tables.upstreams.get(upstream));
        let Some(upstream) = moved_to.as_ref().or(of_tables) else {
            return Err(PyValueError::new_err(
                "the request is not forwarded to an upstream",
            ));
        };
        let tried = exchange.rare().tried.borrow().clone();
        let servers = exchange
            .rare()
            .loads
            .borrow()
            .clone()
            .into_iter()
            .enumerate()
            .map(|(index, load)| {
                Py::new(
                    py,
                    ServerView {
                        upstream: upstream.name.clone(),
                        address: upstream.servers[index].name.clone(),
                        weight: load.weight,
                        backup: load.is_backup,
                        priority: upstream.described(index).priority,
                        zone: upstream.described(index).zone.clone(),
                        metadata: upstream.described(index).metadata.clone(),
                        requests: load.requests,
                        is_available: load.is_available,
                        is_tried: tried.contains(index),
                    },
                )
            });
        Ok(Self {
            name: upstream.name.clone(),
            servers: servers.collect::<PyResult<_>>()?,
        })
    }
}

#[pymethods]
impl UpstreamView {
    /// The name.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The servers, in the order listed.
    #[getter]
    fn servers(&self, py: Python<'_>) -> Vec<Py<ServerView>> {
        self.servers.iter().map(|server| server.clone_ref(py)).collect()
    }

    fn __repr__(&self) -> String {
        format!("<UpstreamView {}: {} servers>", self.name, self.servers.len())
    }
}

#[pymethods]
impl ServerView {
    fn __repr__(&self) -> String {
        format!(
            "ServerView(address='{}', requests={})",
            self.address, self.requests
        )
    }
}

/// The servers that a `balance` hook chose among, if what it gave is metadata.
pub(crate) fn chosen_subset(result: &Bound<'_, PyAny>) -> PyResult<Option<Subset>> {
    let Ok(wanted) = result.cast::<PyDict>() else {
        return Ok(None);
    };
    let wanted: PyResult<Metadata> = wanted.extract();
    let wanted = wanted.map_err(|_| {
        PyValueError::new_err("the metadata of servers are texts; hint: return `{\"version\": \"v2\"}`")
    })?;
    Ok(Some(Subset::new(wanted)))
}

/// The server that a `balance` hook chose, if what it gave names one.
pub(crate) fn chosen_server(exchange: &Exchange, result: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if let Ok(server) = result.cast::<ServerView>() {
        return find(exchange, result.py(), &server.get().address).map(Some);
    }
    let Ok(address) = result.cast::<PyString>() else {
        return Ok(None);
    };
    let address = String::from_utf8_lossy(&text::encode(address)?).into_owned();
    find(exchange, result.py(), &address).map(Some)
}

fn find(exchange: &Exchange, py: Python<'_>, address: &str) -> PyResult<usize> {
    let tables = exchange.tables.borrow();
    let upstream = exchange
        .upstream
        .get()
        .and_then(|upstream| tables.upstreams.get(upstream));
    let known: Vec<&str> = upstream.map_or_else(Vec::new, |upstream| {
        let names = upstream.servers.iter().map(|server| server.name.as_str());
        names.collect()
    });
    if let Some(index) = known.iter().position(|name| *name == address) {
        return Ok(index);
    }
    let near: Vec<String> = py
        .import(intern!(py, "difflib"))?
        .call_method1("get_close_matches", (address, &known))?
        .extract()?;
    let hint = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.join(", ")),
    };
    let name = upstream.map_or("", |upstream| upstream.name.as_str());
    Err(PyValueError::new_err(format!(
        "upstream `{name}` has no server `{address}`; hint: {hint}"
    )))
}

/// The name of the upstream that gets the request, or the address that a hook has chosen; `None` if nobody does.
pub(crate) fn chosen_upstream(exchange: &Exchange) -> Option<String> {
    if let Some(address) = &*exchange.address.borrow() {
        return Some(address.clone());
    }
    if let Some(upstream) = &*exchange.at_address.borrow() {
        return Some(upstream.name.clone());
    }
    let index = exchange.upstream.get()?;
    let tables = exchange.tables.borrow();
    tables.upstreams.get(index).map(|upstream| upstream.name.clone())
}

/// Has a request go to an upstream by its name, or to the address of a server.
pub(crate) fn choose_upstream(py: Python<'_>, exchange: &Exchange, name: &str) -> PyResult<()> {
    let tables = exchange.tables.borrow();
    if let Some(upstream) = tables.upstream_index(name) {
        exchange.upstream.set(Some(upstream));
        exchange.address.take();
        return Ok(());
    }
    if is_server_address(name) {
        exchange.address.replace(Some(name.to_owned()));
        return Ok(());
    }
    let known: Vec<&str> = tables
        .upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    Err(unknown_upstream(py, name, &known)?)
}

fn unknown_upstream(py: Python<'_>, name: &str, known: &[&str]) -> PyResult<PyErr> {
    let near: Vec<String> = py
        .import("difflib")?
        .call_method1("get_close_matches", (name, known))?
        .extract()?;
    let hint = match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.join(", ")),
    };
    Ok(PyValueError::new_err(format!(
        "there is no upstream `{name}`; hint: {hint}"
    )))
}
