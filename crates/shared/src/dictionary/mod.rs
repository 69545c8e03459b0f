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
//! | [`whole`] | what concerns all entries |
//! | [`repair`], [`audit`] | after a death; and whether all fits together |

mod audit;
mod cell;
mod entries;
#[cfg(test)]
mod journal;
mod layout;
mod lists;
mod named_locks;
mod repair;
mod shard;
#[cfg(test)]
mod tests;
mod value;
mod whole;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::time::{clock_gettime, ClockId};
use siphasher::sip::SipHasher13;
use thiserror::Error;

use self::cell::{from_int, low, to_int, Type, EXPIRY, NUMBER};
use self::entries::{stored, Content, Room};
use self::layout::{Layout, HEADER_WORDS, MAGIC, VERSION};
pub use self::layout::{MAX_BYTES, MIN_BYTES};
use self::lists::NewItem;
use self::shard::Shard;
use self::value::sum;
pub use self::value::{End, Number, Owned, Refused, Value};
use crate::memory::{first_words, sealed_bytes, Memory};

/// Why a file descriptor is no usable dictionary.
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

    // ---- values

    /// A copy of the value; `None` if there is no live entry.
    pub fn get(&self, key: &[u8]) -> Result<Option<Owned>, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 || !shard.is_live(entry, self.now) {
            return Ok(None);
        }
        shard.touch(entry);
        shard.value(entry).map(Some)
    }

    /// A copy of the value, and whether its time is up: what has expired can be had until its room is needed.
    pub fn get_stale(&self, key: &[u8]) -> Result<Option<(Owned, bool)>, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 {
            return Ok(None);
        }
        let is_stale = !shard.is_live(entry, self.now);
        shard.value(entry).map(|value| Some((value, is_stale)))
    }

    /// Whether there is a live entry.
    pub fn contains(&self, key: &[u8]) -> Result<bool, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        Ok(entry != 0 && shard.is_live(entry, self.now))
    }

    /// Sets a value, for `ttl_ms` (0: for ever). The least recently used entries go if there is no room.
    pub fn set(&self, key: &[u8], value: Value<'_>, ttl_ms: u64) -> Result<(), Refused> {
        let (shard, hash) = self.locked(key)?;
        self.put(&shard, hash, key, value, ttl_ms)
    }

    /// Sets a value if there is no live entry; gives whether it did.
    pub fn add(&self, key: &[u8], value: Value<'_>, ttl_ms: u64) -> Result<bool, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry != 0 && shard.is_live(entry, self.now) {
            return Ok(false);
        }
        self.put(&shard, hash, key, value, ttl_ms).map(|()| true)
    }

    /// Sets a value if there is a live entry; gives whether it did.
    pub fn replace(&self, key: &[u8], value: Value<'_>, ttl_ms: u64) -> Result<bool, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 || !shard.is_live(entry, self.now) {
            return Ok(false);
        }
        self.put(&shard, hash, key, value, ttl_ms).map(|()| true)
    }

    /// Removes an entry, of whatever kind; gives whether there was a live one.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 {
            return Ok(false);
        }
        let was_live = shard.is_live(entry, self.now);
        shard.remove(entry);
        Ok(was_live)
    }

    /// Adds to a number. Where there is none it begins at `init` (`None`: refused) and lives for `ttl_ms` (0: for ever).
    #[inline]
    pub fn incr(&self, key: &[u8], by: Number, init: Option<Number>, ttl_ms: u64) -> Result<Number, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 || !shard.is_live(entry, self.now) {
            let sum = sum(init.ok_or(Refused::Absent)?, by)?;
            self.put(&shard, hash, key, sum.into(), ttl_ms)?;
            return Ok(sum);
        }
        let old = match shard.tag(entry).value {
            Type::Int => Number::Int(to_int(shard.field(entry, NUMBER))),
            Type::Float => Number::Float(f64::from_bits(shard.field(entry, NUMBER))),
            Type::List => return Err(Refused::Kind { is_list: true }),
            _ => return Err(Refused::NotANumber),
        };
        let sum = sum(old, by)?;
        match (old, sum) {
            (Number::Int(_), Number::Int(n)) => shard.set_field(entry, NUMBER, from_int(n)),
            (Number::Float(_), Number::Float(x)) => shard.set_field(entry, NUMBER, x.to_bits()),
            _ => {
                let expiry = shard.field(entry, EXPIRY);
                self.put_until(&shard, hash, key, sum.into(), expiry)?;
                return Ok(sum);
            }
        }
        shard.touch(entry);
        Ok(sum)
    }

    // ---- lists

    /// Adds a value to an end of a list, which begins with its first one; gives how many it has.
    pub fn push(&self, end: End, key: &[u8], value: Value<'_>) -> Result<usize, Refused> {
        let (shard, hash) = self.locked(key)?;
        let (kind, number, bytes) = stored(value);
        let new = NewItem {
            value: kind,
            number,
            bytes,
        };
        self.check_size(key.len() + bytes.len())?;
        let entry = shard.find(hash, key);
        if entry != 0 && shard.is_live(entry, self.now) {
            if shard.tag(entry).value != Type::List {
                return Err(Refused::Kind { is_list: false });
            }
            return shard.push(entry, end, &new, self.now).map(|count| count as usize);
        }
        if entry != 0 {
            shard.remove(entry);
        }
        shard.begin_list(hash, key, &new, self.now).map(|()| 1)
    }

    /// Takes a value off an end of a list; `None` if there is no list.
    pub fn pop(&self, end: End, key: &[u8]) -> Result<Option<Owned>, Refused> {
        let (shard, hash) = self.locked(key)?;
        match self.list(&shard, hash, key)? {
            0 => Ok(None),
            entry => Ok(Some(shard.pop(entry, end))),
        }
    }

    /// How many values a list has; 0 if there is none.
    pub fn list_len(&self, key: &[u8]) -> Result<usize, Refused> {
        let (shard, hash) = self.locked(key)?;
        match self.list(&shard, hash, key)? {
            0 => Ok(0),
            entry => Ok(shard.items(entry) as usize),
        }
    }

    // ---- time

    /// Gives an entry `ttl_ms` from now (0: for ever); gives whether there is one.
    pub fn expire(&self, key: &[u8], ttl_ms: u64) -> Result<bool, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 || !shard.is_live(entry, self.now) {
            return Ok(false);
        }
        shard.set_field(entry, EXPIRY, self.expiry(ttl_ms));
        Ok(true)
    }

    /// The milliseconds an entry has left: `None` without an entry, `Some(None)` if it has no end.
    pub fn ttl(&self, key: &[u8]) -> Result<Option<Option<u64>>, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 {
            return Ok(None);
        }
        let (expiry, now) = (shard.field(entry, EXPIRY), (self.now)());
        Ok(match expiry {
            0 => Some(None),
            expiry => (expiry > now).then(|| Some(expiry - now)),
        })
    }

    // ---- below

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

    /// A live list; 0 if there is nothing live.
    fn list(&self, shard: &Shard<'_>, hash: u32, key: &[u8]) -> Result<u32, Refused> {
        let entry = shard.find(hash, key);
        if entry == 0 || !shard.is_live(entry, self.now) {
            return Ok(0);
        }
        if shard.tag(entry).value != Type::List {
            return Err(Refused::Kind { is_list: false });
        }
        Ok(entry)
    }

    fn put(
        &self,
        shard: &Shard<'_>,
        hash: u32,
        key: &[u8],
        value: Value<'_>,
        ttl_ms: u64,
    ) -> Result<(), Refused> {
        self.put_until(shard, hash, key, value, self.expiry(ttl_ms))
    }

    /// Sets a value whatever was there before.
    fn put_until(
        &self,
        shard: &Shard<'_>,
        hash: u32,
        key: &[u8],
        value: Value<'_>,
        expiry: u64,
    ) -> Result<(), Refused> {
        let (kind, number, bytes) = stored(value);
        let old = shard.find(hash, key);
        let is_number = matches!(kind, Type::Bool | Type::Int | Type::Float);
        // One store does it where only the number changes.
        if old != 0 && is_number && shard.tag(old).value == kind && shard.field(old, EXPIRY) == expiry {
            shard.set_field(old, NUMBER, number);
            shard.touch(old);
            return Ok(());
        }
        let content = Content {
            key,
            value: kind,
            number,
            bytes,
            expiry,
        };
        self.check_size(key.len() + bytes.len())?;
        shard.make_room(content.cells(), Room::Evict { spared: 0 }, self.now)?;
        let old = shard.find(hash, key); // it may have gone to make room
        shard.insert(hash, &content);
        if old != 0 {
            shard.remove(old);
        }
        Ok(())
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
