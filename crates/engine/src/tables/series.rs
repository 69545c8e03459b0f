//! The series that a configuration's requests are counted in: of its routes, upstreams and servers.
//!
//! # How it works
//! All series of what the configuration names are made with it, so that a request only adds to cells that are known by
//! index. No label comes from a client: methods and status codes that are not listed are `other`.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use headgate_shared::series::{Family, Merge, Registry, Scale, Series};

use super::Tables;
use crate::failure::Failure;

/// The methods that are told apart (RFC 9110 section 9, RFC 5789).
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
const CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
/// The status codes that are told apart: those that IANA lists, and 499.
const CODES: &[&str] = &[
    "100", "101", "103", "200", "201", "202", "203", "204", "205", "206", "207", "208", "226", "300", "301",
    "302", "303", "304", "305", "307", "308", "400", "401", "402", "403", "404", "405", "406", "407", "408",
    "409", "410", "411", "412", "413", "414", "415", "416", "417", "421", "422", "423", "424", "425", "426",
    "428", "429", "431", "451", "499", "500", "501", "502", "503", "504", "505", "506", "507", "508", "510",
    "511", "other",
];
/// The buckets of durations, in microseconds: seven or more a decade, so that a quantile is right within a third.
const BOUNDS_US: [u64; 37] = [
    250, 500, 800, 1_200, 1_600, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 20_000, 30_000, 40_000,
    60_000, 80_000, 120_000, 160_000, 200_000, 300_000, 400_000, 600_000, 800_000, 1_200_000, 1_600_000,
    2_000_000, 3_000_000, 4_000_000, 6_000_000, 8_000_000, 12_000_000, 16_000_000, 20_000_000, 30_000_000,
    40_000_000, 60_000_000,
];
/// The first bucket that a number of so many bits may be in.
const FIRST_BUCKET: [u8; 65] = first_buckets();
/// An exemplar is replaced after so long.
const EXEMPLAR_MS: u64 = 1_000;
/// Failures are told apart by kinds, of which there are fewer.
const MOST_FAILURES: usize = 400;

/// See the module.
pub(crate) struct SeriesTable {
    registry: Arc<Registry>,
    /// In the order of the routes; the last one is of requests without a route.
    routes: Vec<RouteSeries>,
    /// In the order of the upstreams, and of their servers.
    servers: Vec<Vec<ServerSeries>>,
    codes: Series,
    /// The cell of each status code.
    code_cells: Vec<u8>,
    /// Requests that a hook has sent elsewhere than their route says.
    chosen: RefCell<HashMap<(usize, Option<usize>), Series>>,
    failures: RefCell<HashMap<(&'static str, &'static str), Series>>,
}

struct RouteSeries {
    /// The upstream that its requests are counted with.
    upstream: Option<usize>,
    requests: Series,
    seconds: Series,
    received: Series,
    sent: Series,
}

struct ServerSeries {
    seconds: Series,
    failures: Series,
    retries: Series,
    active: Series,
    idle: Series,
    up: Series,
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
    /// Makes the series of all that `tables` name, and releases those of what they no longer name.
    pub(crate) fn build(tables: &Tables, registry: &Arc<Registry>) -> Self {
        let maker = Maker(registry);
        let names = tables.routes.iter().map(|route| {
            let upstream = match route.action {
                super::Action::Proxy { upstream } => Some(upstream),
                _ => None,
            };
            (route.name.as_str(), upstream)
        });
        let routes = names.chain([("", None)]).map(|(name, upstream)| RouteSeries {
            upstream,
            requests: maker.series(&requests_family(), &[name, upstream_name(tables, upstream)]),
            seconds: maker.series(&seconds_family(), &[name]),
            received: maker.series(&received_family(), &[name]),
            sent: maker.series(&sent_family(), &[name]),
        });
        let routes = routes.collect();
        let servers = tables.upstreams.iter().map(|upstream| {
            let servers = upstream.servers.iter();
            servers
                .map(|server| maker.server(&upstream.name, &server.name))
                .collect()
        });
        let mut code_cells = vec![u8::try_from(CODES.len() - 1).unwrap_or(u8::MAX); 600];
        for (cell, code) in (0..).zip(CODES) {
            if let Ok(code) = code.parse::<usize>() {
                code_cells[code] = cell;
            }
        }
        Self {
            servers: servers.collect(),
            routes,
            codes: maker.series(
                &Family::counter("headgate_responses_total", "Responses by their status code.", &[])
                    .with_inner("code", CODES),
                &[],
            ),
            code_cells,
            chosen: RefCell::default(),
            failures: RefCell::default(),
            registry: registry.clone(),
        }
    }

