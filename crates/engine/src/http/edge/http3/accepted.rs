//! A request's stream as the byte stream that a connection serves one request on.
//!
//! # How it works
//! Reads give the request as HTTP/1 text ([`Incoming`]). The response's head is parsed as it is written and sent as HEADERS;
//! then [`Outgoing`] takes the body. A stream that is dropped before its response is whole is reset, so that half a response
//! never looks like one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::late;
use headgate_net::quic::{Connection, SendStream, Stopped};
use headgate_net::virtual_stream::{remember, wake, Duplex, Peek};
use headgate_upstream::http2::outgoing::take_both;
use headgate_wire::http3::code;

use super::outgoing::{Outgoing, Section};
use crate::http::edge::response_head::ResponseHeadReader;
use headgate_upstream::http3::incoming::Incoming;

/// Requests of a connection that are being served.
#[derive(Default)]
pub(super) struct ActiveRequests {
    count: Cell<usize>,
    /// Requests that their clients gave up, since the connection looked last.
    cancelled: Cell<u32>,
    /// The connection's task, which has to look.
    waker: RefCell<Option<Waker>>,
}

impl ActiveRequests {
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// What clients gave up since this was asked last.
    pub(super) fn take_cancelled(&self) -> u32 {
        self.cancelled.take()
    }

    /// One more was given up.
    pub(super) fn cancel(&self) {
        self.cancelled.set(self.cancelled.get().saturating_add(1));
        wake(&mut self.waker.borrow_mut());
    }

    /// Has the task woken when there is something to see.
    pub(super) fn register(&self, context: &Context<'_>) {
        remember(&mut self.waker.borrow_mut(), context);
    }
}

/// Why a request counts as being served.
pub(super) struct RequestGuard(Rc<ActiveRequests>);

impl RequestGuard {
    pub(super) fn new(active: &Rc<ActiveRequests>) -> Self {
        active.count.set(active.count.get() + 1);
        Self(Rc::clone(active))
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            wake(&mut self.0.waker.borrow_mut());
        }
    }
}

/// A request that is being served, and what becomes of its response behind that.
pub(super) struct Served {
    guard: RequestGuard,
    /// Whether the client gives the response up, or has all of it.
    stopped: Stopped,
    /// All of the response was given to QUIC.
    is_whole: Cell<bool>,
}

impl Served {
    pub(super) fn new(guard: RequestGuard, send: &SendStream) -> Rc<Self> {
        Rc::new(Self {
            guard,
            stopped: send.stopped(),
            is_whole: Cell::new(false),
        })
    }

    /// The client has given it up before it was whole.
    pub(super) fn cancel(&self) {
        self.guard.0.cancel();
    }

    /// Ready when the client has given the response up, or has all of it.
    fn poll_stopped(&self, context: &Context<'_>) -> Poll<()> {
        self.stopped.poll(context)
    }

    /// Waits until the client has the response: a connection that ends before would take it along. Not for longer than
    /// clients may take to read.
    pub(super) async fn delivered(&self, watch: &Watched, send_ms: u64) {
        if !self.is_whole.get() {
            return;
        }
        watch.arm(Limit::Send, send_ms);
        poll_fn(|context| match self.poll_stopped(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => late(watch, context).map(drop),
        })
        .await;
    }
}

/// See the module.
pub(super) struct Accepted {
    connection: Connection,
    /// In a cell, because asking whether bytes are there may take them from the stream.
    incoming: RefCell<Incoming>,
    outgoing: Outgoing,
    head: ResponseHeadReader,
    is_reset: Cell<bool>,
    served: Rc<Served>,
}

impl Accepted {
    pub(super) fn new(
        connection: Connection,
        incoming: Incoming,
        outgoing: Outgoing,
        (is_head, is_connect): (bool, bool),
        served: Rc<Served>,
    ) -> Self {
        Self {
            connection,
            incoming: RefCell::new(incoming),
            outgoing,
            head: ResponseHeadReader::new(is_head, is_connect),
            is_reset: Cell::new(false),
            served,
        }
    }

    /// Ready when the client has given up the response, or its connection is gone.
    fn poll_reset(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_done() {
            return Poll::Pending;
        }
        if !self.is_reset.get() {
            ready!(self.served.poll_stopped(context));
            self.is_reset.set(true);
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Takes a part of the response's head: how much.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (n, head) = self.head.take(bytes, Section::of)?;
        match head {
            Some(head) if head.is_interim() => self.outgoing.send_interim(head.fields),
            Some(head) => self.outgoing.send_head(head.fields, head.framing),
            None => {}
        }
        Ok(n)
    }
}

impl Duplex for Accepted {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let incoming = self.incoming.get_mut();
        match ready!(incoming.poll_read(context, buffer, limit))? {
            0 if self.outgoing.is_done() => Poll::Ready(Ok(0)),
            // a complete request does not say whether its client is still there
            0 if !incoming.message().is_end_told() => self.poll_reset(context).map_ok(|()| 0),
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        take_both(first, second, |bytes| {
            if self.outgoing.is_at_head() {
                Poll::Ready(self.write_head(bytes))
            } else {
                self.outgoing.poll_write(context, bytes)
            }
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.shut();
        Poll::Ready(Ok(()))
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut incoming = self.incoming.borrow_mut();
        let more = ready!(incoming.poll_more(context));
        if more.is_ok() && incoming.message().is_finished() && !incoming.message().is_end_told() {
            return self.poll_reset(context);
        }
        self.is_reset.set(more.is_err());
        Poll::Ready(more)
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn carried(&self) -> u64 {
        self.connection.statistics().frame_tx.stream
    }

    fn peek(&self) -> Peek {
        let incoming = self.incoming.borrow();
        if self.is_reset.get() {
            Peek::Broken
        } else if !incoming.message().is_empty() {
            Peek::Data
        } else if incoming.message().is_finished() && incoming.message().is_end_told() {
            Peek::End
        } else {
            Peek::Nothing
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.outgoing.is_done() {
            self.served.is_whole.set(true);
            // what is left of the request does not matter any more (RFC 9114 section 4.1)
            return self.incoming.get_mut().stop(code::NO_ERROR);
        }
        if self.is_reset.get() {
            self.served.cancel();
        }
        let incoming = self.incoming.get_mut();
        let wrong = incoming.wrong();
        self.outgoing.reset(wrong.unwrap_or(code::INTERNAL_ERROR));
        incoming.stop(wrong.unwrap_or(code::REQUEST_CANCELLED));
    }
}
