//! The same key to the same server, with bounded loads.
//!
//! How it works: a key has an order in which it prefers servers: along the ring, by repeated looks into Maglev's table, or by
//! rendezvous. It goes to the first that may be chosen and has fewer connections than its share of all of them times the
//! bound (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018: at most `bound` times the mean).
//! Nothing is remembered, so that a key is at home again as soon as there is room.

use std::str::FromStr;

use thiserror::Error;

use super::large_group::SCANNED;
use super::maglev::Maglev;
use super::random::mix;
use super::rendezvous::{fnv, score};
use super::ring::Ring;

/// Looks at other places of a key before all servers are looked at.
const MAX_LOOKS: u64 = 32;

/// How keys are spread over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashAlgorithm {
    /// Points on a ring, 160 for a server of mean weight (Karger et al., 1997; ketama).
    #[default]
    Ring,
    /// The highest of a draw for each server (Thaler and Ravishankar, 1998): the most even for few. More than 64 servers,
    /// which are not all looked at, are on a ring.
    Rendezvous,
    /// A table filled by turns (Eisenbud et al., "Maglev", NSDI 2016): the most even, moves a few keys more.
    Maglev,
}

/// A name that is none of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown hash algorithm `{0}`\nhint: one of `ring`, `rendezvous`, `maglev`")]
pub struct UnknownHashAlgorithm(pub String);

impl FromStr for HashAlgorithm {
    type Err = UnknownHashAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownHashAlgorithm> {
        match name {
            "ring" => Ok(Self::Ring),
            "rendezvous" => Ok(Self::Rendezvous),
            "maglev" => Ok(Self::Maglev),
            _ => Err(UnknownHashAlgorithm(name.to_owned())),
        }
    }
}

/// How a key finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HashSpec {
    /// How keys are spread.
    pub algorithm: HashAlgorithm,
    /// The most that a server may have, as a multiple of its share in percent; 0 for no bound.
    pub bound_percent: u32,
}

/// Servers of one rank, in the order listed, as keys find them.
#[derive(Debug)]
pub(super) struct HashTable {
    places: Places,
    /// Index, hash of the name, and weight of each.
    servers: Vec<(usize, u64, u32)>,
    weight: u64,
    is_even: bool,
}

#[derive(Debug)]
enum Places {
    Ring(Ring),
    Rendezvous,
    Maglev(Maglev),
}

impl HashTable {
    /// Of servers given as index, name and weight: a name keeps its keys wherever it is listed.
    pub(super) fn new(algorithm: HashAlgorithm, servers: &[(usize, u64, u32)]) -> Self {
        let open = servers.iter().filter(|one| one.2 > 0);
        let weighted: Vec<(usize, u64, u32)> = open.map(|one| (one.0, mix(one.1), one.2)).collect();
        let names: Vec<(u64, u32)> = weighted.iter().map(|one| (one.1, one.2)).collect();
        let places = match algorithm {
            HashAlgorithm::Rendezvous if names.len() <= SCANNED => Places::Rendezvous,
            HashAlgorithm::Ring | HashAlgorithm::Rendezvous => Places::Ring(Ring::new(&names)),
            HashAlgorithm::Maglev => Places::Maglev(Maglev::new(&names)),
        };
        Self {
            places,
            weight: weighted.iter().map(|one| u64::from(one.2)).sum(),
            is_even: weighted.windows(2).all(|pair| pair[0].2 == pair[1].2),
            servers: weighted,
        }
    }

    /// The server of a key among those that may be chosen, the first of its order that has room.
    pub(super) fn find(&self, key: &[u8], may: &dyn Fn(usize) -> bool) -> Option<usize> {
        if self.servers.is_empty() {
            return None;
        }
        // FNV alone leaves the high bits of short keys alike
        let hash = mix(fnv(key));
        let at = |position: usize| self.servers[position].0;
        match &self.places {
            Places::Ring(ring) => ring.walk(hash).map(at).find(|server| may(*server)),
            Places::Maglev(maglev) => (0..MAX_LOOKS)
                .map(|look| at(maglev.find(if look == 0 { hash } else { mix(hash ^ mix(look)) })))
                .find(|server| may(*server))
                .or_else(|| self.best(hash, may)),
            Places::Rendezvous => self.best(hash, may),
        }
    }

    /// The highest draw of all that may be chosen.
    fn best(&self, hash: u64, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let open = self.servers.iter().filter(|(server, ..)| may(*server));
        if self.is_even {
            // a higher draw is a higher score
            let drawn = open.map(|(server, name, _)| (mix(hash ^ name), *server));
            return drawn.max().map(|best| best.1);
        }
        open.map(|(server, name, weight)| (*server, score(hash, *name, u64::from(*weight))))
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .map(|best| best.0)
    }

    /// The sum of the weights.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

/// The most connections of a server of that weight, with the one that comes, if all have `total` without it.
pub(super) fn capacity(total: u64, weight: u32, all_weights: u64, bound_percent: u32) -> u64 {
    let share = (total + 1)
        .saturating_mul(u64::from(weight))
        .saturating_mul(u64::from(bound_percent));
    share.div_ceil(all_weights.max(1) * 100)
}

#[cfg(test)]
#[path = "../tests/hashing.rs"]
mod tests;
