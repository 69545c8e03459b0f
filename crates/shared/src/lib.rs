//! Numbers that all processes of a gateway share: one zone of memory, passed on as a file descriptor.
//!
//! The one crate, beside a file of the bridge, that may use `unsafe`: each use says why it is sound.

mod layout;
mod zone;

pub use zone::{Zone, ZoneError};
