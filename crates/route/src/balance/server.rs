//! One server: what is asked of it, and how it fares.

use super::health::Health;

/// What the balancer needs to know of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its share of requests, relative to the others; 0 gets none.
    pub weight: u32,
    /// Failures within `fail_timeout_ms` that take it out of rotation; 0 for never.
    pub max_fails: u32,
    /// How long failures count, and how long it stays out of rotation.
    pub fail_timeout_ms: u64,
    /// Used only while no other server is in rotation.
    pub backup: bool,
    /// Connections it may have; 0 for no limit.
    pub max_connections: u32,
}

impl Default for ServerSpec {
    /// nginx's defaults: weight 1, one failure in 10 s.
    fn default() -> Self {
        Self {
            weight: 1,
            max_fails: 1,
            fail_timeout_ms: 10_000,
            backup: false,
            max_connections: 0,
        }
    }
}

/// A server as the balancer keeps it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) spec: ServerSpec,
    pub(super) health: Health,
    /// State of smooth weighted round robin.
    pub(super) current_weight: i64,
    /// The weight, lowered by failures and raised again choice by choice.
    pub(super) effective_weight: i64,
}

impl Server {
    pub(super) fn new(spec: ServerSpec) -> Self {
        let effective_weight = i64::from(spec.weight);
        Self {
            spec,
            health: Health::default(),
            current_weight: 0,
            effective_weight,
        }
    }

    pub(super) fn failed(&mut self, now_ms: u64) -> bool {
        if let Some(step) = self.spec.weight.checked_div(self.spec.max_fails) {
            self.effective_weight = (self.effective_weight - i64::from(step)).max(0);
        }
        self.health.failed(&self.spec, now_ms)
    }
}
