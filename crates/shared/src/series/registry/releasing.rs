//! Releases series that nothing counts in any more.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::{key_of, unix_seconds, Registry, Released, Series, Wanted};
use crate::memory::WORD_BYTES;
use crate::series::SERIES_HEAD;

impl Registry {
    /// Begins a set of series that are asked for from now on; those that stay are asked for again.
    pub fn begin_generation(&self) -> u64 {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        directory.generation += 1;
        directory.generation
    }

    /// Releases all series of the declared families that nobody has asked for since that generation began: they are shown
    /// for [`GRACE_S`] more, then their place is free. Others may ask for series meanwhile, in other threads too: they wait
    /// for one family at a time.
    pub fn release_before(&self, generation: u64) {
        let directory = || self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let families = directory();
        let declared = families
            .families
            .values()
            .filter(|known| known.family.is_declared);
        let keys: Vec<String> = declared.map(|known| known.family.key().into_owned()).collect();
        drop(families);
        for name in keys {
            let mut directory = directory();
            let directory = &mut *directory;
            let Some(known) = directory.families.get_mut(&name) else {
                continue;
            };
            known.series.retain(|labels, wanted| {
                let series = &wanted.series;
                if wanted.generation >= generation || !Arc::ptr_eq(&series.memory, &self.memory) {
                    return true;
                }
                let released = self.mark_released(&name, labels, series);
                directory.released.push(released);
                false
            });
        }
    }

    /// Releases one series of a declared family, known by its key, as [`Registry::release_before`] does. Does nothing if it is
    /// not there.
    pub fn release(&self, family: &str, labels: &[&str]) {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = &mut *directory;
        let Some(known) = directory.families.get_mut(family) else {
            return;
        };
        let key = key_of(labels);
        let is_own = |wanted: &Wanted| Arc::ptr_eq(&wanted.series.memory, &self.memory);
        if !known.family.is_declared || !known.series.get(&key).is_some_and(is_own) {
            return;
        }
        if let Some(wanted) = known.series.remove(&key) {
            let released = self.mark_released(family, &key, &wanted.series);
            directory.released.push(released);
        }
    }

    #[cfg(test)]
    pub(crate) fn has(&self, family: &str, labels: &[&str]) -> bool {
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = directory.families.get(family);
        known.is_some_and(|known| known.series.contains_key(&key_of(labels)))
    }

    /// Notes in the memory since when a series is not needed any more.
    fn mark_released(&self, family: &str, labels: &[u8], series: &Series) -> Released {
        let labels_words = labels.len().div_ceil(WORD_BYTES);
        let record = series.first - labels_words - SERIES_HEAD;
        self.memory.words()[record + 3].store(unix_seconds(), Relaxed);
        Released {
            record,
            words: SERIES_HEAD + labels_words + series.cells as usize,
            cells: series.cells,
            family: family.to_owned(),
            labels: labels.to_owned(),
        }
    }
}
