//! The named bounds: each has one name, used in the configuration, the log and the counters.

/// A bound that a peer ran into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // `name` says what each is
pub enum Limit {
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
    Http3Age,
    ClientHello,
    TlsHandshake,
    TcpIdle,
    TcpLifetime,
    UdpIdle,
    UpstreamKeepalive,
    ServerDrain,
    UpstreamPing,
    WebSocketIdle,
    WebSocketPing,
    WebSocketClose,
}

impl Limit {
    /// The name in the configuration and in the log's field `limit`.
    pub fn name(self) -> &'static str {
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
            Self::Http3Age => "http3.max_age",
            Self::ClientHello => "limits.max_client_hello_bytes",
            Self::TlsHandshake => "timeouts.tls_handshake",
            Self::TcpIdle | Self::UdpIdle => "listener.idle",
            Self::TcpLifetime => "listener.lifetime",
            Self::UpstreamKeepalive => "keepalive.idle_timeout",
            Self::ServerDrain => "drain_timeout",
            Self::UpstreamPing => "keepalive.ping",
            Self::WebSocketIdle => "websocket.idle",
            Self::WebSocketPing => "websocket.ping_interval",
            Self::WebSocketClose => "websocket.close_timeout",
        }
    }
}
