//! Upstreams as they come in a snapshot.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use serde::Deserialize;

use headgate_net::tls::spec::UpstreamTls;
use headgate_route::{CircuitSpec, LineSpec, Metadata, OutlierSpec};

use crate::failed_by::FailedBy;
pub use crate::spec_fallback::{Fallback, FixedResponse, Stale};
pub use crate::spec_limits::{AdaptiveLimit, Hedge};
pub use crate::spec_retries::{Backoff, Retries};
pub use crate::spec_servers::Server;

/// A group of servers.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name, for hooks and logs.
    pub name: String,
    /// The name of a [`headgate_route::Balance`].
    pub balance: String,
    /// What `hash` hashes: see [`crate::HashOn`].
    #[serde(default = "of_source")]
    pub hash_on: String,
    /// The name of a [`headgate_route::HashAlgorithm`].
    #[serde(default = "of_ring")]
    pub hash_algorithm: String,
    /// See [`headgate_route::HashSpec::bound_percent`].
    #[serde(default)]
    pub hash_bound_percent: u32,
    /// How clients stay with a server, if they do; `balance` chooses their first one.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Who is ejected, if any is.
    #[serde(default)]
    pub outlier: Option<Outlier>,
    /// How long a server that comes back takes until it gets its whole share.
    #[serde(default)]
    pub slow_start: u64,
    /// The share of servers in rotation, in percent, below which all are asked.
    #[serde(default)]
    pub panic_percent: u32,
    /// See [`headgate_route::Balancer::with_overprovisioning`].
    #[serde(default = "of_envoy")]
    pub overprovisioning_percent: u32,
    /// The zone of the gateway, where its servers are preferred.
    #[serde(default)]
    pub zone: Option<String>,
    /// The metadata of the servers for requests that find none of their subset in rotation, where these go on; with none, all.
    #[serde(default)]
    pub subset_fallback: Option<Metadata>,
    /// At most 4,096; none while the names that they are found by have no address.
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
    /// What is tried again, and how much; absent: whatever is safe.
    #[serde(default)]
    pub retry: Option<Retries>,
    /// When a request goes to another server as well, if ever.
    #[serde(default)]
    pub hedge: Option<Hedge>,
    /// When it is spared for a while, if ever.
    #[serde(default)]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Requests at once to all its servers, over all workers; 0 for no limit.
    #[serde(default)]
    pub max_connections: u32,
    /// The same, found by how long requests take; absent: there is no such limit.
    #[serde(default)]
    pub adaptive_limit: Option<AdaptiveLimit>,
    /// How requests wait that find no room.
    #[serde(default)]
    pub queue: Queue,
    /// How long clients may wait, if that is bounded.
    #[serde(default)]
    pub deadline: Option<Deadline>,
    /// What clients get when none of its servers has served them.
    #[serde(default)]
    pub fallback: Option<Fallback>,
    /// Whether its server is the dispatcher, from which idle workers pull.
    #[serde(default)]
    pub pull: bool,
    /// Its own timeouts.
    #[serde(default)]
    pub timeouts: RouteTimeouts,
    /// How long what is under way at a server that was removed may go on, in milliseconds; 0 for no limit.
    #[serde(default)]
    pub drain_timeout: u64,
    /// Rules of the grammar that its servers' responses may break, by name.
    #[serde(default)]
    pub lenient: Vec<String>,
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

impl Upstream {
    /// Whether connections that `other` has made are such as this one makes.
    pub(crate) fn connects_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.protocol == other.protocol
            && self.grpc_web == other.grpc_web
            && self.proxy_protocol == other.proxy_protocol
            && self.source == other.source
            && self.tls == other.tls
    }
}

/// The cookie that names a client's server.
#[derive(Deserialize, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// How long it is valid, in seconds, from 1.
    pub ttl: u64,
    /// What it is signed with; absent: a secret of this gateway.
    pub secret: Option<String>,
    /// Its attributes but for `Max-Age` and `Secure`, as they are sent: `; Path=/; HttpOnly`.
    pub attributes: String,
    /// Whether it has `Secure`; absent: where the client came by TLS.
    pub secure: Option<bool>,
}

impl fmt::Debug for Sticky {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Sticky");
        shown.field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// Who is ejected: see [`OutlierSpec`].
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Outlier {
    pub consecutive: u32,
    pub error_percent: u32,
    pub latency_percent: u32,
    pub interval: u64,
    pub min_requests: u32,
    pub ejection: u64,
    pub max_ejection: u64,
    pub max_ejected_percent: u32,
    /// The kinds of failures that count.
    pub kinds: Vec<FailedBy>,
    /// The statuses that count as failures, as first and last ones.
    pub statuses: Vec<(u16, u16)>,
}

impl Outlier {
    pub(crate) fn rule(&self) -> OutlierSpec {
        OutlierSpec {
            consecutive: self.consecutive,
            error_percent: self.error_percent,
            latency_percent: self.latency_percent,
            interval_ms: self.interval,
            min_requests: self.min_requests,
            ejection_ms: self.ejection,
            max_ejection_ms: self.max_ejection,
            max_ejected_percent: self.max_ejected_percent,
        }
    }

