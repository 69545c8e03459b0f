//! Memory that several processes map: a sealed memfd, seen as words of 64 bits.
//!
//! How it works: every process reaches the memory only as atomics through [`Memory::words`], so no two of them can race in
//! Rust's sense, and an index that is wrong panics instead of reading elsewhere. The file is sealed at its size, for a
//! mapping of a file that shrinks kills its reader (SIGBUS); `open` accepts only sealed files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, MemfdFlags, SealFlags};

pub(crate) const WORD_BYTES: usize = 8;

/// A mapping of a sealed memfd.
#[derive(Debug)]
pub(crate) struct Memory {
    file: OwnedFd,
    map: MmapRaw,
    count: usize,
}

impl Memory {
    /// Makes memory of `count` words, all 0. Untouched pages cost nothing.
    pub(crate) fn create(name: &str, count: usize) -> io::Result<Self> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, (count * WORD_BYTES) as u64)?;
        fcntl_add_seals(&file, SIZE_SEALS | SealFlags::SEAL)?;
        Self::map(file, count)
    }

    /// Maps the first `count` words of a file that [`sealed_bytes`] has found to be at least that long.
    pub(crate) fn map(file: OwnedFd, count: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(count * WORD_BYTES).map_raw(&file)?;
        Ok(Self { file, map, count })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All of it.
    #[allow(
        unsafe_code,
        clippy::cast_ptr_alignment,
        reason = "memory shared with other processes can only be reached by pointer"
    )]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let start = self.map.as_ptr().cast::<AtomicU64>();
        // SAFETY:
        // - the mapping starts at a page, so it is aligned, and holds `count` words: `map` asked for that length;
        // - the file cannot shrink below it (sealed, see `create` and `sealed_bytes`), so every page stays readable;
        // - the memory is unmapped only when `self` is dropped, and the borrow of `self` ends before that;
        // - all processes reach it only through this function, as atomics, for which any bits are valid.
        unsafe { std::slice::from_raw_parts(start, self.count) }
    }
}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// The size of a file, if it is sealed at that.
pub(crate) fn sealed_bytes(file: &OwnedFd) -> io::Result<Option<u64>> {
    match fcntl_get_seals(file) {
        Ok(seals) if seals.contains(SIZE_SEALS) => Ok(Some(u64::try_from(fstat(file)?.st_size).unwrap_or(0))),
        _ => Ok(None),
    }
}

/// Reads the first words without mapping, so that nothing is mapped before its size is known to be right.
pub(crate) fn first_words<const N: usize>(file: &OwnedFd, bytes: u64) -> io::Result<Option<[u64; N]>> {
    let mut raw = vec![0; N * WORD_BYTES];
    if bytes < raw.len() as u64 || rustix::io::pread(file, &mut raw, 0)? < raw.len() {
        return Ok(None);
    }
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(raw.chunks_exact(WORD_BYTES)) {
        *word = u64::from_ne_bytes(bytes.try_into().expect("chunks of a word"));
    }
    Ok(Some(words))
}
