//! The least expected time: of all servers, or of two drawn by weight.

use super::latency::GroupLatency;
use super::loads::Loads;
use super::random::{self, Xorshift};
use super::server::Server;

/// What is known when a server is chosen by time.
pub(super) struct Times<'t> {
    pub(super) servers: &'t [Server],
    pub(super) group: GroupLatency,
    pub(super) loads: &'t dyn Loads,
    pub(super) now_ms: u64,
}

impl Times<'_> {
    /// The time that one request more would take: what the last ones took, once for each in flight and for itself.
    pub(super) fn cost(&self, server: usize) -> f64 {
        let latency = self.servers[server].latency.expected(self.now_ms, &self.group);
        let in_flight = f64::from(self.loads.of(server)) + 1.0;
        latency * in_flight
    }

    fn cost_for_weight(&self, server: usize) -> f64 {
        self.cost(server) / f64::from(self.servers[server].spec.weight)
    }

    /// The least for its weight, by chance among equals.
    pub(super) fn least(&self, eligible: &[usize], random: &mut Xorshift) -> Option<usize> {
        let start = random.below(eligible.len());
        let (after, before) = (&eligible[start..], &eligible[..start]);
        let costs = after
            .iter()
            .chain(before)
            .map(|server| (*server, self.cost_for_weight(*server)));
        costs
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|best| best.0)
    }

    /// The better of two drawn by weight.
    pub(super) fn better_of_two(&self, eligible: &[usize], random: &mut Xorshift) -> Option<usize> {
        let one = random::choose(self.servers, eligible, random)?;
        let drawn = (0..4).find_map(|_| {
            let other = random::choose(self.servers, eligible, random)?;
            (other != one).then_some(other)
        });
        match drawn {
            Some(other) if self.cost(other) < self.cost(one) => Some(other),
            _ => Some(one),
        }
    }
}

#[cfg(test)]
#[path = "../tests/least_time.rs"]
mod tests;
