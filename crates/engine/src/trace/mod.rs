//! Traces: which requests are recorded, and the spans that wait to be sent to a collector.
//!
//! # How it works
//! Every request gets a place in a trace (W3C Trace Context): that of its client, or a new one. Whether it is recorded is
//! decided at its begin, and told to servers; one that failed or was slow is recorded here all the same at its end. A
//! recorded request leaves its spans in a batch that is sent as it stands. What waits is bounded: what finds no room is
//! dropped and counted.

mod attributes;
mod batch;
pub(crate) mod protobuf;
mod request;
mod spans;

use std::cell::{Cell, RefCell};
use std::collections::hash_map::RandomState;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};

use headgate_wire::TraceParent;
use tokio::sync::Notify;

use crate::snapshot;
use batch::BatchHead;
pub(crate) use request::{Attempt, FailedAttempt, FetchSpan, Request};

/// Requests whose spans wait.
const MOST_WAITING: usize = 2_048;
/// Bytes of all of them, but for the last one.
const MOST_BYTES: usize = 8 << 20;
/// Requests whose spans are sent at once.
const MOST_IN_BATCH: usize = 512;
/// Bytes that are sent at once, but for the last request: collectors take a few megabytes.
const MOST_BATCH_BYTES: usize = 1 << 20;
/// Requests a second that are recorded because their client has asked for it; of more the ratio decides.
const MOST_ASKED_FOR: u32 = 100;

/// Spans of hooks have numbers of their own.
const FIRST_HOOK: u64 = 1 << 32;
/// Those of fetches, too.
const FIRST_FETCH: u64 = 1 << 33;

/// Where a request is in its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The request's own span, and what servers are told.
    pub(crate) own: TraceParent,
    /// The span that led to it.
    pub(crate) parent: Option<u64>,
}

impl Place {
    /// What the server of an attempt is told: the attempt has a span of its own.
    pub(crate) fn of_attempt(&self, number: u32) -> TraceParent {
        TraceParent {
            span_id: derived(self.own.span_id, u64::from(number)),
            ..self.own
        }
    }

    /// What a request is told that a hook fetches from the own routes, the `number`th of this one.
    pub(crate) fn of_fetch(&self, number: u32) -> TraceParent {
        TraceParent {
            span_id: derived(self.own.span_id, FIRST_FETCH + u64::from(number)),
            ..self.own
        }
    }
}

/// Spans that are sent together.
struct Batch {
    bytes: Vec<u8>,
    requests: usize,
    spans: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.requests >= MOST_IN_BATCH || self.bytes.len() >= MOST_BATCH_BYTES
    }
}

/// See the module.
pub(crate) struct Tracer {
    pub(crate) settings: snapshot::Tracing,
    random: Cell<u64>,
    /// A second of the worker's clock, and how many clients have asked in it.
    asked: Cell<(u64, u32)>,
    head: BatchHead,
    /// The last one may take more.
    waiting: RefCell<VecDeque<Batch>>,
    /// Requests in all of them, and bytes.
    requests: Cell<usize>,
    bytes: Cell<usize>,
    /// The memory of a batch that was sent.
    spare: Cell<Vec<u8>>,
    /// Spans that found no room.
    pub(crate) dropped: Cell<u64>,
    /// Spans are on their way to the collector.
    pub(crate) is_sending: Cell<bool>,
    /// Somebody sends what waits.
    pub(crate) is_served: Cell<bool>,
    /// No request counts on it any more: what waits is sent, and then it ends.
    pub(crate) is_retired: Cell<bool>,
    /// The worker is about to end: nothing is tried again.
    pub(crate) is_hurried: Cell<bool>,
    pub(crate) wake: Notify,
}

impl Tracer {
    pub(crate) fn new(settings: snapshot::Tracing) -> Self {
        // seeded by the system, once a process
        let random = RandomState::new().build_hasher().finish();
        Self {
            head: BatchHead::new(&settings.service),
            settings,
            random: Cell::new(random),
            asked: Cell::default(),
            waiting: RefCell::default(),
            requests: Cell::new(0),
            bytes: Cell::new(0),
            spare: Cell::default(),
            dropped: Cell::new(0),
            is_sending: Cell::new(false),
            is_served: Cell::new(false),
            is_retired: Cell::new(false),
            is_hurried: Cell::new(false),
            wake: Notify::new(),
        }
    }

