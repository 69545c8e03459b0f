//! One server: what is asked of it, and how it fares.

use super::health::Health;
use super::latency::Latency;
use super::spec::ServerSpec;
use super::standing::ServerStanding;

/// A server as the balancer keeps it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) spec: ServerSpec,
    pub(super) health: Health,
    pub(super) latency: Latency,
    pub(super) standing: ServerStanding,
    /// When it came into rotation; 0 if it was from the start.
    pub(super) joined_ms: u64,
    /// The weight, lowered by failures and raised again choice by choice.
    pub(super) effective_weight: i64,
}

impl Server {
    pub(super) fn new(spec: ServerSpec) -> Self {
        let effective_weight = i64::from(spec.weight);
        Self {
            spec,
            health: Health::default(),
            latency: Latency::default(),
            standing: ServerStanding::default(),
            joined_ms: 0,
            effective_weight,
        }
    }

    /// Whether it is in rotation.
    pub(super) fn is_up(&self, now_ms: u64) -> bool {
        self.standing.is_up(now_ms) && self.health.is_up(&self.spec, now_ms)
    }

    /// When it comes back into rotation by time alone, as far as it is out of it.
    pub(super) fn returns_ms(&self, now_ms: u64) -> Option<u64> {
        let ejected_ms = self.standing.ejected_until_ms;
        let of_ejection = (ejected_ms > now_ms).then_some(ejected_ms);
        of_ejection.or_else(|| self.health.returns_ms(&self.spec, now_ms))
    }

    /// Whether it takes less than its share, now or soon.
    pub(super) fn is_uneven(&self, slow_start_ms: u64) -> bool {
        let has_joined = self.joined_ms.max(self.standing.ejected_until_ms) > 0;
        self.standing.share_percent < 100 || slow_start_ms > 0 && has_joined
    }

    pub(super) fn failed(&mut self, now_ms: u64) -> bool {
        if let Some(step) = self.spec.weight.checked_div(self.spec.max_fails) {
            self.effective_weight = (self.effective_weight - i64::from(step)).max(0);
        }
        self.health.failed(&self.spec, now_ms)
    }
}
