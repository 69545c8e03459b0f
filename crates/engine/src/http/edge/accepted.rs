//! A client's stream as the byte stream that a connection serves one request on.
//!
//! # How it works
//! Reads give the request as HTTP/1 text ([`Incoming`]). The response's head is parsed as it is written and sent as HEADERS;
//! then [`Outgoing`] takes the body. A stream that is dropped before its response is whole is reset, so that half a response
//! never looks like one.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll, Waker};

use h2::server::SendResponse;
use h2::Reason;
use headgate_wire::Framing;
use http::{HeaderMap, Response, StatusCode};

use super::priorities::PRIORITY;
use super::response_head::{map_of, FieldHead, ResponseHeadReader};
use super::room::{Entry, Piece};
use headgate_net::virtual_stream::{Duplex, Peek};
use headgate_upstream::http2::incoming::{broken, Incoming};
use headgate_upstream::http2::outgoing::{take_both, Outgoing};

/// Streams of a connection that are being served.
#[derive(Default)]
pub(super) struct ActiveStreams {
    count: Cell<usize>,
    /// The connection's task, which waits differently once there are none.
    pub(super) waker: RefCell<Option<Waker>>,
    /// DATA frames sent since the last call: what a client may react to.
    pub(super) frames_sent: Cell<u32>,
    /// How often the connection, full, was seen to take more.
    pub(super) carried: Cell<u64>,
}

impl ActiveStreams {
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }
}

/// Why a stream counts as served.
struct StreamGuard(Rc<ActiveStreams>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            if let Some(waker) = self.0.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

enum ResponseState {
    /// Its head is not complete.
    Head(SendResponse<Piece>, Option<Entry>),
    Body(Outgoing<Entry>),
}

/// See the module.
pub(super) struct Accepted {
    /// In a cell, because asking whether bytes are there may take them from `h2`.
    incoming: RefCell<Incoming>,
    response: RefCell<ResponseState>,
    head: ResponseHeadReader,
    is_reset: Cell<bool>,
    served: StreamGuard,
}

impl Accepted {
    pub(super) fn new(
        incoming: Incoming,
        (respond, entry): (SendResponse<Piece>, Entry),
        is_head: bool,
        is_connect: bool,
        active: Rc<ActiveStreams>,
    ) -> Self {
        active.count.set(active.count.get() + 1);
        Self {
            incoming: RefCell::new(incoming),
            response: RefCell::new(ResponseState::Head(respond, Some(entry))),
            head: ResponseHeadReader::new(is_head, is_connect),
            is_reset: Cell::new(false),
            served: StreamGuard(active),
        }
    }

    /// Ready when the client has reset the stream, or its connection is gone.
    fn poll_reset(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.response.borrow_mut() {
            // an error means the same as a reset
            ResponseState::Head(respond, _) => drop(ready!(respond.poll_reset(context))),
            ResponseState::Body(outgoing) if outgoing.is_done() => return Poll::Pending,
            ResponseState::Body(outgoing) => ready!(outgoing.poll_reset(context)),
        }
        self.is_reset.set(true);
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Takes a part of the response's head: how much.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let response = self.response.get_mut();
        let ResponseState::Head(respond, entry) = response else {
            return Ok(0);
        };
        let (n, head) = self.head.take(bytes, map_of)?;
        let outgoing = head.map(|head| send_head(respond, entry, head)).transpose()?;
        if let Some(outgoing) = outgoing.flatten() {
            *response = ResponseState::Body(outgoing);
        }
        Ok(n)
    }
}

/// Sends a head; gives what takes its body, unless it was an interim one.
fn send_head(
    respond: &mut SendResponse<Piece>,
    entry: &mut Option<Entry>,
    head: FieldHead<HeaderMap>,
) -> io::Result<Option<Outgoing<Entry>>> {
    let is_interim = head.is_interim();
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(|_| io::ErrorKind::InvalidData)?;
    *response.headers_mut() = head.fields;
    if is_interim {
        respond
            .send_informational(response)
            .map_err(|error| broken(&error))?;
        return Ok(None);
    }
    let Some(entry) = entry.take() else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    if let Some(priority) = response.headers().get(PRIORITY) {
        entry.turn.server_says(priority.as_bytes());
    }
    let is_whole = matches!(head.framing, Framing::None | Framing::Length(0));
    let stream = respond
        .send_response(response, is_whole)
        .map_err(|error| broken(&error))?;
    Ok(Some(Outgoing::new(stream, head.framing, entry)))
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
            0 if matches!(self.response.get_mut(), ResponseState::Body(outgoing) if outgoing.is_done()) => {
                Poll::Ready(Ok(0))
            }
            // a complete request does not say whether its client is still there
            0 if !self.incoming.get_mut().message().is_end_told() => self.poll_reset(context).map_ok(|()| 0),
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        take_both(first, second, |bytes| match self.response.get_mut() {
            ResponseState::Head(..) => Poll::Ready(self.write_head(bytes)),
            ResponseState::Body(outgoing) => {
                let n = ready!(outgoing.poll_write(context, bytes))?;
                let frames = &self.served.0.frames_sent;
                frames.set(frames.get().saturating_add(1));
                Poll::Ready(Ok(n))
            }
        })
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.response.get_mut() {
            ResponseState::Head(..) => Ok(()),
            ResponseState::Body(outgoing) => outgoing.shut(),
        })
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
        self.served.0.carried.get()
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
        match self.response.get_mut() {
            ResponseState::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            ResponseState::Body(outgoing) if !outgoing.is_done() => outgoing.reset(Reason::INTERNAL_ERROR),
            ResponseState::Body(_) => {}
        }
    }
}
