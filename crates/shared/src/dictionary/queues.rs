//! Lists by their keys, used from both ends.

use super::cell::Type;
use super::entries::stored;
use super::lists::NewItem;
use super::shard::Shard;
use super::value::{End, Owned, Refused, Value};
use super::Dictionary;

impl Dictionary {
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
}
