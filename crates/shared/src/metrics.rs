//! The worker's counters: cells of its slot in the shared zone, so that any process can sum them.

use crate::{Slot, Zone};

macro_rules! counters {
    ($($variant:ident $name:literal,)*) => {
        /// A counter (or a gauge: those named `..._active`) of a worker.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum Counter { $($variant,)* }

        /// The counters' names, in the order of their cells.
        pub const NAMES: &[&str] = &[$($name,)*];
    };
}

counters! {
    ConnectionsAccepted "connections_accepted",
    ConnectionsActive "connections_active",
    ConnectionsRefused "connections_refused",
    Requests "requests",
    RequestsActive "requests_active",
    Responses1xx "responses_1xx",
    Responses2xx "responses_2xx",
    Responses3xx "responses_3xx",
    Responses4xx "responses_4xx",
    Responses5xx "responses_5xx",
    ClientDisconnects "client_disconnects",
    RequestBytes "request_bytes",
    ResponseBytes "response_bytes",
    UpstreamConnects "upstream_connects",
    UpstreamReuses "upstream_reuses",
    UpstreamFailures "upstream_failures",
    Retries "retries",
    BadRequests "bad_requests",
    BadResponses "bad_responses",
    LimitHead "limit_head",
    LimitBody "limit_body",
    LimitBufferedBody "limit_buffered_body",
    BodiesSpilled "bodies_spilled",
    LimitConnections "limit_connections",
    LimitClientConnections "limit_client_connections",
    LimitTlsHandshakes "limit_tls_handshakes",
    TimeoutClientHead "timeout_client_head",
    TimeoutClientBody "timeout_client_body",
    TimeoutClientIdle "timeout_client_idle",
    TimeoutSend "timeout_send",
    TimeoutQueue "timeout_queue",
    TimeoutConnect "timeout_connect",
    TimeoutUpstreamHead "timeout_upstream_head",
    TimeoutUpstreamIdle "timeout_upstream_idle",
    TlsHandshakes "tls_handshakes",
    TlsResumed "tls_resumed",
    TlsHandshakesFailed "tls_handshakes_failed",
    HookFailures "hook_failures",
    LoopStalls "loop_stalls",
    Fetches "fetches",
    FetchFailures "fetch_failures",
    Subrequests "subrequests",
    LimitFetches "limit_fetches",
    LimitSubrequests "limit_subrequests",
    TimeoutFetch "timeout_fetch",
    RedisCommands "redis_commands",
    RedisFailures "redis_failures",
    TimeoutRedis "timeout_redis",
    LogLinesLost "log_lines_lost",
    LogWritesFailed "log_writes_failed",
    Panics "panics",
    ProxyHeaders "proxy_headers",
    ProxyHeadersRefused "proxy_headers_refused",
    RefusedByHook "refused_by_hook",
    TimeoutProxyHeader "timeout_proxy_header",
    TasksFailed "tasks_failed",
    TasksRefused "tasks_refused",
    JobsFailed "jobs_failed",
    JobsRefused "jobs_refused",
    Http2Connections "http2_connections",
    LimitHttp2Control "limit_http2_control_frames",
    LimitHttp2Resets "limit_http2_resets",
    TimeoutHttp2Age "timeout_http2_age",
    Http3Connections "http3_connections",
    Http3Retries "http3_retries",
    LimitHttp3Resets "limit_http3_resets",
    Http3EarlyRequests "http3_early_requests",
    Http3TooEarly "http3_too_early",
    TimeoutHttp3Age "timeout_http3_age",
    LimitClientHello "limit_client_hello",
    TimeoutTlsHandshake "timeout_tls_handshake",
    ClientHellosRefused "client_hellos_refused",
    TcpConnections "tcp_connections",
    TcpBytesReceived "tcp_bytes_received",
    TcpBytesSent "tcp_bytes_sent",
    TcpResets "tcp_resets",
    TcpUnrouted "tcp_unrouted",
    TcpUnserved "tcp_unserved",
    TimeoutStreamIdle "timeout_stream_idle",
    TimeoutTcpLifetime "timeout_tcp_lifetime",
    UdpSessions "udp_sessions",
    UdpDatagramsReceived "udp_datagrams_received",
    UdpDatagramsSent "udp_datagrams_sent",
    UdpBytesReceived "udp_bytes_received",
    UdpBytesSent "udp_bytes_sent",
    UdpDropped "udp_dropped",
    TimeoutUpstreamPing "timeout_upstream_ping",
    WebSockets "websockets",
    WebSocketsActive "websockets_active",
    WebSocketMessages "websocket_messages",
    WebSocketFaults "websocket_faults",
    LimitWebSocketMessage "limit_websocket_message",
    TimeoutWebSocketIdle "timeout_websocket_idle",
    TimeoutWebSocketPing "timeout_websocket_ping",
    TimeoutWebSocketClose "timeout_websocket_close",
    UpstreamEjections "upstream_ejections",
    TraceSpansSent "trace_spans_sent",
    TraceSpansDropped "trace_spans_dropped",
    LimitRetries "limit_retries",
    TimeoutDeadline "timeout_deadline",
    QueuedActive "queued_active",
    LimitPending "limit_pending",
    QueueShed "queue_shed",
    CircuitsOpened "circuits_opened",
    LimitCircuit "limit_circuit",
    Fallbacks "fallbacks",
    Hedges "hedges",
    AttemptsCancelled "attempts_cancelled",
    TimeoutServerDrain "timeout_server_drain",
}

