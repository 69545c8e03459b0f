//! Times and counts as hooks have them.

use std::time::SystemTime;

/// The system's time in seconds since 1970, as hooks read it.
pub(super) fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// A number without its fraction.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and none is negative"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}
