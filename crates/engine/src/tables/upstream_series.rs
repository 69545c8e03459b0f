//! The series of upstreams: how long requests wait for their servers, and what bounds them.

use headgate_shared::series::{Family, Merge, Registry, Series};

use super::families::durations;
use crate::snapshot;

/// See the module.
pub(super) struct UpstreamSeries {
    pub(super) queue_seconds: Series,
    pub(super) connect_seconds: Series,
    /// Requests of this worker in the queue.
    pub(super) queued: Series,
}

/// What these series are of. Limits are 0 where there is none.
pub(super) struct UpstreamFamilies {
    queue_seconds: Family,
    connect_seconds: Family,
    queued: Family,
    queue_limit: Family,
    requests_limit: Family,
    server_requests_limit: Family,
    idle_limit: Family,
}

impl Default for UpstreamFamilies {
    fn default() -> Self {
        let labels = ["upstream"];
        let gauge = |name, help, labels: &[&str], merge| Family::gauge(name, help, labels, merge).declared();
        Self {
            queue_seconds: durations(
                "headgate_upstream_queue_seconds",
                "Time that requests waited in the upstream's queue.",
                &labels,
            ),
            connect_seconds: durations(
                "headgate_upstream_connect_seconds",
                "Time that attempts waited for a new connection to a server, TLS included.",
                &labels,
            ),
            queued: gauge(
                "headgate_upstream_queued_requests",
                "Requests in the upstream's queue now.",
                &labels,
                Merge::Sum,
            ),
            queue_limit: gauge(
                "headgate_upstream_queue_limit",
                "Requests that may be in the upstream's queue; 0: any number.",
                &labels,
                Merge::Max,
            ),
            requests_limit: gauge(
                "headgate_upstream_requests_limit",
                "Requests that may be on the upstream's servers at once; 0: any number.",
                &labels,
                Merge::Max,
            ),
            server_requests_limit: gauge(
                "headgate_upstream_server_requests_limit",
                "Requests that may be on the server at once; 0: any number.",
                &["upstream", "server"],
                Merge::Max,
            ),
            idle_limit: gauge(
                "headgate_upstream_idle_connections_limit",
                "Idle connections to each server of the upstream that are kept at most.",
                &labels,
                Merge::Sum,
            ),
        }
    }
}

impl UpstreamFamilies {
    pub(super) fn upstream(&self, upstream: &snapshot::Upstream, registry: &Registry) -> UpstreamSeries {
        let of = |family: &Family, labels: &[&str]| {
            registry
                .series(family, labels, usize::MAX)
                .expect("only this file makes metrics of these names")
        };
        let name = upstream.name.as_str();
        for server in &upstream.servers {
            let limit = of(&self.server_requests_limit, &[name, &server.address]);
            limit.set(0, server.max_connections.into());
        }
        of(&self.queue_limit, &[name]).set(0, upstream.queue.max_pending.into());
        of(&self.requests_limit, &[name]).set(0, upstream.max_connections.into());
        of(&self.idle_limit, &[name]).set(0, upstream.keepalive.max_idle as u64);
        UpstreamSeries {
            queue_seconds: of(&self.queue_seconds, &[name]),
            connect_seconds: of(&self.connect_seconds, &[name]),
            queued: of(&self.queued, &[name]),
        }
    }
}
