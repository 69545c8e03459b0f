//! Lists: an entry whose items hang in a chain, reached from both ends.
//!
//! The chain of forward links is what counts. A new item is complete before one store hangs it in; backward links, the
//! last item and the count follow, and are made anew by a repair.

use super::cell::{
    halves, high, low, parts_for, Tag, Type, ITEM, ITEM_LINKS, ITEM_NUMBER, ITEM_PARTS, ITEM_ROOM, NUMBER,
    PARTS, TAG,
};
use super::entries::{owned, Content, Room};
use super::shard::Shard;
use super::value::{End, Owned, Refused};

/// What a new item holds.
pub(crate) struct NewItem<'a> {
    pub(crate) value: Type,
    pub(crate) number: u64,
    pub(crate) bytes: &'a [u8],
}

impl NewItem<'_> {
    pub(crate) fn cells(&self) -> usize {
        1 + parts_for(self.bytes.len().div_ceil(8), ITEM_ROOM)
    }
}

impl Shard<'_> {
    /// Begins a list of one item. The key is not there.
    pub(crate) fn begin_list(
        &self,
        hash: u32,
        key: &[u8],
        new: &NewItem<'_>,
        now: impl Fn() -> u64 + Copy,
    ) -> Result<(), Refused> {
        let mut content = Content {
            key,
            value: Type::List,
            number: 0,
            bytes: &[],
            expiry: 0,
        };
        self.make_room(content.cells() + new.cells(), Room::Evict { spared: 0 }, now)?;
        let item = self.make_item(new, 0, 0);
        content.number = halves(item, item);
        let entry = self.insert(hash, &content);
        self.set_items(entry, 1);
        Ok(())
    }

    /// Adds an item to a list; gives how many it has.
    pub(crate) fn push(
        &self,
        entry: u32,
        end: End,
        new: &NewItem<'_>,
        now: impl Fn() -> u64 + Copy,
    ) -> Result<u32, Refused> {
        self.touch(entry);
        self.make_room(new.cells(), Room::Evict { spared: entry }, now)?;
        let ends = self.field(entry, NUMBER);
        let (first, last) = (high(ends), low(ends));
        match end {
            End::Right => {
                let item = self.make_item(new, 0, last);
                self.set_next(last, item); // from here on it is there
                self.set_field(entry, NUMBER, halves(first, item));
            }
            End::Left => {
                let item = self.make_item(new, first, 0);
                self.set_previous(first, item);
                self.set_field(entry, NUMBER, halves(item, last)); // from here on it is there
            }
        }
        let items = self.items(entry) + 1;
        self.set_items(entry, items);
        Ok(items)
    }

    /// Takes an item off a list; a list that has none left is removed.
    pub(crate) fn pop(&self, entry: u32, end: End) -> Owned {
        let ends = self.field(entry, NUMBER);
        let (first, last) = (high(ends), low(ends));
        let item = if end == End::Left { first } else { last };
        let value = self.item(item);
        if first == last {
            self.remove(entry);
            return value;
        }
        match end {
            End::Right => {
                let previous = low(self.field(item, ITEM_LINKS));
                self.set_next(previous, 0); // from here on it is gone
                self.set_field(entry, NUMBER, halves(first, previous));
            }
            End::Left => {
                let next = high(self.field(item, ITEM_LINKS));
                self.set_field(entry, NUMBER, halves(next, last)); // from here on it is gone
                self.set_previous(next, 0);
            }
        }
        self.set_items(entry, self.items(entry) - 1);
        self.release_item(item);
        self.touch(entry);
        value
    }

    /// How many items a list has.
    pub(crate) fn items(&self, entry: u32) -> u32 {
        high(self.field(entry, PARTS))
    }

    pub(crate) fn set_items(&self, entry: u32, items: u32) {
        let parts = low(self.field(entry, PARTS));
        self.set_field(entry, PARTS, halves(items, parts));
    }

    pub(crate) fn set_next(&self, item: u32, next: u32) {
        let previous = low(self.field(item, ITEM_LINKS));
        self.set_field(item, ITEM_LINKS, halves(next, previous));
    }

    pub(crate) fn set_previous(&self, item: u32, previous: u32) {
        let next = high(self.field(item, ITEM_LINKS));
        self.set_field(item, ITEM_LINKS, halves(next, previous));
    }

    /// A copy of an item's value.
    fn item(&self, item: u32) -> Owned {
        let tag = self.tag(item);
        let bytes = || self.read(&mut self.item_bytes(item), tag.value_bytes);
        owned(tag.value, self.field(item, ITEM_NUMBER), bytes).unwrap_or(Owned::None)
    }

    fn make_item(&self, new: &NewItem<'_>, next: u32, previous: u32) -> u32 {
        let parts = self.take_parts(new.cells() - 1);
        let item = self.take_cell();
        self.set_field(item, ITEM_LINKS, halves(next, previous));
        self.set_field(item, ITEM_NUMBER, new.number);
        self.set_field(item, ITEM_PARTS, u64::from(parts));
        self.write(&mut self.item_bytes(item), new.bytes);
        let tag = Tag {
            kind: ITEM,
            value: new.value,
            key_bytes: 0,
            value_bytes: new.bytes.len(),
        };
        self.set_field(item, TAG, tag.word());
        item
    }
}
