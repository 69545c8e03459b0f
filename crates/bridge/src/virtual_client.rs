//! For tests: the other end of a socket as a client's connection in memory.

use std::os::fd::OwnedFd;

use headgate_engine::{ClientInfo, Worker};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tokio::net::UnixStream;

/// The name of a scheme.
pub(crate) fn scheme(name: &str) -> PyResult<&'static str> {
    match name {
        "http" => Ok("http"),
        "https" => Ok("https"),
        _ => Err(PyValueError::new_err(format!(
            "`{name}` is not a scheme; hint: `http` or `https`"
        ))),
    }
}

/// Has a worker serve what comes through a Unix socket as a connection of this client. To be called within the runtime.
pub(crate) fn join(worker: &Worker, socket: OwnedFd, client: ClientInfo) -> PyResult<()> {
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    let mut end = worker.serve_virtual(client);
    tokio::task::spawn_local(async move {
        // whichever side breaks off, both are closed
        let _ = tokio::io::copy_bidirectional(&mut socket, &mut end).await;
    });
    Ok(())
}
