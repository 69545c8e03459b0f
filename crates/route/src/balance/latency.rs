//! How long servers take to respond: the peak-sensitive moving average of Finagle and linkerd ("Peak EWMA").
//!
//! How it works: a slower response than expected counts at once, a faster one by its share of [`DECAY_MS`]. What is not
//! sampled decays with time, so that a server that was slow is asked again. A server without a sample is expected to be as
//! the group is: expecting nothing of it would send it everything. A failure counts as a slow response, however fast it came.

/// The time in which what was measured falls to 1/e of its weight, in milliseconds; Finagle's default.
const DECAY_MS: f64 = 10_000.0;

/// A failure counts as so many times what the group takes.
const FAILURE_FACTOR: f64 = 10.0;

/// The least time expected, in microseconds, so that servers that are all idle compare by their connections.
const FLOOR_US: f64 = 1.0;

/// The times of one server or of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency {
    value_us: f64,
    sampled_ms: u64,
    is_known: bool,
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

    /// What is expected, in microseconds, if anything was measured.
    pub(super) fn expected(&self, now_ms: u64) -> Option<f64> {
        self.is_known.then(|| self.decayed(now_ms).max(FLOOR_US))
    }

    fn decayed(&self, now_ms: u64) -> f64 {
        self.value_us * self.weight_left(now_ms)
    }

    fn weight_left(&self, now_ms: u64) -> f64 {
        let passed = exact(now_ms.saturating_sub(self.sampled_ms)) / DECAY_MS;
        // e^-x by the first terms of e^x (Horner): a part of the cost, and as good for what decays
        let grown = 1.0 + passed * (1.0 + passed * (0.5 + passed * (1.0 / 6.0 + passed / 24.0)));
        grown.recip()
    }
}

/// What servers of a group take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupLatency(Latency);

impl GroupLatency {
    /// A response took so long.
    pub(super) fn sample(&mut self, took_us: u64) {
        self.0.average(took_us);
    }

    /// What is expected of a server of which nothing is known, in microseconds.
    pub(super) fn of_unknown(&self) -> f64 {
        if self.0.is_known {
            self.0.value_us.max(FLOOR_US)
        } else {
            FLOOR_US
        }
    }

    /// What a failure counts as, in microseconds.
    pub(super) fn penalty_us(&self, took_us: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // why: casts of floats saturate
        let of_group = (self.of_unknown() * FAILURE_FACTOR) as u64;
        took_us.max(of_group)
    }
}

#[allow(clippy::cast_precision_loss)] // why: times are far below 2^52
fn exact(number: u64) -> f64 {
    number as f64
}
