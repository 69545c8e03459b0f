//! How long requests took of late: the time that so many of a hundred do not exceed.
//!
//! # How it works
//! Times are counted in buckets, four for each doubling, so that what is read is at most a quarter too long. There are two
//! windows: the one that counts, and the one before it, so that there is always something to read and nothing old.

/// How long a window counts, in milliseconds.
const WINDOW_MS: u64 = 10_000;

/// With fewer times nothing is said.
const MIN_TIMES: u64 = 20;

/// Buckets for each doubling, as bits.
const STEP_BITS: u32 = 2;

/// Up to about twelve days in microseconds.
pub(crate) const BUCKETS: usize = 160;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct RecentTimes {
    current: Window,
    before: Window,
    began_ms: u64,
}

#[derive(Debug, Clone)]
struct Window {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
        }
    }
}

impl RecentTimes {
    /// A request took so long.
    pub fn add(&mut self, now_ms: u64, took_us: u64) {
        self.roll(now_ms);
        let count = &mut self.current.buckets[bucket_of(took_us)];
        *count = count.saturating_add(1);
        self.current.count += 1;
    }

    /// The time, in microseconds, that `percent` of the requests of the last ten to twenty seconds did not exceed; none if
    /// there were too few.
    pub fn percentile(&mut self, now_ms: u64, percent: u32) -> Option<u64> {
        self.roll(now_ms);
        let count = self.current.count + self.before.count;
        if count < MIN_TIMES {
            return None;
        }
        let wanted = (count * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let pairs = self.current.buckets.iter().zip(self.before.buckets.iter());
        for (bucket, (current, before)) in pairs.enumerate() {
            seen += u64::from(*current) + u64::from(*before);
            if seen >= wanted {
                return Some(bound_of(bucket));
            }
        }
        None
    }

    fn roll(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.began_ms);
        if passed_ms < WINDOW_MS {
            return;
        }
        let counted = std::mem::take(&mut self.current);
        self.before = if passed_ms < 2 * WINDOW_MS {
            counted
        } else {
            Window::default()
        };
        self.began_ms = now_ms;
    }
}

/// The bucket of a time: its highest bit, and the next ones below it.
pub(crate) fn bucket_of(us: u64) -> usize {
    let us = us.max(1 << STEP_BITS);
    let shift = us.ilog2() - STEP_BITS;
    let of_doubling = (us >> shift) - (1 << STEP_BITS);
    let bucket = (u64::from(shift) << STEP_BITS) + of_doubling;
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The longest time of a bucket.
pub(crate) fn bound_of(bucket: usize) -> u64 {
    let (shift, of_doubling) = (bucket >> STEP_BITS, (bucket & ((1 << STEP_BITS) - 1)) as u64);
    (((1 << STEP_BITS) + of_doubling + 1) << shift) - 1
}

#[cfg(test)]
#[path = "tests/recent_times.rs"]
mod tests;
