//! Which counter counts the hits of which bound.

use headgate_net::limits::Limit;
use headgate_shared::metrics::Counter;

/// A bound whose hits are counted.
pub trait LimitCounter {
    /// The counter of its hits.
    fn counter(self) -> Counter;
}

impl LimitCounter for Limit {
    fn counter(self) -> Counter {
        match self {
            Self::ClientHead => Counter::TimeoutClientHead,
            Self::ClientBody => Counter::TimeoutClientBody,
            Self::ClientIdle | Self::Linger => Counter::TimeoutClientIdle,
            Self::Send => Counter::TimeoutSend,
            Self::ProxyHeader => Counter::TimeoutProxyHeader,
            Self::Http2Age => Counter::TimeoutHttp2Age,
            Self::Http3Age => Counter::TimeoutHttp3Age,
            Self::ClientHello => Counter::LimitClientHello,
            Self::TlsHandshake => Counter::TimeoutTlsHandshake,
            Self::TcpIdle | Self::UdpIdle => Counter::TimeoutStreamIdle,
            Self::TcpLifetime => Counter::TimeoutTcpLifetime,
            Self::ServerDrain => Counter::TimeoutServerDrain,
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
