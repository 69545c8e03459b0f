//! Functions of the module: what is said of upstreams' servers, for whoever checks or manages them.

use std::os::fd::RawFd;

use headgate_shared::servers::{AdminState, CheckState};
use headgate_shared::Zone;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::zone::open;

/// Says something of a server in the zone behind a descriptor; all workers heed it from their next choice on. What is not given
/// stays as it is.
#[pyfunction]
#[pyo3(signature = (fd, upstream, server, /, *, check=None, admin=None, weight=None))]
pub(crate) fn set_server_state(
    fd: RawFd,
    upstream: &str,
    server: &str,
    check: Option<&str>,
    admin: Option<&str>,
    weight: Option<u8>,
) -> PyResult<()> {
    let check = check.map(parse_check).transpose()?;
    let admin = admin.map(parse_admin).transpose()?;
    if weight.is_some_and(|weight| weight > 100) {
        return Err(PyValueError::new_err("a weight is 0 to 100 percent"));
    }
    let zone = open(fd)?;
    let server = server.strip_prefix("https://").unwrap_or(server);
    let entry = zone
        .claim_server(&format!("{upstream}/{server}"))
        .ok_or_else(|| PyRuntimeError::new_err("too many servers have a state of their own"))?;
    zone.change_server_state(entry, |state| {
        state.check = check.unwrap_or(state.check);
        state.admin = admin.unwrap_or(state.admin);
        state.weight_percent = weight.unwrap_or(state.weight_percent);
    });
    Ok(())
}

/// The servers of which something is said that is not as by default.
#[pyfunction]
#[pyo3(signature = (fd, /))]
pub(crate) fn server_states(py: Python<'_>, fd: RawFd) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let zone: Zone = open(fd)?;
    let known = zone.known_servers().into_iter().map(|known| {
        let (upstream, server) = known.name.split_once('/').unwrap_or((&known.name, ""));
        let told = PyDict::new(py);
        told.set_item("upstream", upstream)?;
        told.set_item("server", server)?;
        told.set_item("check", check_name(known.state.check))?;
        told.set_item("admin", admin_name(known.state.admin))?;
        told.set_item("weight", known.state.weight_percent)?;
        told.set_item("ejected_ms", known.ejected_ms)?;
        Ok(told)
    });
    known.collect()
}

fn parse_check(name: &str) -> PyResult<CheckState> {
    match name {
        "unknown" => Ok(CheckState::Unknown),
        "up" => Ok(CheckState::Up),
        "down" => Ok(CheckState::Down),
        _ => Err(PyValueError::new_err(format!(
            "`{name}` is not a valid check; hint: one of unknown, up, down"
        ))),
    }
}

fn check_name(state: CheckState) -> &'static str {
    match state {
        CheckState::Unknown => "unknown",
        CheckState::Up => "up",
        CheckState::Down => "down",
    }
}

fn parse_admin(name: &str) -> PyResult<AdminState> {
    match name {
        "ready" => Ok(AdminState::Ready),
        "drain" => Ok(AdminState::Drain),
        "maintenance" => Ok(AdminState::Maintenance),
        _ => Err(PyValueError::new_err(format!(
            "`{name}` is not a valid state; hint: one of ready, drain, maintenance"
        ))),
    }
}

fn admin_name(state: AdminState) -> &'static str {
    match state {
        AdminState::Ready => "ready",
        AdminState::Drain => "drain",
        AdminState::Maintenance => "maintenance",
    }
}
