//! The choice of a server, by what is in flight on each.

use headgate_route::{Loads, Tried};
use headgate_shared::metrics::Metrics;

use crate::group::Upstream;

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
    /// Chooses a server that was not yet tried.
    #[inline]
    pub fn pick(&self, now_ms: u64, key: &[u8], tried: &Tried, metrics: &Metrics) -> Option<usize> {
        let loads = InFlight {
            upstream: self,
            metrics,
        };
        self.standings.refresh(&self.balancer, now_ms, metrics);
        self.introduce(now_ms);
        self.balancer.borrow_mut().pick(now_ms, key, &loads, tried)
    }

    /// Whether the server that has a client's session may go on with it; it then gets the attempt.
    pub fn resumes(&self, server: usize, now_ms: u64, metrics: &Metrics) -> bool {
        let loads = InFlight {
            upstream: self,
            metrics,
        };
        self.standings.refresh(&self.balancer, now_ms, metrics);
        self.balancer.borrow_mut().resumes(server, now_ms, &loads)
    }

    /// Whether an operator has taken a server out, so that no session begins on it and none is prolonged.
    pub fn is_closed(&self, server: usize) -> bool {
        self.balancer.borrow().is_closed(server)
    }
}
