//! The named bounds: each has one name, used in the configuration, the log and the counters.

use crate::metrics::Counter;

/// A bound that a peer ran into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    ClientHead,
    ClientBody,
    ClientIdle,
    Send,
    Queue,
    Connect,
    UpstreamHead,
    UpstreamIdle,
    Linger,
    Fetch,
    ProxyHeader,
    Http2Age,
    ClientHello,
    TlsHandshake,
    TcpIdle,
    TcpLifetime,
    UdpIdle,
    UpstreamKeepalive,
    UpstreamPing,
    WebSocketIdle,
    WebSocketPing,
    WebSocketClose,
}

impl Limit {
    /// The name in the configuration and in the log's field `limit`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientHead => "timeouts.client_head",
            Self::ClientBody => "timeouts.client_body",
            Self::ClientIdle => "timeouts.client_idle",
            Self::Send => "timeouts.send",
            Self::Queue => "timeouts.queue",
            Self::Connect => "timeouts.connect",
            Self::UpstreamHead => "timeouts.upstream_head",
            Self::UpstreamIdle => "timeouts.upstream_idle",
            Self::Linger => "linger",
            Self::Fetch => "timeouts.fetch",
            Self::ProxyHeader => "timeouts.proxy_header",
            Self::Http2Age => "http2.max_age",
            Self::ClientHello => "limits.max_client_hello_bytes",
            Self::TlsHandshake => "timeouts.tls_handshake",
            Self::TcpIdle | Self::UdpIdle => "listener.idle",
            Self::TcpLifetime => "listener.lifetime",
            Self::UpstreamKeepalive => "keepalive.idle_timeout",
            Self::UpstreamPing => "keepalive.ping",
            Self::WebSocketIdle => "websocket.idle",
            Self::WebSocketPing => "websocket.ping_interval",
            Self::WebSocketClose => "websocket.close_timeout",
        }
    }

    /// The counter of its hits.
    pub(crate) fn counter(self) -> Counter {
        match self {
            Self::ClientHead => Counter::TimeoutClientHead,
            Self::ClientBody => Counter::TimeoutClientBody,
            Self::ClientIdle | Self::Linger => Counter::TimeoutClientIdle,
            Self::Send => Counter::TimeoutSend,
            Self::ProxyHeader => Counter::TimeoutProxyHeader,
            Self::Http2Age => Counter::TimeoutHttp2Age,
            Self::ClientHello => Counter::LimitClientHello,
            Self::TlsHandshake => Counter::TimeoutTlsHandshake,
            Self::TcpIdle | Self::UdpIdle => Counter::TimeoutStreamIdle,
            Self::TcpLifetime => Counter::TimeoutTcpLifetime,
            Self::UpstreamPing => Counter::TimeoutUpstreamPing,
            Self::WebSocketIdle => Counter::TimeoutWebSocketIdle,
            Self::WebSocketPing => Counter::TimeoutWebSocketPing,
            Self::WebSocketClose => Counter::TimeoutWebSocketClose,
            Self::Queue => Counter::TimeoutQueue,
            Self::Connect => Counter::TimeoutConnect,
            Self::UpstreamHead => Counter::TimeoutUpstreamHead,
            Self::UpstreamIdle | Self::UpstreamKeepalive => Counter::TimeoutUpstreamIdle,
            Self::Fetch => Counter::TimeoutFetch,
        }
    }
}
