//! A span of the calendar in which a hook counts; the hook moves it on.

use std::sync::{Mutex, PoisonError};

/// Begin and end in seconds since 1970; at first it is over.
#[derive(Debug, Default)]
pub struct Period {
    span: Mutex<(f64, f64)>,
}

impl Period {
    /// Begin and end.
    pub fn span(&self) -> (f64, f64) {
        *self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it.
    pub fn set(&self, begin: f64, end: f64) {
        *self.span.lock().unwrap_or_else(PoisonError::into_inner) = (begin, end);
    }
}
