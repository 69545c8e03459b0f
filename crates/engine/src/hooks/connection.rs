//! A connection and its client as hooks see them, before (and for streams without HTTP: while) bytes are carried.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::{Rc, Weak};

use headgate_upstream::ClientIdentity;
use headgate_wire::{ClientHello, ProxyHeader, ProxyTlvs};

use super::configuration::Configuration;
use headgate_net::tls::{ChosenCertificate, ClientCertificateMode, ListenerTls, OwnCertificate, TlsInfo};

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
    /// The client's address without port, from the PROXY header if there is one; `unix:` for a Unix socket.
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
    /// The first TLS message, where it is read before a decision (`tls_passthrough`, or `client_hello` hooks).
    pub hello: RefCell<Option<ClientHello>>,
    /// Its upstream, if a hook has chosen one.
    pub chosen: RefCell<Option<Chosen>>,
    /// How its TLS is ended here, if it is.
    pub(crate) tls: Option<Rc<ListenerTls>>,
    /// The certificate to present, if a hook has chosen one.
    pub(crate) certificate: RefCell<Option<ChosenCertificate>>,
    /// Whether its client must send a certificate, if a hook has set it.
    pub(crate) client_certificates: Cell<Option<ClientCertificateMode>>,
    /// Why a hook refused it.
    pub refusal: RefCell<Option<String>>,
    /// The longest silence, in milliseconds, in place of the configured one.
    pub idle_ms: Cell<Option<u64>>,
    /// The longest life of a TCP connection, in milliseconds, in place of the configured one.
    pub lifetime_ms: Cell<Option<u64>>,
    /// The most requests on it, in place of the configured number.
    pub max_requests: Cell<Option<u64>>,
    /// The configuration it came under. Held by whoever runs its hooks: a connection that is kept for requests, which have
    /// their own, does not keep it.
    pub(crate) tables: Weak<Configuration>,
    /// Whatever the hooks' implementation keeps for it (view, context).
    pub attachment: RefCell<Option<Box<dyn Any>>>,
}

impl ConnectionState {
    /// One that no hook has seen and nothing is known of, but the configuration it comes under.
    pub(crate) fn under(tables: &Rc<Configuration>) -> Self {
        Self {
            address: String::new(),
            port: 0,
            peer: String::new(),
            destination: None,
            listener: String::new(),
            protocol: "",
            proxy: None,
            hello: RefCell::default(),
            chosen: RefCell::default(),
            tls: None,
            certificate: RefCell::default(),
            client_certificates: Cell::default(),
            refusal: RefCell::default(),
            idle_ms: Cell::default(),
            lifetime_ms: Cell::default(),
            max_requests: Cell::default(),
            tables: Rc::downgrade(tables),
            attachment: RefCell::default(),
        }
    }

    /// The configuration it came under, as long as its own hooks may run.
    pub fn tables(&self) -> Option<Rc<Configuration>> {
        self.tables.upgrade()
    }

    /// Has it show this certificate.
    ///
    /// # Errors
    /// Its TLS is not ended here.
    pub fn show(&self, certificate: &OwnCertificate) -> Result<(), String> {
        self.terminated_tls()?;
        self.certificate.replace(Some(certificate.into()));
        Ok(())
    }

    /// Has it show the certificate that is configured for a name.
    ///
    /// # Errors
    /// There is none, or its TLS is not ended here.
    pub fn show_configured(&self, name: &str) -> Result<(), String> {
        let chosen = ChosenCertificate::configured(self.terminated_tls()?, name).ok_or_else(|| {
            format!("there is no certificate for `{name}`; hint: name one of the listener's, or give a certificate")
        })?;
        self.certificate.replace(Some(chosen));
        Ok(())
    }

    /// Whether its client must send a certificate.
    pub fn client_certificates(&self) -> Option<ClientCertificateMode> {
        let own = || self.tls.as_ref().map(|tls| tls.client_certificates());
        self.client_certificates.get().or_else(own)
    }

