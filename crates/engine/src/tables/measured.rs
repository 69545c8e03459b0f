//! The series of all that a configuration names, made by whoever drafts it.

use std::sync::Arc;

use headgate_route::PersistentList;
use headgate_shared::series::{Family, Merge, Registry, Series};
use headgate_upstream::DraftedUpstream;

use super::families::{durations, RouteFamilies, CODES};
use super::route::Route;
use super::route_series::RouteSeries;
use super::upstream_series::{UpstreamFamilies, UpstreamSeries};
use crate::snapshot;

/// See the module.
pub(super) struct Measured {
    pub(super) registry: Arc<Registry>,
    /// That of these series: what was asked for before, and is not among them, is not needed once they are in force.
    pub(super) generation: u64,
    /// By the indices of the routes.
    pub(super) routes: PersistentList<RouteSeries>,
    /// Of requests without a route.
    pub(super) unrouted: RouteSeries,
    /// In the order of the upstreams, and of their servers.
    pub(super) servers: Vec<Vec<ServerSeries>>,
    /// In the order of the upstreams: of those whose limit adapts.
    pub(super) limits: Vec<Option<Series>>,
    /// In the order of the upstreams.
    pub(super) upstreams: Vec<UpstreamSeries>,
    pub(super) codes: Series,
}

pub(super) struct ServerSeries {
    pub(super) seconds: Series,
    pub(super) failures: Series,
    pub(super) retries: Series,
    pub(super) active: Series,
    pub(super) idle: Series,
    pub(super) up: Series,
    /// Where its upstream hedges requests.
    pub(super) hedges: Option<HedgeSeries>,
}

pub(super) struct HedgeSeries {
    pub(super) begun: Series,
    pub(super) won: Series,
}

impl Measured {
    pub(super) fn new(
        routes: &PersistentList<Route>,
        upstreams: &[(snapshot::Upstream, DraftedUpstream)],
        registry: &Arc<Registry>,
    ) -> Self {
        let generation = registry.begin_generation();
        let (families, maker) = (RouteFamilies::default(), ServerFamilies::default());
        let name_of = |upstream: usize| upstreams[upstream].0.name.as_str();
        let mut of_routes = PersistentList::default();
        for (index, route) in routes.iter() {
            let series = RouteSeries::of(Some(route), &name_of, registry, &families);
            of_routes.set(index, Some(Arc::new(series)));
        }
        let servers = upstreams.iter().map(|(upstream, _)| {
            let servers = upstream.servers.iter();
            servers
                .map(|server| maker.server(upstream, &server.address, registry))
                .collect()
        });
        let limit = Family::gauge(
            "headgate_upstream_adaptive_limit",
            "The most requests at a time on the upstream's servers, as found by how long they take.",
            &["upstream"],
            Merge::Max,
        );
        let limits = upstreams.iter().map(|(upstream, _)| {
            let adapts = upstream.adaptive_limit.is_some();
            adapts.then(|| series(registry, &limit, &[&upstream.name]))
        });
        let of_upstreams = UpstreamFamilies::default();
        let own = upstreams.iter();
        let own = own.map(|(upstream, _)| of_upstreams.upstream(upstream, registry));
        let codes = Family::counter("headgate_responses_total", "Responses by their status code.", &[])
            .with_inner("code", CODES);
        Self {
            generation,
            unrouted: RouteSeries::of(None, &name_of, registry, &families),
            servers: servers.collect(),
            limits: limits.collect(),
            upstreams: own.collect(),
            routes: of_routes,
            codes: series(registry, &codes, &[]),
            registry: Arc::clone(registry),
        }
    }
}

fn series(registry: &Registry, family: &Family, labels: &[&str]) -> Series {
    registry
        .series(family, labels, usize::MAX)
        .expect("only this file makes metrics of these names")
}

/// What the series of servers are of.
struct ServerFamilies {
    seconds: Family,
    failures: Family,
    retries: Family,
    active: Family,
    idle: Family,
    up: Family,
    hedges: Family,
    hedges_won: Family,
}

impl Default for ServerFamilies {
    fn default() -> Self {
        let labels = ["upstream", "server"];
        let counter = |name, help| Family::counter(name, help, &labels).declared();
        let gauge = |name, help, merge| Family::gauge(name, help, &labels, merge).declared();
        Self {
            seconds: durations(
                "headgate_upstream_response_seconds",
                "Time from a request's last attempt to the head of the server's response.",
                &labels,
            ),
            failures: counter(
                "headgate_upstream_failures_total",
                "Attempts at the server that failed.",
            ),
            retries: counter(
                "headgate_upstream_retries_total",
                "Attempts at the server after another one had failed.",
            ),
            active: gauge(
                "headgate_upstream_requests_active",
                "Requests on the server now.",
                Merge::Sum,
            ),
            idle: gauge(
                "headgate_upstream_idle_connections",
                "Idle connections to the server that are kept.",
                Merge::Sum,
            ),
            up: gauge(
                "headgate_upstream_server_up",
                "Whether the server is in rotation in all workers.",
                Merge::Min,
            ),
            hedges: counter(
                "headgate_upstream_hedges_total",
                "Attempts at the server beside another one that had no response yet.",
            ),
            hedges_won: counter(
                "headgate_upstream_hedges_won_total",
                "Such attempts whose response came first.",
            ),
        }
    }
}

impl ServerFamilies {
    fn server(&self, upstream: &snapshot::Upstream, server: &str, registry: &Registry) -> ServerSeries {
        let of = |family| series(registry, family, &[&upstream.name, server]);
        let up = of(&self.up);
        up.set(0, 1);
        ServerSeries {
            seconds: of(&self.seconds),
            failures: of(&self.failures),
            retries: of(&self.retries),
            active: of(&self.active),
            idle: of(&self.idle),
            up,
            hedges: upstream.hedge.is_some().then(|| HedgeSeries {
                begun: of(&self.hedges),
                won: of(&self.hedges_won),
            }),
        }
    }
}
