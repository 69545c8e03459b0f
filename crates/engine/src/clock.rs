//! The worker's clock: read once per event, then remembered, so that the hot path asks no one for the time.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the worker started, as of the last [`Clock::tick`].
pub(crate) struct Clock {
    origin: Instant,
    origin_unix_us: u64,
    now_us: Cell<u64>,
    ahead_us: Cell<u64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: Instant::now(),
            origin_unix_us: u64::try_from(unix.as_micros()).unwrap_or(0),
            // never 0, so that 0 can mean "did not happen"
            now_us: Cell::new(1),
            ahead_us: Cell::new(0),
        }
    }

    /// Reads the system's monotonic clock (no system call on Linux) and remembers it.
    pub(crate) fn tick(&self) -> u64 {
        let passed = self.origin.elapsed();
        // 64 bits last for ages, and `as_micros` has 128
        let us = passed.as_secs() * 1_000_000 + u64::from(passed.subsec_micros());
        let now = us + 1 + self.ahead_us.get();
        self.now_us.set(now);
        now
    }

    /// Puts the clock forward, for tests.
    pub(crate) fn advance(&self, us: u64) {
        self.ahead_us.set(self.ahead_us.get() + us);
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    /// Milliseconds since 1970 that a moment of this clock was. Steps of the system's clock are not followed.
    pub(crate) fn unix_ms(&self, moment_us: u64) -> u64 {
        (self.origin_unix_us + moment_us) / 1000
    }
}
