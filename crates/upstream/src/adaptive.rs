//! An upstream's limit of requests that adapts to latency, one for all workers.
//!
//! # How it works
//! Each worker looks at the times of its own requests; the limit stands in the zone, and the worker whose window ends first
//! changes it, so that it changes no more than once in a window however many workers there are. It outlives reloads.

use std::cell::RefCell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use headgate_route::{AdaptiveState, TimesWindow, WINDOW_MS};
use headgate_shared::adaptive_limits::LimitWord;
use headgate_shared::metrics::Metrics;
use headgate_shared::servers::shared_now_ms;

use crate::spec;

/// See the module.
pub(crate) struct Adaptive {
    spec: spec::AdaptiveLimit,
    cell: u32,
    window: RefCell<TimesWindow>,
}

impl Adaptive {
    /// That of an upstream, if it has one; `cell` gives each name its cell.
    pub(crate) fn of(upstream: &spec::Upstream, cell: &mut dyn FnMut(&str) -> u32) -> Option<Self> {
        upstream.adaptive_limit.as_ref().map(|spec| Self {
            spec: spec.clone(),
            cell: cell(&format!("{}/limit", upstream.name)),
            window: RefCell::default(),
        })
    }

    /// The most requests at a time, now.
    pub(crate) fn limit(&self, metrics: &Metrics) -> u32 {
        self.state(metrics).limit(&self.spec.bounds())
    }

    /// A request had its response after so many microseconds, with so many in flight.
    pub(crate) fn took(&self, now_ms: u64, us: u64, in_flight: u32, metrics: &Metrics) {
        let Some(median_us) = self.window.borrow_mut().add(now_ms, us) else {
            return;
        };
        let next = metrics.zone().limit_word(self.cell, LimitWord::Next);
        let (due_ms, shared_ms) = (next.load(Acquire), shared_now_ms());
        if shared_ms < due_ms
            || next
                .compare_exchange(due_ms, shared_ms + WINDOW_MS, AcqRel, Acquire)
                .is_err()
        {
            return;
        }
        let state = self.state(metrics);
        let [limit, base] = state.after(&self.spec.bounds(), median_us, in_flight).pack();
        let word = |word| metrics.zone().limit_word(self.cell, word);
        word(LimitWord::Base).store(base, Relaxed);
        word(LimitWord::Limit).store(limit, Relaxed);
    }

    fn state(&self, metrics: &Metrics) -> AdaptiveState {
        let word = |word| metrics.zone().limit_word(self.cell, word).load(Relaxed);
        let known = AdaptiveState::unpack([word(LimitWord::Limit), word(LimitWord::Base)]);
        known.unwrap_or_else(|| AdaptiveState::new(&self.spec.bounds()))
    }
}
