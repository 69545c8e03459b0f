//! The worker's clock: read once per event, then remembered, so that the hot path asks no one for the time.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the worker started, as of the last [`Clock::tick`].
pub struct Clock {
    origin: Instant,
    origin_unix_us: u64,
    /// The same on the system's monotonic clock, which all processes share.
    origin_monotonic_us: u64,
    now_us: Cell<u64>,
    ahead_us: Cell<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that begins now.
    pub fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let (seconds, nanoseconds) = (u64::try_from(monotonic.tv_sec), u64::try_from(monotonic.tv_nsec));
        Self {
            origin_monotonic_us: seconds.unwrap_or(0) * 1_000_000 + nanoseconds.unwrap_or(0) / 1000,
            origin: Instant::now(),
            origin_unix_us: u64::try_from(unix.as_micros()).unwrap_or(0),
            // never 0, so that 0 can mean "did not happen"
            now_us: Cell::new(1),
            ahead_us: Cell::new(0),
        }
    }

    /// Reads the system's monotonic clock (no system call on Linux) and remembers it.
    pub fn tick(&self) -> u64 {
        let passed = self.origin.elapsed();
        // 64 bits last for ages, and `as_micros` has 128
        let us = passed.as_secs() * 1_000_000 + u64::from(passed.subsec_micros());
        let now = us + 1 + self.ahead_us.get();
        self.now_us.set(now);
        now
    }

    /// Puts the clock forward, for tests.
    #[inline]
    pub fn advance(&self, us: u64) {
        self.ahead_us.set(self.ahead_us.get() + us);
    }

    /// Microseconds, as of the last [`Clock::tick`].
    #[inline]
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Seconds on the system's monotonic clock, which all processes share, as of the last [`Clock::tick`].
    #[inline]
    pub fn monotonic_seconds(&self) -> f64 {
        let passed = self.now_us.get().saturating_sub(1 + self.ahead_us.get());
        std::time::Duration::from_micros(self.origin_monotonic_us + passed).as_secs_f64()
    }

    /// Milliseconds, as of the last [`Clock::tick`].
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    /// Milliseconds since 1970 that a moment of this clock was. Steps of the system's clock are not followed.
    #[inline]
    pub fn unix_ms(&self, moment_us: u64) -> u64 {
        self.unix_us(moment_us) / 1000
    }

    /// The same in microseconds.
    #[inline]
    pub fn unix_us(&self, moment_us: u64) -> u64 {
        self.origin_unix_us + moment_us
    }
}
