//! Upstreams are built from their descriptions.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

use headgate_net::tls::UpstreamTls;
use headgate_route::{fnv, Balance, Balancer, HashAlgorithm, HashSpec, Metadata, ServerSpec, Subset};
use headgate_wire::Lenient;

use crate::adaptive::Adaptive;
use crate::circuit::Breaker;
use crate::client_address::ClientAddress;
use crate::group::{HostRule, Upstream};
use crate::hash_on::HashOn;
use crate::hedging::Hedging;
use crate::queue::Queue;
use crate::retry_rule::RetryRule;
use crate::server::Server;
use crate::spec;
use crate::stale::Stale;
use crate::standings::Standings;
use crate::sticky::Sticky;

/// The most servers of one upstream.
const MAX_SERVERS: usize = 4096;

/// What of an upstream any thread can make beforehand.
pub struct DraftedUpstream {
    tls: Option<UpstreamTls>,
    balance: Balance,
    balancer: Balancer,
}

impl DraftedUpstream {
    /// Reads its files, and makes the balancer.
    ///
    /// # Errors
    /// As of [`Upstream::build`].
    pub fn new(spec: &spec::Upstream) -> Result<Self, String> {
        let named = |error: String| format!("upstream `{}`: {error}", spec.name);
        let balance: Balance = spec.balance.parse().map_err(|error| named(format!("{error}")))?;
        if spec.servers.len() > MAX_SERVERS {
            return Err(format!(
                "upstream `{}` has {} servers\nhint: give at most 4096",
                spec.name,
                spec.servers.len()
            ));
        }
        let hash = HashSpec {
            algorithm: hash_algorithm(spec).map_err(named)?,
            bound_percent: spec.hash_bound_percent,
        };
        let tls = spec.tls.as_ref().map(UpstreamTls::build).transpose();
        Ok(Self {
            tls: tls.map_err(named)?,
            balance,
            balancer: balancer(balance, hash, spec),
        })
    }
}

impl Upstream {
    /// Builds one from its description; `cell` gives each server its cell.
    ///
    /// # Errors
    /// What is wrong with the description, with the name of the upstream.
    pub fn build(spec: &spec::Upstream, cell: &mut dyn FnMut(&str) -> u32) -> Result<Self, String> {
        Self::build_with(spec, DraftedUpstream::new(spec)?, cell)
    }

    /// The same with what was drafted beforehand.
    ///
    /// # Errors
    /// As there.
    pub fn build_with(
        spec: &spec::Upstream,
        drafted: DraftedUpstream,
        cell: &mut dyn FnMut(&str) -> u32,
    ) -> Result<Self, String> {
        let named = |error: String| format!("upstream `{}`: {error}", spec.name);
        let balance = drafted.balance;
        let tls = drafted.tls.map(Rc::new);
        let servers = spec.servers.iter().map(|server| {
            let cell = cell(&format!("{}/{}", spec.name, server.address));
            Server::build(server, spec, tls.as_ref(), cell).map_err(named)
        });
        let servers = servers.collect::<Result<_, String>>()?;
        let client_address = ClientAddress::build(spec).map_err(named)?;
        let hash_on = match balance {
            Balance::IpHash => HashOn::Source,
            _ => HashOn::parse(&spec.hash_on).map_err(named)?,
        };
        let is_bounded = balance == Balance::Hash && spec.hash_bound_percent > 0;
        let retry_rule = (spec.retry.as_ref()).map(|retry| RetryRule::new(retry, &spec.name, cell));
        let hedging = (spec.hedge.as_ref()).map(|hedge| Hedging::new(hedge, &spec.name, cell));
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
            queue: has_bound(spec).then(|| Queue::new(&spec.queue, &spec.name, cell)),
            sticky: spec.sticky.clone().map(Sticky::new),
            spec: spec.clone(),
            balancer: RefCell::new(drafted.balancer),
            standings: Standings::new(spec),
            is_replaced: Cell::new(false),
            newcomers: RefCell::default(),
            breaker: (spec.circuit_breaker.as_ref()).map(|breaker| Breaker::new(breaker, &spec.name, cell)),
            total_cell: total_cell(
                is_bounded || spec.max_connections > 0 || spec.adaptive_limit.is_some(),
                budget_cells(retry_rule.as_ref(), hedging.as_ref()),
                &spec.name,
                cell,
            ),
            retry_rule,
            hedging,
            stale: (spec.fallback.as_ref().and_then(|one| one.stale.as_ref())).map(Stale::new),
            adaptive: Adaptive::of(spec, cell),
            hash_on,
            is_timed: balance.needs_latency(),
        })
    }
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

/// The cells of retries and hedges, where they have a budget.
fn budget_cells(retry_rule: Option<&RetryRule>, hedging: Option<&Hedging>) -> Option<(u32, u32)> {
    let of_retries = retry_rule.and_then(|rule| rule.cells);
    of_retries.or_else(|| hedging.map(|hedging| hedging.cells))
}

/// The cell of what is on all servers, where that decides.
fn total_cell(
    is_bounded: bool,
    of_budget: Option<(u32, u32)>,
    name: &str,
    cell: &mut dyn FnMut(&str) -> u32,
) -> Option<u32> {
    let of_budget = of_budget.map(|cells| cells.0);
    of_budget.or_else(|| is_bounded.then(|| cell(&format!("{name}/"))))
}

/// Whether requests may have to wait for a place.
fn has_bound(spec: &spec::Upstream) -> bool {
    spec.max_connections > 0
        || spec.adaptive_limit.is_some()
        || spec.servers.iter().any(|server| server.max_connections > 0)
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
        priority: server.priority,
        is_away: server.is_away(upstream.zone.as_deref()),
        max_connections: server.max_connections,
        identity: fnv(server.address.as_bytes()),
    });
    let metadata: Vec<Metadata> = upstream
        .servers
        .iter()
        .map(|server| server.metadata.clone())
        .collect();
    let mut balancer = Balancer::with_hash(balance, hash, specs.collect())
        .with_slow_start(upstream.slow_start)
        .with_panic_threshold(upstream.panic_percent)
        .with_overprovisioning(upstream.overprovisioning_percent)
        .with_subsets(&metadata, upstream.subset_fallback.clone().map(Subset::new));
    // hashing nothing with the keys of a new state gives a random number, other in each worker
    balancer.seed(RandomState::new().build_hasher().finish());
    balancer
}
