//! Servers as they come in a snapshot.

use headgate_route::Metadata;
use serde::Deserialize;

/// A server of an upstream.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// `ip:port`, `[ipv6]:port`, `name:port` or `unix:path`.
    pub address: String,
    /// Where to connect instead, for tests: the same forms as `address`.
    #[serde(default)]
    pub connect: Option<String>,
    /// The `name:port` that TLS and its `Host` know it by, where `address` is one of those that the name stands for.
    #[serde(default)]
    pub host: Option<String>,
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
    /// Its level: those of the lowest take all requests while enough of them are in rotation.
    #[serde(default)]
    pub priority: u32,
    /// Where it is.
    #[serde(default)]
    pub zone: Option<String>,
    /// What it is marked with.
    #[serde(default)]
    pub metadata: Metadata,
    /// Requests at once over all workers; 0 for no limit.
    pub max_connections: u32,
}

impl Server {
    /// Whether it is in another zone than the gateway, where that matters.
    pub(crate) fn is_away(&self, zone: Option<&str>) -> bool {
        zone.is_some_and(|zone| self.zone.as_deref() != Some(zone))
    }
}
