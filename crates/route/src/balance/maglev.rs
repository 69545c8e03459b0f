//! Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): servers take turns to claim places of their own permutation.

use super::random::mix;

/// Primes for sizes of tables: the paper wants 100 places for each server at least.
const SIZES: [usize; 3] = [65_537, 262_147, 655_373];

/// Places for each server at least.
const PLACES: usize = 100;

/// See the module.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Vec<u16>,
}

impl Maglev {
    /// Of up to 4,096 servers given by the hash of their name and their weight, 1 at least.
    pub(super) fn new(servers: &[(u64, u32)]) -> Self {
        let wanted = servers.len() * PLACES;
        let last = SIZES[SIZES.len() - 1];
        let size = SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(last);
        let most = servers.iter().map(|(_, weight)| *weight).max().unwrap_or(1);
        let mut claims: Vec<Claim> = servers.iter().map(|(name, _)| Claim::new(*name, size)).collect();
        let mut places = vec![u16::MAX; size];
        let mut free = if servers.is_empty() { 0 } else { size };
        while free > 0 {
            for (position, claim) in (0_u16..).zip(&mut claims) {
                // a lighter server takes part in as many rounds as its weight is of the heaviest
                claim.turns += u64::from(servers[usize::from(position)].1);
                if claim.turns < u64::from(most) {
                    continue;
                }
                claim.turns -= u64::from(most);
                if free == 0 {
                    break;
                }
                let place = claim.next(&places);
                places[place] = position;
                free -= 1;
            }
        }
        Self { places }
    }

    /// The position of a key's server; there is one at least.
    pub(super) fn find(&self, hash: u64) -> usize {
        let product = u128::from(hash) * self.places.len() as u128;
        let place = usize::try_from(product >> 64).expect("it is below the number of places");
        usize::from(self.places[place])
    }
}

/// A server's way through its permutation of the table.
struct Claim {
    place: usize,
    step: usize,
    turns: u64,
}

impl Claim {
    fn new(name: u64, size: usize) -> Self {
        let below = |hash: u64, bound: usize| {
            let product = u128::from(hash) * bound as u128;
            usize::try_from(product >> 64).expect("it is below the bound")
        };
        Self {
            place: below(mix(name), size),
            step: below(mix(name ^ 0x6d61_676c_6576), size - 1) + 1,
            turns: 0,
        }
    }

    /// The next place of its permutation that is free; there is one.
    fn next(&mut self, places: &[u16]) -> usize {
        loop {
            let place = self.place;
            self.place = (place + self.step) % places.len();
            if places[place] == u16::MAX {
                return place;
            }
        }
    }
}
