//! A dictionary that all processes of a gateway share, as OpenResty's `ngx.shared.DICT`.
//!
//! How it works: a memfd holds shards (see [`layout`]); a key's hash says which. Each operation locks one shard for well
//! under a microsecond. A shard has buckets of chained entries, a list of entries in the order of their use, and 64-byte
//! cells that entries, large values and the items of lists are made of. A process that is killed within an operation leaves
//! the lock to the next one that wants it, which repairs the shard first (see [`repair`]).
//!
//! | file | duty |
//! |---|---|
//! | [`layout`], [`cell`] | where things are, what words mean |
//! | [`shard`] | lock, cells, bytes |
//! | [`entries`], [`lists`], [`named_locks`] | operations within a locked shard |
//! | [`values`], [`queues`] | operations on one key: its shard is locked, then looked into |
//! | [`cell_rate`] | whether a request keeps to a rate |
//! | [`whole`] | what concerns all entries |
//! | [`repair`], [`audit`] | after a death; and whether all fits together |

mod audit;
mod cell;
mod cell_rate;
mod entries;
#[cfg(test)]
mod journal;
mod layout;
mod lists;
mod named_locks;
mod queues;
mod repair;
mod shard;
#[cfg(test)]
mod tests;
mod value;
mod values;
mod whole;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::time::{clock_gettime, ClockId};
use siphasher::sip::SipHasher13;
use thiserror::Error;

use self::cell::low;
pub use self::cell_rate::{CellRate, Throttled};
use self::layout::{Layout, HEADER_WORDS, MAGIC, VERSION};
pub use self::layout::{MAX_BYTES, MIN_BYTES};
use self::shard::Shard;
pub use self::value::{End, Number, Owned, Refused, Value};
use crate::memory::{first_words, sealed_bytes, Memory};

/// Why a file descriptor cannot be used as a dictionary.
#[derive(Debug, Error)]
pub enum DictionaryError {
    /// The system refused to describe or map it.
    #[error("cannot map the dictionary: {0}")]
    Io(#[from] io::Error),
    /// Not a file that [`Dictionary::create`] made.
    #[error("the file is not a dictionary")]
    NotADictionary,
    /// Made by another version of this program.
    #[error("the dictionary has version {found}, not {VERSION}")]
    Version {
        /// The version found.
        found: u64,
    },
}

/// A dictionary in shared memory.
///
/// Keys are 1 to 65535 bytes. A value with its key takes at most half a shard (about 1.7 MB in a dictionary of 4 MB or more).
/// All operations are atomic, but `keys`, `flush` and the counts go from shard to shard. Times are milliseconds; an
/// entry whose time is up is as good as absent, and makes room when it is come across.
#[derive(Debug)]
pub struct Dictionary {
    memory: Memory,
    layout: Layout,
    hasher: SipHasher13,
    /// Milliseconds of a clock that all processes share.
    now: fn() -> u64,
}

impl Dictionary {
    /// Makes an empty dictionary in at most `bytes`. Memory is taken as it fills.
    ///
    /// # Errors
    /// `InvalidInput` for a size past the limits (16 KiB to 64 GiB); else the system's.
    pub fn create(bytes: u64) -> io::Result<Self> {
        let layout = Layout::fitting(bytes).ok_or_else(|| {
            let text = format!("a shared dictionary cannot have {bytes} bytes\nhint: 16k to 64g");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let mut seed = [0; 16];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let number = u128::from_ne_bytes(seed);
        #[allow(clippy::cast_possible_truncation, reason = "two halves of it")]
        let seed = [number as u64, (number >> 64) as u64];
        let memory = Memory::create("headgate-dictionary", layout.words())?;
        for (word, value) in memory.words().iter().zip(layout.header(seed)) {
            word.store(value, Relaxed);
        }
        Ok(Self::new(memory, layout, seed))
    }

    /// Maps a dictionary made by [`Dictionary::create`] in this or another process.
    pub fn open(file: OwnedFd) -> Result<Self, DictionaryError> {
        // Seals first: only then do the checks below stay true.
        let bytes = sealed_bytes(&file)?.ok_or(DictionaryError::NotADictionary)?;
        let header = first_words(&file, bytes)?.ok_or(DictionaryError::NotADictionary)?;
        let [magic, version, _, _, _, low, high, asked] = header;
        if magic != MAGIC {
            return Err(DictionaryError::NotADictionary);
        }
        if version != VERSION {
            return Err(DictionaryError::Version { found: version });
        }
        let layout = Layout::fitting(asked)
            .filter(|layout| layout.header([low, high]) == header && layout.words() as u64 * 8 == bytes)
            .ok_or(DictionaryError::NotADictionary)?;
        Ok(Self::new(Memory::map(file, layout.words())?, layout, [low, high]))
    }

    fn new(memory: Memory, layout: Layout, seed: [u64; 2]) -> Self {
        Self {
            memory,
            layout,
            hasher: SipHasher13::new_with_keys(seed[0], seed[1]),
            now: monotonic_ms,
        }
    }

    /// The descriptor, to be passed on to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// The locked shard of a key, and the part of the hash that counts there.
    #[inline]
    fn locked(&self, key: &[u8]) -> Result<(Shard<'_>, u32), Refused> {
        if key.is_empty() || key.len() > 0xffff {
            return Err(Refused::Key { bytes: key.len() });
        }
        let hash = self.hasher.hash(key);
        let number = cell::high(hash) as usize & (self.layout.shards - 1);
        Ok((self.shard(number)?, low(hash)))
    }

    #[inline]
    fn shard(&self, number: usize) -> Result<Shard<'_>, Refused> {
        let size = self.layout.shard_words();
        let begin = HEADER_WORDS + number * size;
        Shard::lock(&self.memory.words()[begin..begin + size], &self.layout)
    }

    fn expiry(&self, ttl_ms: u64) -> u64 {
        if ttl_ms == 0 {
            0
        } else {
            (self.now)().saturating_add(ttl_ms)
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), Refused> {
        let limit = self.layout.cells / 2 * 56;
        if bytes > limit {
            return Err(Refused::TooLarge { bytes, limit });
        }
        Ok(())
    }
}

/// Milliseconds of the system's monotonic clock, which is one for all its processes; a few ms coarse, and cheap.
fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0)
}
