//! How a server learns who the client is before the first byte: a PROXY header, or the client's own address as source.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use headgate_wire::{write_proxy_v1, write_proxy_v2, ProxyTlvs};
use tokio::net::{TcpSocket, TcpStream};

use crate::spec;

/// What is done on each connection to the servers of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientAddress {
    header: Option<Version>,
    source: SourceAddress,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    V1,
    V2,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SourceAddress {
    Any,
    Client,
    Fixed(IpAddr),
}

/// For whom a connection is made.
pub trait ClientIdentity {
    /// The client's address without port; `unix:` for a Unix socket.
    fn address(&self) -> &str;

    /// Its port, 0 for a Unix socket.
    fn port(&self) -> u16;

    /// Where it connected to, if that is known.
    fn destination(&self) -> Option<SocketAddr>;

    /// What else is known of its connection, for a PROXY header of version 2.
    fn tlvs(&self) -> ProxyTlvs;
}

/// What a server is told, and of whom, where it is.
pub(crate) type Told<'a> = Option<(&'a ClientAddress, &'a dyn ClientIdentity)>;

impl ClientAddress {
    /// Whether a connection speaks for one client: it is not kept for another. A fixed source speaks for all.
    #[inline]
    pub fn is_of_client(&self) -> bool {
        self.header.is_some() || self.source == SourceAddress::Client
    }

    /// What connections of a client have in common that those of others have not.
    #[inline]
    pub fn key(&self, client: &dyn ClientIdentity) -> Option<String> {
        match (self.header, self.source) {
            (Some(_), _) => Some(format!("{} {}", client.address(), client.port())),
            (None, SourceAddress::Client) => Some(client.address().to_owned()),
            (None, _) => None,
        }
    }

    /// Reads what an upstream's description says; `None`: nothing is done.
    pub fn build(spec: &spec::Upstream) -> Result<Option<Self>, String> {
        let header = match spec.proxy_protocol.as_deref() {
            None => None,
            Some("v1") => Some(Version::V1),
            Some("v2") => Some(Version::V2),
            Some(other) => {
                return Err(format!(
                    "`{other}` is not a valid version of the PROXY protocol\nhint: write `v1` or `v2`"
                ))
            }
        };
        let source = match spec.source.as_deref() {
            None => SourceAddress::Any,
            Some("client") => SourceAddress::Client,
            Some(text) => SourceAddress::Fixed(text.parse().map_err(|_| {
                format!("`{text}` is not a valid source\nhint: write `client` or an address")
            })?),
        };
        let told = Self { header, source };
        Ok((header.is_some() || source != SourceAddress::Any).then_some(told))
    }

    /// Appends the header, if there is one.
    pub fn write_header(&self, client: &dyn ClientIdentity, out: &mut Vec<u8>) {
        let addresses = addresses(client);
        match self.header {
            None => {}
            Some(Version::V1) => write_proxy_v1(addresses, out),
            Some(Version::V2) => {
                let tlvs = client.tlvs();
                if !write_proxy_v2(addresses, false, &tlvs, true, out) {
                    write_proxy_v2(addresses, false, &ProxyTlvs::default(), true, out);
                }
            }
        }
    }

    /// Connects from the address that is asked for.
    pub async fn connect(&self, to: SocketAddr, client: &dyn ClientIdentity) -> io::Result<TcpStream> {
        let from = match self.source {
            SourceAddress::Any => None,
            SourceAddress::Client => client.address().parse().ok(),
            SourceAddress::Fixed(address) => Some(address),
        };
        let Some(from) = from.and_then(|from| alike(from, to)) else {
            return TcpStream::connect(to).await;
        };
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if self.source == SourceAddress::Client {
            be_transparent(&socket, to)?;
        }
        // connections to several servers may then share a port
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(to).await
    }
}

/// Lets a socket take an address that is not this machine's (`IP_TRANSPARENT`; needs `CAP_NET_ADMIN`).
fn be_transparent(socket: &TcpSocket, to: SocketAddr) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    let done = if to.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        socket.set_ip_transparent_v6(true)
    };
    done.map_err(|error| {
        let text = format!("the client's address cannot be used as source: {error} (it needs CAP_NET_ADMIN)");
        io::Error::new(error.kind(), text)
    })
}

/// The address in the family of the other; none if that cannot be.
fn alike(from: IpAddr, to: SocketAddr) -> Option<IpAddr> {
    match (from.to_canonical(), to.is_ipv4()) {
        (IpAddr::V4(from), true) => Some(IpAddr::V4(from)),
        (IpAddr::V6(from), false) => Some(IpAddr::V6(from)),
        _ => None,
    }
}

/// The client, and where it connected to; where that is not known, the unspecified address of the family.
fn addresses(client: &dyn ClientIdentity) -> Option<(SocketAddr, SocketAddr)> {
    let address: IpAddr = client.address().parse().ok()?;
    let nowhere = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination = client.destination().unwrap_or(SocketAddr::new(nowhere, 0));
    Some((SocketAddr::new(address, client.port()), destination))
}
