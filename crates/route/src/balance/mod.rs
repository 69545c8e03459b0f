//! Which server of an upstream gets an attempt.
//!
//! How it works: servers in rotation are asked first, then backups, then (all being out of rotation) every server again,
//! for a wrong guess about health must not turn into an outage. Within each of these the chosen way of balancing decides.

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
mod tried;
mod weighted;

pub use hashing::{HashAlgorithm, HashSpec, UnknownHashAlgorithm};
pub use loads::Loads;
pub use outlier::{OutlierSpec, Outliers};
pub use policy::{Balance, UnknownBalance};
pub use rendezvous::fnv;
pub use spec::ServerSpec;
pub use standing::ServerStanding;
pub use tried::Tried;

use std::cell::Cell;

use hashing::{capacity, HashTable};
use large_group::{LargeGroup, SCANNED};
use latency::GroupLatency;
use least_time::Times;
use random::Xorshift;
use server::Server;

/// The servers of one upstream as one worker sees them.
#[derive(Debug)]
pub struct Balancer {
    balance: Balance,
    servers: Vec<Server>,
    random: Xorshift,
    group: GroupLatency,
    /// Indices under consideration, kept to save allocations.
    eligible: Vec<usize>,
    /// Where there are many: those that are no backups, and the backups.
    large_groups: Option<Box<[LargeGroup; 2]>>,
    /// Where keys are hashed: those that are no backups, and the backups.
    hashes: Option<Box<[HashTable; 2]>>,
    hash_bound_percent: u32,
    slow_start_ms: u64,
    panic_percent: u32,
    /// Whether any server takes less than its share, now or soon.
    is_uneven: bool,
    /// Whether so few are in rotation that all are asked, and until when this is taken to be so.
    panic: Cell<(bool, u64)>,
}

/// One question to the balancer.
struct Question<'q> {
    now_ms: u64,
    key: &'q [u8],
    loads: &'q dyn Loads,
    tried: &'q Tried,
    /// Decides which servers that do not take their whole share take part this time; none if all take it.
    chance: Option<u64>,
    /// All are asked, whether in rotation or not.
    panics: bool,
}

/// Who is considered: backups or not, only those in rotation, and of these all or those whose turn it is by their share.
#[derive(Clone, Copy)]
struct Stage {
    is_backup: bool,
    must_be_healthy: bool,
    heeds_shares: bool,
}

