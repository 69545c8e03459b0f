//! When a circuit breaker opens, and for how long.
//!
//! # How it works
//! A circuit is closed, open until a moment, or, after that moment, half-open: a few requests try whether it is over. Who holds
//! that moment and counts is the caller, for all workers; here is what follows from it.

/// When a circuit opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitSpec {
    /// The share of failures within a window that opens it, in percent.
    pub error_percent: u32,
    /// Attempts within a window below which a share says nothing.
    pub min_requests: u32,
    /// The window.
    pub window_ms: u64,
    /// For how long it is open at first; each time that it was not over, twice as long as before.
    pub open_ms: u64,
    /// For how long at most.
    pub max_open_ms: u64,
}

/// How a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Requests go on.
    Closed,
    /// They do not.
    Open,
    /// A few do.
    HalfOpen,
}

impl Circuit {
    /// Of a circuit that is, or was, open until a moment; 0 for one that is closed.
    #[must_use]
    pub fn of(open_until_ms: u64, now_ms: u64) -> Self {
        match open_until_ms {
            0 => Self::Closed,
            until if until > now_ms => Self::Open,
            _ => Self::HalfOpen,
        }
    }
}

impl CircuitSpec {
    /// For how long it is open the so-many-th time in a row, from 1.
    #[must_use]
    pub fn open_for_ms(&self, times: u64) -> u64 {
        let doublings = u32::try_from(times.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
        self.open_ms
            .saturating_mul(1 << doublings)
            .min(self.max_open_ms.max(self.open_ms))
    }

    fn trips(&self, all: u64, failed: u64) -> bool {
        all >= u64::from(self.min_requests)
            && failed > 0
            && failed.saturating_mul(100) >= all.saturating_mul(u64::from(self.error_percent))
    }
}

/// A window of attempts, by counters that only grow: all workers together count, each looks at windows of its own.
#[derive(Debug, Default)]
pub struct CircuitWindow {
    began_ms: Option<u64>,
    epoch: u64,
    /// All attempts and those that failed, when it began.
    base: (u64, u64),
}

impl CircuitWindow {
    /// Whether a new window begins with the attempt that has just been counted: the last one is over, or the circuit has been
    /// open since (`epoch` is how often it was).
    #[must_use]
    pub fn is_over(&self, spec: &CircuitSpec, epoch: u64, now_ms: u64) -> bool {
        let is_current = |began_ms: u64| now_ms.saturating_sub(began_ms) < spec.window_ms;
        self.epoch != epoch || !self.began_ms.is_some_and(is_current)
    }

    /// Begins a window behind these counts.
    pub fn begin(&mut self, epoch: u64, counts: (u64, u64), now_ms: u64) {
        *self = Self {
            began_ms: Some(now_ms),
            epoch,
            base: counts,
        };
    }

    /// Whether the circuit opens at these counts.
    #[must_use]
    pub fn trips(&self, spec: &CircuitSpec, (all, failed): (u64, u64)) -> bool {
        // counters of a worker that has died are gone
        let (all, failed) = (
            all.saturating_sub(self.base.0),
            failed.saturating_sub(self.base.1),
        );
        spec.trips(all, failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: CircuitSpec = CircuitSpec {
        error_percent: 50,
        min_requests: 10,
        window_ms: 10_000,
        open_ms: 5_000,
        max_open_ms: 60_000,
    };

    #[test]
    fn test_it_is_open_until_its_moment_then_half_open() {
        assert_eq!(Circuit::of(0, 9), Circuit::Closed);
        assert_eq!(Circuit::of(10, 9), Circuit::Open);
        assert_eq!(Circuit::of(10, 10), Circuit::HalfOpen);
    }

    #[test]
    fn test_it_is_open_twice_as_long_each_time_up_to_the_longest() {
        let times: Vec<_> = (1..=6).map(|times| SPEC.open_for_ms(times)).collect();
        assert_eq!(times, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
        assert_eq!(SPEC.open_for_ms(u64::MAX), 60_000);
    }

    #[test]
    fn test_few_requests_and_a_small_share_of_failures_never_open_it() {
        let mut window = CircuitWindow::default();
        window.begin(0, (1000, 900), 0);
        assert!(!window.trips(&SPEC, (1009, 909)), "there are nine");
        assert!(window.trips(&SPEC, (1010, 905)));
        assert!(!window.trips(&SPEC, (1010, 904)));
        assert!(!window.trips(&SPEC, (3, 3)), "counters of a dead worker are gone");
    }

    #[test]
    fn test_a_window_ends_with_its_time_or_with_an_opening() {
        let mut window = CircuitWindow::default();
        assert!(window.is_over(&SPEC, 0, 0));
        window.begin(0, (0, 0), 1_000);
        assert!(!window.is_over(&SPEC, 0, 10_999));
        assert!(window.is_over(&SPEC, 0, 11_000));
        assert!(window.is_over(&SPEC, 1, 1_001));
    }
}
