//! One shard: its lock, its words, its cells, and the bytes in them.
//!
//! How it works: everything is written by single stores, in program order (each is a release). A process that is killed
//! leaves a prefix of them. What is true after that are the tags of entries, the chains of their parts and the forward
//! links of lists; each operation takes effect by one store to one of these, and `repair` makes the rest anew.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cell::{
    link, low, Tag, ENTRY_BYTES_AT, ENTRY_ROOM, FREE, ITEM_BYTES_AT, ITEM_PARTS, ITEM_ROOM, PART, PARTS,
    PART_BYTES_AT, PART_ROOM, TAG,
};
use super::layout::{Layout, CELL_WORDS, FREE_COUNT, FREE_FIRST, FRESH, LOCK, TORN};
use super::value::Refused;
use crate::lock::{give_back, take, Acquired, Stuck};

/// A shard, locked until this is dropped.
pub(crate) struct Shard<'a> {
    pub(crate) layout: &'a Layout,
    words: &'a [AtomicU64],
}

impl<'a> Shard<'a> {
    /// Waits for the lock, and mends what a dead owner left.
    #[inline]
    pub(crate) fn lock(words: &'a [AtomicU64], layout: &'a Layout) -> Result<Self, Refused> {
        let taken = take(&words[LOCK]).map_err(|Stuck { pid }| Refused::Stuck { pid })?;
        let shard = Self { layout, words };
        if taken == Acquired::FromTheDead || shard.load(TORN) != 0 {
            shard.repair();
        }
        Ok(shard)
    }

    #[inline]
    pub(crate) fn load(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn store(&self, word: usize, value: u64) {
        #[cfg(test)]
        super::journal::record(word, value);
        self.words[word].store(value, Ordering::Release);
    }

    pub(crate) fn add(&self, word: usize, by: u64) {
        self.store(word, self.load(word).wrapping_add(by));
    }

    pub(crate) fn less(&self, word: usize, by: u64) {
        self.store(word, self.load(word).wrapping_sub(by));
    }

    /// A word of a cell.
    #[inline]
    pub(crate) fn field(&self, cell: u32, field: usize) -> u64 {
        self.load(self.cell_at(cell) + field)
    }

    #[inline]
    pub(crate) fn set_field(&self, cell: u32, field: usize, value: u64) {
        self.store(self.cell_at(cell) + field, value);
    }

    /// The tag of an entry or item.
    #[inline]
    pub(crate) fn tag(&self, cell: u32) -> Tag {
        Tag::read(self.field(cell, TAG)).expect("what is linked was tagged before")
    }

    fn cell_at(&self, cell: u32) -> usize {
        self.layout.cells_at() + (cell as usize - 1) * CELL_WORDS
    }

    // ---- cells

    /// Cells that can be had without taking any from an entry.
    pub(crate) fn available(&self) -> usize {
        let fresh = usize::try_from(self.load(FRESH)).unwrap_or(usize::MAX);
        let free = usize::try_from(self.load(FREE_COUNT)).unwrap_or(0);
        self.layout.cells.saturating_sub(fresh) + free
    }

    /// One of them. Callers have asked whether there is one.
    pub(crate) fn take_cell(&self) -> u32 {
        let first = low(self.load(FREE_FIRST));
        if first != 0 {
            self.store(FREE_FIRST, u64::from(low(self.field(first, TAG))));
            self.less(FREE_COUNT, 1);
            return first;
        }
        self.add(FRESH, 1);
        low(self.load(FRESH))
    }

    /// A chain of `count` parts; gives the first, 0 for none.
    pub(crate) fn take_parts(&self, count: usize) -> u32 {
        (0..count).fold(0, |next, _| {
            let part = self.take_cell();
            self.set_field(part, TAG, link(PART, next));
            part
        })
    }

    pub(crate) fn release_cell(&self, cell: u32) {
        self.set_field(cell, TAG, link(FREE, low(self.load(FREE_FIRST))));
        self.store(FREE_FIRST, u64::from(cell));
        self.add(FREE_COUNT, 1);
    }

    pub(crate) fn release_parts(&self, first: u32) {
        let mut part = first;
        while part != 0 {
            let next = low(self.field(part, TAG));
            self.release_cell(part);
            part = next;
        }
    }

    // ---- bytes

    /// Where the bytes of an entry begin: its key's.
    pub(crate) fn entry_bytes(&self, entry: u32) -> Cursor {
        Cursor {
            at: self.cell_at(entry) + ENTRY_BYTES_AT,
            left: ENTRY_ROOM,
            part: low(self.field(entry, PARTS)),
        }
    }

    /// Where the bytes of an item begin.
    pub(crate) fn item_bytes(&self, item: u32) -> Cursor {
        Cursor {
            at: self.cell_at(item) + ITEM_BYTES_AT,
            left: ITEM_ROOM,
            part: low(self.field(item, ITEM_PARTS)),
        }
    }

    /// The next word of bytes.
    fn advance(&self, cursor: &mut Cursor) -> usize {
        if cursor.left == 0 {
            let part = cursor.part;
            cursor.at = self.cell_at(part) + PART_BYTES_AT;
            cursor.left = PART_ROOM;
            cursor.part = low(self.field(part, TAG));
        }
        let at = cursor.at;
        cursor.at += 1;
        cursor.left -= 1;
        at
    }

    pub(crate) fn write(&self, cursor: &mut Cursor, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let at = self.advance(cursor);
            self.store(at, word_of(chunk));
        }
    }

    pub(crate) fn read(&self, cursor: &mut Cursor, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.next_multiple_of(8));
        for _ in 0..bytes.div_ceil(8) {
            let at = self.advance(cursor);
            out.extend_from_slice(&self.load(at).to_le_bytes());
        }
        out.truncate(bytes);
        out
    }

    /// Whether the bytes are these.
    pub(crate) fn equals(&self, cursor: &mut Cursor, bytes: &[u8]) -> bool {
        bytes
            .chunks(8)
            .all(|chunk| self.load(self.advance(cursor)) == word_of(chunk))
    }

    pub(crate) fn skip(&self, cursor: &mut Cursor, bytes: usize) {
        for _ in 0..bytes.div_ceil(8) {
            self.advance(cursor);
        }
    }
}

impl Drop for Shard<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.words[TORN].store(1, Ordering::Release);
        }
        give_back(&self.words[LOCK]);
    }
}

/// A place among the bytes of an entry or item.
pub(crate) struct Cursor {
    at: usize,
    left: usize,
    part: u32,
}

/// Up to eight bytes as a word, zeros after them.
#[inline]
fn word_of(chunk: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(word)
}
