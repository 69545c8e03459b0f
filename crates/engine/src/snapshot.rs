//! The configuration as it crosses the seam: one JSON text, decoded into these types and refused if anything is unknown.
//!
//! The text is made by `headgate.config`, where defaults and descriptions live; here every field is required unless it may
//! be absent by meaning. Times are milliseconds, sizes bytes.

use serde::Deserialize;

use headgate_wire::FrameBudget;

pub use crate::tls::spec::{ListenerTls, UpstreamTls};

/// The whole configuration of a worker.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Bounds on what peers may send.
    pub limits: Limits,
    /// Bounds on every wait.
    pub timeouts: Timeouts,
    /// What the gateway tells servers about the client.
    pub forwarding: Forwarding,
    /// Whether to refuse any cryptographic module but the FIPS one.
    #[serde(default)]
    pub require_fips: bool,
    /// HTTP/2 with clients.
    pub http2: Http2,
    /// WebSockets whose messages hooks see.
    pub websocket: WebSocket,
    /// The field that carries the request's id to the server and back; absent for none.
    pub request_id_header: Option<String>,
    /// The access log, absent for none.
    pub access_log: Option<AccessLog>,
    /// Whether clients are told where the time of their request went.
    #[serde(default)]
    pub server_timing: bool,
    /// Groups of servers.
    pub upstreams: Vec<Upstream>,
    /// The routes, in the order listed.
    pub routes: Vec<Route>,
    /// What listeners do with their connections; one that is not here is plain HTTP.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Where TLS connections go by their server name, on listeners with `tls_passthrough`.
    #[serde(default)]
    pub tls_routes: Vec<TlsRoute>,
    /// Networks whose word about the client is taken; absent: nobody is asked, and lists of hops are passed on.
    #[serde(default)]
    pub trusted_proxies: Option<Vec<String>>,
    /// Hooks of requests before they have a route, or that get none.
    #[serde(default)]
    pub hooks: PhaseHooks,
}

/// Bounds on what peers may send.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of a request's or response's head.
    pub max_head_bytes: usize,
    /// Fields in a head.
    pub max_header_fields: usize,
    /// Of a request's body.
    pub max_body_bytes: u64,
    /// Client connections of this worker.
    pub max_connections: usize,
    /// Client connections of this worker from one address; 0 for no limit.
    pub max_connections_per_client: usize,
    /// Requests on one client connection; 0 for no limit.
    pub max_requests_per_connection: u64,
    /// TLS handshakes at one time, of this worker.
    pub max_tls_handshakes: usize,
    /// Chunk extensions on one chunk.
    pub max_chunk_extension_bytes: usize,
    /// The trailer section.
    pub max_trailer_bytes: usize,
    /// Fetches under way at once in this worker, their unread responses included.
    pub max_fetches: usize,
    /// Of a fetched response's body that is read whole.
    pub max_fetch_body_bytes: usize,
    /// A PROXY header.
    pub max_proxy_header_bytes: usize,
    /// A TLS client's first message.
    pub max_client_hello_bytes: usize,
    /// What a client's FIN before its answer means: `false` (it left: 499), `true` (it only finished sending).
    #[serde(default)]
    pub allow_half_close: bool,
    /// Of a body that a request hook asks for whole.
    #[serde(default)]
    pub max_buffered_body_bytes: u64,
    /// Of that in memory; the rest lies in a temporary file.
    #[serde(default)]
    pub buffered_memory_bytes: usize,
    /// What a hook may make of one piece of a body, or of a whole one.
    #[serde(default)]
    pub max_hook_chunk_bytes: usize,
}

/// Bounds on every wait, in milliseconds.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// The PROXY header, from the connection's begin.
    pub proxy_header: u64,
    /// A whole TLS handshake; where TLS is not decrypted, its first message.
    pub tls_handshake: u64,
    /// The client's head, from its first byte.
    pub client_head: u64,
    /// Between two reads of the client's body.
    pub client_body: u64,
    /// A keep-alive connection without a request.
    pub client_idle: u64,
    /// Between two writes to a peer.
    pub send: u64,
    /// Waiting for a server while all are at their `max_connections`.
    pub queue: u64,
    /// Connecting to a server.
    pub connect: u64,
    /// From the request's end to the response head's end.
    pub upstream_head: u64,
    /// Between two reads of the response's body, and silence in a tunnel.
    pub upstream_idle: u64,
    /// Each step forward of a fetch.
    pub fetch: u64,
    /// From the begin of a drain until what is left is cut.
    pub drain: u64,
}

