//! A snapshot turned into tables: what the data path looks things up in, swapped by one pointer. Tables in which some routes
//! differ share all else with those that they were made of.

mod certificate_series;
pub(crate) mod client_fields;
mod families;
pub(crate) mod listener;
pub(crate) mod networks;
mod route;
mod route_series;
mod routes;
pub(crate) mod series;
pub(crate) mod tls_routes;

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use headgate_route::{PathRules, PersistentList, Router};
use headgate_wire::{ChunkLimits, HeadLimits, Lenient};

use crate::access_log::{AccessLog, Destination, Format, QueryMask};
use crate::snapshot::{
    self, Difference, Forwarding, HookLists, Http2, Http3, Limits, RouteTimeouts, Snapshot, Timeouts,
    WebSocket,
};
use crate::tables::client_fields::ClientFields;
use crate::tables::listener::Settings;
use crate::tables::networks::Networks;
use crate::tables::routes::Routes;
use crate::tables::series::SeriesTable;
use crate::tables::tls_routes::TlsRoutes;
use headgate_net::peer::BUFFER_BYTES;
use headgate_net::tls::TicketKeys;
use headgate_shared::metrics::{FIRST_SERVER_CELL, SERVER_CELLS};
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
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) masked_query: QueryMask,
    pub(crate) log_flush_ms: u64,
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

impl Deref for Tables {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.settings
    }
}

impl Tables {
    /// Checks a snapshot and builds the tables; upstreams that are as they were are taken over from `old`.
    pub(crate) fn build(
        snapshot: Snapshot,
        ticket_keys: &Arc<TicketKeys>,
        old: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        check_process(&snapshot)?;
        let upstreams = build_upstreams(&snapshot.upstreams, old)?;
        let log_flush_ms = snapshot.access_log.as_ref().map_or(0, |log| log.flush);
        let routes = Routes::build(
            snapshot.routes,
            snapshot.first_resource_route,
            upstreams.len(),
            snapshot.limits.max_body_bytes,
        )?;
        let access_log = snapshot.access_log.as_ref().map(open_log).transpose()?;
        let log_wants = access_log.as_ref().is_some_and(AccessLog::shows_hooks);
        let trusted_proxies = parse_trusted(snapshot.trusted_proxies.as_deref())?;
        let listeners = build_listeners(
            snapshot.listeners,
            trusted_proxies.as_ref(),
            upstreams.len(),
            ticket_keys,
        )?;
        let tells = upstreams.iter().any(|upstream| upstream.client_address.is_some());
        let settings = Lasting {
            trusted_proxies,
            wants_destination: tells || listeners.values().any(|settings| settings.has_state()),
            listeners,
            tls_routes: TlsRoutes::build(&snapshot.tls_routes, upstreams.len())
                .map_err(|error| SnapshotError(format!("tls_routes: {error}")))?,
            upstreams,
            path_rules: snapshot.path.rules(),
            client_fields: Rc::new(ClientFields::new(
                &snapshot.forwarding,
                snapshot.request_id_header.as_deref(),
                snapshot.limits.underscore_headers,
            )),
            lenient: Lenient::of(&snapshot.limits.lenient)
                .map_err(|name| SnapshotError(format!("limits.lenient: there is no rule `{name}`")))?,
            limits: snapshot.limits,
            timeouts: snapshot.timeouts,
            forwarding: snapshot.forwarding,
            http2: snapshot.http2,
            http3: snapshot.http3,
            websocket: snapshot.websocket,
            request_id_header: snapshot.request_id_header.map(|name| name.to_ascii_lowercase()),
            acme_challenges: snapshot.acme_challenges.map(Into::into),
            access_log,
            masked_query: QueryMask::new(&snapshot.masked_query),
            server_timing: snapshot.server_timing,
            wants_hook_times: log_wants || snapshot.server_timing || snapshot.tracing.is_some(),
            log_flush_ms,
            phase_hooks: snapshot.hooks,
        };
        Ok(Self {
            settings: Rc::new(settings),
            routes,
            series: None,
        })
    }

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

