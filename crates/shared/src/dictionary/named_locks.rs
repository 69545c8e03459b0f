//! Locks by name, for holders that may wait: an entry says which process holds the lock, and which of its holders.
//!
//! A holder that dies loses it at once, whoever else wants it; one that lives keeps it until it gives it back or until
//! its time is up. Such an entry never goes to make room for others.

use super::cell::{Type, NUMBER};
use super::entries::{Content, Room};
use super::shard::Shard;
use super::value::Refused;
use super::Dictionary;
use crate::process::{is_alive, token, Token};

/// Who holds a lock: a process, and a number of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holder {
    process: Token,
    serial: u64,
}

impl Dictionary {
    /// Takes the lock `key` for holder `serial` of this process, for at most `ttl_ms` (0: until given back); whether it
    /// has it now. Who holds it already takes it again, with that time.
    ///
    /// # Errors
    /// `Full` if no lock more fits, `Kind` if the entry is none.
    pub fn acquire(&self, key: &[u8], serial: u64, ttl_ms: u64) -> Result<bool, Refused> {
        let me = Holder {
            process: token(),
            serial,
        };
        let mut dead = None;
        loop {
            let (shard, hash) = self.locked(key)?;
            let entry = shard.find(hash, key);
            if entry != 0 && shard.is_live(entry, self.now) {
                let holder = shard.holder(entry)?;
                if holder != me && dead != Some(holder) {
                    drop(shard);
                    // Asked without the dictionary's own lock, since it takes some microseconds.
                    if holder.process == me.process || is_alive(holder.process) {
                        return Ok(false);
                    }
                    dead = Some(holder);
                    continue;
                }
            }
            if entry != 0 {
                shard.remove(entry);
            }
            let content = Content {
                key,
                value: Type::Lock,
                number: me.process,
                bytes: &serial.to_le_bytes(),
                expiry: self.expiry(ttl_ms),
            };
            shard.make_room(content.cells(), Room::Keep, self.now)?;
            shard.insert(hash, &content);
            return Ok(true);
        }
    }

    /// Gives back the lock `key`; false if this holder had lost it.
    pub fn release(&self, key: &[u8], serial: u64) -> Result<bool, Refused> {
        let me = Holder {
            process: token(),
            serial,
        };
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        if entry == 0 || shard.holder(entry)? != me {
            return Ok(false);
        }
        let was_live = shard.is_live(entry, self.now);
        shard.remove(entry);
        Ok(was_live)
    }
}

impl Shard<'_> {
    fn holder(&self, entry: u32) -> Result<Holder, Refused> {
        let tag = self.tag(entry);
        if tag.value != Type::Lock {
            return Err(Refused::Kind {
                is_list: tag.value == Type::List,
            });
        }
        let mut cursor = self.entry_bytes(entry);
        self.skip(&mut cursor, tag.key_bytes);
        let bytes = self.read(&mut cursor, 8);
        let serial = bytes.try_into().map_or(0, u64::from_le_bytes);
        Ok(Holder {
            process: self.field(entry, NUMBER),
            serial,
        })
    }
}
