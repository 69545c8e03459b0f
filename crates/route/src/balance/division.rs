//! How requests are divided among groups of servers: by priority, and within a priority by zone.
//!
//! # How it works
//! The arithmetic is Envoy's ("Priority levels" and "Panic threshold" of its documentation on load balancing), with the
//! weights of servers in place of their number:
//!
//! - the health of a level is the share of its weight that is in rotation, times the factor of overprovisioning, at most 1;
//! - if the healths come to 1 or more together, each level takes its health of what those before it have left; else each takes
//!   its part of their sum;
//! - a level below the panic threshold is asked as a whole, but only if the healths do not come to 1, or there is no other.
//!
//! Within a level the same is done with the servers of the own zone first and all others second. Backups come after all levels,
//! and take nothing while any other is in rotation. Where none is in rotation at all, weights decide.

use std::ops::Range;

use smallvec::SmallVec;

/// All requests; shares are millionths.
pub(super) const WHOLE: u64 = 1_000_000;

/// Where a group stands: groups are asked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Rank {
    pub(super) is_backup: bool,
    pub(super) priority: u32,
    pub(super) is_away: bool,
}

impl Rank {
    fn level(self) -> (bool, u32) {
        (self.is_backup, self.priority)
    }
}

/// The servers of a group, as they are: sums of weights, and numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) all: u64,
    /// Not taken out by an operator.
    pub(super) open: u64,
    /// In rotation.
    pub(super) up: u64,
    pub(super) open_count: usize,
    pub(super) up_count: usize,
}

/// What is set for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DivisionRule {
    /// The factor of overprovisioning.
    pub(super) factor_percent: u32,
    pub(super) panic_percent: u32,
}

/// What a group gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Portion {
    /// Of all requests, in millionths.
    pub(super) share: u64,
    /// All of it are asked, whether in rotation or not.
    pub(super) panics: bool,
}

/// What each of the groups gets; they come in the order of their ranks.
pub(super) fn divide(groups: &[(Rank, Tally)], rule: DivisionRule) -> Vec<Portion> {
    let mut portions = vec![Portion::default(); groups.len()];
    let first_backup = groups.partition_point(|(rank, _)| !rank.is_backup);
    let ranks = [0..first_backup, first_backup..groups.len()];
    let found = ranks
        .iter()
        .any(|rank| by_health(&groups[rank.clone()], rule, &mut portions[rank.clone()]));
    if !found {
        let _ = ranks
            .iter()
            .any(|rank| by_weight(&groups[rank.clone()], &mut portions[rank.clone()]));
    }
    portions
}

/// Divides among levels by their health; false if none is in rotation.
fn by_health(groups: &[(Rank, Tally)], rule: DivisionRule, portions: &mut [Portion]) -> bool {
    let levels = levels(groups);
    let sums: SmallVec<[Tally; 4]> = levels.iter().map(|level| sum(&groups[level.clone()])).collect();
    let healths: SmallVec<[u64; 4]> = sums.iter().map(|sum| health(sum.up, sum.all, rule)).collect();
    let is_short = levels.len() == 1 || healths.iter().sum::<u64>() < WHOLE;
    let Some(loads) = loads(&healths) else {
        return false;
    };
    for ((level, sum), load) in levels.into_iter().zip(sums).zip(loads) {
        let panics = is_short && sum.up_count * 100 < sum.open_count * rule.panic_percent as usize;
        let of_zones: SmallVec<[u64; 4]> = groups[level.clone()]
            .iter()
            .map(|(_, own)| health(if panics { own.open } else { own.up }, own.all, rule))
            .collect();
        let zone_loads = loads_or_none(&of_zones);
        for (portion, zone_load) in portions[level].iter_mut().zip(zone_loads) {
            *portion = Portion {
                share: load * zone_load / WHOLE,
                panics,
            };
        }
    }
    true
}

/// Divides by the weight of what an operator has left open; false if that is nothing.
fn by_weight(groups: &[(Rank, Tally)], portions: &mut [Portion]) -> bool {
    let open = sum(groups).open;
    for (portion, (_, own)) in portions.iter_mut().zip(groups) {
        portion.share = (own.open * WHOLE).checked_div(open).unwrap_or(0);
    }
    open > 0
}

/// Groups of one level are neighbours.
fn levels(groups: &[(Rank, Tally)]) -> SmallVec<[Range<usize>; 4]> {
    let mut start = 0;
    groups
        .chunk_by(|one, other| one.0.level() == other.0.level())
        .map(|level| {
            let range = start..start + level.len();
            start = range.end;
            range
        })
        .collect()
}

fn sum(groups: &[(Rank, Tally)]) -> Tally {
    groups.iter().fold(Tally::default(), |sum, (_, own)| Tally {
        all: sum.all + own.all,
        open: sum.open + own.open,
        up: sum.up + own.up,
        open_count: sum.open_count + own.open_count,
        up_count: sum.up_count + own.up_count,
    })
}

/// In millionths.
fn health(up: u64, all: u64, rule: DivisionRule) -> u64 {
    let share = (up * WHOLE).checked_div(all).unwrap_or(0);
    (share * u64::from(rule.factor_percent) / 100).min(WHOLE)
}

/// What each takes of all, in millionths; none if nothing is healthy.
fn loads(healths: &[u64]) -> Option<SmallVec<[u64; 4]>> {
    let total = healths.iter().sum::<u64>().min(WHOLE);
    if total == 0 {
        return None;
    }
    let mut left = WHOLE;
    let mut loads: SmallVec<[u64; 4]> = healths
        .iter()
        .map(|health| {
            let load = (health * WHOLE / total).min(left);
            left -= load;
            load
        })
        .collect();
    // what is lost by rounding
    if let Some(first) = loads.iter_mut().find(|load| **load > 0) {
        *first += left;
    }
    Some(loads)
}

fn loads_or_none(healths: &[u64]) -> SmallVec<[u64; 4]> {
    loads(healths).unwrap_or_else(|| SmallVec::from_elem(0, healths.len()))
}

#[cfg(test)]
#[path = "../tests/division.rs"]
mod tests;
