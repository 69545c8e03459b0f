//! Choice among many servers in steps that grow with the logarithm of their number.
//!
//! How it works: up to [`SCANNED`] servers are looked at one by one, exactly as nginx does. Beyond that a choice is drawn
//! without looking at all of them, and drawn again while the one drawn is down, full or tried:
//!
//! - round robin: a heap of turns, each server's next turn at `(2 served + 1) / 2 weight` of a cycle (earliest deadline
//!   first, as Envoy's scheduler), so that each gets its weight in each cycle, spread evenly;
//! - random: a search in the sums of weights;
//! - least connections: the least loaded of `2 log2 n` drawn by weight (Mitzenmacher, "The Power of Two Choices", 2001):
//!   loads change in all workers at once, so that no order of them could be kept;
//! - least time and power of two choices: the same by expected time, of half as many or of two;
//! - by key: see [`super::hashing`].
//!
//! Where none that is drawn may be chosen, most are down or full, and all are looked at.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::least_time::Times;
use super::loads::Loads;
use super::policy::Balance;
use super::random::Xorshift;

/// Servers that are looked at one by one.
pub(super) const SCANNED: usize = 64;

/// Draws before all are looked at.
const MAX_DRAWS: usize = 32;

/// Many servers of one rank: all that are no backups, or all backups.
#[derive(Debug)]
pub(super) struct LargeGroup {
    /// Their indices in the upstream.
    servers: Vec<usize>,
    /// Sums of weights up to and with each.
    sums: Vec<u64>,
    /// All weigh the same.
    is_even: bool,
    turns: BinaryHeap<RotationTurn>,
    /// Turns left in this cycle.
    left: u64,
}

/// A server's next turn; the greatest is the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RotationTurn {
    served: u32,
    weight: u32,
    position: u32,
}

impl Ord for RotationTurn {
    fn cmp(&self, other: &Self) -> Ordering {
        let at = |one: &Self, other: &Self| (2 * u64::from(one.served) + 1) * u64::from(other.weight);
        at(other, self)
            .cmp(&at(self, other))
            .then(other.position.cmp(&self.position))
    }
}

impl PartialOrd for RotationTurn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl LargeGroup {
    /// Of servers given as index and weight; those without weight get nothing.
    pub(super) fn new(servers: impl Iterator<Item = (usize, u32)>) -> Self {
        let weighted: Vec<(usize, u32)> = servers.filter(|(_, weight)| *weight > 0).collect();
        let sums: Vec<u64> = weighted
            .iter()
            .scan(0, |sum, (_, weight)| {
                *sum += u64::from(*weight);
                Some(*sum)
            })
            .collect();
        Self {
            is_even: weighted.windows(2).all(|pair| pair[0].1 == pair[1].1),
            servers: weighted.iter().map(|(index, _)| *index).collect(),
            sums,
            turns: BinaryHeap::new(),
            left: 0,
        }
    }

    /// One that may be chosen, if any may.
    pub(super) fn choose(
        &mut self,
        balance: Balance,
        random: &mut Xorshift,
        times: &Times<'_>,
        is_eligible: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        let loads = times.loads;
        if self.servers.is_empty() {
            return None;
        }
        let drawn = match balance {
            Balance::RoundRobin => self.next_turn(is_eligible),
            Balance::LeastConn => self.least_loaded(random, loads, is_eligible),
            Balance::LeastTime => self.least_expected(self.sample() / 2, random, times, is_eligible),
            Balance::P2c => self.least_expected(2, random, times, is_eligible),
            // a key that is absent goes by chance
            Balance::Random | Balance::Hash | Balance::IpHash => {
                self.first_eligible(is_eligible, |_| random.next())
            }
            Balance::First => self.servers.iter().copied().find(|server| is_eligible(*server)),
        };
        drawn.or_else(|| self.look_at_all(loads, is_eligible))
    }

    fn first_eligible(
        &self,
        is_eligible: &dyn Fn(usize) -> bool,
        mut number: impl FnMut(usize) -> u64,
    ) -> Option<usize> {
        (0..MAX_DRAWS)
            .map(|draw| self.by_weight(number(draw)))
            .find(|server| is_eligible(*server))
    }

    /// The server that `number`, evenly drawn from all of 64 bits, falls on.
    fn by_weight(&self, number: u64) -> usize {
        let total = if self.is_even {
            self.servers.len() as u64
        } else {
            self.sums.last().copied().unwrap_or_default()
        };
        // the high bits of the product are an even choice of 0..total (Lemire, 2018)
        let product = u128::from(number) * u128::from(total);
        let place = u64::try_from(product >> 64).expect("the high half of 128 bits has 64");
        if self.is_even {
            return self.servers[usize::try_from(place).expect("it is below the number of servers")];
        }
        self.servers[self.sums.partition_point(|sum| *sum <= place)]
    }

    fn next_turn(&mut self, is_eligible: &dyn Fn(usize) -> bool) -> Option<usize> {
        for _ in 0..MAX_DRAWS {
            if self.left == 0 {
                self.begin_cycle();
            }
            self.left -= 1;
            let mut turn = self.turns.pop()?;
            // whoever may not be chosen has lost this turn
            turn.served += 1;
            self.turns.push(turn);
            let server = self.servers[turn.position as usize];
            if is_eligible(server) {
                return Some(server);
            }
        }
        None
    }

    fn begin_cycle(&mut self) {
        self.left = self.sums.last().copied().unwrap_or_default();
        let mut before = 0;
        self.turns = (0..)
            .zip(&self.sums)
            .map(|(position, sum)| {
                let weight = u32::try_from(sum - before).expect("it was of 32 bits");
                before = *sum;
                RotationTurn {
                    served: 0,
                    weight,
                    position,
                }
            })
            .collect();
    }

    fn least_loaded(
        &self,
        random: &mut Xorshift,
        loads: &dyn Loads,
        is_eligible: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        // by weight already, so that the fewest connections are the least load
        (0..self.sample())
            .map(|_| self.by_weight(random.next()))
            .filter(|server| is_eligible(*server))
            .min_by_key(|server| loads.of(*server))
    }

    /// How many are drawn where the best of a sample is taken.
    fn sample(&self) -> usize {
        2 * (usize::BITS - self.servers.len().leading_zeros()) as usize
    }

    /// The least expected time of as many as are drawn by weight and may be chosen.
    fn least_expected(
        &self,
        wanted: usize,
        random: &mut Xorshift,
        times: &Times<'_>,
        is_eligible: &dyn Fn(usize) -> bool,
    ) -> Option<usize> {
        (0..MAX_DRAWS)
            .map(|_| self.by_weight(random.next()))
            .filter(|server| is_eligible(*server))
            .take(wanted)
            .map(|server| (server, times.cost(server)))
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|best| best.0)
    }

    /// Lets some turns pass, so that workers do not all begin with the same server.
    pub(super) fn skip_turns(&mut self, random: &mut Xorshift) {
        for _ in 0..random.below(self.servers.len()) {
            self.next_turn(&|_| true);
        }
    }

    fn look_at_all(&self, loads: &dyn Loads, is_eligible: &dyn Fn(usize) -> bool) -> Option<usize> {
        let all = self.servers.iter().copied();
        all.filter(|server| is_eligible(*server))
            .min_by_key(|server| loads.of(*server))
    }
}

#[cfg(test)]
#[path = "../tests/large_group.rs"]
mod tests;
