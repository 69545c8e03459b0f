//! The series that a configuration's requests are counted in: of its routes, upstreams and servers.
//!
//! # How it works
//! All series of what the configuration names are made with it, so that a request only adds to cells that are known by
//! index. No label comes from a client: methods and status codes that are not listed are `other`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use headgate_route::PersistentList;
use headgate_shared::series::{Family, Registry, Series};

use super::families::{method_cell, observe, requests_family, RouteFamilies, CLASSES, CODES, METHODS};
use super::measured::{Measured, ServerSeries};
use super::route_series::{labels_of, Labels, RouteSeries};
use super::routes::Routes;
use super::upstream_series::UpstreamSeries;
use super::{aside, certificate_series, Tables, LARGE};
use crate::failure::Failure;

/// An exemplar is replaced after so long.
const EXEMPLAR_MS: u64 = 1_000;
/// How often it is looked when certificates end.
const CERTIFICATES_MS: u64 = 30_000;
/// Failures are told apart by kinds, of which there are fewer.
const MOST_FAILURES: usize = 400;

/// See the module.
pub(crate) struct SeriesTable {
    registry: Arc<Registry>,
    /// By the indices of the routes.
    pub(super) routes: PersistentList<RouteSeries>,
    /// Of requests without a route.
    unrouted: Rc<RouteSeries>,
    /// In the order of the upstreams, and of their servers.
    servers: Rc<Vec<Vec<ServerSeries>>>,
    limits: Rc<Vec<Option<Series>>>,
    /// In the order of the upstreams.
    upstreams: Rc<Vec<UpstreamSeries>>,
    next_note_ms: Cell<u64>,
    codes: Series,
    /// The cell of each status code.
    code_cells: Rc<Vec<u8>>,
    /// What is to be released when it is in force.
    unneeded: Unneeded,
    /// Requests that a hook has sent elsewhere than their route says.
    chosen: RefCell<HashMap<Elsewhere, Series>>,
    failures: RefCell<HashMap<(&'static str, &'static str), Series>>,
}

/// A route, or none, and the upstream that a hook has chosen for its requests.
type Elsewhere = (Option<usize>, Option<usize>);

/// Which series nothing counts in any more.
enum Unneeded {
    /// All that nobody has asked for since this generation began.
    Before(u64),
    /// These.
    These(Vec<Labels>),
}

/// What is known of a finished request.
pub(crate) struct Finished<'a> {
    pub(crate) route: Option<usize>,
    /// The upstream that it went to, if it is one of the configuration.
    pub(crate) upstream: Option<usize>,
    pub(crate) server: Option<usize>,
    pub(crate) method: &'a [u8],
    pub(crate) status: u16,
    pub(crate) total_us: u64,
    /// 0 if no server has responded.
    pub(crate) head_us: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) failure: Option<&'a Failure>,
    /// Whose exemplar it may be, with the time in Unix milliseconds.
    pub(crate) id: &'a str,
    pub(crate) unix_ms: u64,
}

impl SeriesTable {
    /// Those that were made for a configuration.
    pub(super) fn new(measured: Measured) -> Self {
        let mut code_cells = vec![u8::try_from(CODES.len() - 1).unwrap_or(u8::MAX); 600];
        for (cell, code) in (0..).zip(CODES) {
            if let Ok(code) = code.parse::<usize>() {
                code_cells[code] = cell;
            }
        }
        Self {
            servers: Rc::new(measured.servers),
            limits: Rc::new(measured.limits),
            upstreams: Rc::new(measured.upstreams),
            routes: measured.routes,
            unrouted: Rc::new(measured.unrouted),
            codes: measured.codes,
            code_cells: Rc::new(code_cells),
            unneeded: Unneeded::Before(measured.generation),
            next_note_ms: Cell::new(0),
            chosen: RefCell::default(),
            failures: RefCell::default(),
            registry: measured.registry,
        }
    }