    pub(crate) fn counts_status(&self, status: u16) -> bool {
        is_in(&self.statuses, status)
    }
}

/// Whether a status is in one of these ranges.
pub(crate) fn is_in(statuses: &[(u16, u16)], status: u16) -> bool {
    let mut statuses = statuses.iter();
    statuses.any(|(first, last)| (*first..=*last).contains(&status))
}

/// When an upstream is spared: see [`CircuitSpec`].
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct CircuitBreaker {
    pub error_percent: u32,
    pub min_requests: u32,
    pub window: u64,
    pub open: u64,
    pub max_open: u64,
    /// Requests at a time that try whether it is over, and how many must succeed.
    pub probes: usize,
    /// The kinds of failures that count.
    pub kinds: Vec<FailedBy>,
    /// The statuses that count as failures, as first and last ones.
    pub statuses: Vec<(u16, u16)>,
}

impl CircuitBreaker {
    pub(crate) fn rule(&self) -> CircuitSpec {
        CircuitSpec {
            error_percent: self.error_percent,
            min_requests: self.min_requests,
            window_ms: self.window,
            open_ms: self.open,
            max_open_ms: self.max_open,
        }
    }

    pub(crate) fn counts_status(&self, status: u16) -> bool {
        is_in(&self.statuses, status)
    }
}

/// How requests wait for a server.
#[derive(Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// The most that wait, over all workers; 0 for any number.
    pub max_pending: u32,
    /// See [`LineSpec`].
    pub target: Option<u64>,
    /// See there.
    pub interval: u64,
    /// See there.
    pub is_fair: bool,
    /// The field, in lower case, that says how urgent a request is; absent: all are alike.
    #[serde(default)]
    pub priority: Option<String>,
}

impl Queue {
    pub(crate) fn line(&self) -> LineSpec {
        LineSpec {
            target_ms: self.target,
            interval_ms: self.interval,
            is_fair: self.is_fair,
            has_levels: self.priority.is_some(),
        }
    }
}

/// How long clients wait: what they may say of it, in milliseconds.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// The field that says it, beside `grpc-timeout`.
    pub header: Option<String>,
    /// The most that is believed.
    pub max: u64,
    /// Of requests that say nothing.
    pub default: Option<u64>,
}

fn of_source() -> String {
    "source".to_owned()
}

fn of_envoy() -> u32 {
    140
}

fn of_ring() -> String {
    "ring".to_owned()
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
    /// HTTP/3, over QUIC.
    H3,
}

/// What an upstream keeps open, per worker.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Idle connections per server.
    pub max_idle: usize,
    /// Idle connections that are opened beforehand.
    #[serde(default)]
    pub min_idle: usize,
    /// How long one may be idle.
    pub idle_timeout: u64,
    /// How old one may become, in milliseconds; 0 for no limit.
    #[serde(default)]
    pub max_age: u64,
    /// Requests on one connection; 0 for no limit.
    pub max_requests: u64,
    /// HTTP/2: how often a server with requests is pinged, and how long its response may take.
    pub ping: u64,
}

impl Keepalive {
    /// From when on a connection that is opened now takes no more requests: after at least four fifths of the age that it may
    /// have, so that those that were opened together do not end together.
    pub fn end_ms(&self, now_ms: u64) -> u64 {
        if self.max_age == 0 {
            return u64::MAX;
        }
        now_ms + self.max_age - random_number() % (self.max_age / 5 + 1)
    }
}

/// Any number; not for secrets.
pub fn random_number() -> u64 {
    // hashing nothing with the keys of a new state gives one
    RandomState::new().build_hasher().finish()
}

/// A route's own timeouts; what is absent comes from the gateway's.
#[derive(Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RouteTimeouts {
    /// How long a head may take to come, in milliseconds, as all others.
    pub client_head: Option<u64>,
    /// A pause within a request's body.
    pub client_body: Option<u64>,
    /// Between two requests of a connection.
    pub client_idle: Option<u64>,
    /// A write that makes no progress.
    pub send: Option<u64>,
    /// For a place on a server whose requests are bounded.
    pub queue: Option<u64>,
    /// Connecting to a server.
    pub connect: Option<u64>,
    /// Until a response's head is here.
    pub upstream_head: Option<u64>,
    /// A pause within a response's body.
    pub upstream_idle: Option<u64>,
    /// For a request's body that is no longer read.
    pub drain: Option<u64>,
}
