//! When a request that waits for its response goes to another server as well.
//!
//! # How it works
//! A hedge counts as a retry: it is within the same budget, and its request holds a place in the same cell. Where the delay is
//! a percentile, each worker measures the times of its own requests, from the first attempt to the response that won: what
//! was cut short by a hedge counts with the time that its client waited, so that hedges do not shorten their own delay.

use std::cell::RefCell;
use std::time::Duration;

use headgate_route::RecentTimes;

use crate::spec;

/// See the module.
pub(crate) struct Hedging {
    pub(crate) spec: spec::Hedge,
    /// The cells that count requests on the upstream, and those of them that are retries or hedges.
    pub(crate) cells: (u32, u32),
    pub(crate) times: RefCell<RecentTimes>,
}

impl Hedging {
    /// `cell` gives each name its cell.
    pub(crate) fn new(spec: &spec::Hedge, upstream: &str, cell: &mut dyn FnMut(&str) -> u32) -> Self {
        let mut of = |part: &str| cell(&format!("{upstream}/{part}"));
        Self {
            cells: (of(""), of("retries")),
            spec: spec.clone(),
            times: RefCell::default(),
        }
    }

    /// Goes on with what was measured for another configuration of the same upstream.
    pub(crate) fn follow(&self, old: &Self) {
        self.times.replace(old.times.borrow().clone());
    }

    pub(crate) fn delay(&self, now_ms: u64) -> Option<Duration> {
        match (self.spec.after, self.spec.percentile) {
            (Some(after_ms), _) => Some(Duration::from_millis(after_ms)),
            (None, Some(percent)) => {
                let us = self.times.borrow_mut().percentile(now_ms, percent)?;
                Some(Duration::from_micros(us))
            }
            (None, None) => None,
        }
    }
}
