//! Whether an attempt may go on, and the choice of its server by what is in flight on each.

use headgate_route::{Circuit, Loads, Subset, Tried};
use headgate_shared::metrics::{Counter, Metrics};
use headgate_wire::{Priority, RequestHead};

use crate::circuit::Pass;
use crate::group::Upstream;

/// What a request asks of the choice.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// What a choice by hash holds on to; empty if it has none.
    pub key: &'a [u8],
    /// The metadata that its servers have; none for any.
    pub subset: Option<&'a Subset>,
}

impl<'a> Wanted<'a> {
    /// Any server, by that key.
    #[inline]
    #[must_use]
    pub fn of(key: &'a [u8]) -> Self {
        Self { key, subset: None }
    }
}

/// What is in flight, over all workers.
struct InFlight<'a> {
    upstream: &'a Upstream,
    metrics: &'a Metrics,
}

impl Loads for InFlight<'_> {
    #[inline]
    fn of(&self, server: usize) -> u32 {
        self.metrics.server_load(self.upstream.servers[server].cell)
    }

    fn total(&self, servers: usize) -> u64 {
        match self.upstream.total_cell {
            Some(cell) => u64::from(self.metrics.server_load(cell)),
            None => (0..servers).map(|server| u64::from(self.of(server))).sum(),
        }
    }
}

impl Upstream {
    /// Whether its servers together have as many requests as they may.
    #[inline]
    fn is_full(&self, metrics: &Metrics) -> bool {
        let most = self.spec.max_connections;
        let total = || self.total_cell.map_or(0, |cell| metrics.server_load(cell));
        most > 0 && total() >= most || self.adaptive_limit(metrics).is_some_and(|limit| total() >= limit)
    }

    /// How many requests its servers together may have, where that is found by how long they take.
    #[inline]
    #[must_use]
    pub fn adaptive_limit(&self, metrics: &Metrics) -> Option<u32> {
        self.adaptive.as_ref().map(|adaptive| adaptive.limit(metrics))
    }

    /// Chooses a server that was not yet tried.
    #[inline]
    pub fn pick(&self, now_ms: u64, wanted: Wanted<'_>, tried: &Tried, metrics: &Metrics) -> Option<usize> {
        if self.is_full(metrics) {
            return None;
        }
        let loads = InFlight {
            upstream: self,
            metrics,
        };
        self.standings.refresh(&self.balancer, now_ms, metrics);
        self.introduce(now_ms);
        let mut balancer = self.balancer.borrow_mut();
        balancer.pick_of(wanted.subset, now_ms, wanted.key, &loads, tried)
    }

    /// Whether the server that has a client's session may go on with it, for a request to that subset; it then gets the attempt.
    pub fn resumes(&self, server: usize, subset: Option<&Subset>, now_ms: u64, metrics: &Metrics) -> bool {
        if self.is_full(metrics) {
            return false;
        }
        let loads = InFlight {
            upstream: self,
            metrics,
        };
        self.standings.refresh(&self.balancer, now_ms, metrics);
        let mut balancer = self.balancer.borrow_mut();
        balancer.resumes(server, subset, now_ms, &loads)
    }

    /// How urgent a request is among those that wait, from 0 to 7: as its field says, in RFC 9218's words or as a bare number.
    #[must_use]
    pub fn urgency(&self, head: &RequestHead) -> u8 {
        let name = self.spec.queue.priority.as_deref();
        let field = name.and_then(|name| head.head.get(name.as_bytes()));
        match field.map(<[u8]>::trim_ascii) {
            Some([digit @ b'0'..=b'7']) => digit - b'0',
            Some(field) => Priority::default().and(field).urgency,
            None => Priority::default().urgency,
        }
    }

    /// Another upstream takes its place: requests that wait here go on there, and retries of those that are under way do not go to
    /// servers that it does not have. If it has none at all, the former ones go on.
    pub fn give_way(&self, next: &Self) {
        if next.servers.is_empty() {
            return;
        }
        let kept = |address: &str| next.servers.iter().any(|server| server.name == address);
        let is_kept: Vec<bool> = self.servers.iter().map(|server| kept(&server.name)).collect();
        if is_kept.contains(&true) {
            let gone = (0..).zip(&is_kept).filter(|(_, is_kept)| !**is_kept);
            let mut balancer = self.balancer.borrow_mut();
            gone.for_each(|(server, _)| balancer.retire(server));
        }
        self.is_replaced.set(true);
        if let Some(queue) = &self.queue {
            queue.wake_all();
        }
    }

    /// Whether another one has taken its place.
    #[inline]
    pub fn is_replaced(&self) -> bool {
        self.is_replaced.get()
    }

    /// Whether an operator has taken a server out, so that no session begins on it and none is prolonged.
    pub fn is_closed(&self, server: usize) -> bool {
        self.balancer.borrow().is_closed(server)
    }
}

impl Upstream {
    /// Whether its circuit is open, so that a request need not even wait.
    #[inline]
    pub fn is_circuit_open(&self, metrics: &Metrics) -> bool {
        let circuit = self.breaker.as_ref().map(|breaker| breaker.circuit(metrics));
        circuit == Some(Circuit::Open)
    }

    /// The same, counted if it is.
    #[inline]
    pub fn refuses(&self, metrics: &Metrics) -> bool {
        let refuses = self.is_circuit_open(metrics);
        if refuses {
            metrics.count(Counter::LimitCircuit);
        }
        refuses
    }

    /// Lets an attempt on, if the circuit does; counted if not.
    #[inline]
    pub fn pass<'u>(&'u self, metrics: &'u Metrics) -> Option<Pass<'u>> {
        match &self.breaker {
            None => Some(Pass::free(metrics)),
            Some(breaker) => breaker.pass(metrics),
        }
    }
}