    /// The place of a request, by what its client has said.
    pub(crate) fn place(&self, parent: Option<TraceParent>, now_ms: u64) -> Place {
        let trace_id = parent.map_or_else(
            || u128::from(self.next()) << 64 | u128::from(self.next()),
            |parent| parent.trace_id,
        );
        let is_sampled = match parent {
            Some(parent) if self.settings.parent_based => {
                parent.is_sampled && (self.may_ask(now_ms) || self.is_chosen(trace_id))
            }
            _ => self.is_chosen(trace_id),
        };
        Place {
            own: TraceParent {
                trace_id,
                span_id: self.next(),
                is_sampled,
            },
            parent: parent.map(|parent| parent.span_id),
        }
    }

    /// Whether a request is recorded, now that its end is known.
    pub(crate) fn keeps(&self, place: &Place, status: u16, total_us: u64) -> bool {
        let slow_us = self.settings.slow.saturating_mul(1_000);
        place.own.is_sampled || status >= 500 || (slow_us > 0 && total_us >= slow_us)
    }

    /// Leaves the spans of one request to be sent.
    pub(crate) fn record(&self, request: &Request<'_>) {
        if self.requests.get() >= MOST_WAITING || self.bytes.get() >= MOST_BYTES {
            self.dropped.set(self.dropped.get() + request.count());
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.back().is_none_or(Batch::is_full) {
            waiting.push_back(self.begin_batch());
        }
        let batch = waiting.back_mut().expect("it was just looked at");
        let before = batch.bytes.len();
        request.write(&mut batch.bytes);
        batch.requests += 1;
        batch.spans += request.count();
        self.requests.set(self.requests.get() + 1);
        self.bytes.set(self.bytes.get() + batch.bytes.len() - before);
        if batch.is_full() || self.requests.get() == 1 {
            self.wake.notify_one();
        }
    }

    /// Whether what waits is to be sent now, without waiting for more.
    pub(crate) fn is_pressed(&self) -> bool {
        self.waiting.borrow().len() > 1
            || self.waiting.borrow().front().is_some_and(Batch::is_full)
            || self.is_retired.get()
            || self.is_hurried.get()
    }

    /// How many requests' spans wait or are on their way.
    pub(crate) fn unsent(&self) -> usize {
        self.requests.get() + usize::from(self.is_sending.get())
    }

    /// The body of the next export, and how many spans are in it.
    pub(crate) fn take(&self) -> Option<(Vec<u8>, u64)> {
        let mut batch = self.waiting.borrow_mut().pop_front()?;
        self.requests.set(self.requests.get() - batch.requests);
        self.bytes
            .set(self.bytes.get() + self.head.bytes.len() - batch.bytes.len());
        self.head.finish(&mut batch.bytes);
        Some((batch.bytes, batch.spans))
    }

    /// Keeps the memory of a body for another one.
    pub(crate) fn reuse(&self, body: Vec<u8>) {
        self.spare.set(body);
    }

    fn begin_batch(&self) -> Batch {
        let mut bytes = self.spare.take();
        bytes.clear();
        bytes.extend_from_slice(&self.head.bytes);
        Batch {
            bytes,
            requests: 0,
            spans: 0,
        }
    }

    /// By the trace's id alone, so that gateways with one ratio choose the same.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a ratio need not be exact"
    )]
    fn is_chosen(&self, trace_id: u128) -> bool {
        let low = trace_id as u64;
        (low as f64) < self.settings.sample * u64::MAX as f64
    }

    fn may_ask(&self, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        let (last, count) = self.asked.get();
        let count = if last == second { count + 1 } else { 1 };
        self.asked.set((second, count));
        count <= MOST_ASKED_FOR
    }

    /// A number that nobody else has, never 0.
    fn next(&self) -> u64 {
        let seed = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(seed);
        mixed(seed)
    }
}

