//! The entries of a shard: found by key, kept in the order of their use, removed for others when it is full.

use super::cell::{
    from_int, halves, high, link, low, parts_for, to_int, Tag, Type, CHAIN, ENTRY, ENTRY_ROOM, EXPIRY,
    ITEM_LINKS, ITEM_PARTS, NUMBER, ORDER, PART, PARTS, TAG,
};
use super::layout::{ENTRIES, EVICTIONS, RECENCY, SHARD_HEAD_WORDS};
use super::shard::Shard;
use super::value::{Owned, Refused, Value};

/// What a new entry gets.
pub(crate) struct Content<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Type,
    pub(crate) number: u64,
    pub(crate) bytes: &'a [u8],
    /// In ms of the dictionary's clock; 0: never.
    pub(crate) expiry: u64,
}

impl Content<'_> {
    /// The cells it takes.
    pub(crate) fn cells(&self) -> usize {
        let words = self.key.len().div_ceil(8) + self.bytes.len().div_ceil(8);
        1 + parts_for(words, ENTRY_ROOM)
    }

    fn tag(&self) -> Tag {
        Tag {
            kind: ENTRY,
            value: self.value,
            key_bytes: self.key.len(),
            value_bytes: self.bytes.len(),
        }
    }
}

/// Whether others may go for a new entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The least recently used entries go, but never this one (0: none is spared).
    Evict { spared: u32 },
    /// Only what has expired goes.
    Keep,
}

/// Entries looked at for having expired when a new one comes.
const EXPIRED_AT_ONCE: usize = 2;

