//! For tests: the other end of a socket as a client's connection in memory.

use std::os::fd::OwnedFd;

use headgate_engine::{ClientInfo, Worker};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tokio::net::UnixStream;

/// A client of that address, at a listener of that name.
pub(crate) fn client(address: String, port: u16, scheme: &str, listener: String) -> PyResult<ClientInfo> {
    Ok(ClientInfo {
        address,
        port,
        scheme: match scheme {
            "http" => "http",
            "https" => "https",
            _ => {
                return Err(PyValueError::new_err(format!(
                    "`{scheme}` is not a scheme; hint: `http` or `https`"
                )))
            }
        },
        listener,
        ..ClientInfo::default()
    })
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
