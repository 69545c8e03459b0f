//! A listening socket: accepts connections within the limits and starts a task for each.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::spawn_local;

use crate::connection::{Connection, Counted};
use crate::exchange_state::ClientInfo;
use crate::metrics::Counter;
use crate::stream::Stream;
use crate::worker::Shared;

/// How long to wait when the system cannot give another connection (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// See the module.
pub(crate) struct Listener {
    socket: Socket,
    name: String,
}

impl Listener {
    /// Takes over a socket that is bound and listens.
    pub(crate) fn adopt(socket: OwnedFd, name: &str) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        socket.set_nonblocking(true)?;
        let socket = if socket.local_addr()?.is_unix() {
            Socket::Unix(UnixListener::from_std(OwnedFd::from(socket).into())?)
        } else {
            // accepted connections inherit it: no system call for each
            socket.set_tcp_nodelay(true)?;
            Socket::Tcp(TcpListener::from_std(OwnedFd::from(socket).into())?)
        };
        Ok(Self {
            socket,
            name: name.to_owned(),
        })
    }

    /// Accepts until the worker drains.
    pub(crate) async fn run(self, shared: Rc<Shared>) {
        loop {
            // registered before the check, so that no call to stop is missed
            let stop = shared.stop.notified();
            if shared.is_draining.get() {
                return;
            }
            tokio::select! {
                biased;
                // first, so that a worker that drains leaves even a connection already there to the one that takes over
                () = stop => return,
                accepted = self.accept() => match accepted {
                    Ok((stream, client)) => admit(stream, client, &shared),
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        tracing::error!(listener = self.name, %error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, ClientInfo)> {
        let info = |address: String, port| ClientInfo {
            address,
            port,
            scheme: "http",
            listener: self.name.clone(),
        };
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Ok((Stream::Tcp(stream), info(text(address), address.port())))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Stream::Unix(stream), info("unix:".to_owned(), 0)))
            }
        }
    }
}

/// An IPv4 address seen through an IPv6 socket is written as IPv4.
fn text(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn admit(stream: Stream, client: ClientInfo, shared: &Rc<Shared>) {
    let tables = shared.tables();
    let limits = &tables.limits;
    shared.metrics.count(Counter::ConnectionsAccepted);
    let of_client = shared
        .per_client
        .borrow()
        .get(&client.address)
        .copied()
        .unwrap_or(0);
    let refusal = if shared.connections.get() >= limits.max_connections {
        Some(("limits.max_connections", Counter::LimitConnections))
    } else if limits.max_connections_per_client > 0 && of_client >= limits.max_connections_per_client {
        Some((
            "limits.max_connections_per_client",
            Counter::LimitClientConnections,
        ))
    } else {
        None
    };
    if let Some((limit, counter)) = refusal {
        shared.metrics.count(counter);
        shared.metrics.count(Counter::ConnectionsRefused);
        crate::connection::log_refusal(&tables, shared, &client, limit);
        return;
    }
    let counted = if limits.max_connections_per_client > 0 {
        Counted::ConnectionOfClient
    } else {
        Counted::Connection
    };
    spawn_local(Connection::open(stream, Rc::new(client), shared.clone(), counted).run());
}
