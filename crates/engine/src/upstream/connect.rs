//! Addresses of servers, their resolution, and connecting.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::str::FromStr;

use tokio::net::{lookup_host, TcpStream, UnixStream};

use super::{Introduction, Server};
use crate::clock::Clock;
use crate::deadline::Watched;
use crate::exchange_state::ClientInfo;
use crate::peer::{watched, Broken};
use crate::stream::Stream;

/// How long resolved addresses are used, in milliseconds. The system's resolver does not tell a name's own time to live.
const RESOLVED_FOR_MS: u64 = 10_000;

/// Whom a connection speaks for, where the server is to know.
pub(crate) type Introduced<'a> = Option<(&'a Introduction, &'a ClientInfo)>;

/// Where a server listens.
pub(super) enum Address {
    Ip(SocketAddr),
    Unix(String),
    Name {
        name: String,
        port: u16,
        resolved: RefCell<Vec<SocketAddr>>,
        until_ms: Cell<u64>,
        next: Cell<usize>,
    },
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.to_owned()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let parts = text
            .rsplit_once(':')
            .and_then(|(name, port)| Some((name, port.parse().ok()?)));
        match parts {
            Some((name, port)) if !name.is_empty() && !name.contains([':', '/', '[', ' ']) => {
                Ok(Self::Name { name: name.to_owned(), port, resolved: RefCell::default(), until_ms: Cell::new(0), next: Cell::new(0) })
            }
            _ => Err(format!("bad server address `{text}`\nhint: write `10.0.0.1:80`, `[::1]:80`, `name:80` or `unix:/path`")),
        }
    }
}

impl Server {
    /// Opens a connection within the watch's deadline.
    pub(crate) async fn connect(
        &self,
        clock: &Clock,
        watch: &Watched,
        introduced: Introduced<'_>,
    ) -> Result<Stream, Broken> {
        within(watch, self.address.connect(clock, introduced)).await
    }
}

impl Address {
    async fn connect(&self, clock: &Clock, introduced: Introduced<'_>) -> io::Result<Stream> {
        match self {
            Self::Ip(address) => connect_tcp(*address, introduced).await,
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
            Self::Name {
                name,
                port,
                resolved,
                until_ms,
                next,
            } => {
                if resolved.borrow().is_empty() || until_ms.get() <= clock.now_ms() {
                    let found: Vec<SocketAddr> = lookup_host((name.as_str(), *port)).await?.collect();
                    until_ms.set(clock.now_ms() + RESOLVED_FOR_MS);
                    resolved.replace(found);
                }
                let addresses = resolved.borrow().clone();
                let first = next.replace(next.get().wrapping_add(1));
                let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{name}` has no address"));
                for offset in 0..addresses.len() {
                    match connect_tcp(
                        addresses[first.wrapping_add(offset) % addresses.len()],
                        introduced,
                    )
                    .await
                    {
                        Ok(stream) => return Ok(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

async fn connect_tcp(address: SocketAddr, introduced: Introduced<'_>) -> io::Result<Stream> {
    let stream = match introduced {
        Some((introduction, client)) => introduction.connect(address, client).await?,
        None => TcpStream::connect(address).await?,
    };
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

/// Waits for a future as long as the watch allows.
async fn within<T>(watch: &Watched, future: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| watched(future.as_mut().poll(context), watch, context)).await
}
