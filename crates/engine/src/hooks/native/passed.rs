//! Values for which a hook has let requests pass: it is not asked for them again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// No more values are kept; when there are, all are forgotten.
const MOST: usize = 16_384;
/// Longer ones are not kept, in bytes.
pub(super) const LONGEST: usize = 256;

/// See the module.
#[derive(Default)]
pub struct Passed {
    values: Mutex<HashSet<Box<[u8]>>>,
}

impl Passed {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all: what the hook decides by has changed.
    pub fn clear(&self) {
        self.values().clear();
    }

    /// The values, as they are now.
    pub(super) fn values(&self) -> MutexGuard<'_, HashSet<Box<[u8]>>> {
        // a set is whole after whatever panicked
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, value: Vec<u8>) {
        let mut values = self.values();
        if values.len() >= MOST {
            values.clear();
        }
        values.insert(value.into_boxed_slice());
    }
}

/// Values that are not known: the hook is asked.
pub struct Missed {
    pub(super) passed: Arc<Passed>,
    pub(super) value: Vec<u8>,
}

impl Missed {
    /// The hook has let the request pass.
    pub fn remember(self) {
        self.passed.add(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_can_be_forgotten() {
        let passed = Passed::default();
        for number in 0..MOST {
            passed.add(number.to_string().into_bytes());
        }
        assert_eq!(passed.len(), MOST);
        passed.add(b"one more".to_vec());
        assert_eq!(passed.len(), 1);
        passed.clear();
        assert!(passed.is_empty());
    }
}
