//! A snapshot turned into tables: what the data path looks things up in, swapped by one pointer. Tables in which some routes
//! differ share all else with those that they were made of.

pub(crate) mod assembly;
mod cells;
mod certificate_series;
pub(crate) mod client_fields;
pub(crate) mod draft;
mod families;
pub(crate) mod listener;
mod measured;
pub(crate) mod networks;
mod route;
mod route_series;
pub(crate) mod routes;
pub(crate) mod series;
pub(crate) mod tls_routes;
mod upstream_series;

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;

use headgate_route::{PathRules, PersistentList, Router, TargetMask};
use headgate_wire::{ChunkLimits, HeadLimits, Lenient};

use crate::access_log::AccessLog;
use crate::snapshot::{
    Difference, Forwarding, HookLists, Http2, Http3, Limits, RouteTimeouts, Timeouts, WebSocket,
};
use crate::tables::client_fields::ClientFields;
use crate::tables::listener::Settings;
use crate::tables::networks::Networks;
use crate::tables::routes::Routes;
use crate::tables::series::SeriesTable;
use crate::tables::tls_routes::TlsRoutes;
use headgate_upstream::Upstream;

pub(crate) use route::Action;
pub use route::Route;

/// A snapshot that cannot be used: one lower-case sentence and a hint.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SnapshotError(pub String);

/// Everything that the data path looks up.
pub struct Tables {
    settings: Rc<Lasting>,
    routes: Routes,
    /// What requests are counted in, where metrics are wanted.
    pub(crate) series: Option<Box<SeriesTable>>,
}

/// From so many routes on, work on all of them is not done on the loop's thread.
const LARGE: usize = 256;

/// Does work in a thread of its own, beside the loop. Gives false if there is no thread to be had: what the work holds is
/// dropped then.
fn aside(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).is_ok()
}

/// All that stays while routes change.
pub struct Lasting {
    /// The upstreams, in the order listed.
    pub upstreams: Vec<Rc<Upstream>>,
    pub(crate) path_rules: PathRules,
    pub(crate) limits: Limits,
    /// What is let pass from clients though the grammar does not allow it.
    pub(crate) lenient: Lenient,
    pub(crate) timeouts: Timeouts,
    pub(crate) forwarding: Forwarding,
    pub(crate) client_fields: Rc<ClientFields>,
    pub(crate) http2: Http2,
    pub(crate) http3: Http3,
    pub(crate) websocket: WebSocket,
    pub(crate) request_id_header: Option<String>,
    /// Where responses to challenges of ACME authorities lie.
    pub(crate) acme_challenges: Option<std::path::PathBuf>,
    pub(crate) access_log: Option<Rc<AccessLog>>,
    /// What of a target nothing that is written may show.
    pub(crate) target_mask: TargetMask,
    pub(crate) phase_hooks: HookLists,
    pub(crate) server_timing: bool,
    wants_hook_times: bool,
    /// Trusted proxies, which may name the client; `None`: no proxy is trusted.
    pub(crate) trusted_proxies: Option<Rc<Networks>>,
    /// Whether servers are sent the address that the client connected to.
    pub(crate) wants_destination: bool,
    listeners: HashMap<String, Rc<Settings>>,
    pub(crate) tls_routes: TlsRoutes,
}

impl Drop for Tables {
    /// Many routes that nobody else has are freed beside the loop.
    fn drop(&mut self) {
        if self.routes.list.end() < LARGE || !self.routes.are_last() {
            return;
        }
        let gone = (
            std::mem::take(&mut self.routes),
            self.series.take().map(|series| series.routes),
        );
        aside("headgate-old", move || drop(gone));
    }
}

impl Deref for Tables {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.settings
    }
}

impl Tables {
    /// Tables with the routes that a difference leads to, which share all else with these.
    pub(crate) fn changed(&self, difference: Difference) -> Result<Self, SnapshotError> {
        let mut routes = self.routes.clone();
        let changed = routes.change(difference, self.upstreams.len(), self.limits.max_body_bytes)?;
        let series = self.series.as_deref();
        let series = series.map(|series| Box::new(series.changed(self, &routes, &changed)));
        Ok(Self {
            settings: Rc::clone(&self.settings),
            routes,
            series,
        })
    }

    /// The routes, each at its index, which is its position in the snapshot that they were built of.
    pub fn routes(&self) -> &PersistentList<Route> {
        &self.routes.list
    }

    /// A route that a request was given.
    pub fn route(&self, index: usize) -> &Route {
        &self.routes.list[index]
    }

    /// What finds the route of a request.
    pub(crate) fn router(&self) -> &Router {
        &self.routes.router
    }

    /// The index of the upstream of that name.
    pub fn upstream_index(&self, name: &str) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream.name == name)
    }

    /// Whether the time of each hook of a request is to be noted in its exchange.
    pub fn wants_hook_times(&self) -> bool {
        self.wants_hook_times
    }

    /// What the listener of that address does.
    pub(crate) fn listener(&self, address: &str) -> Option<&Rc<Settings>> {
        self.listeners.get(address)
    }

    /// The matcher function of a route.
    pub(crate) fn function(&self, route: usize) -> Option<usize> {
        self.route(route).function
    }

    /// Bounds on a request's head.
    pub(crate) fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            max_bytes: self.limits.max_head_bytes,
            max_fields: self.limits.max_header_fields,
            lenient: self.lenient,
        }
    }

    /// Bounds on a response's head.
    pub(crate) fn response_head_limits(&self, upstream: &Upstream) -> HeadLimits {
        HeadLimits {
            lenient: upstream.lenient,
            ..self.head_limits()
        }
    }

    /// Bounds on a request's chunks.
    pub(crate) fn chunk_limits(&self) -> ChunkLimits {
        ChunkLimits {
            max_extension_bytes: self.limits.max_chunk_extension_bytes,
            max_trailer_bytes: self.limits.max_trailer_bytes,
            is_from_server: false,
            lenient: self.lenient,
        }
    }

    /// Bounds on a response's chunks.
    pub(crate) fn response_chunk_limits(&self, upstream: &Upstream) -> ChunkLimits {
        ChunkLimits {
            lenient: upstream.lenient,
            ..self.chunk_limits().from_server()
        }
    }

    /// A timeout: the route's, else the upstream's, else the gateway's.
    pub(crate) fn timeout(
        &self,
        route: Option<usize>,
        upstream: Option<&Upstream>,
        of_route: impl Fn(&RouteTimeouts) -> Option<u64>,
        of_gateway: impl Fn(&Timeouts) -> u64,
    ) -> u64 {
        route
            .and_then(|route| of_route(&self.route(route).timeouts))
            .or_else(|| upstream.and_then(|upstream| of_route(&upstream.timeouts)))
            .unwrap_or_else(|| of_gateway(&self.timeouts))
    }
}
