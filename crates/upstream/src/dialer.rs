//! The one place where connections to servers are made: TCP or a Unix socket, the PROXY header, TLS; each step within its time.
//!
//! # How it works
//! Whoever dials logs what fails ([`DialFailed::to_log`], [`Upstream::log_failure`]), and knows for which route. Nothing of a
//! request was sent yet, so that another server may always be tried.

use std::future::{poll_fn, Future};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::rc::Rc;

use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{watched, Broken, Peer};
use headgate_net::reason::in_words;
use headgate_shared::metrics::Counter;
use tokio::net::UdpSocket;

use crate::client_address::ClientIdentity;
pub use crate::dialer_parts::Dialer;
use crate::failure_log::ServerFailure;
use crate::group::Upstream;
use crate::limits::LimitCounter;
use crate::retry::Retry;
use crate::server::Server;

/// How long the steps may take, in milliseconds, and whom they are for.
pub struct DialOptions<'a> {
    /// Armed for each step in turn.
    pub watch: &'a Watched,
    /// Until the server accepts.
    pub connect_ms: u64,
    /// Until it takes the PROXY header.
    pub send_ms: u64,
    /// For its TLS handshake.
    pub tls_ms: u64,
    /// For whom the connection is; told to the server where the upstream says so.
    pub client: &'a dyn ClientIdentity,
}

/// The step that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The connection itself.
    Connect,
    /// The TLS handshake.
    Tls,
}

/// Why it failed.
#[derive(Debug)]
pub enum Reason {
    /// It took too long.
    Late(Limit),
    /// The server ended the connection.
    Closed,
    /// What the system, or the server's TLS, said. For the log.
    Error(String),
    /// The server is not whom it should be, or speaks TLS otherwise; in words for everybody.
    Untrusted(String),
}

/// No connection was made.
#[derive(Debug)]
pub struct DialFailed {
    /// Which step failed.
    pub step: Step,
    /// And why.
    pub reason: Reason,
}

impl Dialer {
    /// Connects to a server, and counts.
    ///
    /// # Errors
    /// A step failed or took too long; the hit limit is counted.
    pub async fn dial(
        &self,
        upstream: &Upstream,
        server: usize,
        options: &DialOptions<'_>,
    ) -> Result<Peer, DialFailed> {
        self.metrics.count(Counter::UpstreamConnects);
        let target = &upstream.servers[server];
        let dialed = self.steps(upstream, target, options).await;
        if let Err(failed) = &dialed {
            if let Reason::Late(limit) = failed.reason {
                self.metrics.count(limit.counter());
            }
        }
        dialed
    }

    async fn steps(
        &self,
        upstream: &Upstream,
        server: &Server,
        options: &DialOptions<'_>,
    ) -> Result<Peer, DialFailed> {
        let told = upstream
            .client_address
            .as_ref()
            .map(|rule| (rule, options.client));
        options.watch.arm(Limit::Connect, options.connect_ms);
        let stream = within(options.watch, server.address.connect(&self.clock, told))
            .await
            .map_err(|broken| DialFailed::new(Step::Connect, broken))?;
        let mut peer = Peer::new(stream, Rc::clone(&self.buffers));
        if let Some((rule, client)) = told {
            let mut header = Vec::new();
            rule.write_header(client, &mut header);
            // a connection that breaks already is noticed when something is sent on it
            let _ = peer.write_all(options.watch, &header, options.send_ms).await;
        }
        if let Some((tls, name)) = &server.tls {
            options.watch.arm(Limit::TlsHandshake, options.tls_ms);
            tls.connect(&mut peer, name.clone(), options.watch)
                .await
                .map_err(|broken| DialFailed::new(Step::Tls, broken))?;
        }
        Ok(peer)
    }

    /// A socket for datagrams to a server and from it.
    ///
    /// # Errors
    /// Its name has no address, or the system has no socket.
    pub async fn datagram_socket(&self, upstream: &Upstream, server: usize) -> Result<UdpSocket, DialFailed> {
        let server = &upstream.servers[server];
        server
            .address
            .datagram_socket(&self.clock)
            .await
            .map_err(|error| DialFailed::new(Step::Connect, Broken::Io(error)))
    }
}

impl DialFailed {
    pub(crate) fn new(step: Step, broken: Broken) -> Self {
        let reason = match broken {
            Broken::Limit(limit) => Reason::Late(limit),
            Broken::Closed => Reason::Closed,
            Broken::Io(error) if step == Step::Tls && error.kind() == ErrorKind::InvalidData => {
                Reason::Untrusted(headgate_net::tls::reason(&error))
            }
            Broken::Io(_) if step == Step::Tls => Reason::Closed,
            Broken::Io(error) => Reason::Error(in_words(&error)),
        };
        Self { step, reason }
    }

    /// Nothing of a request was sent.
    #[must_use]
    #[inline]
    pub fn retry(&self) -> Retry {
        Retry::AlwaysSafe
    }

