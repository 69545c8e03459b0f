//! The place of a route in the order of choice.

use smallvec::SmallVec;

/// The place of a route in the order of choice; the smaller is tried first.
pub(crate) type Rank = u32;

/// Some of them.
pub(crate) type Ranks = SmallVec<[Rank; 8]>;
