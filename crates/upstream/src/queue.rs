//! Who waits for a server of an upstream whose servers are bounded.
//!
//! # How it works
//! Each worker has a line ([`Line`]); how many may wait is counted over all workers. The one whose turn it is looks for a
//! server when this worker gives one back, and a few times a second for what other workers give back, and for servers that
//! come back. One that has tried the server which is free gives its turn on, so that it holds nobody up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Waker};

use headgate_route::{Line, Ticket};
use headgate_shared::metrics::{Counter, Metrics};

use crate::spec;

/// See the module.
pub struct Queue {
    line: RefCell<Line>,
    /// Who is to be woken, and who was called although it is not its turn.
    wakers: RefCell<HashMap<Ticket, Waker>>,
    called: Cell<Option<Ticket>>,
    seen_ms: Cell<u64>,
    /// The cell that counts who waits, and the most that may, if they are bounded.
    bound: Option<(u32, u32)>,
}

/// A place in the line, given up when dropped.
pub struct Place {
    queue: Rc<Queue>,
    metrics: Rc<Metrics>,
    ticket: Ticket,
    is_served: Cell<bool>,
    /// How long it may wait, in milliseconds, if the line sheds.
    pub limit_ms: Option<u64>,
}

impl Queue {
    /// Nobody waits; `cell` gives each name its cell.
    #[must_use]
    pub fn new(spec: &spec::Queue, upstream: &str, cell: &mut dyn FnMut(&str) -> u32) -> Rc<Self> {
        let bound = (spec.max_pending > 0).then(|| (cell(&format!("{upstream}/pending")), spec.max_pending));
        Rc::new(Self {
            line: RefCell::new(Line::new(spec.line())),
            wakers: RefCell::default(),
            called: Cell::new(None),
            seen_ms: Cell::new(0),
            bound,
        })
    }

    /// Whether nobody waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// How many requests of this worker wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.borrow().len()
    }

    /// A place for a request of that client, so urgent; none if as many wait as may, over all workers.
    pub fn enter(
        self: &Rc<Self>,
        (client, level): (u64, u8),
        now_ms: u64,
        metrics: &Rc<Metrics>,
    ) -> Option<Place> {
        if let Some((cell, most)) = self.bound {
            if metrics.server_load(cell) >= most {
                metrics.count(Counter::LimitPending);
                return None;
            }
            metrics.enter_server(cell);
        }
        metrics.count(Counter::QueuedActive);
        self.seen_ms.set(now_ms);
        let (ticket, limit_ms) = self.line.borrow_mut().enter(client, level, now_ms);
        Some(Place {
            queue: Rc::clone(self),
            metrics: Rc::clone(metrics),
            ticket,
            is_served: Cell::new(false),
            limit_ms,
        })
    }

    /// A server was given back: whoever has the turn looks for one.
    #[inline]
    pub fn freed(&self) {
        if !self.is_empty() {
            self.call(self.line.borrow().next(self.seen_ms.get()));
        }
    }

    /// Whoever waits is to look, in the order in which they would have been served.
    pub(crate) fn wake_all(&self) {
        let mut wakers: Vec<(Ticket, Waker)> = self.wakers.borrow_mut().drain().collect();
        wakers.sort_unstable_by_key(|(ticket, _)| *ticket);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    fn call(&self, ticket: Option<Ticket>) {
        let Some(ticket) = ticket else { return };
        self.called.set(Some(ticket));
        if let Some(waker) = self.wakers.borrow_mut().remove(&ticket) {
            waker.wake();
        }
    }
}

impl Place {
    /// Whether it may look for a server now: it has the turn, or was given it.
    #[must_use]
    pub fn may_look(&self, now_ms: u64) -> bool {
        let queue = &self.queue;
        queue.seen_ms.set(now_ms);
        if queue.called.get() == Some(self.ticket) {
            queue.called.set(None);
            return true;
        }
        self.has_turn(now_ms)
    }

    /// Whether it has the turn.
    #[must_use]
    pub fn has_turn(&self, now_ms: u64) -> bool {
        self.queue.line.borrow().next(now_ms) == Some(self.ticket)
    }

    /// It found none, which may be for what it has tried before: the next one looks.
    pub fn give_turn_on(&self, now_ms: u64) {
        let next = self.queue.line.borrow().after(self.ticket, now_ms);
        self.queue.call(next);
    }

    /// It found one.
    pub fn served(&self) {
        self.is_served.set(true);
    }

    /// Wakes this task when it may look.
    pub fn register(&self, context: &Context<'_>) {
        let mut wakers = self.queue.wakers.borrow_mut();
        wakers.insert(self.ticket, context.waker().clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let queue = &self.queue;
        self.metrics.sub(Counter::QueuedActive, 1);
        if let Some((cell, _)) = queue.bound {
            self.metrics.leave_server(cell);
        }
        queue.wakers.borrow_mut().remove(&self.ticket);
        let now_ms = queue.seen_ms.get();
        let next = {
            let mut line = queue.line.borrow_mut();
            line.leave(self.ticket, self.is_served.get(), now_ms);
            line.next(now_ms)
        };
        // it may have had the turn, or there is room for more than one
        queue.call(next);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::Arc;
    use std::task::Wake;

    use headgate_shared::metrics::ZONE_CELLS;
    use headgate_shared::Zone;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn queue(max_pending: u32) -> (Rc<Queue>, Rc<Metrics>) {
        let zone = Zone::create(1, ZONE_CELLS).expect("a memory file can be made");
        let spec = spec::Queue {
            max_pending,
            ..spec::Queue::default()
        };
        let queue = Queue::new(&spec, "u", &mut |_| 300);
        (queue, Rc::new(Metrics::new(zone, 0)))
    }

    #[test]
    fn no_more_wait_than_may_and_who_leaves_makes_room_at_once() {
        let (queue, metrics) = queue(2);
        let enter = || queue.enter((0, 3), 0, &metrics);
        let (first, _second) = (enter().unwrap(), enter().unwrap());
        assert!(enter().is_none());
        assert_eq!(metrics.sum(Counter::LimitPending as u32), 1);
        assert_eq!(metrics.sum(Counter::QueuedActive as u32), 2);
        drop(first);
        assert!(enter().is_some());
    }

    #[test]
    fn who_leaves_wakes_the_next_and_one_who_cannot_use_a_turn_gives_it_on() {
        let (queue, metrics) = queue(0);
        let places: Vec<_> = (0..3)
            .map(|_| queue.enter((0, 3), 0, &metrics).unwrap())
            .collect();
        let woken: Vec<Arc<Woken>> = (0..3).map(|_| Arc::default()).collect();
        let register = |at: usize| {
            let waker = Waker::from(Arc::clone(&woken[at]));
            places[at].register(&Context::from_waker(&waker));
        };
        (0..3).for_each(register);
        let counts = || woken.iter().map(|one| one.0.load(Relaxed)).collect::<Vec<_>>();
        queue.freed();
        assert_eq!(counts(), [1, 0, 0]);
        assert!(places[0].may_look(1) && !places[1].may_look(1));
        places[0].give_turn_on(1);
        assert_eq!(counts(), [1, 1, 0]);
        assert!(places[1].may_look(1), "it was given the turn");
        assert!(!places[1].may_look(1), "once");
        register(1);
        let mut places = places.into_iter();
        drop(places.next());
        assert_eq!(counts(), [1, 2, 0]);
    }
}
