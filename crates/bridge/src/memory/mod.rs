//! Shared memory: the zone's numbers, users' dictionaries, metrics, and what hooks have let pass and counted.

pub(crate) mod dictionary;
pub(crate) mod dictionary_value;
pub(crate) mod exporter;
pub(crate) mod metrics;
pub(crate) mod passed;
pub(crate) mod period;
pub(crate) mod servers;
pub(crate) mod tally;
pub(crate) mod zone;