    /// Releases the series of what these tables do not name.
    pub(crate) fn release_others(&self) {
        let of_routes = self.routes.iter().flat_map(RouteSeries::all);
        let of_servers = self.servers.iter().flatten().flat_map(ServerSeries::all);
        let own: HashSet<usize> = of_routes.chain(of_servers).map(Series::place).collect();
        self.registry.keep_only(|_, series| own.contains(&series.place()));
    }

    /// Counts a request after its last byte.
    pub(crate) fn finished(&self, tables: &Tables, request: &Finished<'_>) {
        let index = request.route.unwrap_or(self.routes.len() - 1);
        let route = &self.routes[index];
        let class = usize::from(request.status / 100)
            .wrapping_sub(1)
            .min(CLASSES.len() - 1);
        let cell = method_cell(request.method) * CLASSES.len() + class;
        if request.upstream == route.upstream {
            route.requests.add(cell, 1);
        } else {
            self.chosen(tables, index, request.upstream).add(cell, 1);
        }
        let code = self.code_cells.get(usize::from(request.status));
        self.codes
            .add(code.map_or(CODES.len() - 1, |cell| usize::from(*cell)), 1);
        observe(&route.seconds, request.total_us);
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
        let Some(route) = self.routes.last() else { return };
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

    /// Counts an attempt after another one.
    pub(crate) fn retried(&self, upstream: Option<usize>, server: usize) {
        if let Some(server) = self.server(upstream, Some(server)) {
            server.retries.add(0, 1);
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
                .expect("nobody else makes metrics of that name")
        });
        series.add(0, 1);
    }

    fn chosen(&self, tables: &Tables, route: usize, upstream: Option<usize>) -> Series {
        let mut chosen = self.chosen.borrow_mut();
        let make = || {
            let name = tables.routes.get(route).map_or("", |route| &route.name);
            Maker(&self.registry).series(&requests_family(), &[name, upstream_name(tables, upstream)])
        };
        chosen.entry((route, upstream)).or_insert_with(make).clone()
    }
}

impl RouteSeries {
    fn all(&self) -> [&Series; 4] {
        [&self.requests, &self.seconds, &self.received, &self.sent]
    }
}

impl ServerSeries {
    fn all(&self) -> [&Series; 6] {
        [
            &self.seconds,
            &self.failures,
            &self.retries,
            &self.active,
            &self.idle,
            &self.up,
        ]
    }
}

struct Maker<'a>(&'a Arc<Registry>);

impl Maker<'_> {
    fn series(&self, family: &Family, labels: &[&str]) -> Series {
        self.0
            .series(family, labels, usize::MAX)
            .expect("nobody else makes metrics of these names")
    }

    fn server(&self, upstream: &str, server: &str) -> ServerSeries {
        let labels = ["upstream", "server"];
        let counter = |name: &str, help: &str| {
            self.series(
                &Family::counter(name, help, &labels).declared(),
                &[upstream, server],
            )
        };
        let gauge = |name: &str, help: &str, merge| {
            self.series(
                &Family::gauge(name, help, &labels, merge).declared(),
                &[upstream, server],
            )
        };
        let seconds = "headgate_upstream_response_seconds";
        let help = "Time from a request's last attempt to the head of the server's response.";
        let up = gauge(
            "headgate_upstream_server_up",
            "Whether the server is in rotation in all workers.",
            Merge::Min,
        );
        up.set(0, 1);
        ServerSeries {
            seconds: self.series(&durations(seconds, help, &labels), &[upstream, server]),
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
            up,
        }
    }
}

