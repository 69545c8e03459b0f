//! Places of routes in lists that keep the order of choice.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::persistent::PersistentList;
use crate::route::Route;

/// The place of a route in the list of routes.
pub(crate) type Slot = u32;

/// Some of them, in the order of choice.
pub(crate) type Slots = SmallVec<[Slot; 4]>;

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
