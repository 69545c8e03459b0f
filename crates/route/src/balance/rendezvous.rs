//! Weighted rendezvous hashing: every server draws a number from the key and its own name; the best one wins.
//!
//! When a server leaves, only its own keys move, and they come back with it (Thaler and Ravishankar, 1998; weights as in
//! Schindelhauer and Schomaker, 2005). All workers agree without talking to each other.

use super::random::mix;

/// What the node draws for the key; the highest wins.
pub(super) fn score(hash: u64, node: u64, weight: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)] // why: sums of weights are far below 2^52
    let weight = weight as f64;
    -weight / unit(mix(hash ^ node)).ln()
}

/// A number above 0 and below 1 from the upper half of `bits`.
fn unit(bits: u64) -> f64 {
    let upper = u32::try_from(bits >> 32).expect("half of 64 bits");
    (f64::from(upper) + 0.5) / 4_294_967_296.0
}

/// FNV-1a, 64 bits (draft-eastlake-fnv): the same in every worker and every build.
#[must_use]
pub fn fnv(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
