//! Whether and when an upstream's requests go to another server as well.

use std::time::Duration;

use headgate_route::Circuit;
use headgate_shared::metrics::Metrics;

use crate::group::Upstream;
use crate::retry_rule::has_budget;

impl Upstream {
    /// Whether requests may go to more than one server at a time.
    #[inline]
    pub fn hedges(&self) -> bool {
        self.hedging.is_some()
    }

    /// How many hedges a request may have.
    #[must_use]
    pub fn max_hedges(&self) -> u32 {
        self.hedging.as_ref().map_or(0, |hedging| hedging.spec.max)
    }

    /// How long a request waits for its response before it is hedged; none if that is not known yet.
    #[must_use]
    pub fn hedge_delay(&self, now_ms: u64) -> Option<Duration> {
        self.hedging.as_ref()?.delay(now_ms)
    }

    /// A request that might have been hedged had its response after so many microseconds.
    #[inline]
    pub fn took(&self, now_ms: u64, us: u64) {
        if let Some(hedging) = self.hedging.as_ref().filter(|one| one.spec.percentile.is_some()) {
            hedging.times.borrow_mut().add(now_ms, us);
        }
    }

    /// Whether a hedge may begin now: nobody waits for a server, the circuit is closed, and the budget has room; counted if it
    /// has not.
    #[must_use]
    pub fn may_hedge(&self, metrics: &Metrics) -> bool {
        let Some(hedging) = &self.hedging else {
            return false;
        };
        let circuit = self.breaker.as_ref().map(|breaker| breaker.circuit(metrics));
        self.queue.as_ref().is_none_or(|queue| queue.is_empty())
            && circuit.is_none_or(|circuit| circuit == Circuit::Closed)
            && has_budget(hedging.cells, hedging.spec.budget_percent, metrics)
    }
}
