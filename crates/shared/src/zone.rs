//! The zone of counters.
//!
//! How it works: a memfd holds a header and one slot per worker; a worker writes only into its own slot, anyone reads all.
//! So adding is never contended, and when a worker dies the supervisor clears its slot and with it the dead one's share
//! of every sum (connections it held, for one).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use thiserror::Error;

use crate::layout::{Layout, CHANGE_WORD, HEADER_WORDS, MAGIC, MAX_CELLS, MAX_SLOTS, VERSION};
use crate::memory::{first_words, sealed_bytes, Memory};

/// Why a file descriptor cannot be used as a zone.
#[derive(Debug, Error)]
pub enum ZoneError {
    /// The system refused to describe or map it.
    #[error("cannot map the zone: {0}")]
    Io(#[from] io::Error),
    /// The file may shrink under its readers, so it was not made by [`Zone::create`].
    #[error("the file is not sealed\nhint: use the descriptor that `Zone::create` made")]
    NotSealed,
    /// The header is not that of a zone.
    #[error("the file is not a zone")]
    NotAZone,
    /// Made by another version of this program.
    #[error("the zone has version {found}, not {VERSION}\nhint: restart the supervisor")]
    Version {
        /// The version found.
        found: u64,
    },
    /// The sizes in the header are past the limits or do not fit the file.
    #[error("the zone says {slots} slots of {cells} cells, which does not match its {bytes} bytes")]
    Size {
        /// Slots in the header.
        slots: u64,
        /// Cells in the header.
        cells: u64,
        /// Bytes of the file.
        bytes: u64,
    },
}

/// Counters in shared memory: `slots` x `cells` numbers of 64 bits, all 0 at first.
///
/// All operations are single relaxed atomic ones: no locks, no order between cells. Numbers wrap around, so a `sub` in
/// one slot may undo an `add` in another and the sum is right. A slot or cell that does not exist panics, as an index past
/// the end of a slice does.
#[derive(Debug)]
pub struct Zone {
    memory: Memory,
    layout: Layout,
}

impl Zone {
    /// Makes a zone. The descriptor is close-on-exec: whoever starts a process clears that for the copy passed on.
    ///
    /// # Errors
    /// `InvalidInput` for a size of 0 or past the limits (4096 slots, 1048576 cells, 1 GiB); else the system's.
    pub fn create(slots: u32, cells: u32) -> io::Result<Self> {
        let layout = Layout::new(slots, cells).ok_or_else(|| {
            let text = format!(
                "bad zone size: {slots} slots of {cells} cells\nhint: 1 to {MAX_SLOTS} slots, 1 to {MAX_CELLS} cells, at most 1 GiB"
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let memory = Memory::create("headgate-zone", layout.words)?;
        let zone = Self { memory, layout };
        let header = [MAGIC, VERSION, u64::from(slots), u64::from(cells)];
        for (word, value) in zone.memory.words().iter().zip(header) {
            word.store(value, Relaxed);
        }
        Ok(zone)
    }

    /// Maps a zone made by [`Zone::create`] in this or another process.
    pub fn open(file: OwnedFd) -> Result<Self, ZoneError> {
        // Seals first: only then do the checks below stay true.
        let bytes = sealed_bytes(&file)?.ok_or(ZoneError::NotSealed)?;
        let [magic, version, slots, cells] = first_words(&file, bytes)?.ok_or(ZoneError::NotAZone)?;
        if magic != MAGIC {
            return Err(ZoneError::NotAZone);
        }
        if version != VERSION {
            return Err(ZoneError::Version { found: version });
        }
        let layout = u32::try_from(slots)
            .ok()
            .zip(u32::try_from(cells).ok())
            .and_then(|(slots, cells)| Layout::new(slots, cells))
            .filter(|layout| layout.bytes() as u64 == bytes)
            .ok_or(ZoneError::Size { slots, cells, bytes })?;
        let memory = Memory::map(file, layout.words)?;
        Ok(Self { memory, layout })
    }

    /// The descriptor, to be passed on to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.layout.slots
    }

    /// How many cells a slot has.
    pub fn cells(&self) -> u32 {
        self.layout.cells
    }

    /// Adds `n` to a cell.
    pub fn add(&self, slot: u32, cell: u32, n: u64) {
        self.cell(slot, cell).fetch_add(n, Relaxed);
    }

    /// A slot, for the one thread that counts in it. Panics if there is none of that number.
    pub fn slot(self, slot: u32) -> Slot {
        Slot {
            first_word: self.layout.first_word(slot),
            number: slot,
            zone: self,
        }
    }

    /// Takes `n` from a cell.
    pub fn sub(&self, slot: u32, cell: u32, n: u64) {
        self.cell(slot, cell).fetch_sub(n, Relaxed);
    }

    /// Sets a cell.
    pub fn set(&self, slot: u32, cell: u32, n: u64) {
        self.cell(slot, cell).store(n, Relaxed);
    }

    /// Reads a cell.
    pub fn get(&self, slot: u32, cell: u32) -> u64 {
        self.cell(slot, cell).load(Relaxed)
    }

    /// The sum of a cell over all slots. Costs one memory read a slot; not one moment in time.
    pub fn sum(&self, cell: u32) -> u64 {
        (0..self.slots()).fold(0, |sum, slot| sum.wrapping_add(self.get(slot, cell)))
    }

    /// Moves the cells of a slot to those of another one, but for those that `is_present` says hold what is, not what has been:
    /// these become 0. Its worker is dead; no other process writes into the other slot.
    pub fn retire(&self, slot: u32, into: u32, is_present: impl Fn(u32) -> bool) {
        for cell in 0..self.cells() {
            let n = self.get(slot, cell);
            if n != 0 && !is_present(cell) {
                self.add(into, cell, n);
            }
            self.set(slot, cell, 0);
        }
    }

    /// Sets all cells of a slot to 0: its worker is dead.
    pub fn clear(&self, slot: u32) {
        for cell in 0..self.cells() {
            self.set(slot, cell, 0);
        }
    }

    /// A word of the part that is no slot's.
    pub(crate) fn common_word(&self, word: usize) -> &AtomicU64 {
        &self.memory.words()[HEADER_WORDS + word]
    }

    /// The word that changes with what is said of servers.
    #[inline]
    pub(crate) fn change_word(&self) -> &AtomicU64 {
        &self.memory.words()[CHANGE_WORD]
    }

    fn cell(&self, slot: u32, cell: u32) -> &AtomicU64 {
        self.at(self.layout.first_word(slot), cell)
    }

    /// A cell of the slot that begins with this word.
    #[inline]
    fn at(&self, first_word: usize, cell: u32) -> &AtomicU64 {
        let cells = self.cells();
        assert!(cell < cells, "cell {cell} of a zone of {cells}");
        &self.memory.words()[first_word + cell as usize]
    }
}

/// A slot of a zone whose place is known already, to count in on the hot path.
#[derive(Debug)]
pub struct Slot {
    zone: Zone,
    number: u32,
    first_word: usize,
}

impl Slot {
    /// Adds `n` to a cell, as [`Zone::add`] does, but without a locked instruction, which would first wait for everything
    /// this core has written. Of two threads that do this one may undo the other's.
    #[inline]
    pub fn count(&self, cell: u32, n: u64) {
        let cell = self.zone.at(self.first_word, cell);
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a cell.
    pub fn set(&self, cell: u32, n: u64) {
        self.zone.set(self.number, cell, n);
    }

    /// What is in a cell of this slot.
    pub fn get(&self, cell: u32) -> u64 {
        self.zone.get(self.number, cell)
    }

    /// The zone with all its slots.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
