//! Shared memory: the zone's numbers and users' dictionaries.

pub(crate) mod dictionary;
pub(crate) mod dictionary_value;
pub(crate) mod zone;
