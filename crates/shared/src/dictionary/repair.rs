//! Repair: what a process that died with the lock may have left half done is made whole.
//!
//! How it works: the tags of entries, their parts and the forward links of lists are true (see [`super::shard`]). Buckets,
//! order of use, counts, backward links and the free cells are made anew from them. An operation that was cut short has
//! happened or has not; no other entry is lost, the order of use is kept as far as its list can be followed. Nothing
//! true of what stays is changed on the way, so a repair that is itself cut short is begun anew by the next process.
//! It looks at every cell ever used: a few milliseconds for a full shard of 16 MB.

use super::cell::{
    high, link, low, parts_for, Tag, Type, CHAIN, ENTRY, ENTRY_ROOM, ITEM, ITEM_LINKS, ITEM_PARTS, ITEM_ROOM,
    NUMBER, ORDER, PART, PARTS, TAG,
};
use super::layout::{ENTRIES, FREE_COUNT, FREE_FIRST, FRESH, RECENCY, REPAIRS, SHARD_HEAD_WORDS, TORN};
use super::shard::Shard;

/// Which cells belong to something; index 0 is not used.
type Claimed = Vec<bool>;

impl Shard<'_> {
    #[cold]
    pub(crate) fn repair(&self) {
        let entries = self.entries_in_order();
        for word in SHARD_HEAD_WORDS..SHARD_HEAD_WORDS + self.layout.buckets {
            if self.load(word) != 0 {
                self.store(word, 0);
            }
        }
        self.store(RECENCY, 0);
        self.store(ENTRIES, 0);
        let mut claimed = vec![false; self.used_cells() + 1];
        for entry in entries.into_iter().rev() {
            self.readmit(entry, &mut claimed);
        }
        self.store(FREE_FIRST, 0);
        self.store(FREE_COUNT, 0);
        for cell in (1..=self.used_cells()).rev() {
            if !claimed[cell] {
                self.release_cell(u32::try_from(cell).expect("cells are counted in 32 bits"));
            }
        }
        self.add(REPAIRS, 1);
        self.store(TORN, 0);
    }

    fn used_cells(&self) -> usize {
        usize::try_from(self.load(FRESH)).map_or(self.layout.cells, |fresh| fresh.min(self.layout.cells))
    }

    /// The tag of a cell if it is of this kind; `None` also for numbers that are no cells.
    fn tagged(&self, cell: u32, kind: u64) -> Option<Tag> {
        let is_cell = cell != 0 && cell as usize <= self.used_cells();
        is_cell
            .then(|| Tag::read(self.field(cell, TAG)))
            .flatten()
            .filter(|tag| tag.kind == kind)
    }

    /// All entries, most recently used first as far as that is known.
    fn entries_in_order(&self) -> Vec<u32> {
        let mut seen = vec![false; self.used_cells() + 1];
        let mut found = Vec::new();
        let ends = self.load(RECENCY);
        let mut next = high(ends);
        while self.tagged(next, ENTRY).is_some() && !seen[next as usize] {
            seen[next as usize] = true;
            found.push(next);
            next = low(self.field(next, ORDER));
        }
        let mut oldest_first = Vec::new();
        next = low(ends);
        while self.tagged(next, ENTRY).is_some() && !seen[next as usize] {
            seen[next as usize] = true;
            oldest_first.push(next);
            next = high(self.field(next, ORDER));
        }
        // Those that neither end leads to, between the two.
        for cell in (1..=self.used_cells()).rev() {
            let entry = u32::try_from(cell).expect("cells are counted in 32 bits");
            if !seen[cell] && self.tagged(entry, ENTRY).is_some() {
                found.push(entry);
            }
        }
        found.extend(oldest_first.into_iter().rev());
        found
    }

    /// Links an entry again, unless it is not whole or another one of its key is there: the one it was to replace, or that
    /// replaced it. One that is not linked is not an entry any more before its cells are released: a repair begun anew must
    /// not find it with a part of them.
    fn readmit(&self, entry: u32, claimed: &mut Claimed) {
        if !self.is_readmitted(entry, claimed) {
            self.set_field(entry, TAG, link(PART, 0));
        }
    }

    fn is_readmitted(&self, entry: u32, claimed: &mut Claimed) -> bool {
        let tag = self.tag(entry);
        let Some(parts) = self.chain(
            low(self.field(entry, PARTS)),
            parts_for(tag.byte_words(), ENTRY_ROOM),
            claimed,
        ) else {
            return false;
        };
        let hash = high(self.field(entry, CHAIN));
        if self.find(hash, &self.key(entry)) != 0 {
            return false;
        }
        if tag.value == Type::List && !self.readmit_items(entry, claimed) {
            return false;
        }
        claimed[entry as usize] = true;
        mark(&parts, claimed);
        self.link_entry(entry, hash);
        true
    }

    /// Follows a list's forward links and makes the rest of it anew; false if it has no items.
    fn readmit_items(&self, entry: u32, claimed: &mut Claimed) -> bool {
        let first = high(self.field(entry, NUMBER));
        let (mut previous, mut count) = (0, 0);
        let mut item = first;
        while let Some(tag) = self.tagged(item, ITEM).filter(|_| !claimed[item as usize]) {
            let parts = parts_for(tag.byte_words(), ITEM_ROOM);
            let Some(parts) = self.chain(low(self.field(item, ITEM_PARTS)), parts, claimed) else {
                break;
            };
            claimed[item as usize] = true;
            mark(&parts, claimed);
            self.set_previous(item, previous);
            (previous, count) = (item, count + 1);
            item = high(self.field(item, ITEM_LINKS));
        }
        if count == 0 {
            return false;
        }
        self.set_next(previous, 0);
        self.set_field(entry, NUMBER, super::cell::halves(first, previous));
        self.set_items(entry, count);
        true
    }

    /// The cells of a chain of `count` parts; `None` if it is not whole.
    fn chain(&self, first: u32, count: usize, claimed: &Claimed) -> Option<Vec<u32>> {
        let mut parts = Vec::with_capacity(count.min(self.used_cells()));
        let mut part = first;
        for _ in 0..count {
            let is_cell = part != 0 && part as usize <= self.used_cells();
            if !is_cell || claimed[part as usize] || self.field(part, TAG) >> 56 != PART {
                return None;
            }
            parts.push(part);
            part = low(self.field(part, TAG));
        }
        (part == 0).then_some(parts)
    }
}

fn mark(parts: &[u32], claimed: &mut Claimed) {
    for part in parts {
        claimed[*part as usize] = true;
    }
}
