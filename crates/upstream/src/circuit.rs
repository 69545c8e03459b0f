//! The circuit breaker of an upstream, one for all workers.
//!
//! # How it works
//! Attempts and failures are counted in two cells of the zone; each worker looks at the share of failures in windows of its own.
//! Until when the circuit is open stands in the zone, in the entry of a server without a name. After that moment a few
//! requests get a [`Pass`] that is a probe. A probe's place is free again when the pass is dropped, whatever became of its
//! request, and belongs to the next one if it is held for longer than the circuit was to be open: the worker may have died.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use headgate_route::{Circuit, CircuitWindow};
use headgate_shared::metrics::{Counter, Metrics};
use headgate_shared::servers::{shared_now_ms, ServerEntry, ServerWord};

use crate::failed_by::FailedBy;
use crate::spec;

/// The places of probes.
const PROBES: [ServerWord; 3] = [ServerWord::Probe0, ServerWord::Probe1, ServerWord::Probe2];

/// See the module.
pub(crate) struct Breaker {
    spec: spec::CircuitBreaker,
    upstream: String,
    /// Its name in the zone.
    name: String,
    /// All attempts, and those that failed.
    cells: (u32, u32),
    window: RefCell<CircuitWindow>,
    entry: Cell<Option<ServerEntry>>,
    /// The number of changes in the zone when the entry was looked for.
    seen: Cell<u64>,
}

/// An attempt that the circuit let on.
pub struct Pass<'u> {
    breaker: Option<&'u Breaker>,
    metrics: &'u Metrics,
    probe: Option<Probe>,
}

/// A probe's place.
#[derive(Clone, Copy)]
struct Probe {
    entry: ServerEntry,
    place: ServerWord,
    since_ms: u64,
}

impl Breaker {
    pub(crate) fn new(
        spec: &spec::CircuitBreaker,
        upstream: &str,
        cell: &mut dyn FnMut(&str) -> u32,
    ) -> Self {
        let mut of = |part: &str| cell(&format!("{upstream}/circuit-{part}"));
        Self {
            cells: (of("attempts"), of("failures")),
            spec: spec.clone(),
            upstream: upstream.to_owned(),
            name: format!("{upstream}/"),
            window: RefCell::default(),
            entry: Cell::new(None),
            seen: Cell::new(u64::MAX),
        }
    }

    /// Its entry, if it was open lately; looked for after something has changed in the zone only.
    fn entry(&self, metrics: &Metrics) -> Option<ServerEntry> {
        let changes = metrics.zone().server_changes();
        if self.seen.replace(changes) != changes {
            self.entry.set(metrics.zone().find_server(&self.name));
        }
        self.entry.get()
    }

    /// How it is now.
    pub(crate) fn circuit(&self, metrics: &Metrics) -> Circuit {
        let Some(entry) = self.entry(metrics) else {
            return Circuit::Closed;
        };
        let until = metrics.zone().server_word(entry, ServerWord::EjectedUntil);
        match until.load(Acquire) {
            0 => Circuit::Closed,
            until_ms => Circuit::of(until_ms, shared_now_ms()),
        }
    }

    /// Lets an attempt on, if it is closed, or half-open and a probe's place is free.
    pub(crate) fn pass<'u>(&'u self, metrics: &'u Metrics) -> Option<Pass<'u>> {
        let probe = match self.circuit(metrics) {
            Circuit::Closed => None,
            Circuit::Open => {
                metrics.count(Counter::LimitCircuit);
                return None;
            }
            Circuit::HalfOpen => {
                let probe = self.probe(metrics);
                if probe.is_none() {
                    metrics.count(Counter::LimitCircuit);
                }
                Some(probe?)
            }
        };
        Some(Pass {
            breaker: Some(self),
            metrics,
            probe,
        })
    }

    /// A place for a probe, if one is free.
    fn probe(&self, metrics: &Metrics) -> Option<Probe> {
        let entry = self.entry(metrics)?;
        let since_ms = shared_now_ms();
        let mut places = PROBES.into_iter().take(self.spec.probes);
        let place = places.find(|place| {
            let word = metrics.zone().server_word(entry, *place);
            let held = word.load(Acquire);
            let is_free = held == 0 || since_ms.saturating_sub(held) >= self.spec.open;
            is_free && word.compare_exchange(held, since_ms, AcqRel, Acquire).is_ok()
        })?;
        Some(Probe {
            entry,
            place,
            since_ms,
        })
    }

