//! Reading what a process has counted, by whatever process and version it was written.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::Arc;

use super::family::Family;
use super::registry::{unix_seconds, GRACE_S};
use super::{
    DROPPED, FAMILY, FAMILY_HEAD, FIRST_RECORD, FOLDED, MAGIC, SERIES, SERIES_HEAD, UNFINISHED, USED,
    VERSION, WORDS,
};
use crate::memory::{first_words, sealed_bytes, Memory, WORD_BYTES};

/// The memory of a process's series, as others have it.
#[derive(Clone, Debug)]
pub struct SeriesMemory(pub(crate) Arc<Memory>);

impl SeriesMemory {
    /// Maps memory made by [`SeriesMemory::create`] here or elsewhere.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let refused = || io::Error::new(io::ErrorKind::InvalidData, "this is not memory of series");
        let bytes = sealed_bytes(&file)?.ok_or_else(refused)?;
        let [magic, version] = first_words(&file, bytes)?.ok_or_else(refused)?;
        if magic != MAGIC || version != VERSION || bytes != (WORDS * WORD_BYTES) as u64 {
            return Err(refused());
        }
        Ok(Self(Arc::new(Memory::map(file, WORDS)?)))
    }

    /// The descriptor, to be passed on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }
}

/// All that is in the memory of one process.
#[derive(Debug, Default)]
pub struct Reading {
    /// The families, with their series.
    pub families: Vec<ReadFamily>,
    /// Series that found no room.
    pub dropped: u64,
    /// Label sets that went into `other`.
    pub folded: u64,
}

/// A family and its series.
#[derive(Debug)]
pub struct ReadFamily {
    /// What it is.
    pub family: Family,
    /// By the values of their labels.
    pub series: BTreeMap<Vec<String>, ReadSeries>,
}

/// A series as it was read.
#[derive(Debug)]
pub struct ReadSeries {
    /// Its numbers, as they were one by one: not one moment in time.
    pub cells: Vec<u64>,
    /// Nothing counts in it any more.
    pub is_released: bool,
}

/// Reads everything. What is not understood is left out.
pub fn read(memory: &SeriesMemory) -> Reading {
    let words = memory.0.words();
    let used = usize::try_from(words[USED].load(Acquire)).map_or(WORDS, |used| used.min(WORDS));
    let mut reading = Reading {
        families: Vec::new(),
        dropped: words[DROPPED].load(Relaxed),
        folded: words[FOLDED].load(Relaxed),
    };
    let word = |at: usize| words[at].load(Relaxed);
    // families that are not understood keep their number
    let mut places: Vec<Option<usize>> = Vec::new();
    let now = unix_seconds();
    let mut at = FIRST_RECORD;
    while at + SERIES_HEAD.min(FAMILY_HEAD) <= used {
        let (length, kind) = (word(at) & 0xffff_ffff, word(at) >> 32);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(end) = at
            .checked_add(length)
            .filter(|end| length >= FAMILY_HEAD && *end <= used)
        else {
            break;
        };
        if kind == FAMILY {
            let text = text_of(words, at + FAMILY_HEAD, word(at + 1), end);
            let family = text.and_then(|text| Family::parse(&String::from_utf8(text).ok()?));
            places.push(family.map(|family| {
                let series = BTreeMap::new();
                reading.families.push(ReadFamily { family, series });
                reading.families.len() - 1
            }));
        } else if kind == SERIES && length >= SERIES_HEAD {
            let number = usize::try_from(word(at + 1) & 0xffff_ffff).unwrap_or(usize::MAX);
            let released = words[at + 3].load(Acquire);
            let is_shown = released == 0 || (released != UNFINISHED && released + GRACE_S >= now);
            if let (true, Some(Some(place))) = (is_shown, places.get(number)) {
                read_series(words, (at, end), released != 0, &mut reading.families[*place]);
            }
        }
        at = end;
    }
    reading
}

fn read_series(
    words: &[std::sync::atomic::AtomicU64],
    (at, end): (usize, usize),
    is_released: bool,
    into: &mut ReadFamily,
) {
    let bytes = words[at + 1].load(Relaxed) >> 32;
    let Some(labels) = text_of(words, at + SERIES_HEAD, bytes, end).and_then(|text| labels_of(&text)) else {
        return;
    };
    let count = into.family.cells();
    if labels.len() != into.family.labels.len() || end < at + SERIES_HEAD + count {
        return;
    }
    let first = end - count;
    // an exemplar that is being written must not be read: the count before and after says so
    let mut cells: Vec<u64> = words[first..end].iter().map(|word| word.load(Acquire)).collect();
    if into.family.kind == super::Kind::Histogram {
        let writes = count - super::EXEMPLAR_CELLS;
        if cells[writes] % 2 == 1 || words[first + writes].load(Acquire) != cells[writes] {
            cells[writes..].fill(0);
        }
    }
    into.series.insert(labels, ReadSeries { cells, is_released });
}

fn text_of(words: &[std::sync::atomic::AtomicU64], first: usize, bytes: u64, end: usize) -> Option<Vec<u8>> {
    let bytes = usize::try_from(bytes).ok()?;
    let count = bytes.div_ceil(WORD_BYTES);
    if first.checked_add(count)? > end {
        return None;
    }
    let mut text: Vec<u8> = Vec::with_capacity(count * WORD_BYTES);
    for word in &words[first..first + count] {
        text.extend_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    text.truncate(bytes);
    Some(text)
}

fn labels_of(mut key: &[u8]) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    while let Some((length, rest)) = key.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        key = rest;
    }
    Some(labels)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
