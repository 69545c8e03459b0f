//! How long a hook takes: a histogram each, kept by the worker on its own thread.

use std::cell::{Cell, OnceCell};

use headgate_shared::series::{Family, Registry, Scale, Series};

/// Buckets of a histogram: the first is under 1 us, each further one twice as wide, the last has no end.
pub(crate) const BUCKETS: usize = 26;

/// Cells, since all of it lives on the loop's thread.
#[derive(Default)]
pub(crate) struct HookTimes {
    /// From the call to the verdict, waiting included.
    total_us: Cell<u64>,
    longest_us: Cell<u64>,
    /// While the hook had the loop for itself, up to where it first waited.
    inline_us: Cell<u64>,
    failures: Cell<u64>,
    buckets: [Cell<u64>; BUCKETS],
    /// The same for metrics, over all versions of the table: times, and failures.
    series: OnceCell<(Series, Series)>,
}

/// Hooks that metrics tell apart, over all versions of the table.
const MOST_HOOKS: usize = 2_000;

/// As Python gets it: calls, failures, total, longest and inline microseconds, calls in each bucket.
pub(crate) type Shown = (u64, u64, u64, u64, u64, Vec<u64>);

impl HookTimes {
    /// Counts for metrics, too.
    pub(crate) fn count_in(&self, registry: &Registry, phase: &str, hook: &str, plugin: &str) {
        let labels = ["phase", "hook", "plugin"];
        let bounds: Vec<f64> = (0..BUCKETS - 1)
            .map(|bucket| f64::from(1 << bucket) / 1e6)
            .collect();
        let help = "Time that calls of a hook took, waiting included.";
        let scale = Scale::Integer(1_000_000);
        let times = Family::histogram("headgate_hook_seconds", help, &labels, &bounds, scale);
        let help = "Calls of a hook that raised, took too long or returned an invalid value.";
        let failures = Family::counter("headgate_hook_failures_total", help, &labels);
        let series = |family| registry.series(family, &[phase, hook, plugin], MOST_HOOKS);
        if let (Ok(times), Ok(failures)) = (series(&times), series(&failures)) {
            let _ = self.series.set((times, failures));
        }
    }

    /// A call is done.
    pub(crate) fn ended(&self, us: u64) {
        self.total_us.set(self.total_us.get() + us);
        self.longest_us.set(self.longest_us.get().max(us));
        let bucket = &self.buckets[bucket_of(us)];
        bucket.set(bucket.get() + 1);
        if let Some((times, _)) = self.series.get() {
            times.add(bucket_of(us), 1);
            times.add(BUCKETS, us);
        }
    }

    /// Its inline part is.
    pub(crate) fn ran(&self, us: u64) {
        self.inline_us.set(self.inline_us.get() + us);
    }

    /// It raised, gave back nonsense or was late.
    pub(crate) fn failed(&self) {
        self.failures.set(self.failures.get() + 1);
        if let Some((_, failures)) = self.series.get() {
            failures.add(0, 1);
        }
    }

    /// How often it did.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.get()
    }

    pub(crate) fn shown(&self) -> Shown {
        let buckets: Vec<u64> = self.buckets.iter().map(Cell::get).collect();
        (
            buckets.iter().sum(),
            self.failures.get(),
            self.total_us.get(),
            self.longest_us.get(),
            self.inline_us.get(),
            buckets,
        )
    }
}

/// 0 for 0 us, 1 for 1 us, 2 for 2 to 3 us, 3 for 4 to 7 us, and so on.
fn bucket_of(us: u64) -> usize {
    ((u64::BITS - us.leading_zeros()) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double() {
        for (us, bucket) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (1000, 10),
            (u64::MAX, BUCKETS - 1),
        ] {
            assert_eq!(bucket_of(us), bucket, "{us}");
        }
    }
}
