//! What request hooks ask of the request's body, and what they put in its place.
//!
//! # How it works
//! A hook runs in asyncio while the request's own task holds the connection. So the hook leaves a [`Want`] here and wakes
//! that task, which waits for the hook anyway; it reads, keeps what came in a [`Spool`] so that it can still be sent on,
//! and calls the want's continuation. A body that breaks ends the request, and with it the hook that waits.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{ready, Context, Poll, Waker};

use super::made::{keep_trailers, late_client};
use super::piece::Chunk;
use super::spool::Spool;
use crate::failure::Failure;
use crate::hooks::exchange::Exchange;
use crate::hooks::BodySource;
use crate::http::connection::Connection;
use crate::http::exchange::body_failure;
use crate::http::h1::request_body::RequestBody;
use crate::limits::{Limit, LimitCounter};
use crate::metrics::Counter;

/// How much of the body a hook wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// All of it; it is kept.
    Whole,
    /// The next piece; it is kept.
    Piece,
    /// The next piece; it is gone then.
    PieceAway,
}

/// What a hook gets.
pub enum Delivery {
    /// All was read: see [`Intake::whole`].
    Whole,
    /// The next piece.
    Piece(Chunk),
    /// There is no next piece.
    End,
    /// The time to read has passed.
    Over,
}

/// Called once with what was wanted.
pub type Continuation = Box<dyn FnOnce(Delivery)>;

/// What a hook puts in the body's place.
pub enum NewBody {
    /// These bytes.
    Bytes(Chunk),
    /// What this gives.
    Stream(Box<dyn BodySource>),
}

/// How much of the body was read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Taken {
    /// Nothing.
    #[default]
    Nothing,
    /// A part, which is kept.
    Part,
    /// All, which is kept.
    Whole,
    /// A part or all, which is not kept.
    Away,
}

/// See the module.
#[derive(Default)]
pub struct Intake {
    taken: Cell<Taken>,
    is_at_end: Cell<bool>,
    pub(crate) spool: RefCell<Option<Spool>>,
    pub(crate) new_body: RefCell<Option<NewBody>>,
    sent: RefCell<Option<Chunk>>,
    wants: RefCell<VecDeque<(Want, Continuation)>>,
    waker: RefCell<Option<Waker>>,
}

impl Intake {
    /// Whether some of the body is wanted now.
    pub(crate) fn is_reading(&self) -> bool {
        !self.wants.borrow().is_empty()
    }

    /// How much was read.
    pub fn taken(&self) -> Taken {
        self.taken.get()
    }

    /// Whether a hook has asked for anything of it, or replaced it.
    pub(crate) fn is_used(&self) -> bool {
        self.taken.get() != Taken::Nothing || self.new_body.borrow().is_some()
    }

