//! Addresses of servers, their resolution, and connecting to them.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::{lookup_host, TcpStream, UdpSocket, UnixStream};

use crate::client_address::Told;
use headgate_net::clock::Clock;
use headgate_net::happy_eyeballs::Preference;
use headgate_net::stream::Stream;

/// How long resolved addresses are used, in milliseconds. The system's resolver does not tell a name's own time to live.
const RESOLVED_FOR_MS: u64 = 10_000;

/// How long addresses that could not be resolved anew are used before the next attempt, in milliseconds.
const RETRIED_AFTER_MS: u64 = 1_000;

/// What fits in `sockaddr_un` on Linux, with its final NUL.
const MAX_PATH_BYTES: usize = 107;

/// Where a server listens.
pub enum Address {
    Ip(SocketAddr),
    Unix(String),
    Name {
        name: String,
        port: u16,
        resolved: RefCell<Vec<SocketAddr>>,
        until_ms: Cell<u64>,
        preference: Preference,
    },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.contains('\0');
            return if is_path {
                Ok(Self::Unix(path.to_owned()))
            } else {
                Err(format!("`{text}` is not a valid server address\nhint: the path of a socket must be absolute and at most {MAX_PATH_BYTES} bytes long"))
            };
        }
        if let Some(address) = text
            .parse::<SocketAddr>()
            .ok()
            .filter(|address| address.port() != 0)
        {
            return Ok(Self::Ip(address));
        }
        let parts = text
            .rsplit_once(':')
            .and_then(|(name, port)| Some((name, port.parse::<u16>().ok().filter(|port| *port != 0)?)));
        match parts {
            Some((name, port)) if !name.is_empty() && !name.contains([':', '/', '[', ' ', '@']) => {
                Ok(Self::Name { name: name.to_owned(), port, resolved: RefCell::default(), until_ms: Cell::new(0), preference: Preference::default() })
            }
            _ => Err(format!("`{text}` is not a valid server address\nhint: write `10.0.0.1:80`, `[::1]:80`, `name:80` or `unix:/path`")),
        }
    }
}

impl Address {
    /// Opens a connection.
    pub async fn connect(&self, clock: &Clock, told: Told<'_>) -> io::Result<Stream> {
        match self {
            Self::Ip(address) => connect_tcp(*address, told).await,
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Self::Name {
                name,
                port,
                resolved,
                until_ms,
                preference,
            } => {
                if resolved.borrow().is_empty() || until_ms.get() <= clock.now_ms() {
                    let found = lookup(name, *port).await;
                    until_ms.set(clock.now_ms() + remember(name, found, resolved)?);
                }
                let addresses = resolved.borrow().clone();
                let connect = |address| connect_tcp(address, told);
                preference.connect(&addresses, clock.now_ms(), connect).await
            }
        }
    }
}

impl Address {
    /// A socket for datagrams to the server and from it.
    pub async fn datagram_socket(&self, clock: &Clock) -> io::Result<UdpSocket> {
        let to = self.one(clock).await?;
        let from: SocketAddr = if to.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(from).await?;
        socket.connect(to).await?;
        Ok(socket)
    }

    /// One of the addresses behind it, the next at each call.
    async fn one(&self, clock: &Clock) -> io::Result<SocketAddr> {
        match self {
            Self::Ip(address) => Ok(*address),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Name {
                name,
                port,
                resolved,
                until_ms,
                preference,
            } => {
                if resolved.borrow().is_empty() || until_ms.get() <= clock.now_ms() {
                    let found = lookup(name, *port).await;
                    until_ms.set(clock.now_ms() + remember(name, found, resolved)?);
                }
                preference.one(&resolved.borrow()).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, format!("`{name}` has no address"))
                })
            }
        }
    }
}

async fn lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((name, port)).await?.collect())
}

/// Takes what a lookup found, and says for how long. One that failed or found nothing is no reason to give up addresses that
/// are known: servers outlive their resolver's failures (RFC 8767).
fn remember(
    name: &str,
    found: io::Result<Vec<SocketAddr>>,
    resolved: &RefCell<Vec<SocketAddr>>,
) -> io::Result<u64> {
    let failure = match found {
        Ok(found) if !found.is_empty() => {
            resolved.replace(found);
            return Ok(RESOLVED_FOR_MS);
        }
        Ok(_) => io::Error::new(io::ErrorKind::NotFound, format!("`{name}` has no address")),
        Err(error) => error,
    };
    if resolved.borrow().is_empty() {
        return Err(failure);
    }
    tracing::warn!(name, error = %failure, "the name does not resolve; its known addresses are used");
    Ok(RETRIED_AFTER_MS)
}