    /// The series of tables in which routes differ from those of `tables`, at the indices `changed`.
    pub(super) fn changed(&self, tables: &Tables, routes: &Routes, changed: &[usize]) -> Self {
        let (registry, families) = (&self.registry, RouteFamilies::default());
        let name_of = |upstream: usize| tables.upstreams[upstream].name.as_str();
        let mut own = self.routes.clone();
        let mut unneeded = Vec::new();
        for index in changed {
            let (old, new) = (tables.routes().get(*index), routes.list.get(*index));
            let series = new.map(|route| RouteSeries::of(Some(route), &name_of, registry, &families));
            own.set(*index, series.map(Arc::new));
            unneeded.extend(
                old.into_iter()
                    .flat_map(|route| labels_of(Some(route), &name_of, &families)),
            );
        }
        let named = |labels: &Labels| {
            let mut set = changed.iter().filter_map(|index| routes.list.get(*index));
            set.any(|route| labels_of(Some(route), &name_of, &families).contains(labels))
        };
        unneeded.retain(|labels| !named(labels));
        Self {
            registry: self.registry.clone(),
            routes: own,
            unrouted: self.unrouted.clone(),
            servers: self.servers.clone(),
            limits: self.limits.clone(),
            upstreams: self.upstreams.clone(),
            next_note_ms: self.next_note_ms.clone(),
            codes: self.codes.clone(),
            code_cells: self.code_cells.clone(),
            unneeded: Unneeded::These(unneeded),
            chosen: RefCell::default(),
            failures: RefCell::new(self.failures.borrow().clone()),
        }
    }

    /// Notes when certificates end, now and then.
    pub(crate) fn note_certificates(&self, tables: &Tables, now_ms: u64) {
        if now_ms >= self.next_note_ms.get() {
            self.next_note_ms.set(now_ms + CERTIFICATES_MS);
            certificate_series::note(tables, &self.registry);
        }
    }

    /// Releases the series that nothing counts in any more, now that these tables are in force.
    pub(crate) fn release(&self) {
        match &self.unneeded {
            Unneeded::Before(generation) => {
                let (registry, generation) = (Arc::clone(&self.registry), *generation);
                let is_large = self.routes.end() + self.servers.len() >= LARGE;
                let release = move || registry.release_before(generation);
                if !(is_large && aside("headgate-series", release.clone())) {
                    release();
                }
            }
            Unneeded::These(these) => {
                for (family, labels) in these {
                    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                    self.registry.release(family, &labels);
                }
            }
        }
    }

    /// Counts a request after its last byte.
    pub(crate) fn finished(&self, tables: &Tables, request: &Finished<'_>) {
        let route = self.route(request.route);
        let class = usize::from(request.status / 100)
            .wrapping_sub(1)
            .min(CLASSES.len() - 1);
        let cell = method_cell(request.method) * CLASSES.len() + class;
        if request.upstream == route.upstream {
            route.requests.add(cell, 1);
        } else {
            self.chosen(tables, request.route, request.upstream).add(cell, 1);
        }
        let code = self.code_cells.get(usize::from(request.status));
        self.codes
            .add(code.map_or(CODES.len() - 1, |cell| usize::from(*cell)), 1);
        route.took(request.total_us);
        route.received.add(0, request.request_bytes);
        route.sent.add(0, request.response_bytes);
        if !request.id.is_empty() && route.seconds.exemplar_ms() + EXEMPLAR_MS <= request.unix_ms {
            route
                .seconds
                .set_exemplar(request.total_us, request.unix_ms, request.id.as_bytes());
        }
        if let (Some(server), true) = (self.server(request.upstream, request.server), request.head_us > 0) {
            observe(&server.seconds, request.head_us);
        }
        if let Some(failure) = request.failure {
            self.failed(failure);
        }
    }

    /// Counts a request that could not be read.
    pub(crate) fn refused(&self, failure: &Failure, bytes: u64) {
        let route = &self.unrouted;
        let class = usize::from(failure.status() / 100)
            .wrapping_sub(1)
            .min(CLASSES.len() - 1);
        route.requests.add((METHODS.len() - 1) * CLASSES.len() + class, 1);
        let code = self.code_cells.get(usize::from(failure.status()));
        self.codes
            .add(code.map_or(CODES.len() - 1, |cell| usize::from(*cell)), 1);
        route.sent.add(0, bytes);
        self.failed(failure);
    }