/// A route's own timeouts; what is absent comes from the gateway's.
#[derive(Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// See [`Timeouts`], also for the others.
    pub client_head: Option<u64>,
    /// See [`Timeouts`].
    pub client_body: Option<u64>,
    /// See [`Timeouts`].
    pub client_idle: Option<u64>,
    /// See [`Timeouts`].
    pub send: Option<u64>,
    /// See [`Timeouts`].
    pub queue: Option<u64>,
    /// See [`Timeouts`].
    pub connect: Option<u64>,
    /// See [`Timeouts`].
    pub upstream_head: Option<u64>,
    /// See [`Timeouts`].
    pub upstream_idle: Option<u64>,
    /// See [`Timeouts`].
    pub drain: Option<u64>,
}

/// A listener.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The address as it was asked for.
    pub address: String,
    /// Its name, for hooks and logs.
    pub name: String,
    /// What is spoken on it.
    pub protocol: ListenerProtocol,
    /// The PROXY header that every connection begins with: `v1`, `v2` or `any`; absent for none.
    #[serde(default)]
    pub proxy_protocol: Option<String>,
    /// Who may send PROXY headers; absent: the gateway's `trusted_proxies`.
    #[serde(default)]
    pub trusted_proxies: Option<Vec<String>>,
    /// Whether the first TLS message is looked at, and connections of the names in `tls_routes` are carried on unread.
    #[serde(default)]
    pub tls_passthrough: bool,
    /// Where connections go that nothing else sends elsewhere: an index into `upstreams`. Not for HTTP.
    #[serde(default)]
    pub upstream: Option<usize>,
    /// Connections at once in a worker, or sessions; 0 for no limit.
    #[serde(default)]
    pub max_connections: usize,
    /// The same for one client address.
    #[serde(default)]
    pub max_connections_per_client: usize,
    /// The longest silence of both sides.
    #[serde(default)]
    pub idle: u64,
    /// The longest life of a connection; 0 for no limit.
    #[serde(default)]
    pub lifetime: u64,
    /// TLS; absent for plain connections.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Hooks of its connections.
    #[serde(default)]
    pub hooks: ConnectionHooks,
}

/// TLS connections that are carried on without being decrypted.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct TlsRoute {
    /// Patterns of server names; none for all.
    pub hosts: Vec<String>,
    /// An index into `upstreams`.
    pub upstream: usize,
}

/// What is spoken on a listener.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ListenerProtocol {
    /// HTTP.
    Http,
    /// Bytes as they are.
    Tcp,
    /// Datagrams as they are.
    Udp,
}

impl ListenerProtocol {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// HTTP/2 with clients (RFC 9113).
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Http2 {
    /// Whether it is spoken: by prior knowledge on plain listeners, by ALPN on TLS ones.
    pub enabled: bool,
    /// What plain listeners do about it.
    pub h2c: H2c,
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Resets that one connection may send in ten seconds.
    pub max_resets: u32,
    /// Frames without work that one connection may send in ten seconds, or for each quarter of a frame of work.
    pub max_control_frames: u32,
    /// What a stream's client may send ahead of its reader; a connection has sixteen times as much.
    pub window_bytes: u32,
    /// How long a connection takes new requests, in milliseconds.
    pub max_age: u64,
    /// Whether WebSockets are let in (RFC 8441).
    pub websocket: bool,
}

/// WebSockets whose messages hooks see.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct WebSocket {
    /// A whole message.
    pub max_message_bytes: usize,
    /// One frame of it.
    pub max_frame_bytes: usize,
    /// What hooks have sent of their own and the peers have not taken.
    pub max_queued_bytes: usize,
    /// How often a silent side is pinged, and how long it may take to answer, in milliseconds; 0 for never.
    pub ping_interval: u64,
    /// The longest time without a message, in milliseconds.
    pub idle: u64,
    /// How long a close frame's answer is awaited, in milliseconds.
    pub close_timeout: u64,
}

