//! What concerns all entries of a dictionary: shard by shard, so that nothing is held for long.

use std::sync::atomic::Ordering::Relaxed;

use super::cell::{high, low, ORDER};
use super::layout::{CELL_BYTES, ENTRIES, EVICTIONS, HEADER_WORDS, RECENCY, REPAIRS};
use super::shard::Shard;
use super::value::Refused;
use super::Dictionary;

impl Dictionary {
    /// The keys of live entries, at most `limit`, most recently used first within each shard.
    pub fn keys(&self, limit: usize) -> Result<Vec<Vec<u8>>, Refused> {
        let mut keys = Vec::new();
        let now = (self.now)();
        for number in 0..self.layout.shards {
            let shard = self.shard(number)?;
            let mut entry = high(shard.load(RECENCY));
            while entry != 0 && keys.len() < limit {
                if shard.is_live(entry, || now) {
                    keys.push(shard.key(entry));
                }
                entry = low(shard.field(entry, ORDER));
            }
        }
        Ok(keys)
    }

    /// Removes everything, shard by shard; gives how many entries there were.
    pub fn flush_all(&self) -> Result<usize, Refused> {
        self.over_shards(|shard| {
            let mut removed = 0;
            while let entry @ 1.. = low(shard.load(RECENCY)) {
                shard.remove(entry);
                removed += 1;
            }
            removed
        })
    }

    /// Removes what has expired, at most `limit` entries; gives how many.
    pub fn flush_expired(&self, limit: usize) -> Result<usize, Refused> {
        let mut left = limit;
        self.over_shards(|shard| {
            let removed = shard.remove_expired(self.now, left);
            left -= removed;
            removed
        })
    }

    /// Entries, those included that have expired and are not yet removed.
    pub fn len(&self) -> Result<usize, Refused> {
        self.number(ENTRIES)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> Result<bool, Refused> {
        self.len().map(|entries| entries == 0)
    }

    /// Whether there was no entry a moment ago, without a lock: what another process adds now may be missed, as if that came
    /// a moment later.
    pub fn seems_empty(&self) -> bool {
        let size = self.layout.shard_words();
        let counts = self.memory.words()[HEADER_WORDS..].iter();
        counts
            .skip(ENTRIES)
            .step_by(size)
            .take(self.layout.shards)
            .all(|count| count.load(Relaxed) == 0)
    }

    /// The bytes asked for when it was made.
    pub fn capacity(&self) -> u64 {
        self.layout.bytes
    }

    /// Bytes in cells that hold nothing.
    pub fn free_bytes(&self) -> Result<u64, Refused> {
        self.over_shards(|shard| shard.available() * CELL_BYTES)
            .map(|bytes| bytes as u64)
    }

    /// Entries that had to go for others, since it was made.
    pub fn evictions(&self) -> Result<usize, Refused> {
        self.number(EVICTIONS)
    }

    /// How often a shard was repaired after its user's death, since it was made.
    pub fn repairs(&self) -> Result<usize, Refused> {
        self.number(REPAIRS)
    }

    fn over_shards(&self, mut each: impl FnMut(&Shard<'_>) -> usize) -> Result<usize, Refused> {
        (0..self.layout.shards).try_fold(0, |sum, number| Ok(sum + each(&self.shard(number)?)))
    }

    fn number(&self, word: usize) -> Result<usize, Refused> {
        self.over_shards(|shard| usize::try_from(shard.load(word)).unwrap_or(usize::MAX))
    }
}