const STAGES: [Stage; 6] = {
    const fn stage(is_backup: bool, must_be_healthy: bool, heeds_shares: bool) -> Stage {
        Stage {
            is_backup,
            must_be_healthy,
            heeds_shares,
        }
    }
    [
        stage(false, true, true),
        stage(false, true, false),
        stage(true, true, true),
        stage(true, true, false),
        stage(false, false, false),
        stage(true, false, false),
    ]
};

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
        let of_rank = |is_backup: bool| {
            let all = servers.iter().enumerate();
            all.filter(move |(_, spec)| spec.backup == is_backup)
        };
        let large_group = |is_backup| LargeGroup::new(of_rank(is_backup).map(|(at, spec)| (at, spec.weight)));
        let table = |is_backup| {
            let named: Vec<_> = of_rank(is_backup)
                .map(|(at, spec)| (at, identity(at, spec), spec.weight))
                .collect();
            HashTable::new(hash.algorithm, &named)
        };
        let large_groups =
            (servers.len() > SCANNED).then(|| Box::new([large_group(false), large_group(true)]));
        let hashes =
            matches!(balance, Balance::Hash | Balance::IpHash).then(|| Box::new([table(false), table(true)]));
        Self {
            balance,
            servers: servers.into_iter().map(Server::new).collect(),
            random: Xorshift::new(1),
            group: GroupLatency::default(),
            eligible: Vec::new(),
            large_groups,
            hashes,
            hash_bound_percent: hash.bound_percent,
            slow_start_ms: 0,
            panic_percent: 0,
            is_uneven: false,
            panic: Cell::new((false, 0)),
        }
    }

    /// Seeds the random choice, and lets round robin begin anywhere; each worker should have its own seed.
    pub fn seed(&mut self, seed: u64) {
        self.random = Xorshift::new(seed);
        if let Some(large_groups) = &mut self.large_groups {
            large_groups
                .iter_mut()
                .for_each(|large_group| large_group.skip_turns(&mut self.random));
        } else {
            for is_backup in [false, true] {
                let of_rank: Vec<usize> = (0..self.servers.len())
                    .filter(|at| self.servers[*at].spec.backup == is_backup)
                    .collect();
                for _ in 0..self.random.below(of_rank.len()) {
                    weighted::choose(&mut self.servers, &of_rank);
                }
            }
        }
    }

    /// Chooses a server; `None` if all are tried or full.
    ///
    /// `key` is what a choice by hash holds on to (empty if the request has none), `loads` says how many connections servers
    /// have now (in all workers), and those in `tried` are excluded. Up to 64 servers are looked at one by one; beyond that
    /// the steps grow with the logarithm of their number, unless most are down or full.
    pub fn pick(&mut self, now_ms: u64, key: &[u8], loads: &dyn Loads, tried: &Tried) -> Option<usize> {
        // taken out while they are used, for the choice changes the servers too
        let mut large_groups = self.large_groups.take();
        let mut random = std::mem::replace(&mut self.random, Xorshift::new(0));
        let chance = self.is_uneven.then(|| random.next());
        let question = Question {
            now_ms,
            key,
            loads,
            tried,
            chance,
            panics: self.panics(now_ms),
        };
        let mut eligible = std::mem::take(&mut self.eligible);
        let all_take_part = |stage: &Stage| chance.is_some() || stage.heeds_shares || !stage.must_be_healthy;
        let mut stages = STAGES.into_iter().filter(all_take_part);
        let chosen = stages.find_map(|stage| match &mut large_groups {
            _ if self.hashes.is_some() && !key.is_empty() => self.by_key(stage, &question),
            Some(large_groups) => self.choose_of_many(large_groups, &mut random, stage, &question),
            None => {
                eligible.clear();
                eligible.extend((0..self.servers.len()).filter(|at| self.is_eligible(*at, stage, &question)));
                self.choose(&eligible, &mut random, &question)
            }
        });
        self.large_groups = large_groups;
        self.random = random;
        self.eligible = eligible;
        let server = &mut self.servers[chosen?];
        server.health.picked(&server.spec, now_ms);
        chosen
    }

    /// Among many servers.
    fn choose_of_many(
        &self,
        large_groups: &mut [LargeGroup; 2],
        random: &mut Xorshift,
        stage: Stage,
        question: &Question<'_>,
    ) -> Option<usize> {
        let is_eligible = |at: usize| self.is_eligible(at, stage, question);
        let large_group = &mut large_groups[usize::from(stage.is_backup)];
        large_group.choose(self.balance, random, &self.times(question), &is_eligible)
    }

    /// The server of the question's key: the first of the key's order that has room for it, else the first.
    fn by_key(&self, stage: Stage, question: &Question<'_>) -> Option<usize> {
        let table = &self.hashes.as_ref()?[usize::from(stage.is_backup)];
        let is_eligible = |at: usize| self.is_eligible(at, stage, question);
        if self.hash_bound_percent == 0 {
            return table.find(question.key, &is_eligible);
        }
        let total = question.loads.total(self.servers.len());
        let all_weights = self.open_weight(table, &is_eligible);
        let has_share = |at: usize| {
            let most = capacity(
                total,
                self.servers[at].spec.weight,
                all_weights,
                self.hash_bound_percent,
            );
            u64::from(question.loads.of(at)) < most && is_eligible(at)
        };
        let found = table.find(question.key, &has_share);
        found.or_else(|| table.find(question.key, &is_eligible))
    }

    /// The weight among which loads are shared: of servers that may be chosen, as far as they are few enough to be looked at.
    fn open_weight(&self, table: &HashTable, is_eligible: &dyn Fn(usize) -> bool) -> u64 {
        if self.servers.len() > SCANNED {
            return table.weight();
        }
        let open = self.servers.iter().enumerate().filter(|(at, _)| is_eligible(*at));
        open.map(|(_, server)| u64::from(server.spec.weight)).sum()
    }

    fn times<'t>(&'t self, question: &'t Question<'_>) -> Times<'t> {
        Times {
            servers: &self.servers,
            group: self.group,
            loads: question.loads,
            now_ms: question.now_ms,
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

    /// A server is not chosen any more, whatever becomes of the others.
    pub fn retire(&mut self, server: usize) {
        if let Some(server) = self.servers.get_mut(server) {
            server.spec.weight = 0;
        }
    }

    /// Whether the server is in rotation.
    pub fn is_available(&self, server: usize, now_ms: u64) -> bool {
        let known = self.servers.get(server);
        known.is_some_and(|server| server.is_up(now_ms))
    }

    fn is_eligible(&self, at: usize, stage: Stage, question: &Question<'_>) -> bool {
        let server = &self.servers[at];
        let spec = &server.spec;
        let is_tried = question.tried.contains(at);
        let has_room = || spec.max_connections == 0 || question.loads.of(at) < spec.max_connections;
        let is_in_rotation = || {
            let takes_part = || !stage.heeds_shares || self.takes_part(at, question);
            question.panics || server.is_up(question.now_ms) && takes_part()
        };
        spec.backup == stage.is_backup
            && spec.weight > 0
            && !is_tried
            && (!stage.must_be_healthy || is_in_rotation())
            && !server.standing.is_closed
            && has_room()
    }

    /// Among those that may be chosen.
    fn choose(
        &mut self,
        eligible: &[usize],
        random: &mut Xorshift,
        question: &Question<'_>,
    ) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => weighted::choose(&mut self.servers, eligible),
            Balance::LeastConn => least_conn::choose(&mut self.servers, eligible, question.loads),
            Balance::LeastTime => self.times(question).least(eligible, random),
            Balance::P2c => self.times(question).better_of_two(eligible, random),
            // a key that is absent goes by chance
            Balance::Random | Balance::Hash | Balance::IpHash => {
                random::choose(&self.servers, eligible, random)
            }
            Balance::First => eligible.first().copied(),
        }
    }
}

/// By what keys know a server.
fn identity(at: usize, spec: &ServerSpec) -> u64 {
    if spec.identity == 0 {
        random::mix(at as u64 + 1)
    } else {
        spec.identity
    }
}

#[cfg(test)]
#[path = "../tests/balance.rs"]
mod tests;
