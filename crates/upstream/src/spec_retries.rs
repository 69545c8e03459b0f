//! What is tried again, as it comes in a snapshot.

use serde::Deserialize;

use crate::failed_by::FailedBy;

/// What is tried again, and how much.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// The kinds of failures.
    pub kinds: Vec<FailedBy>,
    /// The statuses of responses, as first and last ones.
    pub statuses: Vec<(u16, u16)>,
    /// The methods of requests that may be sent twice; absent for the idempotent ones.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// The most retries at a time, as a share of the upstream's requests in percent; absent for any number.
    pub budget_percent: Option<u32>,
    /// How long an attempt may take until its response's head, in milliseconds.
    pub attempt_timeout: Option<u64>,
    /// The pauses before further attempts; absent for none.
    #[serde(default)]
    pub backoff: Option<Backoff>,
}

/// Pauses that grow and are jittered, in milliseconds.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The longest before the first retry, from 1; twice as much before each further one.
    pub base: u64,
    /// The longest of all.
    pub max: u64,
}

impl Backoff {
    /// The pause before the retry of that number, from 1: by `random`, evenly between nothing and a bound that doubles ("full
    /// jitter": Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015). A server that says when it may be asked
    /// again is given that time, if it is not more than the longest pause.
    #[must_use]
    pub fn pause_ms(&self, number: u32, random: u64, asked_ms: Option<u64>) -> u64 {
        let factor = 1u64.checked_shl(number.saturating_sub(1)).unwrap_or(u64::MAX);
        let bound = self.base.saturating_mul(factor).min(self.max);
        let pause = random % bound.saturating_add(1).max(1);
        asked_ms.filter(|ms| *ms <= self.max).unwrap_or(0).max(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: 25, max: 250 };

    #[test]
    fn pauses_are_even_below_a_bound_that_doubles_up_to_the_longest() {
        for (number, bound) in [
            (1, 25),
            (2, 50),
            (3, 100),
            (4, 200),
            (5, 250),
            (16, 250),
            (200, 250),
        ] {
            let pauses = (0..10_000).map(|random| BACKOFF.pause_ms(number, random, None));
            let (mut sum, mut least, mut most) = (0, u64::MAX, 0);
            for pause in pauses {
                (sum, least, most) = (sum + pause, least.min(pause), most.max(pause));
            }
            assert_eq!((least, most), (0, bound), "{number}");
            assert!((sum / 10_000).abs_diff(bound / 2) <= 3, "{number}: {sum}");
        }
    }

    #[test]
    fn a_server_that_asks_for_time_has_it_unless_that_is_more_than_the_longest() {
        assert_eq!(BACKOFF.pause_ms(1, 10, Some(100)), 100);
        assert_eq!(BACKOFF.pause_ms(1, 10, Some(0)), 10);
        assert_eq!(BACKOFF.pause_ms(1, 10, Some(250)), 250);
        assert_eq!(BACKOFF.pause_ms(1, 10, Some(251)), 10);
    }
}
