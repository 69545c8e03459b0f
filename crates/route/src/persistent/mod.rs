//! Collections whose copies share what they have in common: a copy with a small change costs a small part of the whole.

mod list;
mod map;
mod prefixes;

pub use list::PersistentList;
pub use map::PersistentMap;
pub(crate) use prefixes::Prefixes;
