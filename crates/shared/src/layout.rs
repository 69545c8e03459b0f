//! Where things are in a zone, in units of 8 bytes ("words").
//!
//! ```text
//! word 0   magic            the text "hgzone\0\0"
//! word 1   version
//! word 2   slots
//! word 3   cells per slot
//! word 4   a number that changes with what is said of servers
//! word 512 what is said of servers, see `servers`
//! ...      until when bandwidth is used, see `paces`
//! ...      limits that adapt, see `adaptive_limits`
//! ...      slot 0: cells, padded to 128 bytes
//! ...      slot 1, and so on
//! ```
//!
//! The header has a page to itself. Slots begin 128 bytes apart or more: two cache lines, since processors fetch lines in
//! pairs, so that no worker's counting slows another's.

use crate::adaptive_limits::LIMIT_WORDS;
use crate::memory::WORD_BYTES;
use crate::paces::PACE_WORDS;
use crate::servers::TABLE_WORDS;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"hgzone\0\0");
pub(crate) const VERSION: u64 = 3;
pub(crate) const HEADER_WORDS: usize = 4096 / WORD_BYTES;
/// In the header.
pub(crate) const CHANGE_WORD: usize = 4;
/// The first word of the first slot.
const FIRST_SLOT_WORD: usize = HEADER_WORDS + TABLE_WORDS + PACE_WORDS + LIMIT_WORDS;
/// Workers in a zone.
pub(crate) const MAX_SLOTS: u32 = 4096;
/// Numbers in a slot.
pub(crate) const MAX_CELLS: u32 = 1 << 20;
/// Words in a whole zone: 1 GiB.
const MAX_WORDS: usize = (1 << 30) / WORD_BYTES;
const SLOT_WORDS_STEP: usize = 128 / WORD_BYTES;

/// A size of zone that fits all limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) slots: u32,
    pub(crate) cells: u32,
    pub(crate) stride_words: usize,
    pub(crate) words: usize,
}

impl Layout {
    /// `None` if a size is 0 or past its limit.
    pub(crate) fn new(slots: u32, cells: u32) -> Option<Self> {
        if !(1..=MAX_SLOTS).contains(&slots) || !(1..=MAX_CELLS).contains(&cells) {
            return None;
        }
        let stride_words = usize::try_from(cells).ok()?.next_multiple_of(SLOT_WORDS_STEP);
        let body = stride_words.checked_mul(usize::try_from(slots).ok()?)?;
        let words = body.checked_add(FIRST_SLOT_WORD)?;
        (words <= MAX_WORDS).then_some(Self {
            slots,
            cells,
            stride_words,
            words,
        })
    }

    /// The first word of a slot; panics if there is none of that number.
    pub(crate) fn first_word(self, slot: u32) -> usize {
        let slots = self.slots;
        assert!(slot < slots, "slot {slot} of a zone of {slots}");
        FIRST_SLOT_WORD + slot as usize * self.stride_words
    }

    pub(crate) fn bytes(self) -> usize {
        self.words * WORD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_slots_never_share_two_cache_lines() {
        let layout = Layout::new(3, 17).expect("sizes are within the limits");
        assert_eq!(layout.stride_words * WORD_BYTES % 128, 0);
        assert!(layout.stride_words >= 17);
        assert_eq!(layout.words, FIRST_SLOT_WORD + 3 * layout.stride_words);
    }

    #[test]
    fn test_sizes_past_the_limits_are_refused() {
        for (slots, cells) in [
            (0, 1),
            (1, 0),
            (MAX_SLOTS + 1, 1),
            (1, MAX_CELLS + 1),
            (MAX_SLOTS, MAX_CELLS),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(Layout::new(slots, cells), None, "{slots} x {cells}");
        }
    }
}
