//! What all processes of a gateway share: zones of numbers and dictionaries, in memory passed on as file descriptors.
//!
//! The one crate, beside a file of the bridge, that may use `unsafe`: each use says why it is sound.

pub mod adaptive_limits;
mod dictionary;
mod layout;
mod lock;
mod memory;
pub mod metrics;
mod paces;
mod process;
pub mod series;
pub mod servers;
mod zone;

pub use dictionary::{
    CellRate, Dictionary, DictionaryError, End, Number, Owned, Refused, Throttled, Value, MAX_BYTES,
    MIN_BYTES,
};
pub use zone::{Slot, Zone, ZoneError};
