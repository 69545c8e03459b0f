//! The series of one process: made once, counted into ever after.

mod releasing;

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

use super::family::{Family, EXEMPLAR_CELLS};
use super::reading::SeriesMemory;
use super::{
    DROPPED, FAMILY, FAMILY_HEAD, FIRST_RECORD, FOLDED, MAGIC, OWNER, SERIES, SERIES_HEAD, UNFINISHED, USED,
    VERSION, WORDS,
};
use crate::memory::{Memory, WORD_BYTES};
use crate::process;

/// Seconds for which a series that was released is still shown, so that its last numbers are scraped.
pub const GRACE_S: u64 = 600;
/// Bytes of one value of a label; the rest is cut.
const MAX_LABEL_BYTES: usize = 200;
/// Cells of series that did not fit, which are never read.
const SPARE_WORDS: usize = 4096;

/// A different family of that name is already defined.
#[derive(Debug, Error)]
#[error("the metric `{0}` is already defined with another kind, other labels or other buckets\nhint: give it a name of its own")]
pub struct Conflict(String);

/// All series of one process.
pub struct Registry {
    memory: Arc<Memory>,
    directory: Mutex<Directory>,
}

#[derive(Default)]
struct Directory {
    families: HashMap<String, Known>,
    used: usize,
    spare: Option<Arc<Memory>>,
    /// Records that may be used again, by their words.
    released: Vec<Released>,
    /// Counts the sets of series that are asked for together.
    generation: u64,
}

struct Known {
    number: u32,
    family: Family,
    series: HashMap<Vec<u8>, Wanted>,
}

struct Wanted {
    series: Series,
    /// The generation in which it was asked for last.
    generation: u64,
}

struct Released {
    record: usize,
    words: usize,
    cells: u32,
    family: String,
    labels: Vec<u8>,
}

impl Registry {
    /// In memory of its own.
    pub fn create() -> io::Result<Self> {
        let memory = SeriesMemory::create()?;
        Ok(Self::own(memory.0))
    }

