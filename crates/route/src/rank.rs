//! The order of choice among routes.

/// Where a route stands among those that are even by all other rules: the lower is tried first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Position in the list; several routes may share one.
    pub position: usize,
    /// The order among those.
    pub name: Box<str>,
}

/// Rules 3 to 5 of the order of choice (see [`crate::router`]); the smallest is tried first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) specificity: (u8, usize, bool, usize),
    pub(crate) listed: Listed,
}

impl Listed {
    /// The place of a route that has its position alone.
    pub fn at(position: usize) -> Self {
        Self {
            position,
            name: "".into(),
        }
    }
}
