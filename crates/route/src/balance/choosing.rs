//! The choice of a server for a request: the group first, then the server.

use smallvec::SmallVec;

use super::group::{Division, Group};
use super::hashing::{capacity, HashTable};
use super::large_group::SCANNED;
use super::least_time::Times;
use super::random::{mix, Xorshift};
use super::subset::{Found, Subset};
use super::{fnv, least_conn, random, weighted, Balance, Balancer, Loads, Tried};

/// One question to the balancer.
pub(super) struct Question<'q> {
    pub(super) now_ms: u64,
    pub(super) key: &'q [u8],
    pub(super) loads: &'q dyn Loads,
    pub(super) tried: &'q Tried,
    /// Decides which servers that do not take their whole share take part this time; none if all take it.
    pub(super) chance: Option<u64>,
}

/// Who is considered in a group: only those in rotation or all, and of those in rotation all or those whose turn it is by their
/// share.
#[derive(Clone, Copy)]
struct Stage {
    must_be_healthy: bool,
    heeds_shares: bool,
}

const IN_ROTATION: Stage = Stage {
    must_be_healthy: true,
    heeds_shares: false,
};
const BY_SHARE: Stage = Stage {
    must_be_healthy: true,
    heeds_shares: true,
};
const ANY: Stage = Stage {
    must_be_healthy: false,
    heeds_shares: false,
};

impl Balancer {
    /// Chooses a server; `None` if all are tried or full.
    ///
    /// `key` is what a choice by hash holds on to (empty if the request has none), `loads` says how many connections servers
    /// have now (in all workers), and those in `tried` are excluded. Up to 64 servers of a group are looked at one by one; beyond
    /// that the steps grow with the logarithm of their number, unless most are down or full.
    pub fn pick(&mut self, now_ms: u64, key: &[u8], loads: &dyn Loads, tried: &Tried) -> Option<usize> {
        self.pick_of(None, now_ms, key, loads, tried)
    }

    /// The same among the servers of a subset, or where no such is in rotation, among those that its upstream falls back to.
    pub fn pick_of(
        &mut self,
        subset: Option<&Subset>,
        now_ms: u64,
        key: &[u8],
        loads: &dyn Loads,
        tried: &Tried,
    ) -> Option<usize> {
        let places = self.places(subset);
        let mut random = std::mem::replace(&mut self.random, Xorshift::new(0));
        // taken out while they are used, for the choice changes the servers too
        let mut divisions = std::mem::take(&mut self.divisions);
        let question = Question {
            now_ms,
            key,
            loads,
            tried,
            chance: (self.uneven > 0).then(|| random.next()),
        };
        let heeding = if question.chance.is_some() {
            &[BY_SHARE, IN_ROTATION][..]
        } else {
            &[IN_ROTATION][..]
        };
        let chosen = [heeding, &[ANY][..]].into_iter().find_map(|stages| {
            let mut places = places.iter();
            places.find_map(|place| {
                let division = &mut divisions[*place];
                division.refresh(&self.servers, self.rule, self.changes, now_ms);
                self.choose_group(division, &mut random, stages, &question)
            })
        });
        self.divisions = divisions;
        self.random = random;
        let server = &mut self.servers[chosen?];
        self.changes += u64::from(server.health.is_tainted());
        server.health.picked(&server.spec, now_ms);
        chosen
    }

    /// Where the divisions are that a request may be served by, the better one first.
    pub(super) fn places(&mut self, subset: Option<&Subset>) -> SmallVec<[usize; 2]> {
        let mut places = SmallVec::new();
        let Some(subset) = subset else {
            places.push(0);
            return places;
        };
        if self.marked.drops_all_for(subset) {
            self.divisions.truncate(1);
        }
        places.extend(self.place(subset));
        let other = self.marked.fallback.clone();
        let other = other.and_then(|other| self.place(&other));
        places.extend(other.filter(|other| !places.contains(other)));
        places
    }

    /// Where the division of a subset is, made if need be; none if there are no such servers.
    fn place(&mut self, subset: &Subset) -> Option<usize> {
        let members = match self.marked.find(subset)? {
            Found::Known(place) => return Some(place),
            Found::New(members) => members,
        };
        let mut division = Division::new(members.into_iter(), &self.servers, self.way);
        division.skip_turns(&mut self.servers, &mut self.random);
        let place = self.divisions.len();
        self.divisions.push(division);
        self.marked.keep(subset, place);
        Some(place)
    }

