//! Which server of an upstream gets an attempt.
//!
//! How it works: servers are in groups of one priority and zone, and a request is drawn to one of these by what each is to get
//! ([`division`]). In the group the chosen way of balancing decides among servers in rotation. Where it has none for the request,
//! the other groups are asked in their order, and at last (all being out of rotation) every server again, for a wrong guess
//! about health must not turn into an outage ([`choosing`]).

mod choosing;
mod division;
mod group;
mod hashing;
mod health;
mod large_group;
mod latency;
mod least_conn;
mod least_time;
mod loads;
mod maglev;
mod outlier;
mod policy;
mod random;
mod rendezvous;
mod ring;
mod rotation;
mod server;
mod spec;
mod standing;
mod subset;
mod tried;
mod weighted;

pub use hashing::{HashAlgorithm, HashSpec, UnknownHashAlgorithm};
pub use loads::Loads;
pub use outlier::{OutlierSpec, Outliers};
pub use policy::{Balance, UnknownBalance};
pub use rendezvous::fnv;
pub use spec::ServerSpec;
pub use standing::ServerStanding;
pub use subset::{Metadata, Subset};
pub use tried::Tried;

use division::DivisionRule;
use group::{Division, Way};
use latency::GroupLatency;
use random::Xorshift;
use server::Server;
use subset::Marked;

/// Envoy's factor of overprovisioning, in percent: servers are taken to have room for so much more than their share.
const USUAL_FACTOR_PERCENT: u32 = 140;

/// The servers of one upstream as one worker sees them.
#[derive(Debug)]
pub struct Balancer {
    way: Way,
    servers: Vec<Server>,
    random: Xorshift,
    group: GroupLatency,
    /// Indices under consideration, kept to save allocations.
    eligible: Vec<usize>,
    /// All servers; then those of each subset that was asked for.
    divisions: Vec<Division>,
    marked: Marked,
    rule: DivisionRule,
    /// Counts changes by which servers come into rotation or leave it.
    changes: u64,
    hash_bound_percent: u32,
    slow_start_ms: u64,
    /// How many servers take less than their share, now or soon.
    uneven: usize,
}

impl Balancer {
    /// All servers start in rotation. Choices by chance use a fixed seed until [`Balancer::seed`] is called.
    #[must_use]
    pub fn new(balance: Balance, servers: Vec<ServerSpec>) -> Self {
        let of_address = HashSpec {
            algorithm: HashAlgorithm::Rendezvous,
            bound_percent: 0,
        };
        Self::with_hash(balance, of_address, servers)
    }

    /// As [`Balancer::new`], with how [`Balance::Hash`] and [`Balance::IpHash`] find a key's server.
    #[must_use]
    pub fn with_hash(balance: Balance, hash: HashSpec, servers: Vec<ServerSpec>) -> Self {
        let way = Way {
            balance,
            algorithm: hash.algorithm,
        };
        let servers: Vec<Server> = servers.into_iter().map(Server::new).collect();
        Self {
            way,
            random: Xorshift::new(1),
            group: GroupLatency::default(),
            eligible: Vec::new(),
            divisions: vec![Division::new(0..servers.len(), &servers, way)],
            servers,
            marked: Marked::default(),
            rule: DivisionRule {
                factor_percent: USUAL_FACTOR_PERCENT,
                panic_percent: 0,
            },
            changes: 0,
            hash_bound_percent: hash.bound_percent,
            slow_start_ms: 0,
            uneven: 0,
        }
    }

    /// What servers are marked with, in their order, and which ones requests go to that find none of their subset in rotation; with
    /// none, nowhere.
    #[must_use]
    pub fn with_subsets(mut self, metadata: &[Metadata], fallback: Option<Subset>) -> Self {
        self.marked = Marked::new(metadata, fallback);
        self
    }

    /// Servers of a priority, or of the own zone, are enough while what is in rotation of them, times this factor in percent, is
    /// 100 % of them.
    #[must_use]
    pub fn with_overprovisioning(mut self, factor_percent: u32) -> Self {
        self.rule.factor_percent = factor_percent;
        self
    }

    /// Seeds the random choice, and lets round robin begin anywhere; each worker should have its own seed.
    pub fn seed(&mut self, seed: u64) {
        self.random = Xorshift::new(seed);
        for division in &mut self.divisions {
            division.skip_turns(&mut self.servers, &mut self.random);
        }
    }

    /// A server has responded after so many microseconds; whether it did what was asked is told to
    /// [`Balancer::succeeded`] or [`Balancer::failed`].
    pub fn responded(&mut self, server: usize, now_ms: u64, took_us: u64) {
        self.group.sample(now_ms, took_us);
        if let Some(server) = self.servers.get_mut(server) {
            server.latency.sample(now_ms, took_us);
        }
    }

    /// A server has failed after so many microseconds, be it with a response: however fast, it does not count as fast.
    pub fn disappointed(&mut self, server: usize, now_ms: u64, took_us: u64) {
        if let Some(server) = self.servers.get_mut(server) {
            server.latency.failed(now_ms, took_us);
        }
    }

    /// An attempt went well: a server that was tried again after its time-out is back in rotation.
    pub fn succeeded(&mut self, server: usize, _now_ms: u64) {
        if let Some(server) = self.servers.get_mut(server) {
            self.changes += u64::from(server.health.is_tainted());
            server.health.succeeded();
        }
    }

    /// An attempt failed; true if this one took the server out of rotation.
    pub fn failed(&mut self, server: usize, now_ms: u64) -> bool {
        // As in nginx, the only server is never out of rotation.
        let is_alone = self.servers.len() == 1;
        match self.servers.get_mut(server) {
            Some(server) if !is_alone => {
                self.changes += 1;
                server.failed(now_ms)
            }
            _ => false,
        }
    }

    /// A server is not chosen any more, whatever becomes of the others.
    pub fn retire(&mut self, server: usize) {
        if let Some(server) = self.servers.get_mut(server) {
            server.spec.weight = 0;
            self.changes += 1;
        }
    }

    /// Whether the server is in rotation.
    pub fn is_available(&self, server: usize, now_ms: u64) -> bool {
        let known = self.servers.get(server);
        known.is_some_and(|server| server.is_up(now_ms))
    }
}

#[cfg(test)]
#[path = "../tests/balance.rs"]
mod tests;