    /// Requests a certificate from its client.
    ///
    /// # Errors
    /// The listener trusts no authority, or the connection's TLS is not ended here.
    pub fn request_client_certificate(&self, mode: ClientCertificateMode) -> Result<(), String> {
        if !self.terminated_tls()?.can_ask_for(mode) {
            return Err(
                "the listener trusts no authority; hint: name its file in `client_certificates.ca`"
                    .to_owned(),
            );
        }
        self.client_certificates.set(Some(mode));
        Ok(())
    }

    fn terminated_tls(&self) -> Result<&ListenerTls, String> {
        self.tls.as_deref().ok_or_else(|| {
            format!(
                "listener `{}` does not end TLS; hint: give it `tls`, or choose `connection.upstream`",
                self.listener
            )
        })
    }
}

/// The engine's hold on a connection's state. When the last is dropped, what hooks attached goes: it points back.
pub struct Preread(Rc<ConnectionState>);

impl Preread {
    pub(crate) fn new(state: ConnectionState) -> Rc<Self> {
        Rc::new(Self(Rc::new(state)))
    }
}

impl Deref for Preread {
    type Target = Rc<ConnectionState>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Preread {
    fn drop(&mut self) {
        let attachment = self.0.attachment.take();
        drop(attachment);
    }
}

/// Prefixes, and the key of the network that they make of an address.
pub type Network = ((u8, u8), Rc<[u8]>);

/// The client side of a connection, as hooks and logs see it.
#[derive(Clone)]
pub struct ClientInfo {
    /// The address as text, without port (`unix:` for a Unix socket).
    pub address: String,
    /// The port, 0 for a Unix socket.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The listener's name.
    pub listener: String,
    /// The address of the connection, where a trusted proxy has named another client.
    pub hop: Option<String>,
    /// Whether a trusted proxy has named the host of the request.
    pub tells_host: bool,
    /// Where the client connected to; known only where servers are sent a PROXY header.
    pub destination: Option<SocketAddr>,
    /// What came before HTTP on this connection, if anything did.
    pub preread: Option<Rc<Preread>>,
    /// What it speaks.
    pub protocol: Protocol,
    /// What was agreed in the handshake; absent on a plain connection.
    pub tls: Option<Rc<TlsInfo>>,
    /// The value of `Alt-Svc`, where the listener speaks HTTP/3 too.
    pub alt_svc: Option<Rc<str>>,
    /// What counts the bytes of its requests where they share a bandwidth: up, and down.
    pub ledgers: OnceCell<Rc<[Rc<Cell<u64>>; 2]>>,
    /// The keys that its requests are counted under, by the prefixes that made them.
    pub networks: RefCell<Vec<Network>>,
    /// When the connection was accepted and when it was ready for HTTP, on the worker's clock. Its first request takes it.
    pub accepted: Cell<Option<(u64, u64)>>,
}

impl ClientInfo {
    /// What counts the bytes of all requests of this connection, from the client or to it.
    pub(crate) fn ledger(&self, is_up: bool) -> Rc<Cell<u64>> {
        let [up, down] = &**self.ledgers.get_or_init(Rc::default);
        Rc::clone(if is_up { up } else { down })
    }
}

impl Default for ClientInfo {
    /// None, over plain HTTP.
    fn default() -> Self {
        Self {
            address: String::new(),
            port: 0,
            scheme: "http",
            listener: String::new(),
            hop: None,
            tells_host: false,
            destination: None,
            preread: None,
            protocol: Protocol::Http1,
            tls: None,
            alt_svc: None,
            ledgers: OnceCell::new(),
            networks: RefCell::default(),
            accepted: Cell::default(),
        }
    }
}

impl ClientIdentity for ClientInfo {
    fn address(&self) -> &str {
        &self.address
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// What this gateway knows of the connection, in addition to what a proxy before it sent.
    fn tlvs(&self) -> ProxyTlvs {
        let Some(preread) = &self.preread else {
            return ProxyTlvs::default();
        };
        let mut tlvs = preread
            .proxy
            .as_ref()
            .map(|header| header.tlvs.clone())
            .unwrap_or_default();
        if let Some(hello) = &*preread.hello.borrow() {
            if let Some(name) = &hello.server_name {
                tlvs.authority = Some(name.clone().into_bytes());
            }
        }
        tlvs
    }
}

/// What a client speaks; HTTP/2 and HTTP/3 are translated before a request begins its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1, as each request says.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}
