//! Functions of the module: the shared zone's numbers, and checking a snapshot without a worker.

use std::collections::BTreeMap;
use std::os::fd::{IntoRawFd, RawFd};
use std::path::Path;

use headgate_shared::metrics::NAMES;
use headgate_shared::Zone;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::interpreter::gil::duplicate_descriptor;

/// How the names of numbers end that say what is, not what has been.
const PRESENT: &str = "_active";

/// Makes a zone and gives its descriptor, which children inherit.
#[pyfunction]
#[pyo3(signature = (slots, cells, /))]
pub(crate) fn create_zone(slots: u32, cells: u32) -> PyResult<RawFd> {
    let zone = Zone::create(slots, cells)?;
    let inheritable = rustix::io::dup(zone.fd()).map_err(std::io::Error::from)?;
    Ok(inheritable.into_raw_fd())
}

/// Moves the counters of a dead worker's slot into the slot `into`, which no worker has, and sets all its numbers to 0.
#[pyfunction]
#[pyo3(signature = (fd, slot, into, /))]
pub(crate) fn retire_slot(fd: RawFd, slot: u32, into: u32) -> PyResult<()> {
    let zone = open(fd)?;
    check_slot(&zone, slot)?;
    check_slot(&zone, into)?;
    zone.retire(slot, into, |cell| {
        NAMES
            .get(cell as usize)
            .is_none_or(|name| name.ends_with(PRESENT))
    });
    Ok(())
}

/// The named counters, summed over all slots.
#[pyfunction]
#[pyo3(signature = (fd, /))]
pub(crate) fn zone_stats(fd: RawFd) -> PyResult<BTreeMap<&'static str, u64>> {
    open(fd).map(|zone| sums(&zone))
}

/// The name of the cryptographic module that does TLS, and whether it is the FIPS one.
#[pyfunction]
pub(crate) fn tls_module() -> (&'static str, bool) {
    let module = headgate_engine::tls_module();
    (module.name, module.is_fips)
}

/// Raises `ValueError` unless the cryptographic module is the FIPS one.
#[pyfunction]
pub(crate) fn require_fips() -> PyResult<()> {
    headgate_engine::require_fips().map_err(PyValueError::new_err)
}

/// Makes the certificate authority for development unless `folder` has one; true if it was made. Raises `ValueError`.
#[pyfunction]
#[pyo3(signature = (folder, /))]
pub(crate) fn ensure_local_authority(folder: &str) -> PyResult<bool> {
    headgate_engine::ensure_local_authority(Path::new(folder)).map_err(PyValueError::new_err)
}

/// Builds the tables of a snapshot and throws them away: `ValueError` says what is wrong with it.
#[pyfunction]
#[pyo3(signature = (snapshot, /))]
pub(crate) fn check(snapshot: &str) -> PyResult<()> {
    crate::interpreter::engine_log::attach();
    headgate_engine::check(snapshot).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Maps the zone behind a descriptor, which stays the caller's.
pub(crate) fn open(fd: RawFd) -> PyResult<Zone> {
    let zone =
        Zone::open(duplicate_descriptor(fd)?).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let named = u32::try_from(NAMES.len()).unwrap_or(u32::MAX);
    if zone.cells() < named {
        let cells = zone.cells();
        return Err(PyValueError::new_err(format!(
            "the zone has `{cells}` cells; hint: make it with at least {}",
            headgate_engine::ZONE_CELLS
        )));
    }
    Ok(zone)
}

/// The same for a worker that counts in `slot`.
pub(crate) fn open_for_worker(fd: RawFd, slot: u32) -> PyResult<Zone> {
    let zone = open(fd)?;
    check_slot(&zone, slot)?;
    let (cells, needed) = (zone.cells(), headgate_engine::ZONE_CELLS);
    if cells < needed {
        return Err(PyValueError::new_err(format!(
            "the zone has `{cells}` cells; hint: make it with at least {needed}"
        )));
    }
    Ok(zone)
}

/// Refuses a slot that the zone does not have.
fn check_slot(zone: &Zone, slot: u32) -> PyResult<()> {
    if slot < zone.slots() {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "the zone has {} slots, so no slot `{slot}`",
        zone.slots()
    )))
}

/// The counters by name.
pub(crate) fn sums(zone: &Zone) -> BTreeMap<&'static str, u64> {
    (0..)
        .zip(NAMES)
        .map(|(cell, name)| (*name, zone.sum(cell)))
        .collect()
}
