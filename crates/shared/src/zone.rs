//! The zone of counters.
//!
//! How it works: a memfd holds a header and one slot per worker; a worker writes only into its own slot, anyone reads all.
//! So adding is never contended, and when a worker dies the supervisor clears its slot and with it the dead one's share
//! of every sum (connections it held, for one). The file is sealed at its size, for a mapping of a file that shrinks
//! kills its reader (SIGBUS); `open` accepts only sealed files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, MemfdFlags, SealFlags};
use thiserror::Error;

use crate::layout::{Layout, HEADER_WORDS, MAGIC, MAX_CELLS, MAX_SLOTS, VERSION, WORD_BYTES};

/// Why a file descriptor is no usable zone.
#[derive(Debug, Error)]
pub enum ZoneError {
    /// The system refused to describe or map it.
    #[error("cannot map the zone: {0}")]
    Io(#[from] io::Error),
    /// The file may shrink under its readers, so it was not made by [`Zone::create`].
    #[error("the file is not sealed\nhint: pass on the descriptor that `Zone::create` made")]
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
    #[error("the zone says {slots} slots of {cells} cells, which does not fit its {bytes} bytes")]
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
    file: OwnedFd,
    map: MmapRaw,
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
        let file = memfd_create("headgate-zone", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, layout.bytes() as u64)?;
        fcntl_add_seals(&file, SIZE_SEALS | SealFlags::SEAL)?;
        let zone = Self::map(file, layout)?;
        let header = [MAGIC, VERSION, u64::from(slots), u64::from(cells)];
        for (word, value) in zone.words().iter().zip(header) {
            word.store(value, Relaxed);
        }
        Ok(zone)
    }

    /// Maps a zone made by [`Zone::create`] in this or another process.
    pub fn open(file: OwnedFd) -> Result<Self, ZoneError> {
        // Seals first: only then do the checks below stay true.
        let seals = fcntl_get_seals(&file).map_err(|_| ZoneError::NotSealed)?;
        if !seals.contains(SIZE_SEALS) {
            return Err(ZoneError::NotSealed);
        }
        let bytes = u64::try_from(fstat(&file).map_err(io::Error::from)?.st_size).unwrap_or(0);
        let [magic, version, slots, cells] = read_header(&file, bytes)?;
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
        Ok(Self::map(file, layout)?)
    }

    /// The descriptor, to be passed on to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
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

    /// Sets all cells of a slot to 0: its worker is dead.
    pub fn clear(&self, slot: u32) {
        for cell in 0..self.cells() {
            self.set(slot, cell, 0);
        }
    }

    fn cell(&self, slot: u32, cell: u32) -> &AtomicU64 {
        let Layout {
            slots,
            cells,
            stride_words,
            ..
        } = self.layout;
        assert!(slot < slots, "slot {slot} of a zone of {slots}");
        assert!(cell < cells, "cell {cell} of a zone of {cells}");
        &self.words()[HEADER_WORDS + slot as usize * stride_words + cell as usize]
    }

    fn map(file: OwnedFd, layout: Layout) -> io::Result<Self> {
        let map = MmapOptions::new().len(layout.bytes()).map_raw(&file)?;
        Ok(Self { file, map, layout })
    }

    /// The whole zone, header included.
    #[allow(
        unsafe_code,
        clippy::cast_ptr_alignment,
        reason = "memory shared with other processes can only be reached by pointer"
    )]
    fn words(&self) -> &[AtomicU64] {
        let start = self.map.as_ptr().cast::<AtomicU64>();
        // SAFETY:
        // - the mapping starts at a page, so it is aligned, and holds `layout.words` words: `map` asked for that length;
        // - the file cannot shrink below it (sealed, see `create` and `open`), so every page stays readable;
        // - the memory is unmapped only when `self` is dropped, and the borrow of `self` ends before that;
        // - all processes reach it only through this function, as atomics, for which any bits are valid.
        unsafe { std::slice::from_raw_parts(start, self.layout.words) }
    }
}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Reads the header without mapping, so that nothing is mapped before its size is known to be right.
fn read_header(file: &OwnedFd, bytes: u64) -> Result<[u64; 4], ZoneError> {
    let mut raw = [0; 4 * WORD_BYTES];
    if bytes < raw.len() as u64 {
        return Err(ZoneError::NotAZone);
    }
    let read = rustix::io::pread(file, &mut raw, 0).map_err(io::Error::from)?;
    if read < raw.len() {
        return Err(ZoneError::NotAZone);
    }
    let mut header = [0; 4];
    for (word, bytes) in header.iter_mut().zip(raw.chunks_exact(WORD_BYTES)) {
        *word = u64::from_ne_bytes(bytes.try_into().expect("chunks of a word"));
    }
    Ok(header)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
