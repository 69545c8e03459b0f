//! Where things are in a dictionary's memory, in words of 8 bytes.
//!
//! ```text
//! word 0      magic             the text "hgdict\0\0"
//! word 1      version
//! word 2      shards            a power of two
//! word 3      cells a shard
//! word 4      buckets a shard   a power of two
//! words 5, 6  the key of the hash
//! word 7      bytes asked for
//! word 512    shard 0: its numbers (16 words), its buckets, its cells of 8 words
//! ...         shard 1, and so on
//! ```
//!
//! A shard's numbers:
//!
//! ```text
//! 0 lock          the token of the process that holds it, or 0
//! 1 torn          not 0: whoever held it last gave up half way; the next one repairs
//! 2 free list     first free cell, 0: none
//! 3 free count    cells in that list
//! 4 fresh         how many cells were ever used; those after it are all zeros
//! 5 recency       most recently used entry (upper half), least recently used one (lower half)
//! 6 entries
//! 7 evictions     entries that had to go for others
//! 8 repairs
//! ```
//!
//! A cell is 64 bytes, one cache line. Its first word says what it is (see [`super::cell`]). Cells are numbered from 1.

use crate::memory::WORD_BYTES;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"hgdict\0\0");
pub(crate) const VERSION: u64 = 1;
pub(crate) const HEADER_WORDS: usize = 4096 / WORD_BYTES;
pub(crate) const SHARD_HEAD_WORDS: usize = 16;
pub(crate) const CELL_WORDS: usize = 8;
pub(crate) const CELL_BYTES: usize = 64;

pub(crate) const LOCK: usize = 0;
pub(crate) const TORN: usize = 1;
pub(crate) const FREE_FIRST: usize = 2;
pub(crate) const FREE_COUNT: usize = 3;
pub(crate) const FRESH: usize = 4;
pub(crate) const RECENCY: usize = 5;
pub(crate) const ENTRIES: usize = 6;
pub(crate) const EVICTIONS: usize = 7;
pub(crate) const REPAIRS: usize = 8;

/// The least a dictionary can have.
pub const MIN_BYTES: u64 = 16 << 10;
/// The most.
pub const MAX_BYTES: u64 = 64 << 30;
/// A shard is at least this large, so that large values fit.
const SHARD_BYTES: u64 = 4 << 20;
const MAX_SHARDS: u64 = 64;

/// The sizes of one dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shards: usize,
    pub(crate) cells: usize,
    pub(crate) buckets: usize,
    pub(crate) bytes: u64,
}

impl Layout {
    /// What fits into so many bytes; `None` if that is past a limit.
    pub(crate) fn fitting(bytes: u64) -> Option<Self> {
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes) {
            return None;
        }
        let shards = floor_power(bytes / SHARD_BYTES).clamp(1, MAX_SHARDS);
        let words = usize::try_from(bytes).ok()? / WORD_BYTES;
        let shards = usize::try_from(shards).ok()?;
        let shard = (words - HEADER_WORDS) / shards / CELL_WORDS * CELL_WORDS;
        let buckets = 1 << (shard / (2 * CELL_WORDS)).ilog2();
        let cells = (shard - SHARD_HEAD_WORDS - buckets) / CELL_WORDS;
        Some(Self {
            shards,
            cells,
            buckets,
            bytes,
        })
    }

    pub(crate) fn header(self, seed: [u64; 2]) -> [u64; 8] {
        let [shards, cells, buckets] = [self.shards, self.cells, self.buckets].map(|n| n as u64);
        [
            MAGIC, VERSION, shards, cells, buckets, seed[0], seed[1], self.bytes,
        ]
    }

    pub(crate) fn words(self) -> usize {
        HEADER_WORDS + self.shards * self.shard_words()
    }

    pub(crate) fn shard_words(self) -> usize {
        (SHARD_HEAD_WORDS + self.buckets + self.cells * CELL_WORDS).next_multiple_of(2 * CELL_WORDS)
    }

    /// The word at which the cells of a shard begin.
    pub(crate) fn cells_at(self) -> usize {
        SHARD_HEAD_WORDS + self.buckets
    }
}

fn floor_power(n: u64) -> u64 {
    n.checked_ilog2().map_or(0, |bits| 1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_a_layout_never_takes_more_than_was_asked_for_and_hardly_less() {
        for bytes in [MIN_BYTES, 100_000, 1 << 20, (4 << 20) + 12_345, 16 << 20, 1 << 30] {
            let layout = Layout::fitting(bytes).expect("within the limits");
            let taken = (layout.words() * WORD_BYTES) as u64;
            let slack = 256 * layout.shards as u64;
            assert!(taken <= bytes + slack, "{bytes}: {layout:?} takes {taken}");
            let cells = (layout.cells * layout.shards) as u64;
            assert!(cells * CELL_BYTES as u64 * 100 / bytes >= 65, "{layout:?}");
        }
    }

    #[test]
    fn test_sizes_past_the_limits_are_refused() {
        assert_eq!(Layout::fitting(MIN_BYTES - 1), None);
        assert_eq!(Layout::fitting(MAX_BYTES + 1), None);
        assert_eq!(Layout::fitting(u64::MAX), None);
    }

    #[test]
    fn test_large_dictionaries_have_several_shards() {
        let shards = |bytes| Layout::fitting(bytes).expect("within the limits").shards;
        assert_eq!([1 << 20, 16 << 20, 1 << 30].map(shards), [1, 4, 64]);
    }
}