/// HTTP/2 on plain listeners.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum H2c {
    /// Told by a connection's first bytes (RFC 9113 section 3.3).
    Detect,
    /// Nothing else is spoken.
    Only,
    /// It is not spoken.
    Off,
}

/// Resets that a client may provoke at least, over the life of a connection: a burst before it knows how many streams it
/// may open is no flood.
const PROVOKED_RESETS: usize = 1024;

impl Http2 {
    /// Resets that a client may provoke by what it sends.
    pub(crate) fn provoked_resets(&self) -> usize {
        PROVOKED_RESETS.max(self.max_resets as usize)
    }

    /// What a connection's frames are metered with.
    pub(crate) fn budget(&self) -> FrameBudget {
        FrameBudget {
            control: self.max_control_frames,
            resets: self.max_resets,
        }
    }
}

/// Hooks of connections: indices into the table that came with the snapshot, in running order.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionHooks {
    /// When a connection is accepted, before its first byte is looked at.
    pub connect: Vec<usize>,
    /// When the first TLS message is there, before it is decided where the connection goes.
    pub client_hello: Vec<usize>,
    /// For each chunk or datagram from the client.
    pub client_data: Vec<usize>,
    /// For each chunk or datagram from the server.
    pub server_data: Vec<usize>,
}

/// What the gateway tells servers about the client.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via` (RFC 9110 section 7.6.3), both ways.
    pub via: bool,
    /// The gateway's name in `Via`.
    pub name: String,
    /// Fields that tell of the client's certificate, and what each holds. Those that clients send are taken out.
    #[serde(default)]
    pub client_certificate: Vec<(String, CertificateFact)>,
}

/// What a field may tell of a client's certificate.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CertificateFact {
    /// `valid`, `none`, or why it is not valid.
    Verdict,
    /// RFC 4514.
    Subject,
    /// RFC 4514.
    Issuer,
    /// Hex.
    Serial,
    /// SHA-256, hex.
    Fingerprint,
    /// Alternative names, comma separated.
    Names,
    /// Percent-encoded PEM.
    Pem,
}

/// Where and how requests are logged.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// `json`, `combined`, or a text with `{field}`s.
    pub format: String,
    /// `stdout`, `stderr`, `file:PATH`, `syslog:PATH` or `syslog:udp://HOST:PORT`.
    pub to: String,
    /// How long a line may wait in the buffer, in milliseconds.
    pub flush: u64,
    /// The buffer.
    pub buffer_bytes: usize,
}

/// A group of servers.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name, for hooks and logs.
    pub name: String,
    /// `round_robin`, `least_conn`, `random` or `ip_hash`.
    pub balance: String,
    /// At least one, at most 64.
    pub servers: Vec<Server>,
    /// What is kept open.
    pub keepalive: Keepalive,
    /// What its servers speak.
    #[serde(default)]
    pub protocol: UpstreamProtocol,
    /// Whether browsers' calls (gRPC-Web) are made calls of gRPC.
    #[serde(default)]
    pub grpc_web: bool,
    /// Further attempts after the first, where a retry is safe.
    pub retries: u32,
    /// Its own timeouts.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// The Host field sent: `preserve`, `server` or a literal.
    pub host: String,
    /// The PROXY header that connections begin with: `v1` or `v2`; absent for none.
    #[serde(default)]
    pub proxy_protocol: Option<String>,
    /// The address connections come from: `client` for the client's own (transparent), or an address; absent: any.
    #[serde(default)]
    pub source: Option<String>,
    /// How servers that speak TLS are spoken to; absent where none does.
    #[serde(default)]
    pub tls: Option<UpstreamTls>,
}

