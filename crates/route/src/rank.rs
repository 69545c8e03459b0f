//! Places of routes, and the order of choice among them.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::persistent::PersistentList;
use crate::route::Route;

/// The place of a route in the list of routes.
pub(crate) type Slot = u32;

/// Some of them, in the order of choice.
pub(crate) type Slots = SmallVec<[Slot; 4]>;

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

/// Adds a route where it belongs.
pub(crate) fn insert(slots: &mut Slots, slot: Slot, routes: &PersistentList<Route>) {
    let at = slots.partition_point(|other| compare(*other, slot, routes) == Ordering::Less);
    slots.insert(at, slot);
}

/// Takes a route out.
pub(crate) fn remove(slots: &mut Slots, slot: Slot) {
    slots.retain(|other| *other != slot);
}

/// Which of two routes is tried first, their hosts being even.
pub(crate) fn compare(one: Slot, other: Slot, routes: &PersistentList<Route>) -> Ordering {
    routes[one as usize].rank.cmp(&routes[other as usize].rank)
}