/// How many upstream servers have a cell of their own for their active requests.
pub const SERVER_CELLS: u32 = 16_384;

/// The first cell of the upstream servers.
pub const FIRST_SERVER_CELL: u32 = 256;

/// The cells that a zone must have.
pub const ZONE_CELLS: u32 = FIRST_SERVER_CELL + SERVER_CELLS;

/// A worker's slot, in which no other process counts.
pub struct Metrics {
    slot: Slot,
}

impl Metrics {
    /// Counts in that slot.
    #[inline]
    pub fn new(zone: Zone, slot: u32) -> Self {
        Self {
            slot: zone.slot(slot),
        }
    }

    /// One more.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts in a cell, that of a counter's number.
    #[inline]
    pub fn count_cell(&self, cell: u32) {
        self.slot.count(cell, 1);
    }

    /// So many more.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        self.slot.count(counter as u32, n);
    }

    /// So many less, of a gauge.
    #[inline]
    pub fn sub(&self, counter: Counter, n: u64) {
        self.slot.count(counter as u32, n.wrapping_neg());
    }

    /// A response with that status.
    pub fn status(&self, status: u16) {
        self.count(match status {
            100..=199 => Counter::Responses1xx,
            200..=299 => Counter::Responses2xx,
            300..=399 => Counter::Responses3xx,
            400..=499 => Counter::Responses4xx,
            _ => Counter::Responses5xx,
        });
    }

    /// Sets a counter that is kept elsewhere.
    #[inline]
    pub fn set(&self, counter: Counter, n: u64) {
        self.slot.set(counter as u32, n);
    }

    /// A cell's sum over all workers.
    #[inline]
    pub fn sum(&self, cell: u32) -> u64 {
        self.slot.zone().sum(cell)
    }

    /// What this worker has in a cell.
    pub fn own(&self, cell: u32) -> u64 {
        self.slot.get(cell)
    }

    /// The zone that it counts in.
    #[inline]
    pub fn zone(&self) -> &Zone {
        self.slot.zone()
    }

    /// A request begins on an upstream server.
    #[inline]
    pub fn enter_server(&self, cell: u32) {
        self.slot.count(cell, 1);
    }

    /// And ends.
    #[inline]
    pub fn leave_server(&self, cell: u32) {
        self.slot.count(cell, 1u64.wrapping_neg());
    }

    /// Requests now on that server, over all workers.
    #[inline]
    pub fn server_load(&self, cell: u32) -> u32 {
        u32::try_from(self.slot.zone().sum(cell)).unwrap_or(u32::MAX)
    }
}