    /// A word for logs, a `kind` of failures.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (self.step, &self.reason) {
            (Step::Connect, Reason::Late(_)) => "connect_timeout",
            (Step::Connect, _) => "connect_failed",
            (Step::Tls, Reason::Late(_)) => "upstream_tls_timeout",
            (Step::Tls, _) => "upstream_tls",
        }
    }

    /// What failed: one lower-case sentence.
    #[must_use]
    pub fn message(&self) -> String {
        match (self.step, &self.reason) {
            (Step::Connect, Reason::Late(_)) => "the server did not accept a connection in time".to_owned(),
            (Step::Connect, _) => "cannot connect to the server".to_owned(),
            (Step::Tls, Reason::Late(_)) => "the server did not finish the TLS handshake in time".to_owned(),
            (Step::Tls, Reason::Untrusted(why)) => format!("the TLS handshake with the server failed: {why}"),
            (Step::Tls, _) => "the server closed the connection during the TLS handshake".to_owned(),
        }
    }

    /// What the system said, for operators.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match &self.reason {
            Reason::Error(why) => Some(why),
            Reason::Late(_) | Reason::Closed | Reason::Untrusted(_) => None,
        }
    }

    /// What is known, for the log.
    #[must_use]
    pub fn to_log<'a>(&'a self, message: &'a str, route: Option<&'a str>) -> ServerFailure<'a> {
        ServerFailure {
            kind: self.kind(),
            message,
            detail: self.detail(),
            limit: match self.reason {
                Reason::Late(limit) => Some(limit.name()),
                _ => None,
            },
            route,
            request_id: None,
        }
    }
}

/// Waits for a future as long as the watch allows.
async fn within<T>(watch: &Watched, future: impl Future<Output = io::Result<T>>) -> Result<T, Broken> {
    let mut future = pin!(future);
    poll_fn(|context| watched(future.as_mut().poll(context), watch, context)).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use headgate_net::clock::Clock;
    use headgate_shared::metrics::Metrics;
    use headgate_shared::Zone;
    use headgate_wire::ProxyTlvs;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::described::describe_server;

    struct Client;

    impl ClientIdentity for Client {
        fn address(&self) -> &'static str {
            "192.0.2.7"
        }

        fn port(&self) -> u16 {
            4711
        }

        fn destination(&self) -> Option<SocketAddr> {
            "198.51.100.1:443".parse().ok()
        }

        fn tlvs(&self) -> ProxyTlvs {
            ProxyTlvs::default()
        }
    }

    fn dialer() -> Dialer {
        let zone = Zone::create(1, headgate_shared::metrics::ZONE_CELLS).expect("a memory file can be made");
        Dialer {
            clock: Rc::new(Clock::new()),
            deadlines: Rc::default(),
            buffers: Rc::default(),
            metrics: Rc::new(Metrics::new(zone, 0)),
        }
    }

    async fn dial(dialer: &Dialer, server: &str, watch: &Watched) -> Result<Peer, DialFailed> {
        let described = describe_server(server).expect(server);
        let upstream = Upstream::build(&described, &mut |_| 0).expect(server);
        let options = DialOptions {
            watch,
            connect_ms: 1_000,
            send_ms: 1_000,
            tls_ms: 1_000,
            client: &Client,
        };
        dialer.dial(&upstream, 0, &options).await
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_header_comes_before_whatever_is_sent() {
        let dialer = dialer();
        let watch = dialer.deadlines.watch(&dialer.clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("{} proxy_protocol=v1", listener.local_addr().unwrap());
        let mut peer = dial(&dialer, &server, &watch).await.unwrap();
        peer.write_all(&watch, b"hello", 1_000).await.unwrap();
        drop(peer);
        let mut seen = String::new();
        listener
            .accept()
            .await
            .unwrap()
            .0
            .read_to_string(&mut seen)
            .await
            .unwrap();
        assert_eq!(seen, "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nhello");
        assert_eq!(dialer.metrics.sum(Counter::UpstreamConnects as u32), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_refused_connection_tells_clients_nothing_of_the_system() {
        let dialer = dialer();
        let watch = dialer.deadlines.watch(&dialer.clock);
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let failed = dial(&dialer, &free.to_string(), &watch).await.err().unwrap();
        assert_eq!((failed.step, failed.kind()), (Step::Connect, "connect_failed"));
        assert_eq!(failed.message(), "cannot connect to the server");
        assert!(matches!(&failed.reason, Reason::Error(why) if why == "connection refused"));
        assert_eq!(failed.retry(), Retry::AlwaysSafe);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_tls_is_told_in_words() {
        let dialer = dialer();
        let watch = dialer.deadlines.watch(&dialer.clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{} verify=false", listener.local_addr().unwrap());
        let (outcome, ()) = tokio::join!(dial(&dialer, &server, &watch), async {
            let (mut talker, _) = listener.accept().await.unwrap();
            talker.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
            let _ = talker.read(&mut [0; 4096]).await;
        });
        let failed = outcome.err().unwrap();
        assert_eq!((failed.step, failed.kind()), (Step::Tls, "upstream_tls"));
        assert_eq!(
            failed.message(),
            "the TLS handshake with the server failed: it does not speak TLS"
        );
    }
}