fn upstream_name(tables: &Tables, upstream: Option<usize>) -> &str {
    upstream.map_or("", |upstream| &tables.upstreams[upstream].name)
}

fn requests_family() -> Family {
    let help = "Requests, by route, upstream, method and class of the response's status.";
    Family::counter("headgate_requests_total", help, &["route", "upstream"])
        .with_inner("method", METHODS)
        .with_inner("status", CLASSES)
        .declared()
}

fn seconds_family() -> Family {
    let help = "Time from a request's complete head to the last byte of its response.";
    durations("headgate_request_duration_seconds", help, &["route"])
}

fn received_family() -> Family {
    let help = "Bytes of requests' bodies that were read from clients.";
    Family::counter("headgate_request_bytes_total", help, &["route"]).declared()
}

fn sent_family() -> Family {
    let help = "Bytes of responses that were sent to clients, heads included.";
    Family::counter("headgate_response_bytes_total", help, &["route"]).declared()
}

#[allow(clippy::cast_precision_loss, reason = "bounds are small")]
fn durations(name: &str, help: &str, labels: &[&str]) -> Family {
    let bounds: Vec<f64> = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect();
    Family::histogram(name, help, labels, &bounds, Scale::Integer(1_000_000)).declared()
}

/// Counts a duration.
fn observe(series: &Series, us: u64) {
    series.add(bucket_of(us), 1);
    series.add(BOUNDS_US.len() + 1, us);
}

/// The first bucket whose bound is not below it: by its bits to within three, then by looking.
fn bucket_of(us: u64) -> usize {
    let mut bucket = usize::from(FIRST_BUCKET[(u64::BITS - us.leading_zeros()) as usize]);
    while bucket < BOUNDS_US.len() && us > BOUNDS_US[bucket] {
        bucket += 1;
    }
    bucket
}

const fn first_buckets() -> [u8; 65] {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least = 1_u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && BOUNDS_US[bucket] < least {
            bucket += 1;
        }
        #[allow(clippy::cast_possible_truncation, reason = "there are fewer than 256")]
        {
            first[bits] = bucket as u8;
        }
        bits += 1;
    }
    first
}

fn method_cell(method: &[u8]) -> usize {
    match method {
        b"GET" => 0,
        b"HEAD" => 1,
        b"POST" => 2,
        b"PUT" => 3,
        b"PATCH" => 4,
        b"DELETE" => 5,
        b"OPTIONS" => 6,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_holds_it() {
        for us in (0..3_000)
            .chain(BOUNDS_US.iter().flat_map(|us| [us - 1, *us, us + 1]))
            .chain([u64::MAX])
        {
            assert_eq!(
                bucket_of(us),
                BOUNDS_US.iter().filter(|bound| **bound < us).count(),
                "{us}"
            );
        }
    }

    #[test]
    fn quantiles_of_constant_services_are_near() {
        for us in [5_000, 5_400, 1_001_000, 5_001_000_u64] {
            let bucket = bucket_of(us);
            let (lower, upper) = (BOUNDS_US[bucket - 1], BOUNDS_US[bucket]);
            let estimate = lower + (upper - lower) * 99 / 100;
            assert!(estimate * 100 <= us * 125, "{us}: {estimate}");
        }
    }

    #[test]
    fn methods_have_the_cells_of_their_names() {
        for (cell, method) in METHODS.iter().enumerate() {
            assert_eq!(method_cell(method.as_bytes()), cell);
        }
        assert_eq!(METHODS[method_cell(b"BREW")], "other");
    }
}
