//! A group of servers, and the choice among them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use headgate_route::Balancer;
use headgate_shared::metrics::Metrics;
use headgate_wire::{is_idempotent, Lenient, RequestHead};

use crate::adaptive::Adaptive;
use crate::circuit::Breaker;
use crate::client_address::ClientAddress;
use crate::failed_by::FailedBy;
use crate::failure_log::ServerFailure;
use crate::hash_on::HashOn;
use crate::hedging::Hedging;
use crate::queue::Queue;
use crate::retry_rule::RetryRule;
use crate::server::Server;
use crate::spec;
use crate::stale::Stale;
use crate::standings::{Came, Standings};
use crate::sticky::Sticky;

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
    pub queue: Option<Rc<Queue>>,
    /// How clients stay with a server, if they do.
    pub sticky: Option<Sticky>,
    pub(crate) spec: spec::Upstream,
    pub(crate) balancer: RefCell<Balancer>,
    pub(crate) hash_on: HashOn,
    /// Whether servers are chosen by how long they take.
    pub(crate) is_timed: bool,
    pub(crate) standings: Standings,
    /// Another one of its name has taken its place in a newer configuration.
    pub(crate) is_replaced: Cell<bool>,
    /// Servers that are new among others that served already, until the first choice.
    pub(crate) newcomers: RefCell<Vec<usize>>,
    pub(crate) retry_rule: Option<RetryRule>,
    pub(crate) hedging: Option<Hedging>,
    pub(crate) stale: Option<Stale>,
    pub(crate) adaptive: Option<Adaptive>,
    pub(crate) breaker: Option<Breaker>,
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

impl Upstream {
    /// A server as it is configured.
    #[must_use]
    pub fn described(&self, server: usize) -> &spec::Server {
        &self.spec.servers[server]
    }

    /// Whether its server is the dispatcher, from which idle workers pull.
    #[inline]
    pub fn is_pulled(&self) -> bool {
        self.spec.pull
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

    /// Whether requests with that method may be sent twice: acting on them twice is harmless (RFC 9110 section 9.2.2), or the
    /// configuration says so.
    #[inline]
    pub fn may_repeat(&self, method: &[u8]) -> bool {
        let rule = self.retry_rule.as_ref();
        rule.map_or_else(|| is_idempotent(method), |rule| rule.may_repeat(method))
    }

    /// The pauses before further attempts, if there are any.
    #[inline]
    pub fn backoff(&self) -> Option<spec::Backoff> {
        self.retry_rule.as_ref().and_then(RetryRule::backoff)
    }

    /// The cells that count its requests, and those of them that are retries or hedges, where they have a budget.
    pub(crate) fn budget_cells(&self) -> Option<(u32, u32)> {
        let of_retries = self.retry_rule.as_ref().and_then(|rule| rule.cells);
        of_retries.or_else(|| self.hedging.as_ref().map(|hedging| hedging.cells))
    }

    /// What its clients get when none of its servers has served them.
    #[inline]
    #[must_use]
    pub fn fallback(&self) -> Option<&spec::Fallback> {
        self.spec.fallback.as_ref()
    }

    /// The last good responses of its servers, if they are kept.
    #[inline]
    pub fn stale(&self) -> Option<&Stale> {
        self.stale.as_ref()
    }

    /// How long what is under way at a server that was removed may go on, in milliseconds, if that has a limit.
    #[inline]
    pub fn drain_ms(&self) -> Option<u64> {
        Some(self.spec.drain_timeout).filter(|ms| *ms > 0)
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
        if let Some(adaptive) = self.adaptive.as_ref().filter(|_| (200..500).contains(&status)) {
            let in_flight = self.total_cell.map_or(0, |cell| metrics.server_load(cell));
            adaptive.took(now_ms, took_us, in_flight, metrics);
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

    /// Logs a failure of one of its servers as a warning, unless one of that kind was logged just now.
    pub fn log_failure(&self, server: usize, failure: &ServerFailure<'_>, now_us: u64) {
        let server = &self.servers[server];
        let Some(left_out) = server.failure_log.admit(failure.kind, now_us) else {
            return;
        };
        let separator = if failure.detail.is_some() { ": " } else { "" };
        tracing::warn!(
            upstream = self.name,
            server = server.name,
            kind = failure.kind,
            route = failure.route,
            request_id = failure.request_id,
            limit = failure.limit,
            left_out,
            "{}{separator}{}",
            failure.message,
            failure.detail.unwrap_or_default()
        );
    }

    /// Whether there are idle connections, or there are to be.
    #[inline]
    pub fn has_idle(&self) -> bool {
        self.keepalive.min_idle > 0 || self.servers.iter().any(|server| !server.pool.is_empty())
    }

    /// Closes idle connections that are too old or that their server closed.
    #[inline]
    pub fn sweep(&self, now_ms: u64) {
        for server in &self.servers {
            server.sweep(now_ms, self.keepalive.idle_timeout);
        }
    }
}
