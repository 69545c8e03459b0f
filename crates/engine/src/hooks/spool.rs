//! A body that is held whole: in memory up to a bound, then in a temporary file without a name.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Read back at once.
const READ_BYTES: u64 = 64 * 1024;

/// See the module. The file is in the system's temporary directory (`TMPDIR`) and is removed with this.
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    length: u64,
    max_memory_bytes: usize,
}

impl Spool {
    /// An empty one.
    pub fn new(max_memory_bytes: usize) -> Self {
        Self {
            memory: Vec::new(),
            file: None,
            length: 0,
            max_memory_bytes,
        }
    }

    /// Bytes held.
    #[allow(clippy::len_without_is_empty)] // no caller needs it
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether they are in a file.
    pub fn is_spilled(&self) -> bool {
        self.file.is_some()
    }

    /// Appends. True if this moved the body into a file.
    ///
    /// # Errors
    /// The file cannot be made or written, for instance because the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut has_spilled = false;
        if self.file.is_none() && self.memory.len() + bytes.len() > self.max_memory_bytes {
            let mut file = tempfile::tempfile()?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
            has_spilled = true;
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.length += bytes.len() as u64;
        Ok(has_spilled)
    }

    /// The whole body, taken out, if it is in memory.
    pub fn take_memory(&mut self) -> Option<Vec<u8>> {
        self.file.is_none().then(|| std::mem::take(&mut self.memory))
    }

    /// The whole body.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn whole(&self) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else {
            return Ok(self.memory.clone());
        };
        let mut whole = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut whole, 0)?;
        Ok(whole)
    }

    /// A piece from `at` on; empty at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn piece(&self, at: u64) -> io::Result<Vec<u8>> {
        let most = usize::try_from((self.length - at.min(self.length)).min(READ_BYTES)).unwrap_or(0);
        let Some(file) = &self.file else {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.memory.len());
            return Ok(self.memory[at..at + most].to_vec());
        };
        let mut piece = vec![0; most];
        file.read_exact_at(&mut piece, at)?;
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_from_memory_and_from_a_file() {
        for max_memory_bytes in [0, 10, 1000, 1 << 20] {
            let mut spool = Spool::new(max_memory_bytes);
            let mut wanted = Vec::new();
            for size in [0_usize, 1, 7, 400, 70_000] {
                let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
                spool.write(&bytes).unwrap();
                wanted.extend_from_slice(&bytes);
            }
            assert_eq!(spool.is_spilled(), max_memory_bytes < wanted.len());
            assert_eq!(spool.whole().unwrap(), wanted);
            let mut pieces = Vec::new();
            loop {
                let piece = spool.piece(pieces.len() as u64).unwrap();
                if piece.is_empty() {
                    break;
                }
                pieces.extend_from_slice(&piece);
            }
            assert_eq!(pieces, wanted);
        }
    }

    #[test]
    fn spilling_is_told_once() {
        let mut spool = Spool::new(4);
        let told = [b"abc", b"def", b"ghi"].map(|bytes| spool.write(bytes).unwrap());
        assert_eq!(told, [false, true, false]);
    }
}
