//! Futures that serve requests, used again and again.
//!
//! # How it works
//! What a request holds while it is served is some 2 KB. A connection between two requests shall not hold that, and to make
//! it anew for each request, allocate it and move it there, costs as much as reading a head. So it belongs to an
//! [`Attendant`]: a future that serves the connection put before it, and then rests until there is another one. A connection
//! borrows one for each request. One that is dropped, or panics, while it serves does not come back.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::hooks::LocalFuture;
use crate::http::connection::{Connection, Next};
use crate::http::exchange;

/// So many rest; more requests than that are seldom in flight at once.
const MAX_RESTING: usize = 128;

/// Those of a worker that rest.
#[derive(Default)]
pub(crate) struct Attendants(RefCell<Vec<Attendant>>);

struct Attendant {
    place: Rc<Place>,
    /// Never ends; what comes of it is in the place.
    work: LocalFuture<'static, ()>,
}

/// Where a connection stands before it is served, and after.
#[derive(Default)]
struct Place {
    waiting: Cell<Option<Box<Connection>>>,
    served: Cell<Option<(Box<Connection>, Next)>>,
}

impl Attendants {
    /// Serves one request of a connection, the first bytes of which are there.
    pub(crate) async fn serve(&self, connection: Box<Connection>) -> (Box<Connection>, Next) {
        let rested = self.0.borrow_mut().pop();
        let mut attendant = rested.unwrap_or_else(Attendant::new);
        attendant.place.waiting.set(Some(connection));
        let served = poll_fn(|context| {
            let _ = attendant.work.as_mut().poll(context);
            attendant.place.served.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        let mut resting = self.0.borrow_mut();
        if resting.len() < MAX_RESTING {
            resting.push(attendant);
        }
        served
    }
}

impl Attendant {
    fn new() -> Self {
        let place = Rc::<Place>::default();
        Self {
            work: Box::pin(work(place.clone())),
            place,
        }
    }
}

async fn work(place: Rc<Place>) {
    loop {
        if let Some(mut connection) = place.waiting.take() {
            let next = exchange::serve(&mut connection).await;
            place.served.set(Some((connection, next)));
        }
        rest().await;
    }
}

/// Pending until it is polled again: there is a connection then.
async fn rest() {
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
