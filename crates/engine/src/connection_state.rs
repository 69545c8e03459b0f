//! A connection as its hooks see it, before (and for streams without HTTP: while) bytes are carried.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;

use headgate_wire::{ClientHello, ProxyHeader};

use crate::tables::Tables;

/// Where a connection goes, as a hook chose it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chosen {
    /// An upstream of the tables.
    Upstream(usize),
    /// A server by its address, such as `10.0.0.1:443`.
    Address(String),
}

/// One connection of a client.
pub struct ConnectionState {
    /// The client's address without port, as the PROXY header says where there is one; `unix:` for a Unix socket.
    pub address: String,
    /// The client's port, 0 for a Unix socket.
    pub port: u16,
    /// The address at the other end of the socket: the client's, or that of a proxy before this gateway.
    pub peer: String,
    /// Where the client connected to, if it is known.
    pub destination: Option<SocketAddr>,
    /// The listener's name.
    pub listener: String,
    /// `http`, `tcp` or `udp`.
    pub protocol: &'static str,
    /// The PROXY header that came first.
    pub proxy: Option<ProxyHeader>,
    /// The first TLS message, where it is read before a decision (`tls_passthrough`).
    pub hello: RefCell<Option<ClientHello>>,
    /// Where it goes, if a hook has said so.
    pub chosen: RefCell<Option<Chosen>>,
    /// Why a hook refused it.
    pub refusal: RefCell<Option<String>>,
    /// The longest silence, in milliseconds, in place of the configured one.
    pub idle_ms: Cell<Option<u64>>,
    /// The longest life of a TCP connection, in milliseconds, in place of the configured one.
    pub lifetime_ms: Cell<Option<u64>>,
    /// The most requests on it, in place of the configured number.
    pub max_requests: Cell<Option<u64>>,
    /// The configuration it came under.
    pub tables: Rc<Tables>,
    /// Whatever the hooks' implementation keeps for it (view, context).
    pub attachment: RefCell<Option<Box<dyn Any>>>,
}

/// The engine's hold on a connection's state. When the last is dropped, what hooks attached goes: it points back.
pub struct Opened(Rc<ConnectionState>);

impl Opened {
    pub(crate) fn new(state: ConnectionState) -> Rc<Self> {
        Rc::new(Self(Rc::new(state)))
    }
}

impl Deref for Opened {
    type Target = Rc<ConnectionState>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let attachment = self.0.attachment.take();
        drop(attachment);
    }
}
