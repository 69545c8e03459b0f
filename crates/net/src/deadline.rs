//! Deadlines without a timer each: every connection has one watch, and a sweep looks at all of them ten times a second.
//!
//! # How it works
//! Arming a watch is two stores; expiring one sets a flag and wakes the task, whose next poll sees the flag. Ten thousand
//! watches cost about 20 us a sweep, where a timer per wait would cost more on every single request. Deadlines are
//! therefore up to [`SWEEP_MS`] late and never early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::clock::Clock;
use crate::limits::Limit;

/// Milliseconds between two sweeps.
pub const SWEEP_MS: u64 = 100;

const NEVER: u64 = u64::MAX;

/// One connection's current deadline.
pub struct Watch {
    due_ms: Cell<u64>,
    limit: Cell<Limit>,
    is_expired: Cell<bool>,
    /// The server whose end ends the wait as well; 0: none.
    server: Cell<u64>,
    /// Its time is over.
    is_over: Cell<bool>,
    index: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// All watches of a worker.
#[derive(Default)]
pub struct Deadlines {
    watches: RefCell<Vec<Rc<Watch>>>,
}

/// A watch that leaves the table when dropped.
pub struct Watched {
    watch: Rc<Watch>,
    table: Rc<Deadlines>,
    clock: Rc<Clock>,
}

impl Deadlines {
    /// A watch of its own for a connection.
    pub fn watch(self: &Rc<Self>, clock: &Rc<Clock>) -> Watched {
        let mut watches = self.watches.borrow_mut();
        let watch = Rc::new(Watch {
            due_ms: Cell::new(NEVER),
            limit: Cell::new(Limit::ClientIdle),
            is_expired: Cell::new(false),
            server: Cell::new(0),
            is_over: Cell::new(false),
            index: Cell::new(watches.len()),
            waker: RefCell::new(None),
        });
        watches.push(watch.clone());
        Watched {
            watch,
            table: self.clone(),
            clock: clock.clone(),
        }
    }

    /// Whether there are no watches.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.watches.borrow().is_empty()
    }

    /// Expires what is due.
    #[inline]
    pub fn sweep(&self, now_ms: u64) {
        for watch in self.watches.borrow().iter() {
            if watch.due_ms.get() <= now_ms {
                watch.expire();
            }
        }
    }

    /// Brings forward the deadlines of one kind.
    pub fn hasten(&self, limit: Limit, due_ms: u64) {
        for watch in self
            .watches
            .borrow()
            .iter()
            .filter(|watch| watch.limit.get() == limit && watch.due_ms.get() != NEVER)
        {
            watch.due_ms.set(watch.due_ms.get().min(due_ms));
        }
    }

    /// Ends every wait that is bound to a server, and all that follow while it is bound. How many there are.
    pub fn end_server(&self, server: u64) -> usize {
        let watches = self.watches.borrow();
        let bound = watches.iter().filter(|watch| watch.server.get() == server);
        bound
            .inspect(|watch| {
                watch.is_over.set(true);
                watch.wake();
            })
            .count()
    }

    /// Ends every wait now.
    #[inline]
    pub fn expire_all(&self) {
        for watch in self.watches.borrow().iter() {
            watch.expire();
        }
    }
}

impl Watch {
    fn expire(&self) {
        self.is_expired.set(true);
        self.due_ms.set(NEVER);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Watched {
    /// Starts a wait that may take `ms`.
    #[inline]
    pub fn arm(&self, limit: Limit, ms: u64) {
        self.watch.is_expired.set(false);
        self.watch.limit.set(limit);
        self.watch.due_ms.set(self.clock.now_ms().saturating_add(ms));
    }

    /// Ends the wait.
    #[inline]
    pub fn disarm(&self) {
        self.watch.is_expired.set(false);
        self.watch.due_ms.set(NEVER);
    }

    /// Has waits end with this server from here on, as [`Deadlines::end_server`] says; 0: with none.
    #[inline]
    pub fn bind(&self, server: u64) {
        self.watch.server.set(server);
        self.watch.is_over.set(false);
    }

    /// Whether the time of the server that it is bound to is over.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.watch.is_over.get()
    }

    /// Whether a wait of this kind is under way.
    #[inline]
    pub fn is_armed_for(&self, limit: Limit) -> bool {
        self.watch.limit.get() == limit && (self.watch.due_ms.get() != NEVER || self.watch.is_expired.get())
    }

    /// The limit that was hit, if any.
    #[inline]
    pub fn expired(&self) -> Option<Limit> {
        if self.watch.is_expired.get() {
            Some(self.watch.limit.get())
        } else {
            self.is_over().then_some(Limit::ServerDrain)
        }
    }

    /// Has the task woken when the deadline passes.
    #[inline]
    pub fn register(&self, context: &Context<'_>) {
        let mut waker = self.watch.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(context.waker()) => {}
            _ => *waker = Some(context.waker().clone()),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut watches = self.table.watches.borrow_mut();
        let index = self.watch.index.get();
        watches.swap_remove(index);
        if let Some(moved) = watches.get(index) {
            moved.index.set(index);
        }
        if watches.capacity() > 1024 && watches.len() < watches.capacity() / 4 {
            let twice = watches.len() * 2;
            watches.shrink_to(twice);
        }
    }
}
