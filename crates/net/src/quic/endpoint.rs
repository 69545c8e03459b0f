//! A UDP socket and the connections on it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use headgate_wire::{ClientHello, ClientHelloError};
use quinn_proto::{
    ClientConfig, ConnectError, ConnectionError, ConnectionHandle, EndpointConfig, ServerConfig, Transmit,
};
use tokio::task::spawn_local;

use super::connection::Connecting;
use super::driver::Driver;
use super::hello::{Hellos, OpenHello};
use super::link::{Link, User, Work};
use super::socket::{outgoing, PacketSocket};
use crate::virtual_stream::{remember, wake};

/// What the driver and those who hold the endpoint share.
pub(super) struct Inner {
    pub(super) socket: Rc<dyn PacketSocket>,
    pub(super) state: RefCell<quinn_proto::Endpoint>,
    pub(super) work: Rc<Work>,
    /// The connections, by their numbers.
    links: RefCell<Vec<Option<Rc<Link>>>>,
    open: Cell<usize>,
    incoming: RefCell<VecDeque<(quinn_proto::Incoming, Option<OpenHello>)>>,
    /// Of connections that others begin, if any may.
    pub(super) hellos: Option<Rc<Hellos>>,
    accepting: RefCell<Option<Waker>>,
    idle: RefCell<Option<Waker>>,
    holders: Cell<usize>,
    is_broken: Cell<bool>,
}

impl Inner {
    /// The connection with that number.
    pub(super) fn link(&self, number: usize) -> Option<Rc<Link>> {
        self.links.borrow().get(number).and_then(Clone::clone)
    }

    /// Somebody begins a connection.
    pub(super) fn arrive(&self, incoming: quinn_proto::Incoming) {
        let hello = self.hellos.as_ref().and_then(Hellos::begin);
        self.incoming.borrow_mut().push_back((incoming, hello));
        wake(&mut self.accepting.borrow_mut());
    }

    /// Sends what is no connection's.
    pub(super) fn respond(&self, transmit: &Transmit, bytes: &[u8]) {
        // what the socket has no room for, the peer asks for again
        let _ = self.socket.try_send(&outgoing(transmit, bytes));
    }

    /// A connection begins.
    fn add(&self, handle: ConnectionHandle, state: quinn_proto::Connection) -> Connecting {
        let link = Link::new(handle, state, self.work.clone());
        let mut links = self.links.borrow_mut();
        if links.len() <= handle.0 {
            links.resize_with(handle.0 + 1, || None);
        }
        links[handle.0] = Some(link.clone());
        self.open.set(self.open.get() + 1);
        link.changed();
        Connecting::new(User::new(link))
    }

    /// Nothing of a connection is left.
    pub(super) fn remove(&self, handle: ConnectionHandle) {
        if self.links.borrow_mut()[handle.0].take().is_some() {
            self.open.set(self.open.get() - 1);
        }
        if self.open.get() == 0 {
            wake(&mut self.idle.borrow_mut());
        }
    }

    /// Whether there is, and can be, nothing to do any more.
    pub(super) fn is_over(&self) -> bool {
        self.holders.get() == 0 && self.open.get() == 0
    }

    /// The socket is of no use any more.
    pub(super) fn fail(&self) {
        self.is_broken.set(true);
        for link in self.links.take().into_iter().flatten() {
            link.lose(ConnectionError::Reset);
        }
        self.open.set(0);
        wake(&mut self.accepting.borrow_mut());
        wake(&mut self.idle.borrow_mut());
    }
}

/// See the module. Copies are of one endpoint; with the last of them and the last connection the socket goes.
pub struct Endpoint(Rc<Inner>);

impl Endpoint {
    /// Uses a socket from now on, on the thread's loop. `server`: what its connections are accepted with by default.
    pub fn new(config: EndpointConfig, server: Option<ServerConfig>, socket: Rc<dyn PacketSocket>) -> Self {
        let may_probe = !socket.may_fragment();
        let hellos = server.as_ref().map(|server| Hellos::new(server.crypto.clone()));
        let state = quinn_proto::Endpoint::new(Arc::new(config), server.map(Arc::new), may_probe, None);
        let inner = Rc::new(Inner {
            socket,
            state: RefCell::new(state),
            work: Rc::default(),
            links: RefCell::default(),
            open: Cell::new(0),
            incoming: RefCell::default(),
            hellos: hellos.map(Rc::new),
            accepting: RefCell::default(),
            idle: RefCell::default(),
            holders: Cell::new(1),
            is_broken: Cell::new(false),
        });
        spawn_local(Driver::new(inner.clone()));
        Self(inner)
    }

