//! Connections of QUIC to servers.
//!
//! # How it works
//! Each has a UDP socket of its own, connected to the server's address, so that a server that is not there is noticed at
//! once. Names, authorities and pins are verified as for TLS over TCP. Nothing is sent before the handshake is complete.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headgate_net::limits::Limit;
use headgate_net::peer::watched;
use headgate_net::peer::Broken;
use headgate_net::quic::{Connection, Endpoint, PlainSocket};
use headgate_shared::metrics::Counter;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, ConnectionError, EndpointConfig, IdleTimeout, TransportConfig, TransportErrorCode, VarInt,
};

use crate::dialer::{DialFailed, DialOptions, Reason, Step};
use crate::dialer_parts::Dialer;
use crate::group::Upstream;
use crate::limits::LimitCounter;
use crate::server::Server;

/// What a stream's server may send ahead of its reader, and all streams of a connection together.
const WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * WINDOW_BYTES;

/// What is held of requests that the server has not acknowledged.
const SEND_BUFFER_BYTES: u64 = 1 << 20;

/// Streams of its own that a server may open: control, two of QPACK, and a few that mean nothing.
const UNI_STREAMS: u32 = 8;

impl Dialer {
    /// Connects to a server that speaks HTTP/3, and counts.
    ///
    /// # Errors
    /// A step failed or took too long; the hit limit is counted.
    pub async fn dial_http3(
        &self,
        upstream: &Upstream,
        server: usize,
        options: &DialOptions<'_>,
    ) -> Result<Connection, DialFailed> {
        self.metrics.count(Counter::UpstreamConnects);
        let target = &upstream.servers[server];
        options.watch.arm(Limit::Connect, options.connect_ms);
        let mut steps = pin!(self.connect_http3(upstream, target));
        let dialed = std::future::poll_fn(|context| {
            watched(steps.as_mut().poll(context).map(Ok), options.watch, context)
        })
        .await;
        match dialed {
            Ok(dialed) => dialed,
            Err(broken) => {
                if let Broken::Limit(limit) = broken {
                    self.metrics.count(limit.counter());
                }
                Err(DialFailed::new(Step::Connect, broken))
            }
        }
    }

    async fn connect_http3(&self, upstream: &Upstream, server: &Server) -> Result<Connection, DialFailed> {
        let failed = |error: io::Error| DialFailed::new(Step::Connect, Broken::Io(error));
        let Some((tls, name)) = &server.tls else {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        };
        let config = client_config(tls.config().clone(), upstream.keepalive.ping)
            .ok_or_else(|| untrusted("HTTP/3 needs TLS 1.3".to_owned()))?;
        let socket = server
            .address
            .datagram_socket(&self.clock)
            .await
            .map_err(failed)?;
        let address = socket.peer_addr().map_err(failed)?;
        let socket = Rc::new(PlainSocket::new(socket).map_err(failed)?);
        let endpoint = Endpoint::new(endpoint_config(), None, socket);
        endpoint
            .connect(config, address, &name.to_str())
            .map_err(|error| failed(io::Error::other(error)))?
            .await
            .map_err(|error| shaken(&error))
    }
}

fn endpoint_config() -> EndpointConfig {
    let mut key = [0; 64];
    // without randomness the handshake fails anyway
    let _ = aws_lc_rs::rand::fill(&mut key);
    EndpointConfig::new(Arc::new(aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        &key,
    )))
}

/// `None`: the TLS settings have no TLS 1.3.
fn client_config(tls: Arc<rustls::ClientConfig>, ping_ms: u64) -> Option<ClientConfig> {
    let crypto = QuicClientConfig::try_from(tls).ok()?;
    let ping = Duration::from_millis(ping_ms);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_BUFFER_BYTES)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(ping))
        .max_idle_timeout(IdleTimeout::try_from(ping * 2).ok());
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Some(config)
}

fn untrusted(why: String) -> DialFailed {
    DialFailed {
        step: Step::Tls,
        reason: Reason::Untrusted(why),
    }
}

/// Why a handshake came to nothing.
fn shaken(error: &ConnectionError) -> DialFailed {
    match error {
        // of TLS (RFC 9001 section 4.8)
        ConnectionError::TransportError(error) if is_of_tls(error.code) => untrusted(error.reason.clone()),
        ConnectionError::ConnectionClosed(close) if is_of_tls(close.error_code) => {
            untrusted(format!("the server refused it ({})", close.error_code))
        }
        ConnectionError::Reset => DialFailed {
            step: Step::Connect,
            reason: Reason::Error("nobody listens on that port of UDP".to_owned()),
        },
        other => DialFailed {
            step: Step::Connect,
            reason: Reason::Error(other.to_string()),
        },
    }
}

fn is_of_tls(code: TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}
