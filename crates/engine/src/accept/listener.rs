//! A listening socket: accepts connections within the limits and starts a task for each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::spawn_local;

use crate::accept::preread::PendingConnection;
use crate::accept::protocol;
use crate::hooks::connection::ClientInfo;
use crate::state::admission::Admission;
use crate::state::connection::Connection;
use crate::state::refusal::{log_refusal, Refusal};
use crate::state::Shared;
use crate::tables::networks::canonical;
use headgate_net::peer::Peer;
use headgate_net::stream::Stream;
use headgate_shared::metrics::Counter;

/// How long to wait when the system cannot give another connection (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// What the kernel holds unsent for a client that reads slowly; half of it must leave within `timeouts.send`, which is what
/// a client has to take to count as alive.
const UNSENT_BYTES: u32 = 128 * 1024;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// See the module.
pub(crate) struct Listener {
    socket: Socket,
    name: String,
    /// 0 for a Unix socket.
    port: u16,
}

impl Listener {
    /// Takes over a socket that is bound and listens.
    pub(crate) fn adopt(socket: OwnedFd, name: &str) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        socket.set_nonblocking(true)?;
        let port = socket
            .local_addr()?
            .as_socket()
            .map_or(0, |address| address.port());
        let socket = if socket.local_addr()?.is_unix() {
            Socket::Unix(UnixListener::from_std(OwnedFd::from(socket).into())?)
        } else {
            // accepted connections inherit it: no system call for each
            socket.set_tcp_nodelay(true)?;
            // so that a client which takes its bytes steadily is seen to: by default its socket takes more only once a third
            // of megabytes has left. A kernel without it judges slow clients more harshly, no more
            let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
            Socket::Tcp(TcpListener::from_std(OwnedFd::from(socket).into())?)
        };
        Ok(Self {
            socket,
            name: name.to_owned(),
            port,
        })
    }

    /// Accepts until the worker drains.
    pub(crate) async fn run(self, shared: Rc<Shared>) {
        loop {
            // registered before the check, so that no call to stop is missed
            let stop = shared.stop.notified();
            if shared.is_closed_listener(&self.name) {
                return;
            }
            tokio::select! {
                biased;
                // first, so that a worker that drains leaves even a connection already there to the one that takes over
                () = stop => {}
                accepted = self.accept() => match accepted {
                    Ok((stream, address, port)) => self.admit(stream, address, port, &shared),
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        tracing::error!(listener = self.name, %error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, String, u16)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Ok((Stream::Tcp(stream), text(address), address.port()))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Stream::Unix(stream), "unix:".to_owned(), 0))
            }
        }
    }

    /// Counts a connection and starts its task, or drops it where a bound is reached.
    fn admit(&self, stream: Stream, address: String, port: u16, shared: &Rc<Shared>) {
        let tables = shared.tables();
        let settings = tables.listener(&self.name);
        shared.metrics.count(Counter::ConnectionsAccepted);
        let client = ClientInfo {
            address,
            port,
            listener: settings.map_or(&self.name, |settings| &settings.name).clone(),
            destination: tables.wants_destination.then(|| local_address(&stream)).flatten(),
            alt_svc: settings.and_then(|settings| settings.alt_svc(self.port, tables.http3.alt_svc_max_age)),
            ..ClientInfo::default()
        };
        // behind a proxy the client is known only after its PROXY header
        let is_direct = settings.is_none_or(|settings| settings.proxy_protocol.is_none());
        let address = is_direct.then_some(client.address.as_str());
        let admission = match Admission::within(shared, &tables.limits, address) {
            Ok(admission) => admission,
            Err(full) => {
                shared.metrics.count(full.counter);
                shared.metrics.count(Counter::ConnectionsRefused);
                let refusal = Refusal::full(&full);
                log_refusal(&tables, shared, &client, (&refusal, ""), shared.clock.tick());
                return;
            }
        };
        if let Some(settings) = settings.filter(|settings| !settings.is_plain()).cloned() {
            let pending = PendingConnection::new(stream, client, settings, tables, shared.clone(), admission);
            spawn_local(pending.run());
        } else {
            let now_us = shared.clock.tick();
            client.accepted.set(Some((now_us, now_us)));
            let peer = Peer::new(stream, shared.buffers.clone());
            let connection = Connection::resume(peer, Rc::new(client), shared.clone(), admission);
            spawn_local(protocol::serve(connection));
        }
    }
}

/// Where the client connected to.
fn local_address(stream: &Stream) -> Option<SocketAddr> {
    let address = socket2::SockRef::from(&stream.socket()?).local_addr().ok()?;
    address.as_socket().map(canonical)
}

/// An IPv4 address seen through an IPv6 socket is written as IPv4.
fn text(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip().to_canonical() else {
        return address.ip().to_string();
    };
    // by hand, as it is done for each connection: the formatting of the library costs ten times as much
    let mut text = String::with_capacity("255.255.255.255".len());
    for part in ip.octets() {
        text.push_str(itoa::Buffer::new().format(part));
        text.push('.');
    }
    text.pop();
    text
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn accepted_connections_hold_little_unsent() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let listener = Listener::adopt(socket.into(), "test").expect("it listens");
        let _client = std::net::TcpStream::connect(address).expect("it accepts");
        let (stream, _, _) = listener.accept().await.expect("it is there");
        let Stream::Tcp(stream) = stream else {
            panic!("it is of TCP");
        };
        let unsent = socket2::SockRef::from(&stream).tcp_notsent_lowat();
        assert_eq!(unsent.expect("the kernel knows it"), UNSENT_BYTES);
    }
}