    /// In memory that another process has made and looks after.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        SeriesMemory::open(file).map(|memory| Self::own(memory.0))
    }

    fn own(memory: Arc<Memory>) -> Self {
        let words = memory.words();
        words[OWNER].store(process::token(), Relaxed);
        let used = FIRST_RECORD;
        words[USED].store(used as u64, Release);
        Self {
            memory,
            directory: Mutex::new(Directory {
                used,
                ..Directory::default()
            }),
        }
    }

    /// The descriptor, for those who read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// The series of a family with these values of its labels, made if it is not there. Past `most` of them, the one whose
    /// values are all `other`.
    pub fn series(&self, family: &Family, labels: &[&str], most: usize) -> Result<Series, Conflict> {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = &mut *directory;
        let generation = directory.generation;
        let key_of_family = family.key();
        if !directory.families.contains_key(&*key_of_family) {
            self.add_family(directory, family);
        }
        let known = directory
            .families
            .get_mut(&*key_of_family)
            .expect("it was just put there");
        if known.family != *family || labels.len() != family.labels.len() {
            return Err(Conflict(family.name.clone()));
        }
        let mut key = key_of(labels);
        if let Some(series) = known.asked_for(&key, generation) {
            return Ok(series);
        }
        if known.series.len() >= most {
            self.count_word(FOLDED);
            key = key_of(&vec!["other"; labels.len()]);
            if let Some(series) = known.asked_for(&key, generation) {
                return Ok(series);
            }
        }
        let cells = u32::try_from(family.cells()).unwrap_or(u32::MAX);
        let number = known.number;
        let series = match self.place(directory, &key_of_family, number, &key, cells) {
            Some(first) => Series {
                memory: self.memory.clone(),
                first,
                cells,
            },
            None => self.spare(directory, cells),
        };
        if let Some(known) = directory.families.get_mut(&*key_of_family) {
            let series = series.clone();
            known.series.insert(key, Wanted { series, generation });
        }
        Ok(series)
    }

    fn count_word(&self, word: usize) {
        self.memory.words()[word].fetch_add(1, Relaxed);
    }

    fn add_family(&self, directory: &mut Directory, family: &Family) {
        let text = family.text();
        let words = FAMILY_HEAD + text.len().div_ceil(WORD_BYTES);
        let number = u32::try_from(directory.families.len()).unwrap_or(u32::MAX);
        if directory.used + words <= WORDS {
            let record = directory.used;
            let memory = self.memory.words();
            memory[record + 1].store(text.len() as u64, Relaxed);
            self.write(record + FAMILY_HEAD, text.as_bytes());
            self.finish(directory, record, words, FAMILY);
        } else {
            self.count_word(DROPPED);
        }
        let known = Known {
            number,
            family: family.clone(),
            series: HashMap::new(),
        };
        directory.families.insert(family.key().into_owned(), known);
    }

    /// The first cell of a new record, or of one that was released long enough ago.
    fn place(
        &self,
        directory: &mut Directory,
        family: &str,
        number: u32,
        labels: &[u8],
        cells: u32,
    ) -> Option<usize> {
        let labels_words = labels.len().div_ceil(WORD_BYTES);
        let words = SERIES_HEAD + labels_words + cells as usize;
        let memory = self.memory.words();
        if let Some(record) = again(directory, family, labels, words, memory) {
            if record.1 {
                memory[record.0 + 3].store(0, Relaxed);
            } else {
                self.describe(record.0, number, labels, cells);
            }
            return Some(record.0 + SERIES_HEAD + labels_words);
        }
        if directory.used + words > WORDS {
            self.count_word(DROPPED);
            return None;
        }
        let record = directory.used;
        self.describe(record, number, labels, cells);
        self.finish(directory, record, words, SERIES);
        Some(record + SERIES_HEAD + labels_words)
    }

    fn describe(&self, record: usize, number: u32, labels: &[u8], cells: u32) {
        let memory = self.memory.words();
        memory[record + 3].store(UNFINISHED, Release);
        memory[record + 1].store(u64::from(number) | (labels.len() as u64) << 32, Relaxed);
        memory[record + 2].store(u64::from(cells), Relaxed);
        self.write(record + SERIES_HEAD, labels);
        let first = record + SERIES_HEAD + labels.len().div_ceil(WORD_BYTES);
        for cell in &memory[first..first + cells as usize] {
            cell.store(0, Relaxed);
        }
        memory[record + 3].store(0, Release);
    }

    fn finish(&self, directory: &mut Directory, record: usize, words: usize, kind: u64) {
        let memory = self.memory.words();
        memory[record].store(words as u64 | kind << 32, Relaxed);
        directory.used = record + words;
        memory[USED].store(directory.used as u64, Release);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        for (word, chunk) in self.memory.words()[at..].iter().zip(bytes.chunks(WORD_BYTES)) {
            let mut raw = [0; WORD_BYTES];
            raw[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(raw), Relaxed);
        }
    }

    /// Cells for counts that are never read.
    fn spare(&self, directory: &mut Directory, cells: u32) -> Series {
        let memory = directory.spare.get_or_insert_with(|| {
            let words = SPARE_WORDS.max(cells as usize);
            Memory::create("headgate-spare", words).map_or_else(|_| self.memory.clone(), Arc::new)
        });
        Series {
            first: 0,
            cells: cells.min(u32::try_from(SPARE_WORDS).unwrap_or(u32::MAX)),
            memory: memory.clone(),
        }
    }
}

impl Known {
    fn asked_for(&mut self, key: &[u8], generation: u64) -> Option<Series> {
        let wanted = self.series.get_mut(key)?;
        wanted.generation = generation;
        Some(wanted.series.clone())
    }
}

/// A record that was released: the same series', if it comes back in time, else one that is no longer shown.
fn again(
    directory: &mut Directory,
    family: &str,
    labels: &[u8],
    words: usize,
    memory: &[std::sync::atomic::AtomicU64],
) -> Option<(usize, bool)> {
    let now = unix_seconds();
    let is_gone = |one: &Released| memory[one.record + 3].load(Relaxed) + GRACE_S < now;
    let same = |one: &Released| one.family == family && one.labels == labels;
    let released = &mut directory.released;
    if let Some(at) = released.iter().position(|one| same(one) && !is_gone(one)) {
        return Some((released.swap_remove(at).record, true));
    }
    let at = released.iter().position(|one| {
        one.words == words
            && one.labels.len().div_ceil(WORD_BYTES) == labels.len().div_ceil(WORD_BYTES)
            && is_gone(one)
    })?;
    let one = released.swap_remove(at);
    debug_assert_eq!(
        one.words - SERIES_HEAD - one.labels.len().div_ceil(WORD_BYTES),
        one.cells as usize
    );
    Some((one.record, false))
}