async fn connect_tcp(address: SocketAddr, told: Told<'_>) -> io::Result<Stream> {
    let stream = match told {
        Some((rule, client)) => rule.connect(address, client).await?,
        None => TcpStream::connect(address).await?,
    };
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

/// An address as the `Host` of requests to it: virtual hosts and signatures know it without the port that its scheme implies
/// (RFC 9110 section 4.2.3).
pub(crate) fn without_default_port(address: &str, is_tls: bool) -> &str {
    let port = if is_tls { ":443" } else { ":80" };
    match address.strip_suffix(port) {
        Some(host) if !host.contains(':') || host.ends_with(']') => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::net::SocketAddr;

    use headgate_net::clock::Clock;
    use socket2::{Domain, Socket, Type};
    use tokio::net::{TcpListener, TcpStream};

    use super::{remember, without_default_port, Address, Preference, RESOLVED_FOR_MS, RETRIED_AFTER_MS};

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_whose_first_address_does_not_answer_is_reached_by_its_second() {
        // its queue is full as soon as one connection waits in it: others get no response at all
        let silent = Socket::new(Domain::IPV6, Type::STREAM, None).expect("there is IPv6");
        let any: SocketAddr = "[::1]:0".parse().expect("it is an address");
        silent.bind(&any.into()).expect("there is a free port");
        silent.listen(0).expect("it was bound");
        let silent_at = silent.local_addr().expect("it is bound").as_socket();
        let silent_at = silent_at.expect("it is an internet address");
        let _queued = TcpStream::connect(silent_at)
            .await
            .expect("the first one has a place");
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a free port");
        let listens_at = listener.local_addr().expect("it is bound");
        let address = Address::Name {
            name: "both.test".to_owned(),
            port: 1,
            resolved: RefCell::new(vec![silent_at, listens_at]),
            until_ms: Cell::new(u64::MAX),
            preference: Preference::default(),
        };
        for _ in 0..3 {
            let connected = address.connect(&Clock::new(), None).await;
            assert!(connected.is_ok(), "{:?}", connected.err());
            listener.accept().await.expect("it has come here");
        }
    }

    #[test]
    fn a_lookup_that_fails_keeps_the_known_addresses() {
        let fails = || Err(io::Error::other("SERVFAIL"));
        let address = |text: &str| vec![text.parse::<SocketAddr>().expect("it is an address")];
        let resolved = RefCell::default();
        for nothing in [fails(), Ok(Vec::new())] {
            assert!(
                remember("a.test", nothing, &resolved).is_err(),
                "none is known yet"
            );
        }
        let (first, second) = (address("192.0.2.1:80"), address("192.0.2.2:80"));
        assert_eq!(
            remember("a.test", Ok(first.clone()), &resolved).ok(),
            Some(RESOLVED_FOR_MS)
        );
        for nothing in [fails(), Ok(Vec::new())] {
            assert_eq!(
                remember("a.test", nothing, &resolved).ok(),
                Some(RETRIED_AFTER_MS)
            );
            assert_eq!(*resolved.borrow(), first);
        }
        assert_eq!(
            remember("a.test", Ok(second.clone()), &resolved).ok(),
            Some(RESOLVED_FOR_MS)
        );
        assert_eq!(*resolved.borrow(), second);
    }

    #[test]
    fn a_host_has_no_port_that_its_scheme_implies() {
        for (address, is_tls, host) in [
            ("a.test:443", true, "a.test"),
            ("a.test:80", false, "a.test"),
            ("a.test:80", true, "a.test:80"),
            ("a.test:443", false, "a.test:443"),
            ("a.test:8080", false, "a.test:8080"),
            ("[::1]:80", false, "[::1]"),
            ("[::1]:8080", false, "[::1]:8080"),
            ("unix:/run/a:80", false, "unix:/run/a:80"),
        ] {
            assert_eq!(without_default_port(address, is_tls), host, "{address}");
        }
    }
}