/// A span's id from another's.
fn derived(id: u64, number: u64) -> u64 {
    mixed(id.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014); never 0.
fn mixed(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(sample: f64, parent_based: bool) -> Tracer {
        Tracer::new(snapshot::Tracing {
            otlp: "http://127.0.0.1:4318".to_owned(),
            sample,
            slow: 1_000,
            parent_based,
            service: "gate".to_owned(),
        })
    }

    fn parent(is_sampled: bool) -> TraceParent {
        TraceParent {
            trace_id: 1 << 63 | 7,
            span_id: 9,
            is_sampled,
        }
    }

    #[test]
    fn the_decision_of_a_parent_is_passed_on_and_without_one_the_ratio_decides() {
        for (sample, parent_based, asked, is_sampled) in [
            (0.0, true, Some(parent(true)), true),
            (1.0, true, Some(parent(false)), false),
            (0.0, false, Some(parent(true)), false),
            (1.0, false, Some(parent(false)), true),
            (0.0, true, None, false),
            (1.0, true, None, true),
        ] {
            let place = tracer(sample, parent_based).place(asked, 5);
            assert_eq!(
                place.own.is_sampled, is_sampled,
                "{sample} {parent_based} {asked:?}"
            );
            assert_eq!(place.parent, asked.map(|asked| asked.span_id));
            if let Some(asked) = asked {
                assert_eq!(place.own.trace_id, asked.trace_id);
            }
            assert_ne!(place.own.span_id, place.of_attempt(1).span_id);
            assert_ne!(place.of_attempt(2).span_id, place.of_attempt(1).span_id);
        }
    }

    #[test]
    fn clients_cannot_have_everything_recorded() {
        let tracer = tracer(0.0, true);
        let recorded = (0..1_000)
            .filter(|_| tracer.place(Some(parent(true)), 5).own.is_sampled)
            .count();
        assert_eq!(recorded, MOST_ASKED_FOR as usize);
        assert!(tracer.place(Some(parent(true)), 1_005).own.is_sampled);
    }

    #[test]
    fn errors_and_slow_requests_are_kept_though_servers_were_told_otherwise() {
        let tracer = tracer(0.0, true);
        let place = tracer.place(None, 5);
        assert!(!place.own.is_sampled);
        assert!(!tracer.keeps(&place, 404, 999_999));
        assert!(tracer.keeps(&place, 500, 1) && tracer.keeps(&place, 200, 1_000_000));
    }

    #[test]
    fn the_ratio_holds() {
        let tracer = tracer(0.1, true);
        let chosen = (0..10_000)
            .filter(|_| tracer.place(None, 5).own.is_sampled)
            .count();
        assert!((800..1_200).contains(&chosen), "{chosen}");
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let tracer = tracer(1.0, true);
        for _ in 0..MOST_WAITING + 10 {
            tracer.record(&Request::example());
        }
        assert_eq!((tracer.dropped.get(), tracer.unsent()), (20, MOST_WAITING));
        let mut sent = 0;
        while let Some((body, spans)) = tracer.take() {
            assert!(spans <= 2 * MOST_IN_BATCH as u64);
            sent += spans;
            tracer.reuse(body);
        }
        assert_eq!(sent, 2 * MOST_WAITING as u64);
        assert_eq!((tracer.unsent(), tracer.bytes.get()), (0, 0));
        // and the memory that is used again holds nothing of what was sent
        tracer.record(&Request::example());
        let (again, _) = tracer.take().expect("one waits");
        let mut fresh = tracer.head.bytes.clone();
        Request::example().write(&mut fresh);
        tracer.head.finish(&mut fresh);
        assert_eq!(again, fresh);
    }

    #[test]
    fn long_paths_neither_wait_nor_are_sent_without_bound() {
        let tracer = tracer(1.0, true);
        let path = vec![b'/'; 60_000];
        for _ in 0..500 {
            tracer.record(&Request {
                path: &path,
                ..Request::example()
            });
        }
        assert!(tracer.bytes.get() < MOST_BYTES + 100_000 && tracer.dropped.get() > 0);
        while let Some((body, _)) = tracer.take() {
            assert!(body.len() < MOST_BATCH_BYTES + 100_000);
        }
    }
}