    /// The upstream that `built` would be a copy of, down to its servers' cells.
    fn same_upstream(&self, built: &Upstream, spec: &snapshot::Upstream) -> Option<Rc<Upstream>> {
        let has_same_cells = |upstream: &Upstream| {
            let mut pairs = upstream.servers.iter().zip(&built.servers);
            pairs.all(|(one, other)| one.cell == other.cell)
        };
        let mut same = self.upstreams.iter().filter(|upstream| upstream.is(spec));
        same.find(|upstream| has_same_cells(upstream)).cloned()
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

/// What a snapshot asks of this process: buffers of its size, and a TLS library of its kind.
fn check_process(snapshot: &Snapshot) -> Result<(), SnapshotError> {
    let max_head_bytes = snapshot.limits.max_head_bytes;
    if max_head_bytes >= BUFFER_BYTES {
        return Err(SnapshotError(format!(
            "limits.max_head_bytes `{max_head_bytes}` is too large\nhint: at most {}",
            BUFFER_BYTES - 1
        )));
    }
    if snapshot.require_fips {
        headgate_net::tls::require_fips().map_err(|error| SnapshotError(format!("tls: {error}")))?;
    }
    Ok(())
}

fn build_upstreams(
    specs: &[snapshot::Upstream],
    old: Option<&Tables>,
) -> Result<Vec<Rc<Upstream>>, SnapshotError> {
    let mut cells = Cells::default();
    let build = |spec| {
        let mut built = Upstream::build(spec, &mut |name| cells.assign(name))?;
        let Some(old) = old else {
            return Ok(Rc::new(built));
        };
        if let Some(same) = old.same_upstream(&built, spec) {
            return Ok(same);
        }
        if let Some(former) = old.upstreams.iter().find(|one| one.name == spec.name) {
            built.follow(former);
        }
        Ok(Rc::new(built))
    };
    specs
        .iter()
        .map(build)
        .collect::<Result<_, _>>()
        .map_err(SnapshotError)
}

fn parse_trusted(networks: Option<&[String]>) -> Result<Option<Rc<Networks>>, SnapshotError> {
    let parsed = networks.map(Networks::parse).transpose();
    let trusted = parsed.map_err(|error| SnapshotError(format!("trusted_proxies: {error}")))?;
    Ok(trusted.map(Rc::new))
}

fn build_listeners(
    specs: Vec<snapshot::Listener>,
    trusted: Option<&Rc<Networks>>,
    upstreams: usize,
    ticket_keys: &Arc<TicketKeys>,
) -> Result<HashMap<String, Rc<Settings>>, SnapshotError> {
    let trusted = trusted.cloned().unwrap_or_default();
    let build = |spec: snapshot::Listener| {
        let (address, name) = (spec.address.clone(), spec.name.clone());
        let settings = Settings::build(spec, &trusted, upstreams, ticket_keys)
            .map_err(|error| SnapshotError(format!("listener `{name}`: {error}")))?;
        Ok((address, Rc::new(settings)))
    };
    specs.into_iter().map(build).collect()
}

/// Gives each server of the configuration a cell of its own in the shared zone: the same in every worker with the same
/// configuration, whatever came before.
#[derive(Default)]
struct Cells {
    taken: HashSet<u32>,
    given: HashMap<String, u32>,
}

impl Cells {
    fn assign(&mut self, name: &str) -> u32 {
        if let Some(cell) = self.given.get(name) {
            return *cell;
        }
        // FNV-1a (Fowler, Noll, Vo): stable over processes, which the standard library's hash is not
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let mut cell = hash % SERVER_CELLS;
        if self.taken.len() < SERVER_CELLS as usize {
            while !self.taken.insert(cell) {
                cell = (cell + 1) % SERVER_CELLS;
            }
        }
        self.given.insert(name.to_owned(), FIRST_SERVER_CELL + cell);
        FIRST_SERVER_CELL + cell
    }
}

pub(crate) fn parse_log(log: &snapshot::AccessLog) -> Result<(Format, Destination), SnapshotError> {
    let format =
        Format::parse(&log.format).map_err(|error| SnapshotError(format!("access_log.format: {error}")))?;
    let to = Destination::parse(&log.to).map_err(|error| SnapshotError(format!("access_log.to: {error}")))?;
    Ok((format, to))
}

fn open_log(log: &snapshot::AccessLog) -> Result<AccessLog, SnapshotError> {
    let (format, to) = parse_log(log)?;
    AccessLog::open(format, to, log.buffer_bytes)
        .map_err(|error| SnapshotError(format!("access_log.to: cannot open `{}`: {error}", log.to)))
}
