//! What actions use that a text cannot say, and why they cannot be used.

use std::sync::Arc;

use headgate_shared::Dictionary;
use thiserror::Error;

use super::passed::Passed;
use super::period::Period;
use super::tally::Tally;

/// What actions use that a text cannot say; they name it by its position.
#[derive(Default)]
pub struct Objects {
    /// Shared dictionaries.
    pub dictionaries: Vec<Arc<Dictionary>>,
    /// Values that hooks have let pass.
    pub passed: Vec<Arc<Passed>>,
    /// Spans of the calendar.
    pub periods: Vec<Arc<Period>>,
    /// What requests there were.
    pub tallies: Vec<Arc<Tally>>,
}

impl Objects {
    pub(super) fn dictionary(&self, position: usize) -> Result<Arc<Dictionary>, BadAction> {
        found(&self.dictionaries, position)
    }

    pub(super) fn period(&self, position: usize) -> Result<Arc<Period>, BadAction> {
        found(&self.periods, position)
    }

    pub(super) fn tally(&self, position: usize) -> Result<Arc<Tally>, BadAction> {
        found(&self.tallies, position)
    }
}

fn found<T>(among: &[Arc<T>], position: usize) -> Result<Arc<T>, BadAction> {
    let found = among.get(position).map(Arc::clone);
    found.ok_or_else(|| BadAction("an object that is named is not there".to_owned()))
}

/// Actions that cannot be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadAction(pub(crate) String);