impl Shard<'_> {
    /// The entry of a key, live or expired; 0 if there is none.
    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> u32 {
        let mut entry = low(self.load(self.bucket(hash)));
        while entry != 0 {
            let chain = self.field(entry, CHAIN);
            if high(chain) == hash
                && self.tag(entry).key_bytes == key.len()
                && self.equals(&mut self.entry_bytes(entry), key)
            {
                break;
            }
            entry = low(chain);
        }
        entry
    }

    #[inline]
    pub(crate) fn is_live(&self, entry: u32, now: impl FnOnce() -> u64) -> bool {
        let expiry = self.field(entry, EXPIRY);
        expiry == 0 || expiry > now()
    }

    pub(crate) fn key(&self, entry: u32) -> Vec<u8> {
        self.read(&mut self.entry_bytes(entry), self.tag(entry).key_bytes)
    }

    /// A copy of the value; lists are refused.
    pub(crate) fn value(&self, entry: u32) -> Result<Owned, Refused> {
        let tag = self.tag(entry);
        let number = self.field(entry, NUMBER);
        let bytes = || {
            let mut cursor = self.entry_bytes(entry);
            self.skip(&mut cursor, tag.key_bytes);
            self.read(&mut cursor, tag.value_bytes)
        };
        owned(tag.value, number, bytes).ok_or(Refused::Kind { is_list: true })
    }

    /// Makes sure of `cells` free ones.
    pub(crate) fn make_room(
        &self,
        cells: usize,
        room: Room,
        now: impl Fn() -> u64 + Copy,
    ) -> Result<(), Refused> {
        for _ in 0..EXPIRED_AT_ONCE {
            let oldest = low(self.load(RECENCY));
            if oldest == 0 || room == (Room::Evict { spared: oldest }) || self.is_live(oldest, now) {
                break;
            }
            self.remove(oldest);
        }
        if self.available() >= cells {
            return Ok(());
        }
        let Room::Evict { spared } = room else {
            self.remove_expired(now, usize::MAX);
            return if self.available() >= cells {
                Ok(())
            } else {
                Err(Refused::Full)
            };
        };
        while self.available() < cells {
            let oldest = low(self.load(RECENCY));
            if oldest == 0 || oldest == spared {
                return Err(Refused::Full);
            }
            self.remove(oldest);
            self.add(EVICTIONS, 1);
        }
        Ok(())
    }

    /// Puts a new entry in, as the most recently used one. There is room, and the key is not there or about to go.
    pub(crate) fn insert(&self, hash: u32, content: &Content<'_>) -> u32 {
        let parts = self.take_parts(content.cells() - 1);
        let entry = self.take_cell();
        self.set_field(entry, CHAIN, halves(hash, 0));
        self.set_field(entry, ORDER, 0);
        self.set_field(entry, EXPIRY, content.expiry);
        self.set_field(entry, PARTS, halves(0, parts));
        self.set_field(entry, NUMBER, content.number);
        let mut cursor = self.entry_bytes(entry);
        self.write(&mut cursor, content.key);
        self.write(&mut cursor, content.bytes);
        self.set_field(entry, TAG, content.tag().word()); // from here on it is there
        self.link_entry(entry, hash);
        entry
    }

    /// Links a tagged entry: into its bucket, as the most recently used.
    pub(crate) fn link_entry(&self, entry: u32, hash: u32) {
        let bucket = self.bucket(hash);
        self.set_field(entry, CHAIN, halves(hash, low(self.load(bucket))));
        self.store(bucket, u64::from(entry));
        self.push_newest(entry);
        self.add(ENTRIES, 1);
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, entry: u32) {
        let is_list = self.tag(entry).value == Type::List;
        self.set_field(entry, TAG, link(PART, 0)); // from here on it is gone
        self.unlink_from_bucket(entry);
        self.unlink_from_order(entry);
        self.less(ENTRIES, 1);
        if is_list {
            let mut item = high(self.field(entry, NUMBER));
            while item != 0 {
                let next = high(self.field(item, ITEM_LINKS));
                self.release_item(item);
                item = next;
            }
        }
        self.release_parts(low(self.field(entry, PARTS)));
        self.release_cell(entry);
    }

    pub(crate) fn release_item(&self, item: u32) {
        self.release_parts(low(self.field(item, ITEM_PARTS)));
        self.release_cell(item);
    }

    /// Removes what has expired, at most `limit` entries; gives how many.
    pub(crate) fn remove_expired(&self, now: impl Fn() -> u64, limit: usize) -> usize {
        let now = now();
        let mut removed = 0;
        let mut entry = low(self.load(RECENCY));
        while entry != 0 && removed < limit {
            let newer = high(self.field(entry, ORDER));
            if !self.is_live(entry, || now) {
                self.remove(entry);
                removed += 1;
            }
            entry = newer;
        }
        removed
    }

    // ---- the order of use

    /// Makes an entry the most recently used one.
    #[inline]
    pub(crate) fn touch(&self, entry: u32) {
        if high(self.load(RECENCY)) != entry {
            self.unlink_from_order(entry);
            self.push_newest(entry);
        }
    }

    fn push_newest(&self, entry: u32) {
        let ends = self.load(RECENCY);
        let (newest, oldest) = (high(ends), low(ends));
        self.set_field(entry, ORDER, halves(0, newest));
        if newest != 0 {
            let older = low(self.field(newest, ORDER));
            self.set_field(newest, ORDER, halves(entry, older));
        }
        self.store(RECENCY, halves(entry, if oldest == 0 { entry } else { oldest }));
    }

    fn unlink_from_order(&self, entry: u32) {
        let links = self.field(entry, ORDER);
        let (newer, older) = (high(links), low(links));
        let ends = self.load(RECENCY);
        let newest = if newer == 0 {
            older
        } else {
            let beyond = high(self.field(newer, ORDER));
            self.set_field(newer, ORDER, halves(beyond, older));
            high(ends)
        };
        let oldest = if older == 0 {
            newer
        } else {
            let beyond = low(self.field(older, ORDER));
            self.set_field(older, ORDER, halves(newer, beyond));
            low(ends)
        };
        self.store(RECENCY, halves(newest, oldest));
    }

    // ---- buckets

    #[inline]
    fn bucket(&self, hash: u32) -> usize {
        SHARD_HEAD_WORDS + (hash as usize & (self.layout.buckets - 1))
    }

    fn unlink_from_bucket(&self, entry: u32) {
        let chain = self.field(entry, CHAIN);
        let bucket = self.bucket(high(chain));
        let mut at = low(self.load(bucket));
        if at == entry {
            return self.store(bucket, u64::from(low(chain)));
        }
        loop {
            let here = self.field(at, CHAIN);
            if low(here) == entry {
                return self.set_field(at, CHAIN, halves(high(here), low(chain)));
            }
            at = low(here);
        }
    }
}

/// A value as it is stored: its type, its number, its bytes.
pub(crate) fn stored(value: Value<'_>) -> (Type, u64, &[u8]) {
    match value {
        Value::None => (Type::None, 0, &[]),
        Value::Bool(yes) => (Type::Bool, u64::from(yes), &[]),
        Value::Int(n) => (Type::Int, from_int(n), &[]),
        Value::Float(x) => (Type::Float, x.to_bits(), &[]),
        Value::Bytes(bytes) => (Type::Bytes, 0, bytes),
        Value::Text(bytes) => (Type::Text, 0, bytes),
        Value::Json(bytes) => (Type::Json, 0, bytes),
    }
}

/// And back; `None` for lists and locks.
pub(crate) fn owned(value: Type, number: u64, bytes: impl FnOnce() -> Vec<u8>) -> Option<Owned> {
    Some(match value {
        Type::None => Owned::None,
        Type::Bool => Owned::Bool(number != 0),
        Type::Int => Owned::Int(to_int(number)),
        Type::Float => Owned::Float(f64::from_bits(number)),
        Type::Bytes => Owned::Bytes(bytes()),
        Type::Text => Owned::Text(bytes()),
        Type::Json => Owned::Json(bytes()),
        Type::List | Type::Lock => return None,
    })
}
