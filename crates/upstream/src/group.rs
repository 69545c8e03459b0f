//! A group of servers, and the choice among them.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use headgate_net::tls::UpstreamTls;
use headgate_route::{fnv, Balance, Balancer, HashAlgorithm, HashSpec, ServerSpec};
use headgate_shared::metrics::Metrics;
use headgate_wire::{Lenient, RequestHead};

use crate::client_address::ClientAddress;
use crate::failed_by::FailedBy;
use crate::hash_on::HashOn;
use crate::queue::Queue;
use crate::retry_rule::RetryRule;
use crate::server::Server;
use crate::spec;
use crate::standings::{Came, Standings};
use crate::sticky::Sticky;

/// The most servers of one upstream.
const MAX_SERVERS: usize = 4096;

/// A named group of servers.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: String,
    /// Its servers, in the order listed.
    pub servers: Vec<Server>,
    /// The `Host` that they get.
    pub host: HostRule,
    /// Further attempts after the first, where a retry is safe.
    pub retries: u32,
    /// What is let pass from its servers though the grammar does not allow it.
    pub lenient: Lenient,
    /// Its own timeouts.
    pub timeouts: spec::RouteTimeouts,
    /// What is kept open.
    pub keepalive: spec::Keepalive,
    /// How servers learn who the client is before the first byte, if they do.
    pub client_address: Option<ClientAddress>,
    /// Where requests wait, if a server is bounded.
    pub queue: Option<Queue>,
    /// How clients stay with a server, if they do.
    pub sticky: Option<Sticky>,
    pub(crate) spec: spec::Upstream,
    pub(crate) balancer: RefCell<Balancer>,
    hash_on: HashOn,
    /// Whether servers are chosen by how long they take.
    is_timed: bool,
    pub(crate) standings: Standings,
    /// Servers that are new among others that served already, until the first choice.
    pub(crate) newcomers: RefCell<Vec<usize>>,
    pub(crate) retry_rule: Option<RetryRule>,
    /// The cell that counts what is on all its servers, where that decides.
    pub(crate) total_cell: Option<u32>,
}

/// A server as `balance` hooks see it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Its share, from 1.
    pub weight: u32,
    /// Used only while no other is available.
    pub is_backup: bool,
    /// Requests on it now, over all workers.
    pub requests: u32,
    /// In rotation.
    pub is_available: bool,
}

/// The `Host` that servers get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRule {
    /// What the client sent.
    Preserve,
    /// The server's own name.
    Server,
    /// This.
    Literal(String),
}

impl HostRule {
    /// As the configuration says it: `preserve`, `server`, or the name itself.
    fn of(text: &str) -> Self {
        match text {
            "preserve" => Self::Preserve,
            "server" => Self::Server,
            literal => Self::Literal(literal.to_owned()),
        }
    }
}

impl Upstream {
    /// Builds one from its description; `cell` gives each server its cell.
    ///
    /// # Errors
    /// What is wrong with the description, with the name of the upstream.
    pub fn build(spec: &spec::Upstream, cell: &mut dyn FnMut(&str) -> u32) -> Result<Self, String> {
        let named = |error: String| format!("upstream `{}`: {error}", spec.name);
        let balance: Balance = spec.balance.parse().map_err(|error| named(format!("{error}")))?;
        if spec.servers.len() > MAX_SERVERS {
            return Err(format!(
                "upstream `{}` has {} servers\nhint: give at most 4096",
                spec.name,
                spec.servers.len()
            ));
        }
        let tls = match &spec.tls {
            Some(tls) => Some(Rc::new(UpstreamTls::build(tls).map_err(named)?)),
            None => None,
        };
        let servers = spec.servers.iter().map(|server| {
            let cell = cell(&format!("{}/{}", spec.name, server.address));
            Server::build(server, spec, tls.as_ref(), cell).map_err(named)
        });
        let servers = servers.collect::<Result<_, String>>()?;
        let client_address = ClientAddress::build(spec).map_err(named)?;
        let hash = HashSpec {
            algorithm: hash_algorithm(spec).map_err(named)?,
            bound_percent: spec.hash_bound_percent,
        };
        let hash_on = match balance {
            Balance::IpHash => HashOn::Source,
            _ => HashOn::parse(&spec.hash_on).map_err(named)?,
        };
        let is_bounded = balance == Balance::Hash && spec.hash_bound_percent > 0;
        let retry_rule = spec.retry.as_ref();
        let retry_rule = retry_rule.map(|retry| RetryRule::new(retry, &spec.name, cell));
        Ok(Self {
            name: spec.name.clone(),
            servers,
            host: HostRule::of(&spec.host),
            retries: spec.retries,
            lenient: Lenient::of(&spec.lenient)
                .map_err(|name| named(format!("there is no rule `{name}` in lenient")))?,
            timeouts: spec.timeouts.clone(),
            keepalive: match &client_address {
                // each connection speaks for one client
                Some(told) if told.is_of_client() => spec::Keepalive {
                    max_idle: 0,
                    ..spec.keepalive.clone()
                },
                _ => spec.keepalive.clone(),
            },
            client_address,
            queue: has_bound(spec).then(Queue::new),
            sticky: spec.sticky.clone().map(Sticky::new),
            spec: spec.clone(),
            balancer: RefCell::new(balancer(balance, hash, spec)),
            standings: Standings::new(spec),
            newcomers: RefCell::default(),
            total_cell: total_cell(is_bounded, retry_rule.as_ref(), &spec.name, cell),
            retry_rule,
            hash_on,
            is_timed: balance.needs_latency(),
        })
    }