/// The values of labels as one key: each with its length before it.
fn key_of(labels: &[&str]) -> Vec<u8> {
    let mut key = Vec::new();
    for label in labels {
        let mut end = label.len().min(MAX_LABEL_BYTES);
        while !label.is_char_boundary(end) {
            end -= 1;
        }
        key.push(u8::try_from(end).unwrap_or(u8::MAX));
        key.extend_from_slice(&label.as_bytes()[..end]);
    }
    key
}

/// The time in whole seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// One series, to count in. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    memory: Arc<Memory>,
    first: usize,
    cells: u32,
}

impl Series {
    /// Adds to a cell, for the one thread that counts in it: no locked instruction. A cell that is not there panics.
    #[inline]
    pub fn add(&self, cell: usize, n: u64) {
        let cell = self.cell(cell);
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds to a cell that several threads count in.
    pub fn add_shared(&self, cell: usize, n: u64) {
        self.cell(cell).fetch_add(n, Relaxed);
    }

    /// Adds to a cell that holds a floating point number.
    pub fn add_float(&self, cell: usize, n: f64) {
        let cell = self.cell(cell);
        let added = |bits| Some((f64::from_bits(bits) + n).to_bits());
        let _ = cell.fetch_update(Relaxed, Relaxed, added);
    }

    /// Sets a cell.
    pub fn set(&self, cell: usize, n: u64) {
        self.cell(cell).store(n, Relaxed);
    }

    /// What a cell holds.
    pub fn get(&self, cell: usize) -> u64 {
        self.cell(cell).load(Relaxed)
    }

    /// When the exemplar of a histogram was set, in Unix milliseconds; 0 before.
    #[inline]
    pub fn exemplar_ms(&self) -> u64 {
        self.get(self.cells as usize - EXEMPLAR_CELLS + 2)
    }

    /// Sets the exemplar of a histogram: a value that was just counted, and whose it was (of which 32 bytes are kept).
    pub fn set_exemplar(&self, value: u64, unix_ms: u64, text: &[u8]) {
        let first = self.cells as usize - EXEMPLAR_CELLS;
        let writes = self.get(first);
        self.cell(first).store(writes + 1, Release); // odd: not to be read
        self.set(first + 1, value);
        self.set(first + 2, unix_ms);
        for at in 0..4 {
            let mut raw = [0; WORD_BYTES];
            let chunk = text.chunks(WORD_BYTES).nth(at).unwrap_or_default();
            raw[..chunk.len()].copy_from_slice(chunk);
            self.set(first + 3 + at, u64::from_le_bytes(raw));
        }
        self.cell(first).store(writes + 2, Release);
    }

    /// Where it is in its registry's memory: no two of a registry are in the same place.
    pub fn place(&self) -> usize {
        self.first
    }

    #[inline]
    fn cell(&self, cell: usize) -> &std::sync::atomic::AtomicU64 {
        assert!(cell < self.cells as usize, "a cell past the end of a series");
        &self.memory.words()[self.first + cell]
    }
}

impl SeriesMemory {
    /// New memory, without an owner yet.
    pub fn create() -> io::Result<Self> {
        let memory = Memory::create("headgate-series", WORDS)?;
        let words = memory.words();
        words[0].store(MAGIC, Relaxed);
        words[1].store(VERSION, Relaxed);
        words[USED].store(FIRST_RECORD as u64, Release);
        Ok(Self(Arc::new(memory)))
    }

    /// Whether the process that counts in it can still run; true until one has begun to.
    pub fn is_owner_alive(&self) -> bool {
        match self.0.words()[OWNER].load(Acquire) {
            0 => true,
            token => process::is_alive(token),
        }
    }
}