    /// Asks for some of the body. The continuation is called later, by the request's own task.
    pub fn want(&self, want: Want, continuation: Continuation) {
        self.wants.borrow_mut().push_back((want, continuation));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The body that was read whole.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn whole(&self) -> std::io::Result<Vec<u8>> {
        self.spool.borrow().as_ref().map_or(Ok(Vec::new()), Spool::whole)
    }

    /// Puts another body in its place.
    pub fn replace(&self, body: NewBody) {
        self.new_body.replace(Some(body));
    }

    /// The bytes put in its place; `None` if there are none, or a stream.
    pub fn new_bytes(&self) -> Option<Chunk> {
        match &*self.new_body.borrow() {
            Some(NewBody::Bytes(chunk)) => Some(chunk.clone()),
            Some(NewBody::Stream(_)) => None,
            None => self.sent.borrow().clone(),
        }
    }

    /// The bytes that were put in its place go out now.
    pub(crate) fn remember(&self, chunk: Chunk) {
        self.sent.replace(Some(chunk));
    }

    /// Whether a stream was put in its place.
    pub fn is_streamed(&self) -> bool {
        matches!(&*self.new_body.borrow(), Some(NewBody::Stream(_)))
    }

    /// The `request` hooks are done: who still wants something gets nothing.
    pub(crate) fn close(&self) {
        loop {
            let next = self.wants.borrow_mut().pop_front();
            match next {
                Some((_, continuation)) => continuation(Delivery::Over),
                None => return,
            }
        }
    }

    /// Reads what hooks want; ready only with the failure that ends the request.
    pub(crate) fn poll(
        &self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &Exchange,
        body: &mut RequestBody,
    ) -> Poll<Failure> {
        loop {
            let Some(want) = self.wants.borrow().front().map(|(want, _)| *want) else {
                connection.watch.disarm();
                self.waker.replace(Some(context.waker().clone()));
                return Poll::Pending;
            };
            if self.is_at_end.get() {
                self.deliver(match want {
                    Want::Whole => Delivery::Whole,
                    Want::Piece | Want::PieceAway => Delivery::End,
                });
                continue;
            }
            match ready!(self.poll_read(context, connection, exchange, body, want)) {
                Ok(()) => {}
                Err(failure) => return Poll::Ready(failure),
            }
        }
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        exchange: &Exchange,
        body: &mut RequestBody,
        want: Want,
    ) -> Poll<Result<(), Failure>> {
        ready!(poll_continue(context, connection, exchange, body))?;
        let (hooks, max_bytes, memory) = {
            let tables = exchange.tables.borrow();
            let limits = &tables.limits;
            (
                tables.hooks.clone(),
                limits.max_buffered_body_bytes,
                limits.buffered_memory_bytes,
            )
        };
        let before = body.received;
        let polled = body.poll_flow(context, &mut connection.peer, &*hooks);
        exchange
            .request_bytes
            .set(exchange.request_bytes.get() + body.received - before);
        let flow = match polled {
            Poll::Ready(Ok(flow)) => flow,
            Poll::Ready(Err(broken)) => return Poll::Ready(Err(body_failure(&broken, exchange))),
            Poll::Pending => {
                let watch = &connection.watch;
                if !watch.is_armed_for(Limit::ClientBody) {
                    watch.arm(Limit::ClientBody, client_body_ms(exchange));
                }
                if let Some(limit) = watch.expired() {
                    connection.shared.metrics.count(limit.counter());
                    exchange.limit.set(limit.name());
                    return Poll::Ready(Err(late_client()));
                }
                watch.register(context);
                return Poll::Pending;
            }
        };
        connection.watch.disarm();
        self.is_at_end.set(flow.is_last);
        if flow.is_last {
            keep_trailers(body, exchange);
        }
        let keeps = want != Want::PieceAway && self.taken.get() != Taken::Away;
        if keeps {
            let mut spool = self.spool.borrow_mut();
            let spool = spool.get_or_insert_with(|| Spool::new(memory));
            if spool.len() + flow.len() as u64 > max_bytes {
                exchange.limit.set("limits.max_buffered_body_bytes");
                connection.shared.metrics.count(Counter::LimitBufferedBody);
                return Poll::Ready(Err(held_too_large()));
            }
            if let Some(data) = &flow.data {
                match spool.write(data.bytes()) {
                    Ok(true) => connection.shared.metrics.count(Counter::BodiesSpilled),
                    Ok(false) => {}
                    Err(error) => return Poll::Ready(Err(spool_failure(&error))),
                }
            }
        }
        self.taken.set(match (keeps, flow.is_last) {
            (false, _) => Taken::Away,
            (true, false) => Taken::Part,
            (true, true) => Taken::Whole,
        });
        if want != Want::Whole {
            if let Some(data) = flow.data {
                self.deliver(Delivery::Piece(data));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn deliver(&self, delivery: Delivery) {
        let next = self.wants.borrow_mut().pop_front();
        if let Some((_, continuation)) = next {
            continuation(delivery);
        }
    }
}

/// The client may wait for a 100 before it sends the body (RFC 9110 section 10.1.1): it is wanted now.
pub(crate) fn poll_continue(
    context: &mut Context<'_>,
    connection: &mut Connection,
    exchange: &Exchange,
    body: &RequestBody,
) -> Poll<Result<(), Failure>> {
    if !exchange.request.borrow().expect_continue {
        return Poll::Ready(Ok(()));
    }
    // within an answer that has begun there is no place for it
    let has_begun = exchange.status.get() != 0;
    if body.received == 0 && connection.peer.unread().is_empty() && !body.is_read() && !has_begun {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        // so few bytes that the kernel takes them at once, or the client does not read at all
        if ready!(connection.peer.stream.poll_write(context, interim, &[])).is_err() {
            return Poll::Ready(Err(Failure::client_left()));
        }
    }
    exchange.request.borrow_mut().expect_continue = false;
    Poll::Ready(Ok(()))
}

pub(crate) fn client_body_ms(exchange: &Exchange) -> u64 {
    exchange.tables.borrow().timeout(
        exchange.route.get(),
        None,
        |timeouts| timeouts.client_body,
        |timeouts| timeouts.client_body,
    )
}

/// A temporary file that failed, most likely because the disk is full.
pub(crate) fn spool_failure(error: &std::io::Error) -> Failure {
    Failure::gateway(
        "spool_failed",
        500,
        format!("the body could not be kept in a temporary file: {error}"),
    )
}

/// A request's body that a hook wants whole, and that is too large for that.
pub(crate) fn held_too_large() -> Failure {
    Failure::client(
        "buffered_body_too_large",
        413,
        "the request's body is larger than is held for a hook",
    )
}
