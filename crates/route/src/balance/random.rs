//! A weighted choice by chance.

use super::server::Server;

/// Marsaglia's xorshift64* ("Xorshift RNGs", 2003; Vigna, 2016): fast, and good enough to spread load.
#[derive(Debug)]
pub(super) struct Xorshift(u64);

impl Xorshift {
    pub(super) fn new(seed: u64) -> Self {
        // The state must not be 0, and near seeds should not give near numbers.
        Self(mix(seed).max(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The high bits of the product are an even choice of 0..bound (Lemire, 2018).
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> 64).expect("the high half of 128 bits has 64")
    }
}

pub(super) fn choose(servers: &[Server], eligible: &[usize], random: &mut Xorshift) -> Option<usize> {
    let weight = |at: usize| u64::from(servers[at].spec.weight);
    let total: u64 = eligible.iter().map(|at| weight(*at)).sum();
    // The high bits of the product are an even choice of 0..total (Lemire, 2018).
    let product = u128::from(random.next()) * u128::from(total);
    let mut left = u64::try_from(product >> 64).expect("the high half of 128 bits has 64");
    for &at in eligible {
        if left < weight(at) {
            return Some(at);
        }
        left -= weight(at);
    }
    None
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood, 2014).
pub(super) fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
