//! Futures that serve requests, used again and again.
//!
//! # How it works
//! What a request holds while it is served is some 2 KB. A connection between two requests shall not hold that, and to make
//! it anew for each request, allocate it and move it there, costs as much as reading a head. So it belongs to a future that
//! serves the connection put into its [`Assignment`], and then rests until there is another one. A connection borrows one
//! for each request. One that is dropped, or panics, while it serves does not come back.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::hooks::LocalFuture;

/// So many rest; more requests than that are seldom in flight at once.
const MAX_RESTING: usize = 128;

/// The pool of those of a worker that rest: they serve a `C`, and an `N` comes of it.
pub(crate) struct RequestFutures<C, N>(RefCell<Vec<RequestFuture<C, N>>>);

struct RequestFuture<C, N> {
    assignment: Rc<Assignment<C, N>>,
    /// Never ends; what comes of it is in the assignment.
    work: LocalFuture<'static, ()>,
}

/// Where a connection stands before it is served, and after.
pub(crate) struct Assignment<C, N> {
    /// What is to be served.
    pub(crate) waiting: Cell<Option<Box<C>>>,
    /// What was, and what follows.
    pub(crate) served: Cell<Option<(Box<C>, N)>>,
}

impl<C, N> Default for RequestFutures<C, N> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<C, N> RequestFutures<C, N> {
    /// Serves one request of a connection, the first bytes of which are there. `work` makes a future that serves what is put
    /// into an assignment; it is called only where none rests.
    pub(crate) async fn serve(
        &self,
        connection: Box<C>,
        work: impl FnOnce(Rc<Assignment<C, N>>) -> LocalFuture<'static, ()>,
    ) -> (Box<C>, N) {
        let rested = self.0.borrow_mut().pop();
        let mut future = rested.unwrap_or_else(|| RequestFuture::new(work));
        future.assignment.waiting.set(Some(connection));
        let served = poll_fn(|context| {
            let _ = future.work.as_mut().poll(context);
            future.assignment.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        let mut resting = self.0.borrow_mut();
        if resting.len() < MAX_RESTING {
            resting.push(future);
        }
        served
    }
}

impl<C, N> RequestFuture<C, N> {
    fn new(work: impl FnOnce(Rc<Assignment<C, N>>) -> LocalFuture<'static, ()>) -> Self {
        let assignment = Rc::new(Assignment {
            waiting: Cell::new(None),
            served: Cell::new(None),
        });
        Self {
            work: work(assignment.clone()),
            assignment,
        }
    }
}

/// Pending until it is polled again: there is a connection then.
pub(crate) async fn rest() {
    let mut has_rested = false;
    poll_fn(|_| {
        if std::mem::replace(&mut has_rested, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
