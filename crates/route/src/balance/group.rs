//! Groups of servers that are alike in priority and zone: the balancer chooses a group, and a server in it.

use std::collections::BTreeMap;

use super::division::{divide, DivisionRule, Portion, Rank, Tally, WHOLE};
use super::hashing::{HashAlgorithm, HashTable};
use super::large_group::{LargeGroup, SCANNED};
use super::policy::Balance;
use super::random::{mix, Xorshift};
use super::server::Server;
use super::spec::ServerSpec;
use super::weighted::{self, Credits};

/// Servers among which the way of balancing decides.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rank: Rank,
    /// Their indices in the upstream, in order.
    pub(super) members: Vec<usize>,
    /// State of smooth weighted round robin.
    pub(super) credits: Vec<i64>,
    /// Where there are many.
    pub(super) large: Option<LargeGroup>,
    /// Where keys are hashed.
    pub(super) keys: Option<HashTable>,
    pub(super) portion: Portion,
}

/// The servers that a request may go to, in groups, and what each group gets.
#[derive(Debug)]
pub(super) struct Division {
    /// In the order of their ranks.
    pub(super) groups: Vec<Group>,
    /// The number of changes of servers that was seen last.
    seen: Option<u64>,
    /// Until when nothing changes by time alone.
    until_ms: u64,
}

/// How groups choose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) balance: Balance,
    pub(super) algorithm: HashAlgorithm,
}

impl Group {
    fn new(rank: Rank, members: Vec<usize>, servers: &[Server], way: Way) -> Self {
        let spec = |at: &usize| &servers[*at].spec;
        let weights = || members.iter().map(|at| (*at, spec(at).weight));
        let is_keyed = matches!(way.balance, Balance::Hash | Balance::IpHash);
        Self {
            rank,
            credits: vec![0; members.len()],
            large: (members.len() > SCANNED).then(|| LargeGroup::new(weights())),
            keys: is_keyed.then(|| {
                let named = members
                    .iter()
                    .map(|at| (*at, identity(*at, spec(at)), spec(at).weight));
                HashTable::new(way.algorithm, &named.collect::<Vec<_>>())
            }),
            portion: Portion {
                share: WHOLE,
                panics: false,
            },
            members,
        }
    }

    /// The state of round robin.
    pub(super) fn credits(&mut self) -> Credits<'_> {
        Credits {
            members: &self.members,
            credits: &mut self.credits,
        }
    }

    /// Lets some turns pass, so that workers do not all begin with the same server.
    fn skip_turns(&mut self, servers: &mut [Server], random: &mut Xorshift) {
        if let Some(large) = &mut self.large {
            large.skip_turns(random);
            return;
        }
        let members = self.members.clone();
        for _ in 0..random.below(members.len()) {
            weighted::choose(servers, &mut self.credits(), &members);
        }
    }

    fn tally(&self, servers: &[Server], now_ms: u64) -> Tally {
        let mut tally = Tally::default();
        for server in self.members.iter().map(|at| &servers[*at]) {
            let weight = u64::from(server.spec.weight);
            let counts = usize::from(weight > 0);
            tally.all += weight * 100;
            if !server.standing.is_closed {
                tally.open += weight * 100;
                tally.open_count += counts;
            }
            if server.is_up(now_ms) {
                tally.up += weight * u64::from(server.standing.share_percent);
                tally.up_count += counts;
            }
        }
        tally
    }
}

impl Division {
    /// Of these servers; `members` are in order.
    pub(super) fn new(members: impl Iterator<Item = usize>, servers: &[Server], way: Way) -> Self {
        let mut ranks: BTreeMap<Rank, Vec<usize>> = BTreeMap::new();
        for at in members {
            let spec = &servers[at].spec;
            let rank = Rank {
                is_backup: spec.backup,
                priority: spec.priority,
                is_away: spec.is_away,
            };
            ranks.entry(rank).or_default().push(at);
        }
        let groups = ranks.into_iter();
        Self {
            groups: groups
                .map(|(rank, members)| Group::new(rank, members, servers, way))
                .collect(),
            seen: None,
            until_ms: 0,
        }
    }

    pub(super) fn skip_turns(&mut self, servers: &mut [Server], random: &mut Xorshift) {
        let groups = self.groups.iter_mut();
        groups.for_each(|group| group.skip_turns(servers, random));
    }

    /// Works out what each group gets, if that may have changed.
    #[inline]
    pub(super) fn refresh(&mut self, servers: &[Server], rule: DivisionRule, changes: u64, now_ms: u64) {
        let is_simple = self.groups.len() < 2 && rule.panic_percent == 0;
        if !is_simple && (self.seen != Some(changes) || now_ms >= self.until_ms) {
            self.look(servers, rule, now_ms);
            self.seen = Some(changes);
        }
    }

    #[cold]
    fn look(&mut self, servers: &[Server], rule: DivisionRule, now_ms: u64) {
        let groups = self.groups.iter();
        let tallies: Vec<(Rank, Tally)> = groups
            .map(|group| (group.rank, group.tally(servers, now_ms)))
            .collect();
        for (group, portion) in self.groups.iter_mut().zip(divide(&tallies, rule)) {
            group.portion = portion;
        }
        let members = self.groups.iter().flat_map(|group| &group.members);
        let returns = members.filter_map(|at| servers[*at].returns_ms(now_ms));
        self.until_ms = returns.min().unwrap_or(u64::MAX);
    }

    /// The group that a number, evenly drawn from all of 64 bits, falls on.
    #[inline]
    pub(super) fn drawn(&self, number: u64) -> usize {
        // the high bits of the product are an even choice of 0..WHOLE (Lemire, 2018)
        let product = u128::from(number) * u128::from(WHOLE);
        let mut left = u64::try_from(product >> 64).expect("the high half of 128 bits has 64");
        let mut last = 0;
        for (at, group) in self.groups.iter().enumerate() {
            let share = group.portion.share;
            if left < share {
                return at;
            }
            left -= share;
            if share > 0 {
                last = at;
            }
        }
        last
    }

    /// The group of a server.
    pub(super) fn group_of(&self, server: usize) -> Option<&Group> {
        let mut groups = self.groups.iter();
        groups.find(|group| group.members.binary_search(&server).is_ok())
    }
}

/// By what keys know a server.
fn identity(at: usize, spec: &ServerSpec) -> u64 {
    if spec.identity == 0 {
        mix(at as u64 + 1)
    } else {
        spec.identity
    }
}