    /// An attempt of a closed circuit came to its end.
    fn count(&self, is_failure: bool, metrics: &Metrics) {
        metrics.count_cell(self.cells.0);
        if is_failure {
            metrics.count_cell(self.cells.1);
        }
        if self.circuit(metrics) != Circuit::Closed {
            return;
        }
        let rule = self.spec.rule();
        let now_ms = shared_now_ms();
        let epoch = self.entry(metrics).map_or(0, |entry| {
            let word = metrics.zone().server_word(entry, ServerWord::Progress);
            word.load(Relaxed) >> 8
        });
        let mut window = self.window.borrow_mut();
        let begins = window.is_over(&rule, epoch, now_ms);
        if !begins && !is_failure {
            return;
        }
        let counts = (metrics.sum(self.cells.0), metrics.sum(self.cells.1));
        if begins {
            let before = (
                counts.0.saturating_sub(1),
                counts.1.saturating_sub(u64::from(is_failure)),
            );
            window.begin(epoch, before, now_ms);
        }
        if is_failure && window.trips(&rule, counts) {
            drop(window);
            self.open(metrics);
        }
    }

    /// Opens a closed circuit, unless another worker has.
    fn open(&self, metrics: &Metrics) {
        let zone = metrics.zone();
        let Some(entry) = zone.claim_server(&self.name) else {
            return;
        };
        let for_ms = self.spec.rule().open_for_ms(1);
        let until = zone.server_word(entry, ServerWord::EjectedUntil);
        if until
            .compare_exchange(0, shared_now_ms() + for_ms, AcqRel, Acquire)
            .is_err()
        {
            return;
        }
        zone.server_word(entry, ServerWord::Ejections).store(1, Relaxed);
        advance(entry, metrics);
        zone.change_server_state(entry, |state| state.is_circuit = true);
        self.opened(for_ms, metrics);
    }

    fn opened(&self, for_ms: u64, metrics: &Metrics) {
        metrics.count(Counter::CircuitsOpened);
        let upstream = &self.upstream;
        tracing::warn!(upstream, for_ms, "the circuit is open: too many requests failed");
    }

    /// A probe came to its end.
    fn probed(&self, probe: Probe, is_failure: bool, metrics: &Metrics) {
        let zone = metrics.zone();
        let until = zone.server_word(probe.entry, ServerWord::EjectedUntil);
        let until_ms = until.load(Acquire);
        if !probe.release(metrics) || Circuit::of(until_ms, shared_now_ms()) != Circuit::HalfOpen {
            // it was taken for lost, or another one has settled the matter
            return;
        }
        if is_failure {
            let times = zone.server_word(probe.entry, ServerWord::Ejections);
            let count = times.load(Relaxed) + 1;
            let for_ms = self.spec.rule().open_for_ms(count);
            let later_ms = shared_now_ms() + for_ms;
            if until
                .compare_exchange(until_ms, later_ms, AcqRel, Acquire)
                .is_ok()
            {
                times.store(count, Relaxed);
                advance(probe.entry, metrics);
                self.opened(for_ms, metrics);
            }
            return;
        }
        let progress = zone.server_word(probe.entry, ServerWord::Progress);
        let successes = (progress.fetch_add(1, AcqRel) & 0xff) + 1;
        if successes >= self.spec.probes as u64
            && until.compare_exchange(until_ms, 0, AcqRel, Acquire).is_ok()
        {
            advance(probe.entry, metrics);
            zone.server_word(probe.entry, ServerWord::Ejections)
                .store(0, Relaxed);
            zone.change_server_state(probe.entry, |state| state.is_circuit = false);
            tracing::warn!(upstream = self.upstream, "the circuit is closed");
        }
    }
}

/// The circuit has changed: what was counted before is over, and so are the successes of probes.
fn advance(entry: ServerEntry, metrics: &Metrics) {
    let word = metrics.zone().server_word(entry, ServerWord::Progress);
    word.store(((word.load(Relaxed) >> 8) + 1) << 8, Release);
}

impl Probe {
    /// Frees its place; false if that was another's by now.
    fn release(self, metrics: &Metrics) -> bool {
        let word = metrics.zone().server_word(self.entry, self.place);
        word.compare_exchange(self.since_ms, 0, AcqRel, Acquire).is_ok()
    }
}

impl<'u> Pass<'u> {
    /// An attempt on an upstream without a breaker.
    #[inline]
    pub(crate) fn free(metrics: &'u Metrics) -> Self {
        Self {
            breaker: None,
            metrics,
            probe: None,
        }
    }

    /// A response with that status came.
    #[inline]
    pub fn responded(&mut self, status: u16) {
        if let Some(breaker) = self.breaker {
            self.settle(breaker, breaker.spec.counts_status(status));
        }
    }

    /// None came.
    #[inline]
    pub fn failed(&mut self, by: FailedBy) {
        if let Some(breaker) = self.breaker {
            if breaker.spec.kinds.contains(&by) {
                self.settle(breaker, true);
            }
        }
    }

    fn settle(&mut self, breaker: &Breaker, is_failure: bool) {
        match self.probe.take() {
            Some(probe) => breaker.probed(probe, is_failure, self.metrics),
            None => breaker.count(is_failure, self.metrics),
        }
        self.breaker = None;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.release(self.metrics);
        }
    }
}

#[cfg(test)]
#[path = "tests/circuit.rs"]
mod tests;