    /// Counts an attempt that failed.
    pub(crate) fn attempt_failed(&self, upstream: Option<usize>, server: usize) {
        if let Some(server) = self.server(upstream, Some(server)) {
            server.failures.add(0, 1);
        }
    }

    /// Counts an attempt beside another one that has no response yet.
    pub(crate) fn hedged(&self, upstream: Option<usize>, server: usize) {
        if let Some(hedges) = self
            .server(upstream, Some(server))
            .and_then(|one| one.hedges.as_ref())
        {
            hedges.begun.add(0, 1);
        }
    }

    /// Counts such an attempt that had the first response.
    pub(crate) fn hedge_won(&self, upstream: Option<usize>, server: usize) {
        if let Some(hedges) = self
            .server(upstream, Some(server))
            .and_then(|one| one.hedges.as_ref())
        {
            hedges.won.add(0, 1);
        }
    }

    /// Counts an attempt after another one.
    pub(crate) fn retried(&self, upstream: Option<usize>, server: usize) {
        if let Some(server) = self.server(upstream, Some(server)) {
            server.retries.add(0, 1);
        }
    }

    /// Counts a wait in an upstream's queue.
    pub(crate) fn queued_for(&self, upstream: Option<usize>, us: u64) {
        if let Some(upstream) = self.upstream(upstream) {
            observe(&upstream.queue_seconds, us);
        }
    }

    /// Counts a wait for a new connection to a server.
    pub(crate) fn connected_in(&self, upstream: Option<usize>, us: u64) {
        if let Some(upstream) = self.upstream(upstream) {
            observe(&upstream.connect_seconds, us);
        }
    }

    /// Notes how many requests of this worker are in an upstream's queue now.
    pub(crate) fn queue_is(&self, upstream: Option<usize>, length: usize) {
        if let Some(upstream) = self.upstream(upstream) {
            upstream.queued.set(0, length as u64);
        }
    }

    /// Notes how a server is now: requests of this worker on it, idle connections of this worker to it, and whether it is
    /// in rotation.
    pub(crate) fn server_is(&self, upstream: usize, server: usize, active: u64, idle: u64, is_up: bool) {
        if let Some(server) = self.server(Some(upstream), Some(server)) {
            server.active.set(0, active);
            server.idle.set(0, idle);
            server.up.set(0, u64::from(is_up));
        }
    }

    /// Notes the limit of an upstream that adapts.
    pub(crate) fn limit_is(&self, upstream: usize, limit: u32) {
        if let Some(Some(series)) = self.limits.get(upstream) {
            series.set(0, u64::from(limit));
        }
    }

    fn upstream(&self, upstream: Option<usize>) -> Option<&UpstreamSeries> {
        self.upstreams.get(upstream?)
    }

    fn server(&self, upstream: Option<usize>, server: Option<usize>) -> Option<&ServerSeries> {
        self.servers.get(upstream?)?.get(server?)
    }

    fn failed(&self, failure: &Failure) {
        let facts = failure.kind.facts();
        let (kind, source) = (facts.name, facts.source.name());
        let mut failures = self.failures.borrow_mut();
        let series = failures.entry((kind, source)).or_insert_with(|| {
            let help = "Requests that failed, by the kind of failure and who was at fault.";
            let family = Family::counter("headgate_failures_total", help, &["kind", "source"]);
            self.registry
                .series(&family, &[kind, source], MOST_FAILURES)
                .expect("only this function makes metrics of that name")
        });
        series.add(0, 1);
    }

    fn route(&self, index: Option<usize>) -> &RouteSeries {
        index.map_or(&self.unrouted, |index| &self.routes[index])
    }

    fn chosen(&self, tables: &Tables, route: Option<usize>, upstream: Option<usize>) -> Series {
        let mut chosen = self.chosen.borrow_mut();
        let make = || {
            let name = route.map_or("", |route| &tables.route(route).name);
            let upstream = upstream.map_or("", |upstream| &tables.upstreams[upstream].name);
            self.registry
                .series(&requests_family(), &[name, upstream], usize::MAX)
                .expect("only this table makes metrics of that name")
        };
        chosen.entry((route, upstream)).or_insert_with(make).clone()
    }
}
