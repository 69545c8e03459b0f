//! How long servers take to respond: the peak-sensitive moving average of Finagle and linkerd ("Peak EWMA").
//!
//! How it works: a slower response than expected counts at once, a faster one by its share of [`DECAY_MS`]. What is not
//! sampled decays with time, so that a server that was slow is asked again. A server without a sample is expected to be as
//! the group is: expecting nothing of it would send it everything.
//!
//! A failure counts as slower than anything that the group has lately taken, however fast it came. That is worked out when a
//! server is chosen, not when it fails: where all others become slow at once, as on a machine that is loaded, a failure of
//! before would be the fastest of all (Envoy and Finagle count a failure as a fixed time; HAProxy does not count it as a time).

/// The time in which what was measured falls to 1/e of its weight, in milliseconds; Finagle's default.
const DECAY_MS: f64 = 10_000.0;

/// A failure counts as so many times what the group takes on average, and at least as so many times the longest of late.
const FAILURE_FACTOR: f64 = 10.0;
const FAILURE_FACTOR_OF_PEAK: f64 = 2.0;

/// The least time expected, in microseconds, so that servers that are all idle compare by their connections.
const FLOOR_US: f64 = 1.0;

/// The times of one server or of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    value_us: f64,
    sampled_ms: u64,
    is_known: bool,
    /// When it failed last.
    failed_ms: Option<u64>,
}

impl Latency {
    /// A response took so long.
    pub(super) fn sample(&mut self, now_ms: u64, took_us: u64) {
        let took = exact(took_us);
        let expected = self.decayed(now_ms);
        self.value_us = if !self.is_known || took > expected {
            took
        } else {
            let left = self.weight_left(now_ms);
            (self.value_us * left + took * (1.0 - left)).max(took)
        };
        self.sampled_ms = now_ms;
        self.is_known = true;
    }

    /// An attempt failed after so long; one that took longer than expected is a sample too.
    pub(super) fn failed(&mut self, now_ms: u64, took_us: u64) {
        self.failed_ms = Some(now_ms);
        if exact(took_us) > self.decayed(now_ms) {
            self.sample(now_ms, took_us);
        }
    }

    /// As [`Latency::sample`], without a preference for what is slow: for a group.
    pub(super) fn average(&mut self, took_us: u64) {
        let took = exact(took_us);
        self.value_us = if self.is_known {
            self.value_us + (took - self.value_us) / 32.0
        } else {
            took
        };
        self.is_known = true;
    }

    /// What is expected in this group, in microseconds.
    pub(super) fn expected(&self, now_ms: u64, group: &GroupLatency) -> f64 {
        let measured = if self.is_known {
            self.decayed(now_ms).max(FLOOR_US)
        } else {
            group.of_unknown()
        };
        match self.failed_ms {
            None => measured,
            Some(failed_ms) => measured.max(group.penalty(now_ms) * weight_left(failed_ms, now_ms)),
        }
    }

    fn decayed(&self, now_ms: u64) -> f64 {
        self.value_us * self.weight_left(now_ms)
    }

    fn weight_left(&self, now_ms: u64) -> f64 {
        weight_left(self.sampled_ms, now_ms)
    }
}

/// The weight that is left of what was measured then.
fn weight_left(then_ms: u64, now_ms: u64) -> f64 {
    let passed = exact(now_ms.saturating_sub(then_ms)) / DECAY_MS;
    // e^-x by the first terms of e^x (Horner): a part of the cost, and as good for what decays
    let grown = 1.0 + passed * (1.0 + passed * (0.5 + passed * (1.0 / 6.0 + passed / 24.0)));
    grown.recip()
}

/// What servers of a group take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupLatency {
    mean: Latency,
    /// The longest of late.
    peak: Latency,
}

impl GroupLatency {
    /// A response took so long.
    pub(super) fn sample(&mut self, now_ms: u64, took_us: u64) {
        self.mean.average(took_us);
        self.peak.sample(now_ms, took_us);
    }

    /// What is expected of a server of which nothing is known, in microseconds.
    pub(super) fn of_unknown(&self) -> f64 {
        if self.mean.is_known {
            self.mean.value_us.max(FLOOR_US)
        } else {
            FLOOR_US
        }
    }

    /// What a failure of this moment counts as, in microseconds.
    fn penalty(&self, now_ms: u64) -> f64 {
        let of_peak = self.peak.decayed(now_ms) * FAILURE_FACTOR_OF_PEAK;
        of_peak.max(self.of_unknown() * FAILURE_FACTOR)
    }
}

#[allow(clippy::cast_precision_loss)] // why: times are far below 2^52
fn exact(number: u64) -> f64 {
    number as f64
}
