//! How many requests servers can have at once, found by how long they take: a limit that adapts to latency.
//!
//! # How it works
//! After Netflix's concurrency-limits (`Gradient2Limit`) and Envoy's adaptive concurrency filter. Times are looked at window by
//! window. While the median of a window is no longer than the base (what requests take when nothing queues) and a quarter more,
//! the limit grows by its square root; else it shrinks by the quotient of both, the gradient. So it settles where requests
//! begin to queue in servers, and a little above.
//!
//! The base is the least median, and drifts upwards slowly, so that servers which have become slower for good are not held
//! down. What was measured in an overload is corrected: soon after the start, and then now and then, the limit is an eighth for
//! two windows, and a lower median is then the base. And where the limit sits at its minimum for five windows, the base is what
//! requests take there. Requests that find no room meanwhile wait, and are not refused.

use crate::recent_times::{bound_of, bucket_of, BUCKETS};

/// The share by which a window may be slower than the base.
const TOLERANCE: f64 = 1.25;

/// How much of a new limit counts at once.
const SMOOTHING: f64 = 0.2;

/// The most that one window may take away.
const LEAST_GRADIENT: f64 = 0.5;

/// What the base grows by in each window: to twice of it in about seven hundred.
const DRIFT: f64 = 1.001;

/// So many windows at the minimum, and the base is measured anew.
const AT_MINIMUM: u32 = 5;

/// A limit that only shrinks ends there, since it also grows by its square root.
const LEAST_REACHED: u32 = 5;

/// After so many windows, the first time after [`FIRST_PROBE`], the limit is divided by [`PROBE_DIVISOR`] for [`PROBE_WINDOWS`].
const PROBE_EVERY: u32 = 300;
const FIRST_PROBE: u32 = 20;
const PROBE_DIVISOR: f64 = 8.0;
const PROBE_WINDOWS: u32 = 2;

/// A window ends after so many milliseconds, if it has so many times.
pub const WINDOW_MS: u64 = 100;
const MIN_TIMES: u32 = 10;

/// The bounds of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveSpec {
    /// From 1.
    pub min: u32,
    /// See `min`.
    pub max: u32,
    /// The limit at first.
    pub initial: u32,
}

/// A limit, and what it was found by. All workers share it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveState {
    limit: f64,
    base_us: f64,
    /// Windows since the base was last probed for.
    windows: u32,
    at_minimum: u32,
}

impl AdaptiveState {
    /// Before anything was measured.
    #[must_use]
    pub fn new(spec: &AdaptiveSpec) -> Self {
        Self {
            limit: f64::from(spec.initial),
            base_us: 0.0,
            windows: PROBE_EVERY - FIRST_PROBE,
            at_minimum: 0,
        }
    }

    /// The most requests at a time, now.
    #[must_use]
    pub fn limit(&self, spec: &AdaptiveSpec) -> u32 {
        let limit = if self.is_probing() {
            self.limit / PROBE_DIVISOR
        } else {
            self.limit
        };
        whole(limit).clamp(spec.min, spec.max)
    }

    fn is_probing(&self) -> bool {
        self.windows >= PROBE_EVERY
    }

    /// Goes on after a window whose requests took so long (the median), with so many in flight.
    #[must_use]
    pub fn after(mut self, spec: &AdaptiveSpec, median_us: u64, in_flight: u32) -> Self {
        let median = exact(median_us).max(1.0);
        let was_probing = self.is_probing();
        self.windows += 1;
        if self.windows >= PROBE_EVERY + PROBE_WINDOWS {
            // so that nodes do not probe at the same time: times are never quite the same
            self.windows = u32::try_from(median_us % u64::from(PROBE_EVERY / 10)).unwrap_or(0);
        }
        if self.base_us == 0.0 || median < self.base_us {
            self.base_us = median;
        } else {
            self.base_us = (self.base_us * DRIFT).min(median);
        }
        if was_probing {
            return self;
        }
        if self.at_minimum >= AT_MINIMUM {
            self.base_us = median;
            self.at_minimum = 0;
        }
        let gradient = (self.base_us * TOLERANCE / median).clamp(LEAST_GRADIENT, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        // a limit that is not used says nothing of what lies above it
        let is_used = f64::from(in_flight) * 2.0 >= self.limit;
        if wanted < self.limit || is_used {
            self.limit += (wanted - self.limit) * SMOOTHING;
        }
        self.limit = self.limit.clamp(f64::from(spec.min), f64::from(spec.max));
        let is_at_minimum = whole(self.limit) <= spec.min.max(LEAST_REACHED) && gradient < 1.0;
        self.at_minimum = if is_at_minimum { self.at_minimum + 1 } else { 0 };
        self
    }

    /// As two numbers, neither of which is ever 0, for shared memory.
    #[must_use]
    pub fn pack(&self) -> [u64; 2] {
        let thousandths = u64::from(whole(self.limit * 1_000.0)).max(1);
        let counts = u64::from(self.windows) << 8 | u64::from(self.at_minimum.min(255));
        let base = u64::from(whole(self.base_us)).max(1);
        [thousandths | counts << 32, base]
    }

    /// What was packed; none if nothing was.
    #[must_use]
    pub fn unpack([first, base]: [u64; 2]) -> Option<Self> {
        let low = |number: u64| u32::try_from(number & 0xffff_ffff).unwrap_or(0);
        let counts = low(first >> 32);
        (first != 0).then(|| Self {
            limit: f64::from(low(first)) / 1_000.0,
            base_us: if base <= 1 { 0.0 } else { exact(base) },
            windows: counts >> 8,
            at_minimum: counts & 0xff,
        })
    }
}

/// The times of one window, as one worker sees them.
#[derive(Debug)]
pub struct TimesWindow {
    buckets: Box<[u32; BUCKETS]>,
    count: u32,
    began_ms: u64,
}

impl Default for TimesWindow {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            began_ms: 0,
        }
    }
}

impl TimesWindow {
    /// A request took so long; the median of the window, if that ends with it.
    pub fn add(&mut self, now_ms: u64, took_us: u64) -> Option<u64> {
        if self.count == 0 {
            self.began_ms = now_ms;
        }
        self.buckets[bucket_of(took_us)] += 1;
        self.count += 1;
        if self.count < MIN_TIMES || now_ms < self.began_ms + WINDOW_MS {
            return None;
        }
        let half = self.count.div_ceil(2);
        let mut seen = 0;
        let median = self.buckets.iter().position(|count| {
            seen += count;
            seen >= half
        });
        self.buckets.fill(0);
        self.count = 0;
        median.map(bound_of)
    }
}

#[allow(clippy::cast_precision_loss)] // why: times are far below 2^52
fn exact(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // why: casts of floats saturate
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
#[path = "tests/adaptive.rs"]
mod tests;
