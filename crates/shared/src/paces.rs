//! Until when the bandwidth is used that transfers of all workers share.
//!
//! # How it works
//! A table of numbers in the part of the zone that is no worker's, one for each client or route by a hash of its name. Two of the
//! same hash share their bandwidth; there are so many that this is rare. A number means nothing once its moment has passed, so
//! that nothing is ever given back.

use std::sync::atomic::AtomicU64;

use crate::servers::TABLE_WORDS;
use crate::Zone;

/// Numbers in the table, a power of two.
pub(crate) const PACE_WORDS: usize = 1 << 16;

impl Zone {
    /// The number of whoever has this hash: a moment in microseconds of the system's monotonic clock, 0 at first.
    #[must_use]
    pub fn pace_word(&self, hash: u64) -> &AtomicU64 {
        let at = usize::try_from(hash % PACE_WORDS as u64).unwrap_or(0);
        self.common_word(TABLE_WORDS + at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn test_numbers_touch_neither_servers_nor_counters() {
        let zone = Zone::create(1, 8).expect("a memory file can be made");
        let entry = zone.claim_server("a/b").expect("there is room");
        let before = zone.server_state(entry);
        for hash in 0..PACE_WORDS as u64 {
            zone.pace_word(hash).store(u64::MAX, Relaxed);
        }
        assert_eq!(zone.server_state(entry), before);
        assert_eq!((0..8).map(|cell| zone.sum(cell)).sum::<u64>(), 0);
        assert_eq!(zone.pace_word(PACE_WORDS as u64 + 3).load(Relaxed), u64::MAX);
    }
}
