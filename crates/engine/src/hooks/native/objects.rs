//! What actions use that a text cannot say, and why they cannot be used.

use std::sync::Arc;

use headgate_shared::Dictionary;
use thiserror::Error;

use super::passed::Passed;

/// What actions use that a text cannot say; they name it by its position.
#[derive(Default)]
pub struct Objects {
    /// Shared dictionaries.
    pub dictionaries: Vec<Arc<Dictionary>>,
    /// Values that hooks have let pass.
    pub passed: Vec<Arc<Passed>>,
}

/// Actions that cannot be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadAction(pub(crate) String);
