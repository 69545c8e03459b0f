//! What workers share of limits that adapt to latency: a few numbers for each cell that a server or upstream may have.

use std::sync::atomic::AtomicU64;

use crate::metrics::{FIRST_SERVER_CELL, SERVER_CELLS};
use crate::paces::PACE_WORDS;
use crate::servers::TABLE_WORDS;
use crate::Zone;

/// Numbers of a limit.
const WORDS: usize = 4;

/// Words of the whole table.
pub(crate) const LIMIT_WORDS: usize = SERVER_CELLS as usize * WORDS;

/// A number of a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitWord {
    /// The limit itself, and what was counted for it.
    Limit = 0,
    /// What it was found by.
    Base = 1,
    /// When it may change again: milliseconds of the clock that all processes share.
    Next = 2,
}

impl Zone {
    /// A number of the limit that belongs to a cell of a server or upstream; 0 at first.
    #[must_use]
    pub fn limit_word(&self, cell: u32, word: LimitWord) -> &AtomicU64 {
        let at = (cell.saturating_sub(FIRST_SERVER_CELL) % SERVER_CELLS) as usize;
        self.common_word(TABLE_WORDS + PACE_WORDS + at * WORDS + word as usize)
    }
}
