//! Which server of an upstream gets an attempt.
//!
//! How it works: servers in rotation are asked first, then backups, then (all being out of rotation) every server again,
//! for a wrong guess about health must not turn into an outage. Within each of these the chosen way of balancing decides.

mod health;
mod ip_hash;
mod least_conn;
mod random;
mod weighted;

use std::str::FromStr;

use thiserror::Error;

use health::Health;
use random::Xorshift;

/// A way of choosing among servers; every one heeds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Smooth weighted round robin, as nginx's default.
    #[default]
    RoundRobin,
    /// The server with the fewest connections for its weight; round robin among equals.
    LeastConn,
    /// By chance.
    Random,
    /// The same key (a client's address) goes to the same server while that is in rotation.
    IpHash,
}

/// A name of a way of balancing that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown balance `{0}`\nhint: one of `round_robin`, `least_conn`, `random`, `ip_hash`")]
pub struct UnknownBalance(pub String);

impl FromStr for Balance {
    type Err = UnknownBalance;

    fn from_str(name: &str) -> Result<Self, UnknownBalance> {
        match name {
            "round_robin" => Ok(Self::RoundRobin),
            "least_conn" => Ok(Self::LeastConn),
            "random" => Ok(Self::Random),
            "ip_hash" => Ok(Self::IpHash),
            _ => Err(UnknownBalance(name.to_owned())),
        }
    }
}

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

#[derive(Debug)]
pub(crate) struct Server {
    spec: ServerSpec,
    health: Health,
    /// State of smooth weighted round robin.
    current_weight: i64,
    /// The weight, lowered by failures and raised again choice by choice.
    effective_weight: i64,
}

/// The servers of one upstream as one worker sees them.
#[derive(Debug)]
pub struct Balancer {
    balance: Balance,
    servers: Vec<Server>,
    random: Xorshift,
    /// Indices under consideration, kept to save allocations.
    eligible: Vec<usize>,
}

/// One question to the balancer.
struct Question<'q> {
    now_ms: u64,
    connections: &'q dyn Fn(usize) -> u32,
    tried: u64,
}

impl Balancer {
    /// All servers start in rotation. `Random` uses a fixed seed until [`Balancer::seed`] is called.
    pub fn new(balance: Balance, servers: Vec<ServerSpec>) -> Self {
        let servers = servers.into_iter().map(Server::new).collect();
        Self {
            balance,
            servers,
            random: Xorshift::new(1),
            eligible: Vec::new(),
        }
    }

    /// Seeds the random choice; each worker should have its own seed.
    pub fn seed(&mut self, seed: u64) {
        self.random = Xorshift::new(seed);
    }

    /// Chooses a server; `None` if all are tried or full.
    ///
    /// `key` is what `IpHash` holds on to, `connections` says how many connections a server has now (in all workers),
    /// and bit n of `tried` excludes server n (servers from 64 on are never excluded).
    pub fn pick(
        &mut self,
        now_ms: u64,
        key: &[u8],
        connections: &dyn Fn(usize) -> u32,
        tried: u64,
    ) -> Option<usize> {
        let question = Question {
            now_ms,
            connections,
            tried,
        };
        let mut eligible = std::mem::take(&mut self.eligible);
        let stages = [(false, true), (true, true), (false, false), (true, false)];
        let chosen = stages.into_iter().find_map(|(is_backup, must_be_healthy)| {
            eligible.clear();
            eligible.extend(
                (0..self.servers.len())
                    .filter(|at| self.is_eligible(*at, is_backup, must_be_healthy, &question)),
            );
            self.choose(&eligible, key, connections)
        });
        self.eligible = eligible;
        if let Some(server) = chosen.map(|at| &mut self.servers[at]) {
            server.health.picked(&server.spec, now_ms);
        }
        chosen
    }

    /// An attempt went well: a server that was tried again after its time-out is back in rotation.
    pub fn succeeded(&mut self, server: usize, _now_ms: u64) {
        if let Some(server) = self.servers.get_mut(server) {
            server.health.succeeded();
        }
    }

    /// An attempt failed; true if this one took the server out of rotation.
    pub fn failed(&mut self, server: usize, now_ms: u64) -> bool {
        // As in nginx, the only server is never out of rotation.
        let is_alone = self.servers.len() == 1;
        match self.servers.get_mut(server) {
            Some(server) if !is_alone => server.failed(now_ms),
            _ => false,
        }
    }

    /// Whether the server is in rotation.
    pub fn is_available(&self, server: usize, now_ms: u64) -> bool {
        let known = self.servers.get(server);
        known.is_some_and(|server| server.health.is_up(&server.spec, now_ms))
    }

    fn is_eligible(
        &self,
        at: usize,
        is_backup: bool,
        must_be_healthy: bool,
        question: &Question<'_>,
    ) -> bool {
        let Server { spec, health, .. } = &self.servers[at];
        let is_tried = at < 64 && question.tried >> at & 1 == 1;
        let has_room = || spec.max_connections == 0 || (question.connections)(at) < spec.max_connections;
        spec.backup == is_backup
            && spec.weight > 0
            && !is_tried
            && (!must_be_healthy || health.is_up(spec, question.now_ms))
            && has_room()
    }

    fn choose(
        &mut self,
        eligible: &[usize],
        key: &[u8],
        connections: &dyn Fn(usize) -> u32,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => weighted::choose(&mut self.servers, eligible),
            Balance::LeastConn => least_conn::choose(&mut self.servers, eligible, connections),
            Balance::Random => random::choose(&self.servers, eligible, &mut self.random),
            Balance::IpHash => ip_hash::choose(&self.servers, eligible, key),
        }
    }
}

impl Server {
    fn new(spec: ServerSpec) -> Self {
        let effective_weight = i64::from(spec.weight);
        Self {
            spec,
            health: Health::default(),
            current_weight: 0,
            effective_weight,
        }
    }

    fn failed(&mut self, now_ms: u64) -> bool {
        if let Some(step) = self.spec.weight.checked_div(self.spec.max_fails) {
            self.effective_weight = (self.effective_weight - i64::from(step)).max(0);
        }
        self.health.failed(&self.spec, now_ms)
    }
}

#[cfg(test)]
#[path = "../tests/balance.rs"]
mod tests;
