//! Which server of an upstream gets an attempt.
//!
//! How it works: servers in rotation are asked first, then backups, then (all being out of rotation) every server again,
//! for a wrong guess about health must not turn into an outage. Within each of these the chosen way of balancing decides.

mod crowd;
mod hash_tree;
mod health;
mod ip_hash;
mod least_conn;
mod random;
mod server;
mod spec;
mod tried;
mod way;
mod weighted;

pub use spec::ServerSpec;
pub use tried::Tried;
pub use way::{Balance, UnknownBalance};

use crowd::{Crowd, SCANNED};
use random::Xorshift;
use server::Server;

/// The servers of one upstream as one worker sees them.
#[derive(Debug)]
pub struct Balancer {
    balance: Balance,
    servers: Vec<Server>,
    random: Xorshift,
    /// Indices under consideration, kept to save allocations.
    eligible: Vec<usize>,
    /// Where there are many: those that are no backups, and the backups.
    crowds: Option<Box<[Crowd; 2]>>,
}

/// One question to the balancer.
struct Question<'q> {
    now_ms: u64,
    connections: &'q dyn Fn(usize) -> u32,
    tried: &'q Tried,
}

impl Balancer {
    /// All servers start in rotation. `Random` uses a fixed seed until [`Balancer::seed`] is called.
    pub fn new(balance: Balance, servers: Vec<ServerSpec>) -> Self {
        let of_rank = |is_backup: bool| {
            let all = servers.iter().enumerate();
            Crowd::new(
                all.filter(|(_, spec)| spec.backup == is_backup)
                    .map(|(at, spec)| (at, spec.weight)),
            )
        };
        let crowds = (servers.len() > SCANNED).then(|| Box::new([of_rank(false), of_rank(true)]));
        let servers = servers.into_iter().map(Server::new).collect();
        Self {
            balance,
            servers,
            random: Xorshift::new(1),
            eligible: Vec::new(),
            crowds,
        }
    }

    /// Seeds the random choice; each worker should have its own seed.
    pub fn seed(&mut self, seed: u64) {
        self.random = Xorshift::new(seed);
    }

    /// Chooses a server; `None` if all are tried or full.
    ///
    /// `key` is what `IpHash` holds on to, `connections` says how many connections a server has now (in all workers),
    /// and those in `tried` are excluded. Up to 64 servers are looked at one by one; beyond that the steps grow with the
    /// logarithm of their number, unless most are down or full.
    pub fn pick(
        &mut self,
        now_ms: u64,
        key: &[u8],
        connections: &dyn Fn(usize) -> u32,
        tried: &Tried,
    ) -> Option<usize> {
        let question = Question {
            now_ms,
            connections,
            tried,
        };
        if let Some(mut crowds) = self.crowds.take() {
            let chosen = self.choose_from(&mut crowds, key, &question);
            self.crowds = Some(crowds);
            return self.picked(chosen, now_ms);
        }
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
        self.picked(chosen, now_ms)
    }

    fn picked(&mut self, chosen: Option<usize>, now_ms: u64) -> Option<usize> {
        let server = &mut self.servers[chosen?];
        server.health.picked(&server.spec, now_ms);
        chosen
    }

    /// The same stages for many servers.
    fn choose_from(&mut self, crowds: &mut [Crowd; 2], key: &[u8], question: &Question<'_>) -> Option<usize> {
        let mut random = std::mem::replace(&mut self.random, Xorshift::new(0));
        let stages = [(false, true), (true, true), (false, false), (true, false)];
        let chosen = stages.into_iter().find_map(|(is_backup, must_be_healthy)| {
            let is_eligible = |at: usize| self.is_eligible(at, is_backup, must_be_healthy, question);
            let crowd = &mut crowds[usize::from(is_backup)];
            crowd.choose(self.balance, key, &mut random, question.connections, &is_eligible)
        });
        self.random = random;
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
        let is_tried = question.tried.contains(at);
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

#[cfg(test)]
#[path = "../tests/balance.rs"]
mod tests;
