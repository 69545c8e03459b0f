//! Which failures and responses of an upstream's servers are tried again, and how many at a time.

use headgate_shared::metrics::{Counter, Metrics};
use headgate_wire::is_idempotent;

use crate::failed_by::FailedBy;
use crate::spec;

/// Retries at a time that a budget never forbids, or a quiet upstream could not retry at all (Envoy has as many).
const FLOOR: u64 = 3;

/// See the module.
pub(crate) struct RetryRule {
    spec: spec::Retries,
    /// The cells that count requests on the upstream, and those of them that are retries, if there is a budget.
    pub(crate) cells: Option<(u32, u32)>,
}

impl RetryRule {
    /// `cell` gives each name its cell.
    pub(crate) fn new(spec: &spec::Retries, upstream: &str, cell: &mut dyn FnMut(&str) -> u32) -> Self {
        let mut of = |part: &str| cell(&format!("{upstream}/{part}"));
        Self {
            cells: spec.budget_percent.map(|_| (of(""), of("retries"))),
            spec: spec.clone(),
        }
    }

    /// Whether a failure of that kind is tried again, as far as that is safe.
    pub(crate) fn covers(&self, by: FailedBy) -> bool {
        self.spec.kinds.contains(&by)
    }

    /// Whether a response with that status is tried again, as far as that is safe.
    pub(crate) fn covers_status(&self, status: u16) -> bool {
        spec::is_in(&self.spec.statuses, status)
    }

    /// Whether requests with that method may be sent twice.
    pub(crate) fn may_repeat(&self, method: &[u8]) -> bool {
        match &self.spec.methods {
            Some(methods) => methods.iter().any(|one| one.as_bytes() == method),
            None => is_idempotent(method),
        }
    }

    /// The pauses before further attempts, if there are any.
    pub(crate) fn backoff(&self) -> Option<spec::Backoff> {
        self.spec.backoff
    }

    /// How long an attempt may take to respond, if it has a limit of its own.
    pub(crate) fn attempt_ms(&self) -> Option<u64> {
        self.spec.attempt_timeout
    }

    /// Whether one more is within the budget; counted if not.
    pub(crate) fn has_budget(&self, metrics: &Metrics) -> bool {
        let (Some(cells), Some(percent)) = (self.cells, self.spec.budget_percent) else {
            return true;
        };
        has_budget(cells, percent, metrics)
    }
}

/// Whether of the requests in the first cell one more than those in the second may be a retry; counted if not.
pub(crate) fn has_budget((all, retries): (u32, u32), percent: u32, metrics: &Metrics) -> bool {
    let load = |cell| u64::from(metrics.server_load(cell));
    let is_within = is_within(load(all), load(retries), percent);
    if !is_within {
        metrics.count(Counter::LimitRetries);
    }
    is_within
}

/// Whether of `all` requests one more than `retries` may be a retry.
fn is_within(all: u64, retries: u64, percent: u32) -> bool {
    retries < FLOOR.max(all * u64::from(percent) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_upstream_may_retry_and_a_storm_is_bounded() {
        assert!(is_within(1, 0, 20));
        assert!(is_within(1, 2, 0));
        assert!(!is_within(1, 3, 20));
        assert!(is_within(500, 99, 20));
        assert!(!is_within(500, 100, 20));
    }
}