    /// Whether it is what `spec` describes, so that a new configuration can keep it with its connections and its memory
    /// of failures.
    #[inline]
    pub fn is(&self, spec: &spec::Upstream) -> bool {
        self.spec == *spec && self.servers.iter().all(Server::is_current)
    }

    /// Whether such a failure may be tried again, as far as that is safe.
    pub fn retries_failure(&self, by: FailedBy, metrics: &Metrics) -> bool {
        let rule = self.retry_rule.as_ref();
        rule.is_none_or(|rule| rule.covers(by) && rule.has_budget(metrics))
    }

    /// Whether a response with that status is tried again, as far as that is safe.
    #[inline]
    pub fn retries_status(&self, status: u16, metrics: &Metrics) -> bool {
        let rule = self.retry_rule.as_ref();
        rule.is_some_and(|rule| rule.covers_status(status) && rule.has_budget(metrics))
    }

    /// How long an attempt may take until its response's head, if that has a limit of its own.
    #[inline]
    pub fn attempt_ms(&self) -> Option<u64> {
        self.retry_rule.as_ref().and_then(RetryRule::attempt_ms)
    }

    /// What of a request, and of the client's address, decides its server where that is chosen by hash.
    #[inline]
    pub fn key<'a>(&'a self, head: &'a RequestHead, source: &'a str) -> &'a [u8] {
        self.hash_on.key(head, source)
    }

    /// The same for what is no request.
    #[inline]
    pub fn key_of_source<'a>(&self, source: &'a str) -> &'a [u8] {
        match self.hash_on {
            HashOn::Source => source.as_bytes(),
            _ => b"",
        }
    }

    /// How its servers are now, in the order listed.
    pub fn loads(&self, now_ms: u64, metrics: &Metrics) -> Vec<Load> {
        self.standings.refresh(&self.balancer, now_ms, metrics);
        let balancer = self.balancer.borrow();
        (self.servers.iter().zip(&self.spec.servers).enumerate())
            .map(|(index, (server, spec))| Load {
                weight: spec.weight,
                is_backup: spec.backup,
                requests: metrics.server_load(server.cell),
                is_available: balancer.is_available(index, now_ms),
            })
            .collect()
    }

    /// A server responded with that status after so many microseconds.
    #[inline]
    pub fn responded(&self, server: usize, now_ms: u64, (status, took_us): (u16, u64), metrics: &Metrics) {
        if self.is_timed {
            let mut balancer = self.balancer.borrow_mut();
            if status < 500 {
                balancer.responded(server, now_ms, took_us);
            } else {
                balancer.disappointed(server, now_ms, took_us);
            }
        }
        if self.standings.watches() {
            let came = Came::Response(status, took_us);
            self.standings.came(server, came, now_ms, metrics);
        }
        self.succeeded(server, now_ms);
    }

    /// A server responded.
    #[inline]
    pub fn succeeded(&self, server: usize, now_ms: u64) {
        // most servers have not failed since their last response: nothing to reset
        if self.servers[server].has_failed.replace(false) {
            self.balancer.borrow_mut().succeeded(server, now_ms);
        }
    }

    /// A server did not.
    #[inline]
    pub fn failed(&self, server: usize, now_ms: u64, by: FailedBy, metrics: &Metrics) {
        if self.standings.watches() {
            self.standings.came(server, Came::Failure(by), now_ms, metrics);
        }
        self.servers[server].has_failed.set(true);
        let mut balancer = self.balancer.borrow_mut();
        balancer.failed(server, now_ms);
        if self.is_timed {
            balancer.disappointed(server, now_ms, 0);
        }
    }

    /// Whether there are idle connections.
    #[inline]
    pub fn has_idle(&self) -> bool {
        self.servers.iter().any(|server| !server.pool.is_empty())
    }

    /// Closes idle connections that are too old or that their server closed.
    #[inline]
    pub fn sweep(&self, now_ms: u64) {
        for server in &self.servers {
            server.pool.sweep(now_ms, self.keepalive.idle_timeout);
        }
    }
}

/// The cell of what is on all servers, where that decides.
fn total_cell(
    is_bounded: bool,
    rule: Option<&RetryRule>,
    name: &str,
    cell: &mut dyn FnMut(&str) -> u32,
) -> Option<u32> {
    let of_budget = rule.and_then(|rule| rule.cells).map(|cells| cells.0);
    of_budget.or_else(|| is_bounded.then(|| cell(&format!("{name}/"))))
}

/// Whether requests may have to wait for a place.
fn has_bound(spec: &spec::Upstream) -> bool {
    spec.servers.iter().any(|server| server.max_connections > 0)
}

fn hash_algorithm(spec: &spec::Upstream) -> Result<HashAlgorithm, String> {
    match spec.balance.as_str() {
        "ip_hash" => Ok(HashAlgorithm::Rendezvous),
        _ => spec.hash_algorithm.parse().map_err(|error| format!("{error}")),
    }
}

/// The balancer among these servers, seeded at random.
fn balancer(balance: Balance, hash: HashSpec, upstream: &spec::Upstream) -> Balancer {
    let specs = upstream.servers.iter().map(|server| ServerSpec {
        weight: server.weight,
        // where outliers are ejected, that is the one count of failures
        max_fails: if upstream.outlier.is_some() {
            0
        } else {
            server.max_fails
        },
        fail_timeout_ms: server.fail_timeout,
        backup: server.backup,
        max_connections: server.max_connections,
        identity: fnv(server.address.as_bytes()),
    });
    let mut balancer = Balancer::with_hash(balance, hash, specs.collect())
        .with_slow_start(upstream.slow_start)
        .with_panic_threshold(upstream.panic_percent);
    // hashing nothing with the keys of a new state gives a random number, other in each worker
    balancer.seed(RandomState::new().build_hasher().finish());
    balancer
}
