//! The configuration as it crosses the seam: one JSON text, decoded into these types and refused if anything is unknown.
//!
//! The text is made by `headgate.config`, where defaults and descriptions live; here every field is required unless it may
//! be absent by meaning. Times are milliseconds, sizes bytes.

mod hook_lists;
mod listeners;
mod paths;
mod phases;
mod protocols;
mod routes;

use serde::Deserialize;

pub use self::hook_lists::HookLists;
pub use self::listeners::{Listener, ListenerProtocol, TlsRoute};
pub use self::paths::{Path, Slashes};
pub use self::phases::{Flag, Phase, PhaseSpec, Scope, PHASES};
pub use self::protocols::{Congestion, H2c, Http2, Http3, WebSocket};
pub use self::routes::{Action, Bandwidth, BodyHook, BodyMode, Difference, Route, SharedBy};
pub use headgate_net::tls::spec::{ListenerTls, UpstreamTls};
pub use headgate_upstream::spec::{Keepalive, RouteTimeouts, Server, Upstream, UpstreamProtocol};

/// The whole configuration of a worker.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Bounds on what peers may send.
    pub limits: Limits,
    /// Bounds on every wait.
    pub timeouts: Timeouts,
    /// What the gateway sends to servers about the client.
    pub forwarding: Forwarding,
    /// Whether to refuse any cryptographic module but the FIPS one.
    #[serde(default)]
    pub require_fips: bool,
    /// The folder with responses to challenges of ACME authorities; absent where none is asked for certificates.
    #[serde(default)]
    pub acme_challenges: Option<String>,
    /// How paths are read.
    #[serde(default)]
    pub path: Path,
    /// HTTP/2 with clients.
    pub http2: Http2,
    /// HTTP/3 with clients.
    pub http3: Http3,
    /// WebSockets whose messages hooks see.
    pub websocket: WebSocket,
    /// The field that carries the request's id to the server and back; absent for none.
    pub request_id_header: Option<String>,
    /// The access log, absent for none.
    pub access_log: Option<AccessLog>,
    /// Names of query parameters whose values are masked wherever targets are written.
    #[serde(default)]
    pub masked_query: Vec<String>,
    /// Paths of which segments are.
    #[serde(default)]
    pub masked_paths: Vec<String>,
    /// Whether requests are counted by route, upstream and server.
    #[serde(default)]
    pub metrics: bool,
    /// Where traces go; absent: requests are in none.
    #[serde(default)]
    pub tracing: Option<Tracing>,
    /// Whether responses have a Server-Timing field.
    #[serde(default)]
    pub server_timing: bool,
    /// Groups of servers.
    pub upstreams: Vec<Upstream>,
    /// The routes, in the order listed.
    #[allow(
        clippy::vec_box,
        reason = "each is freed as soon as its table is built: there may be 100,000"
    )]
    pub routes: Vec<Box<Route>>,
    /// The position of the first route that comes from a resource: all from there on do, sorted by name, and differences
    /// may change them. Absent: there are no differences to come.
    #[serde(default)]
    pub first_resource_route: Option<usize>,
    /// What listeners do with their connections; one that is not here is plain HTTP.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Where TLS connections go by their server name, on listeners with `tls_passthrough`.
    #[serde(default)]
    pub tls_routes: Vec<TlsRoute>,
    /// Networks of trusted proxies, which may name the client; absent: no proxy is trusted, and lists of hops are passed on.
    #[serde(default)]
    pub trusted_proxies: Option<Vec<String>>,
    /// Hooks of requests before they have a route, or that get none.
    #[serde(default, deserialize_with = "HookLists::of_gateway")]
    pub hooks: HookLists,
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
    /// What a client's FIN before its response means: `false` (it left: 499), `true` (it only finished sending).
    #[serde(default)]
    pub allow_half_close: bool,
    /// Of a body that a request hook reads whole.
    #[serde(default)]
    pub max_buffered_body_bytes: u64,
    /// Of that in memory; the rest is in a temporary file.
    #[serde(default)]
    pub buffered_memory_bytes: usize,
    /// Rules of the grammar that clients' requests may break, by name.
    #[serde(default)]
    pub lenient: Vec<String>,
    /// What becomes of fields with `_` in their names.
    #[serde(default)]
    pub underscore_headers: UnderscoreHeaders,
    /// What a hook may make of one piece of a body, or of a whole one.
    #[serde(default)]
    pub max_hook_chunk_bytes: usize,
}

/// What becomes of a client's fields with `_` in their names, which CGI and WSGI do not distinguish from `-`.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum UnderscoreHeaders {
    /// They go on, but for those that look like a field that names the client.
    #[default]
    Keep,
    /// They are taken out.
    Drop,
    /// 400.
    Refuse,
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

/// What the gateway sends to servers about the client.
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
    /// Fields that only hooks set, to tell servers who the client is. Those that clients send are taken out.
    #[serde(default)]
    pub identity_fields: Vec<String>,
    /// Fields that pass on the client's certificate, and what each holds. Those that clients send are taken out.
    #[serde(default)]
    pub client_certificate: Vec<(String, CertificateFact)>,
}

/// What a field may contain of a client's certificate.
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

/// Which requests are recorded as traces, and where these go.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The collector's URL, without `/v1/traces`.
    pub otlp: String,
    /// The share of requests, from 0 to 1.
    pub sample: f64,
    /// Requests that took so long are recorded in any case, in milliseconds; 0 for none.
    pub slow: u64,
    /// Whether a client's decision holds.
    pub parent_based: bool,
    /// The name of this service.
    pub service: String,
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
