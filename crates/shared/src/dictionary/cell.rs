//! What the words of a cell mean.
//!
//! ```text
//!            entry                          item of a list              part of either, or free
//! word 0     kind 8 | type 8 | key 16 | value bytes 32   (all)          kind 8 | next cell 32
//! word 1     hash 32 | next in bucket 32    next 32 | previous 32       bytes
//! word 2     newer 32 | older 32            number                      bytes
//! word 3     expiry in ms, 0: never         first part                  bytes
//! word 4     items 32 | first part 32       bytes                       bytes
//! word 5     number; first, last item       bytes                       bytes
//! words 6, 7 bytes                          bytes                       bytes
//! ```
//!
//! The bytes of an entry are its key, padded to whole words, then its value; both may go on in parts.

pub(crate) const FREE: u64 = 1;
pub(crate) const PART: u64 = 2;
pub(crate) const ENTRY: u64 = 3;
pub(crate) const ITEM: u64 = 4;

pub(crate) const TAG: usize = 0;
pub(crate) const CHAIN: usize = 1;
pub(crate) const ORDER: usize = 2;
pub(crate) const EXPIRY: usize = 3;
pub(crate) const PARTS: usize = 4;
pub(crate) const NUMBER: usize = 5;
pub(crate) const ENTRY_BYTES_AT: usize = 6;

pub(crate) const ITEM_LINKS: usize = 1;
pub(crate) const ITEM_NUMBER: usize = 2;
pub(crate) const ITEM_PARTS: usize = 3;
pub(crate) const ITEM_BYTES_AT: usize = 4;

pub(crate) const PART_BYTES_AT: usize = 1;

/// Words of bytes that an entry, an item and a part hold themselves.
pub(crate) const ENTRY_ROOM: usize = 2;
pub(crate) const ITEM_ROOM: usize = 4;
pub(crate) const PART_ROOM: usize = 7;

/// The type of an entry's or an item's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Type {
    None = 1,
    Bool,
    Int,
    Float,
    Bytes,
    Text,
    Json,
    List,
    /// A lock by name: the number is its holder's token, the bytes its serial number.
    Lock,
}

impl Type {
    const ALL: [Self; 9] = [
        Self::None,
        Self::Bool,
        Self::Int,
        Self::Float,
        Self::Bytes,
        Self::Text,
        Self::Json,
        Self::List,
        Self::Lock,
    ];
}

/// Word 0 of an entry or an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: u64,
    pub(crate) value: Type,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
}

impl Tag {
    pub(crate) fn word(self) -> u64 {
        self.kind << 56 | (self.value as u64) << 48 | (self.key_bytes as u64) << 32 | self.value_bytes as u64
    }

    /// `None` for free cells, parts, and what makes no sense.
    pub(crate) fn read(word: u64) -> Option<Self> {
        let kind = word >> 56;
        let value = (high(word) >> 16 & 0xff).checked_sub(1)?;
        let value = *Type::ALL.get(value as usize)?;
        matches!(kind, ENTRY | ITEM).then_some(Self {
            kind,
            value,
            key_bytes: (word >> 32) as usize & 0xffff,
            value_bytes: low(word) as usize,
        })
    }

    /// Words of bytes: the key's, then the value's.
    pub(crate) fn byte_words(self) -> usize {
        self.key_bytes.div_ceil(8) + self.value_bytes.div_ceil(8)
    }
}

/// The parts that so many words of bytes need beside the first cell's own room.
pub(crate) fn parts_for(words: usize, room: usize) -> usize {
    words.saturating_sub(room).div_ceil(PART_ROOM)
}

pub(crate) fn link(kind: u64, next: u32) -> u64 {
    kind << 56 | u64::from(next)
}

pub(crate) fn halves(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[allow(clippy::cast_possible_truncation, reason = "the half that is meant")]
pub(crate) fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[allow(clippy::cast_possible_truncation, reason = "the half that is meant")]
pub(crate) fn low(word: u64) -> u32 {
    word as u32
}

/// The bits of a whole number, and back.
pub(crate) fn from_int(n: i64) -> u64 {
    u64::from_ne_bytes(n.to_ne_bytes())
}

pub(crate) fn to_int(word: u64) -> i64 {
    i64::from_ne_bytes(word.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_a_tag_reads_as_it_was_written() {
        for value in Type::ALL {
            let tag = Tag {
                kind: ENTRY,
                value,
                key_bytes: 65535,
                value_bytes: u32::MAX as usize,
            };
            assert_eq!(Tag::read(tag.word()), Some(tag));
        }
    }

    #[test]
    fn test_links_and_nonsense_are_no_tags() {
        for word in [
            0,
            link(FREE, 7),
            link(PART, 7),
            u64::MAX,
            ENTRY << 56,
            ITEM << 56 | 99 << 48,
        ] {
            assert_eq!(Tag::read(word), None, "{word:x}");
        }
    }
}
