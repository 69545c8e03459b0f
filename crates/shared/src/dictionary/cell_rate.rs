//! The generic cell rate algorithm (ITU-T I.371, appendix I.2, "virtual scheduling"): a token bucket that is one number.

/// A rate: a request costs `step` seconds of a bucket that is `depth` seconds deep.
#[derive(Debug, Clone, Copy)]
pub struct CellRate {
    step: f64,
    depth: f64,
}

/// What a request got.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttled {
    /// Seconds until it would be let in; 0: it is.
    pub wait: f64,
    /// Seconds until the bucket is full again.
    pub full_in: f64,
}

/// A request is not refused for a rounding error of less than this part of a step.
const TOLERANCE: f64 = 1e-6;
const LONGEST_S: f64 = 3650.0 * 86400.0;

impl CellRate {
    /// `None` unless both are finite, more than 0 and at most ten years.
    pub fn new(step: f64, depth: f64) -> Option<Self> {
        let fits = |seconds: f64| seconds > 0.0 && seconds <= LONGEST_S;
        (fits(step) && fits(depth)).then_some(Self { step, depth })
    }

    /// Decides on a request while the bucket lacks `lacking` seconds of being full (less than 0: it has been full).
    pub(super) fn decide(self, lacking: f64) -> Throttled {
        // Not a number, as somebody else may have stored, is a full bucket.
        let lacking = if lacking > 0.0 {
            lacking.min(LONGEST_S * 2.0)
        } else {
            0.0
        };
        let wait = lacking + self.step - self.depth;
        if wait > self.step * TOLERANCE {
            return Throttled {
                wait,
                full_in: lacking,
            };
        }
        Throttled {
            wait: 0.0,
            full_in: lacking + self.step,
        }
    }

    /// Milliseconds that an entry lives: at least one, since 0 is for ever.
    pub(super) fn life_ms(full_in: f64) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "more than 0 and bounded by `decide`"
        )]
        let milliseconds = (full_in * 1000.0).ceil() as u64;
        milliseconds.max(1)
    }
}
