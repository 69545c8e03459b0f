//! Listeners: what they speak, and the hooks of their connections.

use serde::Deserialize;

use super::{HookLists, ListenerTls};

/// A listener.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The address as configured.
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
    /// Whether HTTP/3 is spoken on the same port of UDP.
    #[serde(default)]
    pub http3: bool,
    /// The port that clients reach it at; absent: the one that is bound.
    #[serde(default)]
    pub http3_port: Option<u16>,
    /// Whether requests are taken before the handshake is complete (RFC 8470).
    #[serde(default)]
    pub http3_early_data: bool,
    /// TLS; absent for plain connections.
    #[serde(default)]
    pub tls: Option<ListenerTls>,
    /// Hooks of its connections.
    #[serde(default, deserialize_with = "HookLists::of_listener")]
    pub hooks: HookLists,
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
