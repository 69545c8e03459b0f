//! Releases series that nothing counts in any more.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use super::{key_of, unix_seconds, Registry, Released, Series};
use crate::memory::WORD_BYTES;
use crate::series::SERIES_HEAD;

impl Registry {
    /// Releases all series of the declared families but those that `is_kept` says are still needed: they are shown for
    /// [`GRACE_S`] more, then their place is free.
    pub fn keep_only(&self, is_kept: impl Fn(&str, &Series) -> bool) {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = &mut *directory;
        for (name, known) in &mut directory.families {
            if !known.family.is_declared {
                continue;
            }
            known.series.retain(|labels, series| {
                if is_kept(name, series) || !Arc::ptr_eq(&series.memory, &self.memory) {
                    return true;
                }
                let released = self.mark_released(name, labels, series);
                directory.released.push(released);
                false
            });
        }
    }

    /// Releases one series of a declared family, as [`Registry::keep_only`] does. Does nothing if it is not there.
    pub fn release(&self, family: &str, labels: &[&str]) {
        let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = &mut *directory;
        let Some(known) = directory.families.get_mut(family) else {
            return;
        };
        let key = key_of(labels);
        let is_own = |series: &Series| Arc::ptr_eq(&series.memory, &self.memory);
        if !known.family.is_declared || !known.series.get(&key).is_some_and(is_own) {
            return;
        }
        if let Some(series) = known.series.remove(&key) {
            let released = self.mark_released(family, &key, &series);
            directory.released.push(released);
        }
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
