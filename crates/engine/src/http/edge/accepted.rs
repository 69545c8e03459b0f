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

use bytes::Bytes;
use h2::server::SendResponse;
use h2::Reason;
use headgate_wire::{parse_response, Framing, Parsed, ResponseHead};
use http::{header, HeaderValue, Response, StatusCode};

use headgate_net::virtual_stream::{Duplex, Peek};
use headgate_upstream::http2::fields::{to_map, OWN_HEADS};
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
    Head {
        respond: SendResponse<Bytes>,
        text: Vec<u8>,
    },
    Body(Outgoing),
}

/// See the module.
pub(super) struct Accepted {
    /// In a cell, because asking whether bytes are there may take them from `h2`.
    incoming: RefCell<Incoming>,
    response: RefCell<ResponseState>,
    is_head: bool,
    is_connect: bool,
    is_reset: Cell<bool>,
    served: StreamGuard,
}

impl Accepted {
    pub(super) fn new(
        incoming: Incoming,
        respond: SendResponse<Bytes>,
        is_head: bool,
        is_connect: bool,
        active: Rc<ActiveStreams>,
    ) -> Self {
        active.count.set(active.count.get() + 1);
        Self {
            incoming: RefCell::new(incoming),
            response: RefCell::new(ResponseState::Head {
                respond,
                text: Vec::new(),
            }),
            is_head,
            is_connect,
            is_reset: Cell::new(false),
            served: StreamGuard(active),
        }
    }

    /// Ready when the client has reset the stream, or its connection is gone.
    fn poll_reset(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.response.borrow_mut() {
            // an error means the same as a reset
            ResponseState::Head { respond, .. } => drop(ready!(respond.poll_reset(context))),
            ResponseState::Body(outgoing) if outgoing.is_done() => return Poll::Pending,
            ResponseState::Body(outgoing) => ready!(outgoing.poll_reset(context)),
        }
        self.is_reset.set(true);
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    /// Takes a part of the response's head: how much.
    fn write_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let response = self.response.get_mut();
        let ResponseState::Head { respond, text } = response else {
            return Ok(0);
        };
        // nearly always the whole head comes at once and needs no copy
        let before = text.len();
        let parsed = if before == 0 {
            parse_response(bytes, OWN_HEADS, self.is_head)
        } else {
            text.extend_from_slice(bytes);
            parse_response(text, OWN_HEADS, self.is_head)
        };
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Parsed::Complete { head, len } = parsed else {
            if before == 0 {
                text.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        text.clear();
        let next = send_head(respond, &head, self.is_connect)?;
        if let Some(outgoing) = next {
            *response = ResponseState::Body(outgoing);
        }
        Ok(len - before)
    }
}

/// Sends a head; gives what takes its body, unless it was an interim one.
fn send_head(
    respond: &mut SendResponse<Bytes>,
    head: &ResponseHead,
    is_connect: bool,
) -> io::Result<Option<Outgoing>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fields = to_map(&head.head, 1).ok_or_else(invalid)?;
    let (status, framing) = match head.status {
        // RFC 8441 section 5.1: a tunnel begins with a 200; what proved the upgrade is of HTTP/1 only
        101 if is_connect => {
            fields.remove(header::SEC_WEBSOCKET_ACCEPT);
            (200, Framing::UntilClose)
        }
        // RFC 9113 section 8.6: there is no 101
        101 => return Err(invalid()),
        status => (status, head.framing),
    };
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::None => head.declared_length,
        Framing::Chunked | Framing::UntilClose => None,
    };
    if let Some(length) = length {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| invalid())?;
    *response.headers_mut() = fields;
    if status < 200 {
        respond
            .send_informational(response)
            .map_err(|error| broken(&error))?;
        return Ok(None);
    }
    let is_whole = matches!(framing, Framing::None | Framing::Length(0));
    let stream = respond
        .send_response(response, is_whole)
        .map_err(|error| broken(&error))?;
    Ok(Some(Outgoing::new(stream, framing)))
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
            0 if !self.incoming.get_mut().is_end_told() => self.poll_reset(context).map_ok(|()| 0),
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
            ResponseState::Head { .. } => Poll::Ready(self.write_head(bytes)),
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
            ResponseState::Head { .. } => Ok(()),
            ResponseState::Body(outgoing) => outgoing.shut(),
        })
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut incoming = self.incoming.borrow_mut();
        let more = ready!(incoming.poll_more(context));
        if more.is_ok() && incoming.is_finished() && !incoming.is_end_told() {
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
        } else if incoming.has_bytes() {
            Peek::Data
        } else if incoming.is_finished() && incoming.is_end_told() {
            Peek::End
        } else {
            Peek::Nothing
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        match self.response.get_mut() {
            ResponseState::Head { respond, .. } => respond.send_reset(Reason::INTERNAL_ERROR),
            ResponseState::Body(outgoing) if !outgoing.is_done() => outgoing.reset(Reason::INTERNAL_ERROR),
            ResponseState::Body(_) => {}
        }
    }
}