/// A server of an upstream.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `ip:port`, `[ipv6]:port`, `name:port` or `unix:path`.
    pub address: String,
    /// Where to connect instead, for tests: the same forms as `address`.
    #[serde(default)]
    pub connect: Option<String>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// Its share, from 1.
    pub weight: u32,
    /// Failures within `fail_timeout` that take it out; 0 for never.
    pub max_fails: u32,
    /// See `max_fails`; also how long it stays out.
    pub fail_timeout: u64,
    /// Used only while no other is available.
    pub backup: bool,
    /// Requests at once over all workers; 0 for no limit.
    pub max_connections: u32,
}

/// What the servers of an upstream speak.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge, or by ALPN where there is TLS.
    H2,
}

/// What an upstream keeps open, per worker.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Idle connections per server.
    pub max_idle: usize,
    /// How long one may be idle.
    pub idle_timeout: u64,
    /// Requests on one connection; 0 for no limit.
    pub max_requests: u64,
    /// HTTP/2: how often a server with requests is pinged, and how long its answer may take.
    pub ping: u64,
}

/// A route.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name, for hooks and logs.
    pub name: String,
    /// Host patterns; none for all.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The path pattern.
    pub path: String,
    /// Methods; none for all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Conditions on header fields.
    #[serde(default)]
    pub headers: Vec<(String, Option<String>)>,
    /// Conditions on query parameters.
    #[serde(default)]
    pub queries: Vec<(String, Option<String>)>,
    /// A matcher function.
    #[serde(default)]
    pub function: Option<usize>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// What is done with the request.
    pub action: Action,
    /// Taken off the path before it is sent on.
    #[serde(default)]
    pub strip_prefix: Option<String>,
    /// Put before the path (in place of `strip_prefix`) when it is sent on.
    #[serde(default)]
    pub replace_prefix: Option<String>,
    /// Whether it needs a valid client certificate; absent: as the listener says.
    #[serde(default)]
    pub needs_client_certificate: Option<bool>,
    /// The route's own body limit.
    #[serde(default)]
    pub max_body_bytes: Option<u64>,
    /// The route's own timeouts.
    #[serde(default)]
    pub timeouts: Option<RouteTimeouts>,
    /// The route's hooks, all that run for it, in order.
    #[serde(default)]
    pub hooks: PhaseHooks,
}

/// What a route does.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Action {
    /// Sends the request to an upstream.
    Proxy {
        /// An index into `upstreams`.
        upstream: usize,
    },
    /// Answers with a redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// May hold `{scheme}`, `{host}`, `{path}`, `{query}`, `{target}` and path parameters.
        location: String,
    },
    /// Answers with a fixed text.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Further fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Answers with files of a folder.
    Files {
        /// The folder.
        root: String,
        /// Names tried for a folder.
        index: Vec<String>,
    },
    /// A `request` hook answers; 404 if none does.
    Hooks {},
}

/// Hooks by phase: indices into the table that came with the snapshot, in running order.
#[derive(Deserialize, Debug, Default, Clone)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseHooks {
    /// Before routing.
    pub rewrite: Vec<usize>,
    /// Route chosen.
    pub request: Vec<usize>,
    /// The request's body on its way.
    pub request_body: Vec<BodyHook>,
    /// A server is to be chosen for an attempt.
    pub balance: Vec<usize>,
    /// Before each attempt's bytes go out.
    pub upstream_request: Vec<usize>,
    /// The response's head is there.
    pub response: Vec<usize>,
    /// The response's body on its way.
    pub response_body: Vec<BodyHook>,
    /// Messages of a WebSocket, either way.
    pub websocket_message: Vec<usize>,
    /// Something failed.
    pub error: Vec<usize>,
    /// After the last byte.
    pub log: Vec<usize>,
}

/// A hook of a body phase.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct BodyHook {
    /// An index into the table of hooks.
    pub hook: usize,
    /// In pieces, or whole.
    pub mode: BodyMode,
    /// The longest body that it takes whole.
    pub limit: u64,
    /// It wants what is under the Content-Encoding.
    pub decode: bool,
}

/// How a hook takes a body.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BodyMode {
    /// Piece by piece.
    Stream,
    /// Whole, in one call.
    Buffer,
}
