//! Values by their keys: reading, setting, counting, and how long they live.

use super::cell::{from_int, to_int, Type, EXPIRY, NUMBER};
use super::cell_rate::{CellRate, Throttled};
use super::entries::{stored, Content, Room};
use super::shard::Shard;
use super::value::{sum, Number, Owned, Refused, Value};
use super::Dictionary;

impl Dictionary {
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

    /// Decides on one request by the generic cell rate algorithm (ITU-T I.371, appendix I.2), at `now` in seconds of any
    /// clock that does not go back. The entry is the moment at which the bucket is full again, and lives until then.
    pub fn throttle(&self, key: &[u8], rate: CellRate, now: f64) -> Result<Throttled, Refused> {
        let (shard, hash) = self.locked(key)?;
        let entry = shard.find(hash, key);
        let now_ms = (self.now)();
        let known = entry != 0 && shard.is_live(entry, || now_ms);
        let former = if known {
            match shard.tag(entry).value {
                Type::Float => f64::from_bits(shard.field(entry, NUMBER)),
                Type::List => return Err(Refused::Kind { is_list: true }),
                _ => return Err(Refused::NotANumber),
            }
        } else {
            now
        };
        let throttled = rate.decide(former - now);
        if throttled.wait > 0.0 {
            if known {
                shard.touch(entry);
            }
            return Ok(throttled);
        }
        let full_at = now + throttled.full_in;
        let expiry = now_ms.saturating_add(CellRate::life_ms(throttled.full_in));
        if known {
            shard.set_field(entry, EXPIRY, expiry);
            shard.set_field(entry, NUMBER, full_at.to_bits());
            shard.touch(entry);
        } else {
            self.put_until(&shard, hash, key, Value::Float(full_at), expiry)?;
        }
        Ok(throttled)
    }

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
}