    /// A server of the group that the request is drawn to, or else of the first one that has any for it.
    fn choose_group(
        &mut self,
        division: &mut Division,
        random: &mut Xorshift,
        stages: &[Stage],
        question: &Question<'_>,
    ) -> Option<usize> {
        let drawn = match division.groups.len() {
            0 | 1 => 0,
            // a key stays in its group while shares do not change
            _ if !question.key.is_empty() && self.is_keyed() => division.drawn(mix(!fnv(question.key))),
            _ => division.drawn(random.next()),
        };
        let others = (0..division.groups.len()).filter(|at| *at != drawn);
        let mut order = std::iter::once(drawn).chain(others);
        order.find_map(|at| {
            let group = division.groups.get_mut(at)?;
            let mut stages = stages.iter();
            stages.find_map(|stage| self.choose(group, random, *stage, question))
        })
    }

    fn is_keyed(&self) -> bool {
        matches!(self.way.balance, Balance::Hash | Balance::IpHash)
    }

    /// A server of a group.
    fn choose(
        &mut self,
        group: &mut Group,
        random: &mut Xorshift,
        stage: Stage,
        question: &Question<'_>,
    ) -> Option<usize> {
        if let Some(table) = group.keys.as_ref().filter(|_| !question.key.is_empty()) {
            return self.by_key(table, group, stage, question);
        }
        let panics = group.portion.panics;
        if let Some(large) = &mut group.large {
            let is_eligible = |at: usize| self.is_eligible(at, panics, stage, question);
            return large.choose(self.way.balance, random, &self.times(question), &is_eligible);
        }
        let mut eligible = std::mem::take(&mut self.eligible);
        eligible.clear();
        let members = group.members.iter().copied();
        eligible.extend(members.filter(|at| self.is_eligible(*at, panics, stage, question)));
        let chosen = match self.way.balance {
            Balance::RoundRobin => weighted::choose(&mut self.servers, &mut group.credits(), &eligible),
            Balance::LeastConn => {
                let credits = &mut group.credits();
                least_conn::choose(&mut self.servers, credits, &eligible, question.loads)
            }
            Balance::LeastTime => self.times(question).least(&eligible, random),
            Balance::P2c => self.times(question).better_of_two(&eligible, random),
            // a key that is absent goes by chance
            Balance::Random | Balance::Hash | Balance::IpHash => {
                random::choose(&self.servers, &eligible, random)
            }
            Balance::First => eligible.first().copied(),
        };
        self.eligible = eligible;
        chosen
    }

    /// The server of the question's key: the first of the key's order that has room for it, else the first.
    fn by_key(
        &self,
        table: &HashTable,
        group: &Group,
        stage: Stage,
        question: &Question<'_>,
    ) -> Option<usize> {
        let is_eligible = |at: usize| self.is_eligible(at, group.portion.panics, stage, question);
        if self.hash_bound_percent == 0 {
            return table.find(question.key, &is_eligible);
        }
        let total = self.in_flight(group, question.loads);
        let all_weights = self.open_weight(table, group, &is_eligible);
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

    /// What is in flight in a group; of a large part of the upstream, what is in flight in all of it, for that is not added up
    /// for each request.
    fn in_flight(&self, group: &Group, loads: &dyn Loads) -> u64 {
        let members = group.members.iter();
        if group.members.len() == self.servers.len() || group.members.len() > SCANNED {
            loads.total(self.servers.len())
        } else {
            members.map(|at| u64::from(loads.of(*at))).sum()
        }
    }

    /// The weight among which loads are shared: of servers that may be chosen, as far as they are few enough to be looked at.
    fn open_weight(&self, table: &HashTable, group: &Group, is_eligible: &dyn Fn(usize) -> bool) -> u64 {
        if group.members.len() > SCANNED {
            return table.weight();
        }
        let open = group.members.iter().filter(|at| is_eligible(**at));
        open.map(|at| u64::from(self.servers[*at].spec.weight)).sum()
    }

    fn times<'t>(&'t self, question: &'t Question<'_>) -> Times<'t> {
        Times {
            servers: &self.servers,
            group: self.group,
            loads: question.loads,
            now_ms: question.now_ms,
        }
    }

    #[inline]
    fn is_eligible(&self, at: usize, panics: bool, stage: Stage, question: &Question<'_>) -> bool {
        let server = &self.servers[at];
        let spec = &server.spec;
        let is_tried = question.tried.contains(at);
        let has_room = || spec.max_connections == 0 || question.loads.of(at) < spec.max_connections;
        let is_in_rotation = || {
            let takes_part = || !stage.heeds_shares || self.takes_part(at, question);
            panics || server.is_up(question.now_ms) && takes_part()
        };
        spec.weight > 0
            && !is_tried
            && (!stage.must_be_healthy || is_in_rotation())
            && !server.standing.is_closed
            && has_room()
    }
}

#[cfg(test)]
#[path = "../tests/choosing.rs"]
mod tests;