    /// The next connection that somebody begins. Ready with `None` when the socket is broken.
    pub fn poll_accept(&self, context: &Context<'_>) -> Poll<Option<Incoming>> {
        let incoming = self.0.incoming.borrow_mut().pop_front();
        if let Some((incoming, hello)) = incoming {
            return Poll::Ready(Some(Incoming {
                state: Some(incoming),
                hello,
                endpoint: self.clone(),
            }));
        }
        if self.0.is_broken.get() {
            return Poll::Ready(None);
        }
        remember(&mut self.0.accepting.borrow_mut(), context);
        Poll::Pending
    }

    /// Ready when there are no connections. One task may wait for that.
    pub fn poll_idle(&self, context: &Context<'_>) -> Poll<()> {
        if self.0.open.get() == 0 {
            return Poll::Ready(());
        }
        remember(&mut self.0.idle.borrow_mut(), context);
        Poll::Pending
    }

    /// Begins a connection.
    pub fn connect(
        &self,
        config: ClientConfig,
        address: SocketAddr,
        name: &str,
    ) -> Result<Connecting, ConnectError> {
        let mut state = self.0.state.borrow_mut();
        let (handle, connection) = state.connect(Instant::now(), config, address, name)?;
        drop(state);
        Ok(self.0.add(handle, connection))
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        self.0.holders.set(self.0.holders.get() + 1);
        Self(self.0.clone())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.0.holders.set(self.0.holders.get() - 1);
        if self.0.is_over() {
            self.0.work.wake();
        }
    }
}

/// A connection that somebody begins, of which little is kept yet. One that is dropped is refused.
pub struct Incoming {
    /// Absent once it was decided on.
    state: Option<quinn_proto::Incoming>,
    hello: Option<OpenHello>,
    endpoint: Endpoint,
}

impl Incoming {
    /// Where it comes from.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.state.as_ref().map(quinn_proto::Incoming::remote_address)
    }

    /// Which address of this side it was sent to, if the system says that.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.state.as_ref().and_then(quinn_proto::Incoming::local_ip)
    }

    /// Whether it has been shown that it comes from there.
    pub fn is_validated(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(quinn_proto::Incoming::remote_address_validated)
    }

    /// Whether that may be asked for by a Retry packet: it was not yet.
    pub fn may_retry(&self) -> bool {
        self.state.as_ref().is_some_and(quinn_proto::Incoming::may_retry)
    }

    /// What its client begins with, of at most so many bytes; whatever is decided by it must fit what the handshake comes
    /// to. Ready when it is here.
    pub fn poll_hello(
        &self,
        context: &Context<'_>,
        max_bytes: usize,
    ) -> Poll<Result<ClientHello, ClientHelloError>> {
        match &self.hello {
            Some(hello) => hello.poll(context, max_bytes),
            None => Poll::Ready(Err(ClientHelloError::NotTls)),
        }
    }

    /// Begins the handshake.
    pub fn accept(mut self, config: Arc<ServerConfig>) -> Result<Connecting, ConnectionError> {
        let Some(incoming) = self.state.take() else {
            return Err(ConnectionError::LocallyClosed);
        };
        let inner = &self.endpoint.0;
        let mut response = Vec::new();
        let mut state = inner.state.borrow_mut();
        let accepted = state.accept(incoming, Instant::now(), &mut response, Some(config));
        drop(state);
        match accepted {
            Ok((handle, connection)) => Ok(inner.add(handle, connection)),
            Err(error) => {
                if let Some(transmit) = error.response {
                    inner.respond(&transmit, &response);
                }
                Err(error.cause)
            }
        }
    }

    /// Says no, as does dropping it.
    pub fn refuse(self) {}

    /// Asks for a proof of the address (RFC 9000 section 8.1.2), and keeps nothing. One that may not be asked is refused.
    pub fn retry(mut self) {
        let Some(incoming) = self.state.take() else { return };
        let mut response = Vec::new();
        let asked = self.endpoint.0.state.borrow_mut().retry(incoming, &mut response);
        match asked {
            Ok(transmit) => self.endpoint.0.respond(&transmit, &response),
            Err(error) => self.state = Some(error.into_incoming()),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(incoming) = self.state.take() {
            let mut response = Vec::new();
            let transmit = self.endpoint.0.state.borrow_mut().refuse(incoming, &mut response);
            self.endpoint.0.respond(&transmit, &response);
        }
    }
}
