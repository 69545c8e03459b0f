//! Whether a dictionary's parts fit together: every cell is free or belongs to one entry, and every list can be walked
//! from both ends. For tests and fuzzing; it takes as long as a repair.

use super::cell::{
    high, low, parts_for, Tag, Type, CHAIN, ENTRY, ENTRY_ROOM, FREE, ITEM, ITEM_LINKS, ITEM_PARTS, ITEM_ROOM,
    NUMBER, ORDER, PART, PARTS, TAG,
};
use super::layout::{ENTRIES, FREE_COUNT, FREE_FIRST, FRESH, RECENCY, SHARD_HEAD_WORDS};
use super::shard::Shard;
use super::Dictionary;

impl Dictionary {
    /// Checks the structure of every shard; the text says what is wrong.
    pub fn audit(&self) -> Result<(), String> {
        for number in 0..self.layout.shards {
            let shard = self.shard(number).map_err(|error| error.to_string())?;
            shard
                .audit()
                .map_err(|problem| format!("shard {number}: {problem}"))?;
        }
        Ok(())
    }
}

impl Shard<'_> {
    fn audit(&self) -> Result<(), String> {
        let fresh = usize::try_from(self.load(FRESH)).map_err(|error| error.to_string())?;
        if fresh > self.layout.cells {
            return Err(format!("{fresh} cells used of {}", self.layout.cells));
        }
        let mut seen = vec![false; fresh + 1];
        let mut entries = 0;
        for bucket in 0..self.layout.buckets {
            let mut entry = low(self.load(SHARD_HEAD_WORDS + bucket));
            while entry != 0 {
                self.audit_entry(entry, bucket, &mut seen)?;
                entries += 1;
                entry = low(self.field(entry, CHAIN));
            }
        }
        if entries != self.load(ENTRIES) {
            return Err(format!("{entries} entries, {} counted", self.load(ENTRIES)));
        }
        self.audit_order(entries)?;
        let mut free = 0;
        let mut cell = low(self.load(FREE_FIRST));
        while cell != 0 {
            claim(cell, &mut seen)?;
            free += 1;
            let word = self.field(cell, TAG);
            if word >> 56 != FREE {
                return Err(format!("free cell {cell} has tag {word:x}"));
            }
            cell = low(word);
        }
        if free != self.load(FREE_COUNT) {
            return Err(format!("{free} free cells, {} counted", self.load(FREE_COUNT)));
        }
        match seen[1..].iter().position(|is_seen| !is_seen) {
            Some(cell) => Err(format!("cell {} belongs to nothing", cell + 1)),
            None => Ok(()),
        }
    }

    fn audit_entry(&self, entry: u32, bucket: usize, seen: &mut [bool]) -> Result<(), String> {
        claim(entry, seen)?;
        let tag = Tag::read(self.field(entry, TAG)).filter(|tag| tag.kind == ENTRY);
        let tag = tag.ok_or_else(|| format!("entry {entry} is not tagged as one"))?;
        let hash = high(self.field(entry, CHAIN));
        if hash as usize & (self.layout.buckets - 1) != bucket {
            return Err(format!("entry {entry} is in the wrong bucket"));
        }
        if self.find(hash, &self.key(entry)) != entry {
            return Err(format!("entry {entry} is hidden by another of its key"));
        }
        let parts = parts_for(tag.byte_words(), ENTRY_ROOM);
        self.audit_parts(low(self.field(entry, PARTS)), parts, seen)?;
        if tag.value != Type::List {
            return Ok(());
        }
        let ends = self.field(entry, NUMBER);
        let (mut previous, mut item, mut count) = (0, high(ends), 0);
        while item != 0 {
            claim(item, seen)?;
            let tag = Tag::read(self.field(item, TAG)).filter(|tag| tag.kind == ITEM);
            let tag = tag.ok_or_else(|| format!("item {item} is not tagged as one"))?;
            let parts = parts_for(tag.byte_words(), ITEM_ROOM);
            self.audit_parts(low(self.field(item, ITEM_PARTS)), parts, seen)?;
            let links = self.field(item, ITEM_LINKS);
            if low(links) != previous {
                return Err(format!("item {item} follows {previous}, and says {}", low(links)));
            }
            (previous, item, count) = (item, high(links), count + 1);
        }
        if previous != low(ends) || count != self.items(entry) || count == 0 {
            return Err(format!("list {entry} has {count} items and ends in {previous}"));
        }
        Ok(())
    }

    fn audit_parts(&self, first: u32, count: usize, seen: &mut [bool]) -> Result<(), String> {
        let mut part = first;
        for _ in 0..count {
            claim(part, seen)?;
            let word = self.field(part, TAG);
            if word >> 56 != PART {
                return Err(format!("part {part} has tag {word:x}"));
            }
            part = low(word);
        }
        if part == 0 {
            return Ok(());
        }
        Err(format!("part {part} is one too many"))
    }

    fn audit_order(&self, entries: u64) -> Result<(), String> {
        let ends = self.load(RECENCY);
        let (mut newer, mut entry, mut count) = (0, high(ends), 0);
        while entry != 0 && count <= entries {
            let links = self.field(entry, ORDER);
            if high(links) != newer {
                return Err(format!(
                    "entry {entry} is older than {newer}, and says {}",
                    high(links)
                ));
            }
            (newer, entry, count) = (entry, low(links), count + 1);
        }
        if newer != low(ends) || count != entries {
            return Err(format!("{count} of {entries} entries are in the order of use"));
        }
        Ok(())
    }
}

fn claim(cell: u32, seen: &mut [bool]) -> Result<(), String> {
    match seen.get_mut(cell as usize) {
        Some(is_seen) if cell != 0 && !*is_seen => {
            *is_seen = true;
            Ok(())
        }
        _ => Err(format!("cell {cell} is not a cell, or belongs to two")),
    }
}
